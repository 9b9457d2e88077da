/*
 * target - (slot, id) of an order, callback or case as statement parameters: every id carries its
 * slot. And what the commands about such a row have in common.
 */
#ifndef PAYCTL_TARGET_H
#define PAYCTL_TARGET_H

#include "ctl.h"

#define TARGET_TEXT 24

struct target {
    char slot[TARGET_TEXT], id[TARGET_TEXT];
    const char *params[2]; /* both, in this order */
};

void target_set(struct target *t, int64_t id);
/* The database's number, or the shown form of that kind ('P', 'E', 'C'). 0 or -1. */
int target_parse(const char *text, char kind, int64_t *id);

/* What has ids of its own. */
struct target_kind {
    char letter;               /* of the shown form */
    const char *name;          /* "callback" */
    enum admin_statement row;  /* of (slot, id) */
    enum admin_statement more; /* what belongs to it, as a list */
};

/* 0, or -1 after saying what is wrong. */
int target_find(const struct target_kind *k, const char *text, struct target *t);
/* `show ID`: the row, and the list below it. */
int target_show(const struct target_kind *k, struct ctl *c, int argc, char **argv);

#endif
