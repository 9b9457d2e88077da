/*
 * verify - the invariants of DESIGN.md section 8 asked of the database itself, and of the books of
 * the channels beside it. All questions see one snapshot, so they may be asked of a system at work.
 */
#ifndef STORE_VERIFY_H
#define STORE_VERIFY_H

#include "admin.h"

struct verify_check {
    const char *name;    /* of what is broken, a word for logs and alerts */
    const char *promise; /* what must be true */
};

/* What channels say they took: parallel arrays as PostgreSQL's text form of bigint[], one member
 * per request number at a channel. Amounts in minor units. */
struct verify_books {
    const char *payment_id, *paid, *refunded;
};

/* Opens the snapshot. books may be NULL: the database alone is asked then. 0 or -1 (err). */
int verify_begin(struct admin *a, const struct verify_books *books, char *err);
/* How many checks there are, those of the books included or not. */
unsigned verify_count(bool books);
const struct verify_check *verify_check(unsigned n);
/* The rows that break check n: total (how many there are), payment_id, what. At most `most` of
 * them. 0 or -1 (err). */
int verify_ask(struct admin *a, unsigned n, int64_t most, struct admin_rows **rows, char *err);
void verify_end(struct admin *a);

#endif
