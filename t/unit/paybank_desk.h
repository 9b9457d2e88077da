/*
 * paybank_desk - what the tests of the virtual bank's books share: books of two merchants with
 * their record, that can be made to fail.
 */
#ifndef PAYBANK_DESK_H
#define PAYBANK_DESK_H

#include "core_test.h"

#include "backends/paybank/books/refunds.h"

#define NOW 1788235200000000LL /* 2026-09-01 12:00 in China */

struct desk {
    struct bank_conf conf;
    struct merchant wechat, other;
    struct books *books;
    struct buf lines; /* the record */
    bool broken;      /* records nothing, says so */
};

static int record(void *arg, struct slice line)
{
    struct desk *d = arg;

    if (d->broken)
        return -1;
    buf_add_slice(&d->lines, line);
    buf_add_char(&d->lines, '\n');
    return 0;
}

static inline void open_desk_of(struct desk *d, struct merchant wechat, struct merchant other)
{
    memset(d, 0, sizeof(*d));
    d->wechat = wechat;
    d->other = other;
    d->wechat.next = &d->other;
    d->conf.merchants = &d->wechat;
    buf_init(&d->lines, 1 << 24);
    d->books = books_new(&d->conf, record, d);
    assert_non_null(d->books);
}

static inline void close_desk(struct desk *d)
{
    books_free(d->books);
    buf_release(&d->lines);
}

#endif
