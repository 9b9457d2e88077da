/*
 * terms - the closed word lists that C, SQL, configuration, API, logs and docs share. Numbers are
 * stored in the database: never renumber, only append.
 */
#ifndef CORE_TERMS_H
#define CORE_TERMS_H

#include "slice.h"

/* Payment states. `processing` also means: result unknown. */
#define PAYMENT_STATE_TABLE(X)                                                                     \
    X(NONE, 0, "none")             /* does not exist yet; never stored */                          \
    X(PROCESSING, 1, "processing") /* maybe sent, no definitive answer */                          \
    X(PENDING, 2, "pending")       /* the channel knows it and waits for the payer */              \
    X(SUCCEEDED, 3, "succeeded")                                                                   \
    X(FAILED, 4, "failed")                                                                         \
    X(CLOSED, 5, "closed")
enum payment_state {
#define X(name, num, text) PAYMENT_##name = num,
    PAYMENT_STATE_TABLE(X)
#undef X
        PAYMENT_STATE_COUNT
};

#define REFUND_STATE_TABLE(X)                                                                      \
    X(NONE, 0, "none") /* does not exist yet; never stored */                                      \
    X(PROCESSING, 1, "processing")                                                                 \
    X(SUCCEEDED, 2, "succeeded")                                                                   \
    X(FAILED, 3, "failed") /* nothing was given back, definitely */
enum refund_state {
#define X(name, num, text) REFUND_##name = num,
    REFUND_STATE_TABLE(X)
#undef X
        REFUND_STATE_COUNT
};

/* The reversal of a charge: a record beside its payment. */
#define REVERSAL_STATE_TABLE(X)                                                                    \
    X(NONE, 0, "none") /* none was begun; never stored */                                          \
    X(PROCESSING, 1, "processing")                                                                 \
    X(SUCCEEDED, 2, "succeeded") /* nothing was charged, or all of it went back */                 \
    X(FAILED, 3, "failed")       /* the channel takes it no more: what was charged stays */
enum reversal_state {
#define X(name, num, text) REVERSAL_##name = num,
    REVERSAL_STATE_TABLE(X)
#undef X
        REVERSAL_STATE_COUNT
};

/* Classes of a channel's answer (DESIGN.md section 7). What no table names is `unknown`. */
#define ANSWER_CLASS_TABLE(X)                                                                      \
    X(UNKNOWN, 0, "unknown")         /* anything may have happened */                              \
    X(SUCCESS, 1, "success")         /* paid (query, notification), done (close) */                \
    X(ACCEPTED, 2, "accepted")       /* known there, waits */                                      \
    X(USER_PAYING, 3, "user_paying") /* known there, the payer acts */                             \
    X(FAILED, 4, "failed")           /* final, nothing charged */                                  \
    X(REFUSED, 5, "refused")         /* definitely not accepted: another channel may try */        \
    X(CLOSED, 6, "closed")           /* the order number is dead there, unpaid */                  \
    X(NOT_FOUND, 7, "not_found")                                                                   \
    X(TOO_FREQUENT, 8, "too_frequent") /* not executed, ask later */                               \
    X(DUPLICATE, 9, "duplicate")       /* number used before: only a query decides */              \
    X(NOT_SENT, 10, "not_sent")        /* the egress's own word: never passed on */
enum answer_class {
#define X(name, num, text) CLASS_##name = num,
    ANSWER_CLASS_TABLE(X)
#undef X
        ANSWER_CLASS_COUNT
};

/* What a command asks of a channel. */
#define CALL_KIND_TABLE(X)                                                                         \
    X(NONE, 0, "none")                                                                             \
    X(PREPARE, 1, "prepare") /* makes an order there that a payer can pay: native, jsapi, h5 */    \
    X(QUERY, 2, "query")                                                                           \
    X(CLOSE, 3, "close")                                                                           \
    X(CHARGE, 4, "charge")   /* takes the money at once: barcode */                                \
    X(REVERSE, 5, "reverse") /* of a charge whose outcome is unknown or unwanted */                \
    X(REFUND, 6, "refund")                                                                         \
    X(REFUND_QUERY, 7, "refund_query")                                                             \
    X(BILL, 8, "bill")         /* asks for a day's bill: the file, or where it lies */             \
    X(DOWNLOAD, 9, "download") /* fetches it from there */
enum call_kind {
#define X(name, num, text) CALL_##name = num,
    CALL_KIND_TABLE(X)
#undef X
        CALL_KIND_COUNT
};

#define PAYMENT_METHOD_TABLE(X)                                                                    \
    X(NONE, 0, "none")                                                                             \
    X(NATIVE, 1, "native")                                                                         \
    X(BARCODE, 2, "barcode")                                                                       \
    X(JSAPI, 3, "jsapi")                                                                           \
    X(H5, 4, "h5")                                                                                 \
    X(APP, 5, "app")
enum payment_method {
#define X(name, num, text) METHOD_##name = num,
    PAYMENT_METHOD_TABLE(X)
#undef X
        PAYMENT_METHOD_COUNT
};

/* Was a call passed on to the channel? (`Pay-Sent`) */
enum sent { SENT_UNKNOWN, SENT_NO, SENT_MAYBE, SENT_ANSWERED };

/* Number -> word ("?" when out of range) and word -> number (-1 when unknown). */
const char *payment_state_name(enum payment_state s);
const char *refund_state_name(enum refund_state s);
const char *reversal_state_name(enum reversal_state s);
const char *answer_class_name(enum answer_class c);
const char *call_kind_name(enum call_kind k);
const char *payment_method_name(enum payment_method m);
const char *sent_name(enum sent s);
int payment_state_parse(struct slice s);
int refund_state_parse(struct slice s);
int reversal_state_parse(struct slice s);
int answer_class_parse(struct slice s);
int call_kind_parse(struct slice s);
int payment_method_parse(struct slice s);
int sent_parse(struct slice s);

static inline bool payment_state_final(enum payment_state s)
{
    return s == PAYMENT_SUCCEEDED || s == PAYMENT_FAILED || s == PAYMENT_CLOSED;
}

static inline bool refund_state_final(enum refund_state s)
{
    return s == REFUND_SUCCEEDED || s == REFUND_FAILED;
}

#endif
