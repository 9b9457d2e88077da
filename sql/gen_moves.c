/* gen_moves - writes the migration of the payment's moves to stdout: `make sql`. */
#include "backends/store/moves_sql.h"

#include <stdio.h>

int main(void)
{
    struct buf b;
    bool ok;

    buf_init(&b, 64u << 10);
    moves_sql(&b);
    ok = buf_ok(&b) && fwrite(b.p, 1, b.n, stdout) == b.n && fflush(stdout) == 0;
    buf_release(&b);
    return ok ? 0 : 1;
}
