/*
 * row - the columns of orders and refunds as the reads select them, and their images. The order of
 * columns here and of the readers in row.c is one thing.
 */
#ifndef STORE_ROW_H
#define STORE_ROW_H

#include "backends/domain/refund.h"
#include "backends/io/pg.h"

/* payment p with its timer t */
#define PAYMENT_COLUMNS                                                                            \
    " p.id, p.slot, p.version, p.state, p.prev_state, p.mchid, p.app_id, p.out_trade_no,"          \
    " p.digest, p.method, p.scene, p.product, p.store_id, p.amount, p.currency, p.description,"    \
    " p.attach, p.notify_url, p.trace_id, p.channel, p.account, p.route, p.command_seq,"           \
    " p.attempts, p.prepare_before, p.prepare_n, p.prepare_last, p.prepare_past, p.not_sent,"      \
    " p.busy_kind, p.busy_before, p.channel_trade_no, p.code_url, p.fail_code, p.reversal,"        \
    " p.reverse_tries, p.payer, p.past, p.extra_paid, p.refund_reserved, p.refunded, "             \
    "p.created_at, p.time_expire, "                                                                \
    "p.final_at, p.succeeded_at, t.due_at, t.kind,"                                                \
    " t.tries"
#define PAYMENT_TIMER                                                                              \
    " LEFT JOIN pay.payment_timer t ON t.slot = ANY (ARRAY[p.slot]) AND t.payment_id = p.id"

/* refund r with its timer rt */
#define REFUND_COLUMNS                                                                             \
    " r.id, r.state, r.out_refund_no, r.digest, r.amount, r.reason, r.notify_url, r.trace_id, "    \
    "r.command_seq, r.channel, r.account,"                                                         \
    " r.send_n, r.send_last, r.send_past, r.send_before, r.not_sent, r.channel_refund_no,"         \
    " r.fail_code, r.created_at, r.final_at, r.succeeded_at, rt.due_at, rt.kind, rt.tries"
#define REFUND_TIMER                                                                               \
    " LEFT JOIN pay.refund_timer rt ON rt.slot = ANY (ARRAY[r.slot]) AND rt.refund_id = r.id"

struct row {
    const PGresult *r;
    int row, col; /* col: of the next column */
    struct arena *arena;
};

/* Images in the row's arena; NULL when it is full. */
struct payment *row_payment(struct row *w);
/* *refund is zeroed where the row has none. 0 or -1. */
int row_refund(struct row *w, struct refund *refund);

#endif
