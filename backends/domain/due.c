#include "due.h"

#include "core/clock.h"

int64_t due_grown(int64_t base, uint32_t tries, int64_t max)
{
    int64_t d = base > 0 ? base : USEC_PER_SEC;

    while (tries-- > 0 && (max > 0 ? d < max : d < INT64_MAX / 2))
        d *= 2;
    return max > 0 && d > max ? max : d;
}

int64_t due_spread(int64_t id, uint32_t tries, int64_t d)
{
    uint64_t h = (uint64_t)id + (uint64_t)tries * 0x9e3779b97f4a7c15ULL;

    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ULL;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebULL;
    return (int64_t)((h ^ (h >> 31)) % (uint64_t)(d / 10 + 1));
}
