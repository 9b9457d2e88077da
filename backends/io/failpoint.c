#include "failpoint.h"

#include "core/slice.h"

#include <signal.h>
#include <stdlib.h>

enum failpoint failpoint_armed = FAILPOINT_COUNT;
static int64_t passes_left;

int failpoint_arm(void)
{
    static const char *const names[] = {
#define X(name) #name,
        FAILPOINT_TABLE(X)
#undef X
    };
    const char *text = getenv("PAYD_FAILPOINT");
    struct slice rest, name;

    if (!text)
        return 0;
    rest = slice_of(text);
    name = slice_cut(&rest, ':');
    passes_left = 1;
    if (rest.n && (slice_int64(rest, &passes_left) != 0 || passes_left < 1))
        return -1;
    for (int i = 0; i < FAILPOINT_COUNT; i++)
        if (slice_eq_nocase(name, slice_of(names[i]))) {
            failpoint_armed = (enum failpoint)i;
            return 0;
        }
    return -1;
}

void failpoint_pass(void)
{
    if (--passes_left == 0)
        raise(SIGKILL);
}
