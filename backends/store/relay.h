/*
 * relay - the history of orders as an outbox: what was committed since a position, and where each
 * stream of events stands.
 *
 * A position is what a reader's last snapshot can have seen: transactions below `upto` without
 * those in `open`. The rows between two positions are exactly what was committed in between,
 * whatever order transactions began and ended in; nothing waits for a long one (no horizon), its
 * rows come when it has ended. Of one order, a version is never read before the one below it.
 */
#ifndef STORE_RELAY_H
#define STORE_RELAY_H

#include "store.h"

/* One of `streams` that share the slots evenly; all numbers from 0. */
struct relay_stream {
    uint32_t streams, stream;
    uint32_t slot_from, slot_to;
    struct slice holder; /* who we are */
};
struct relay_position {
    int64_t upto;
    struct slice open;         /* "123,456" */
    int64_t last_ms, last_seq; /* id of the stream's latest entry */
};

typedef void store_relay_cb(void *arg, enum store_result r, const struct relay_position *p);
/* Takes or keeps the stream for lease_us and tells its position; STORE_NONE: somebody else has it.
 * A stream that is new begins where the streams before it stood, else at the beginning. */
void store_relay_claim(struct store *s, const struct relay_stream *t, int64_t lease_us,
                       struct arena *a, store_relay_cb *cb, void *arg);
struct relay_keep {
    int64_t lease_us;
    int64_t mark_us;  /* one mark in this time */
    int64_t marks_us; /* older ones are dropped, but for the newest of them */
};
/* Stores the position instead of `was` and keeps the stream. STORE_NONE: the stream is no longer
 * ours, or the database is not where we left it (it was restored): nothing was stored. */
void store_relay_save(struct store *s, const struct relay_stream *t,
                      const struct relay_position *was, const struct relay_position *at,
                      const struct relay_keep *k, store_relay_cb *cb, void *arg);
/* Back to the newest mark whose entries are all in a stream that ends with (last_ms, last_seq),
 * else to the oldest one. */
void store_relay_rewind(struct store *s, const struct relay_stream *t, int64_t last_ms,
                        int64_t last_seq, struct arena *a, store_relay_cb *cb, void *arg);

/* One move of an order or refund. */
struct relay_event {
    int64_t payment_id, refund_id; /* 0: the payment's own */
    uint32_t version;
    int64_t event_id; /* what caused it */
    pay_time_t at;
    int state; /* it moved to: of the payment, or of the refund */
    struct slice input, code;
    struct slice mchid, app_id, out_trade_no, currency, channel, scene, product, store_id;
    struct slice channel_trade_no, trace_id, out_refund_no;
    int method;
    int64_t amount; /* of the payment */
    int64_t refund; /* of the refund */
};
struct relay_events {
    const struct relay_event *events;
    size_t n;
    int64_t upto; /* the next position */
    struct slice open;
    bool more; /* there is more beyond it */
};
typedef void store_relay_read_cb(void *arg, enum store_result r, const struct relay_events *e);
/* About max events behind the position (those of one transaction stay together). */
void store_relay_read(struct store *s, const struct relay_stream *t, const struct relay_position *p,
                      unsigned max, struct arena *a, store_relay_read_cb *cb, void *arg);

#endif
