#include "http.h"

struct slice http_find(const struct http_header *h, size_t n, const char *name, size_t *count)
{
    struct slice want = slice_of(name);
    struct slice found = SLICE_NULL;
    size_t seen = 0;

    for (size_t i = 0; i < n; i++) {
        if (!slice_eq_nocase(h[i].name, want))
            continue;
        if (seen++ == 0)
            found = h[i].value;
    }
    if (count)
        *count = seen;
    return found;
}
