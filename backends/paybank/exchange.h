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

/* What a merchant is told of: a payment, or (refund not NULL) one of its refunds. */
struct event {
    struct order *order;
    struct refund *refund;
};

/* A notification ready to be sent; slices live in the caller's arena. */
struct notice {
    struct http_header headers[EXCHANGE_HEADERS];
    size_t nheaders;
    struct slice body;
};

enum sign_how { SIGN_RIGHT, SIGN_WRONG, SIGN_NOT };

/* What the protocols do differently around an answer and a notification. */
struct protocol {
    const char *content_type; /* of answers */
    /* A whole error answer for a fault: status and body. */
    void (*fault_answer)(struct exchange *ex, enum fault_kind kind);
    /* The same for a code of the protocol's; status 0: the usual one. */
    void (*code_answer)(struct exchange *ex, const char *code, int status);
    /* The last touch: headers or members that sign; ex->merchant may be NULL. */
    void (*finish)(struct exchange *ex, enum sign_how how);
    /* fault says what shall be wrong with it. 0 or -1. */
    int (*notice)(struct bank *bank, const struct event *ev, enum fault_kind fault,
                  enum sign_how how, struct arena *a, struct notice *out);
    /* Does this answer mean that the merchant took the notification? */
    bool (*taken)(int status, struct slice body);
};
extern const struct protocol wechat_v2_protocol;
extern const struct protocol wechat_protocol;
extern const struct protocol alipay_protocol;
extern const struct protocol unionpay_protocol;
extern const struct protocol bank_json_protocol;
const struct protocol *protocol_of(enum bank_channel channel);

struct exchange {
    struct bank *bank;
    struct http_req *req;
    enum bank_channel channel;
    const struct protocol *protocol;
    const struct merchant *merchant; /* NULL until known */
    enum bank_api api;
    struct slice out_trade_no;
    pay_time_t now;  /* of the books */
    pay_time_t wall; /* of signatures */
    struct fault_draw fault;
    int status;
    struct buf body;
    void *answer;             /* the protocol's: what finish makes the body of */
    const char *content_type; /* instead of the protocol's */
    bool bare;                /* sent as it is: files are not signed */
    struct http_header headers[EXCHANGE_HEADERS];
    size_t nheaders;
    struct loop_timer *timer;
    struct exchange *prev, *next;
    bool held;
};

/* NULL: refused already (no memory). */
struct exchange *exchange_new(struct bank *bank, struct http_req *req, enum bank_channel channel);
/* Draws a fault; true when it ended the exchange before anything was booked. */
bool exchange_strike(struct exchange *ex);
void exchange_send(struct exchange *ex);
/* value is copied. */
void exchange_header(struct exchange *ex, const char *name, struct slice value);
/* An amount as this answer shall say it. */
int64_t exchange_amount(const struct exchange *ex, int64_t amount);
/* The first 16 bytes of SHA-256: what a repeated order must equal. */
void exchange_digest(struct slice content, uint8_t out[CONTENT_DIGEST_LEN]);
/* At the end of the process: cuts everybody who still waits. */
void exchange_cut_all(struct bank *bank);

/* The value of a header that must stand exactly once; SLICE_NULL otherwise. */
struct slice exchange_one_header(const struct exchange *ex, const char *name);
/* First path segments of the target, and the query (SLICE_NULL without '?'). */
struct slice target_path(struct slice target, struct slice *query);

#endif
