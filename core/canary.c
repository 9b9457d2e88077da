#include "canary.h"

#define WHOLE 10000u /* hundredths of a per cent */

uint32_t canary_share(const struct canary_sums *sums)
{
    return sums->requests ? (uint32_t)(sums->failures * WHOLE / sums->requests) : 0;
}

uint64_t canary_mean(const struct canary_sums *sums)
{
    return sums->requests ? sums->ms / sums->requests : 0;
}

static uint64_t square_root(uint64_t n)
{
    uint64_t root = 0;

    for (uint64_t bit = 1ULL << 31; bit; bit >>= 1)
        if ((root + bit) * (root + bit) <= n)
            root += bit;
    return root;
}

/* Three standard deviations of the share that so many requests show when its true value is the
 * other's: a canary that is no worse is beyond it once in 700 looks. */
static uint64_t chance(uint32_t share, uint64_t requests)
{
    return 3 * square_root((uint64_t)share * (WHOLE - share) / requests);
}

enum canary_verdict canary_judge(const struct canary_sums *own, const struct canary_sums *other,
                                 const struct canary_limits *limits)
{
    uint32_t theirs = canary_share(other);
    uint64_t mean, usual;

    if (own->requests == 0 || own->requests < limits->requests)
        return CANARY_EARLY;
    if (canary_share(own) > theirs + limits->failures * 100 + chance(theirs, own->requests))
        return CANARY_FAILS;
    mean = canary_mean(own);
    usual = canary_mean(other);
    if (limits->slower && other->requests >= limits->requests && mean >= usual + CANARY_MS &&
        mean * 100 > usual * limits->slower)
        return CANARY_SLOW;
    return CANARY_WELL;
}
