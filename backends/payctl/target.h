/*
 * target - (slot, id) of an order, callback or case as statement parameters: every id carries its
 * slot.
 */
#ifndef PAYCTL_TARGET_H
#define PAYCTL_TARGET_H

#include <stdint.h>

#define TARGET_TEXT 24

struct target {
    char slot[TARGET_TEXT], id[TARGET_TEXT];
    const char *params[2]; /* both, in this order */
};

void target_set(struct target *t, int64_t id);
/* The database's number, or the shown form of that kind ('P', 'E', 'C'). 0 or -1. */
int target_parse(const char *text, char kind, int64_t *id);

#endif
