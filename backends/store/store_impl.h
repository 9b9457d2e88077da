/*
 * store_impl - what the files of this folder share beyond their headers. Private to it.
 */
#ifndef STORE_STORE_IMPL_H
#define STORE_STORE_IMPL_H

#include "callback.h"
#include "commit.h"
#include "read.h"
#include "store.h"

struct store {
    struct loop *loop;
    struct pg_pool *writers, *readers;
    struct commits *commits;
    struct reads *reads;
    struct tries *tries;
    struct loop_timer *tick;
};

/* Runs one statement on the readers' pool. */
void store_ask(struct store *s, const char *statement, struct pg_params *p, pg_cb *cb, void *arg);
/* What an answer means to somebody who asked for rows; errors are logged. */
enum store_result store_result_of(const struct pg_answer *answer, const char *what);
/* Never NULL. */
struct pg_params *store_params(void);
void *store_alloc(size_t n); /* zeroed */

#endif
