/*
 * due - when something is to be done next: intervals that grow with the tries, and a spread that
 * keeps what was made together from asking together. Microseconds.
 */
#ifndef DOMAIN_DUE_H
#define DOMAIN_DUE_H

#include <stdint.h>

/* base * 2^tries, at most max (0 = unbounded); a base of 0 counts as one second. */
int64_t due_grown(int64_t base, uint32_t tries, int64_t max);

/* 0 .. d/10, the same for the same id and tries. */
int64_t due_spread(int64_t id, uint32_t tries, int64_t d);

#endif
