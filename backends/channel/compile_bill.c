#include "compile.h"

int compile_bill(struct compiler *cp, struct conf_node *block)
{
    (void)cp;
    (void)block;
    return 0;
}
