/*
 * exchange - one request of a channel's client, from its verification to its answer, and the place
 * where faults strike.
 *
 * The protocol's handler verifies and checks; calls exchange_strike before it books; books; fills
 * status and body; calls exchange_send once. An exchange lives in its request's arena and is gone
 * after exchange_send, or when exchange_strike returned true.
 */
#ifndef PAYBANK_EXCHANGE_H
#define PAYBANK_EXCHANGE_H

#include "bank.h"

#define EXCHANGE_HEADERS 12

struct exchange;

/* A notification ready to be sent; slices live in the caller's arena. */
struct notice {
    struct http_header headers[EXCHANGE_HEADERS];
    size_t nheaders;
    struct slice body;
};

/* What the two protocols do differently around an answer and a notification. */
struct protocol {
    enum bank_channel channel;
    /* A whole error answer for a fault: status and body. */
    void (*fault_answer)(struct exchange *ex, enum fault_kind kind);
    /* Adds the signature's headers; spoil: a signature that does not fit. Not called as long as the
     * merchant is not known. */
    void (*sign)(struct exchange *ex, bool spoil);
    /* Of a paid order; fault says what shall be wrong with it. 0 or -1. */
    int (*notice)(struct bank *bank, const struct order *o, enum fault_kind fault, pay_time_t now,
                  struct arena *a, struct notice *out);
    /* Does this answer mean that the merchant took the notification? */
    bool (*taken)(int status, struct slice body);
};
extern const struct protocol wechat_protocol;
extern const struct protocol bank_json_protocol;
const struct protocol *protocol_of(const struct merchant *m);

struct exchange {
    struct bank *bank;
    struct http_req *req;
    const struct protocol *protocol;
    const struct merchant *merchant; /* NULL until known */
    enum bank_api api;
    struct slice out_trade_no;
    pay_time_t now;
    struct fault_draw fault;
    int status;
    struct buf body;
    struct http_header headers[EXCHANGE_HEADERS];
    size_t nheaders;
    struct loop_timer *timer;
    struct exchange *prev, *next;
    bool held;
};

/* NULL: refused already (no memory). */
struct exchange *exchange_new(struct bank *bank, struct http_req *req,
                              const struct protocol *protocol);
/* Draws a fault; true when it ended the exchange before anything was booked. */
bool exchange_strike(struct exchange *ex);
void exchange_send(struct exchange *ex);
/* value is copied. */
void exchange_header(struct exchange *ex, const char *name, struct slice value);
/* At the end of the process: cuts everybody who still waits. */
void exchange_cut_all(struct bank *bank);

/* The value of a header that must stand exactly once; SLICE_NULL otherwise. */
struct slice exchange_one_header(const struct exchange *ex, const char *name);
/* First path segments of the target, and the query (SLICE_NULL without '?'). */
struct slice target_path(struct slice target, struct slice *query);

#endif
