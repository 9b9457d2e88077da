/* core_test - what the unit tests of core/ share: cmocka with its prerequisites, and slices. */
#ifndef T_UNIT_CORE_TEST_H
#define T_UNIT_CORE_TEST_H

#include "core/slice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Names the case of a table in the test's output when `ok` is false. */
#define assert_case(ok, name)                                                                      \
    do {                                                                                           \
        if (!(ok))                                                                                 \
            fail_msg("%s (line %d): %s", #ok, __LINE__, (name));                                   \
    } while (0)

static inline void assert_slice(struct slice got, const char *want)
{
    if (!slice_is(got, want))
        fail_msg("got \"%.*s\", want \"%s\"", SLICE_FMT(got), want);
}

/* The file's bytes, malloc'ed. Tests run in the repository's root. */
static inline struct slice read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    size_t cap = 1 << 20;
    char *p = malloc(cap);
    size_t n;

    if (!f || !p)
        fail_msg("cannot open %s", path);
    n = fread(p, 1, cap, f);
    if (n == cap)
        fail_msg("%s is too large", path);
    fclose(f);
    return slice_n(p, n);
}

#endif
