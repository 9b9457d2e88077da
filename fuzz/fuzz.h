/*
 * fuzz - what the fuzzers share. Each is a program of its own (libFuzzer's main,
 * LLVMFuzzerTestOneInput here), built with clang under address and undefined-behaviour sanitizers:
 * mk/fuzz.mk. A fuzzer does not only look for crashes; it states with `must` what has to hold of
 * every input.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include "core/arena.h"
#include "core/buf.h"

#include <stdio.h>
#include <stdlib.h>

#define FUZZ_ARENA (1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the fuzzer, which then writes the input to a file. */
#define must(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: must(%s)\n", __FILE__, __LINE__, #condition);                  \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Reads every byte, so that a slice outside of its memory is noticed. -> a sum nobody needs */
static inline unsigned fuzz_touch(struct slice s)
{
    volatile unsigned sum = 0;

    for (size_t i = 0; i < s.n; i++)
        sum += (uint8_t)s.p[i];
    return sum;
}

/* Whether inner lies within outer (an empty one lies anywhere). */
static inline bool fuzz_within(struct slice inner, struct slice outer)
{
    return inner.n == 0 || (inner.p >= outer.p && inner.p + inner.n <= outer.p + outer.n);
}

/* The line up to \n, which is taken off *rest: inputs of several parts stay readable. */
static inline struct slice fuzz_line(struct slice *rest)
{
    return slice_cut(rest, '\n');
}

#endif
