/*
 * books_impl - what books.c and books_record.c share, and nobody else.
 */
#ifndef PAYBANK_BOOKS_IMPL_H
#define PAYBANK_BOOKS_IMPL_H

#include "refunds.h"

#define INTERN_BUCKETS 1024
#define REFUND_BUCKETS 16384

struct interned {
    struct interned *next;
    char text[];
};

struct books {
    const struct bank_conf *conf;
    books_record *record;
    void *arg;
    struct order **buckets; /* a power of two of them */
    size_t nbuckets;
    struct order **by_seq;
    uint32_t count;
    uint32_t alloc;
    struct refund *refund_buckets[REFUND_BUCKETS];
    struct refund **refund_by_seq;
    uint32_t nrefunds;
    uint32_t refund_alloc;
    struct interned *texts[INTERN_BUCKETS];
    struct buf line;
};

/* books.c: an order that is not yet in the books (NULL: no memory), and putting it there. */
struct order *order_make(struct books *b, const struct order_terms *t, pay_time_t at);
void order_file(struct books *b, struct order *o);
void order_move(struct order *o, enum order_state to, pay_time_t at);
const char *books_intern(struct books *b, struct slice s); /* NULL: no memory */

/* refunds.c */
struct refund *refund_make(struct books *b, const struct refund_terms *t, pay_time_t at);
void refund_file(struct books *b, struct refund *r);
void refunds_free(struct books *b);

/* books_record.c: one line each. 0 or -1. */
int record_order(struct books *b, const struct order *o);
int record_change(struct books *b, const char *op, const struct order *o, pay_time_t now);
int record_try(struct books *b, const struct order *o, const struct refund *r, int status,
               bool taken, pay_time_t now);
int record_refund(struct books *b, const struct refund *r);

#endif
