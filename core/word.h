/* word - eight bytes looked at in one step; for the scanners of slice.c and json.c. */
#ifndef CORE_WORD_H
#define CORE_WORD_H

#include <stdint.h>
#include <string.h>

#define EACH(byte) (0x0101010101010101u * (byte))
#define TOP_BITS   EACH(0x80u)

static inline uint64_t word_at(const char *p)
{
    uint64_t w;

    memcpy(&w, p, sizeof(w));
    return w;
}

/* A top bit is set if a byte is zero, or is below n <= 0x80; only that there is one is exact, not
 * which. */
static inline uint64_t word_zero(uint64_t w)
{
    return (w - EACH(1u)) & ~w & TOP_BITS;
}

static inline uint64_t word_below(uint64_t w, uint64_t n)
{
    return (w - EACH(1u) * n) & ~w & TOP_BITS;
}

#endif
