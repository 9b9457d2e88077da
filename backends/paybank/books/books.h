/*
 * books - the bank's own truth: which orders exist, what they are worth, who paid, what went back.
 *
 * States and the only moves between them:
 *
 *   NOTPAY     -> SUCCESS     the payer pays, at most once, never after expire_at
 *   NOTPAY     -> USERPAYING  a barcode was shown, now the payer types the password
 *   USERPAYING -> SUCCESS     the password was right
 *   both       -> CLOSED      closed by the merchant, or expire_at passed (found out when one
 * looks) both       -> FAILED      the payment was refused for good any but CLOSED -> REVOKED
 * reversed by the merchant; what was paid went back as a whole
 *
 * REVOKED and CLOSED stay apart. A refund leaves the order SUCCESS; see refunds.h.
 *
 * Every change is handed to `record` as one JSON line before it is made; if that fails, nothing was
 * changed. books_replay makes the same changes from such lines. Expiry is not recorded: it follows
 * from expire_at.
 *
 * An order is never freed before the books. Its number `seq` counts from 1; code and transaction
 * number are made from it, so that both find their order without an index.
 */
#ifndef PAYBANK_BOOKS_H
#define PAYBANK_BOOKS_H

#include "backends/paybank/conf.h"
#include "core/clock.h"

#define CONTENT_DIGEST_LEN 16
#define ORDER_CODE_LEN     9
#define TRANSACTION_ID_MAX 32
#define STAMP_MAX          15

#define ORDER_STATE_TABLE(X)                                                                       \
    X(NOTPAY)                                                                                      \
    X(USERPAYING)                                                                                  \
    X(SUCCESS)                                                                                     \
    X(CLOSED)                                                                                      \
    X(FAILED)                                                                                      \
    X(REVOKED)
enum order_state {
#define X(name) ORDER_##name,
    ORDER_STATE_TABLE(X)
#undef X
        ORDER_STATE_COUNT
};
const char *order_state_name(enum order_state s);
bool order_move_allowed(enum order_state from, enum order_state to);

/* How the payer comes to the order. */
#define PAY_METHOD_TABLE(X)                                                                        \
    X(NATIVE, "native")                                                                            \
    X(JSAPI, "jsapi")                                                                              \
    X(H5, "h5")                                                                                    \
    X(APP, "app")                                                                                  \
    X(BARCODE, "barcode")
enum pay_method {
#define X(name, text) METHOD_##name,
    PAY_METHOD_TABLE(X)
#undef X
        METHOD_COUNT
};
const char *pay_method_name(enum pay_method m);
int pay_method_parse(struct slice s); /* -1 when unknown */

struct notification;
struct refund;

struct order {
    struct order *bucket_next;
    const struct merchant *merchant;
    struct notification *notification; /* pending, owned by notify.c */
    struct refund *refunds;            /* oldest first */
    const char *appid;                 /* interned, "" when the protocol has none */
    const char *notify_url;            /* interned, "" when there is none */
    int64_t amount;
    pay_time_t created_at;
    pay_time_t prepared_at; /* latest prepare: a code lives from here */
    pay_time_t expire_at;
    pay_time_t paid_at;  /* 0: never */
    pay_time_t ended_at; /* latest change of state */
    uint64_t payer;      /* hash of the barcode */
    uint32_t seq;
    uint32_t prepares;
    uint32_t notify_tries;
    uint16_t attach_len;
    uint16_t subject_len;
    uint8_t no_len;
    uint8_t state;
    uint8_t method;
    uint8_t charges; /* successful payments */
    uint8_t variant; /* the protocol's: how its notifications are signed */
    bool notified;
    bool scanned; /* a payer has looked at it */
    char currency[4];
    char stamp[STAMP_MAX];              /* UnionPay: txnTime, part of the number; else "" */
    uint8_t digest[CONTENT_DIGEST_LEN]; /* of the content a repetition must equal */
    char text[];                        /* out_trade_no, attach, subject */
};

static inline struct slice order_no(const struct order *o)
{
    return slice_n(o->text, o->no_len);
}

static inline struct slice order_attach(const struct order *o)
{
    return slice_n(o->text + o->no_len, o->attach_len);
}

static inline struct slice order_subject(const struct order *o)
{
    return slice_n(o->text + o->no_len + o->attach_len, o->subject_len);
}

/* What a merchant asks for. */
struct order_terms {
    const struct merchant *merchant;
    struct slice out_trade_no;
    struct slice stamp;
    struct slice appid;
    struct slice notify_url;
    struct slice attach;
    struct slice subject;
    struct slice currency;
    enum pay_method method;
    int64_t amount;
    pay_time_t expire_at;
    uint64_t payer;
    uint8_t variant;
    uint8_t digest[CONTENT_DIGEST_LEN];
};

enum books_result {
    BOOKS_DONE,
    BOOKS_AGAIN,         /* a refund: the same as before, nothing was booked */
    BOOKS_OTHER_CONTENT, /* number used before with other content */
    BOOKS_OTHER_PAYER,   /* ... with another barcode */
    BOOKS_IS_PAID,
    BOOKS_IS_PAYING,
    BOOKS_IS_CLOSED, /* or failed: the number is dead */
    BOOKS_IS_REVOKED,
    BOOKS_CODE_OLD, /* code_url outlived its 2 hours */
    BOOKS_NOT_PAID,
    BOOKS_TOO_MUCH, /* more than is left to refund */
    BOOKS_TOO_MANY, /* refunds of one order */
    BOOKS_TOO_SOON, /* after the refund before */
    BOOKS_REFUNDED, /* money went back already: no reversal */
    BOOKS_BROKEN    /* not recorded, nothing changed */
};

struct books;
/* Stores one line (without newline) for ever. 0 or -1. */
typedef int books_record(void *arg, struct slice line);

struct books *books_new(const struct bank_conf *conf, books_record *record, void *arg);
void books_free(struct books *b);
/* One recorded line. 0, or -1 with a static reason. */
int books_replay(struct books *b, struct slice line, const char **reason);

/* *out is set unless BROKEN. */
enum books_result books_prepare(struct books *b, const struct order_terms *t, pay_time_t now,
                                struct order **out);
enum books_result books_pay(struct books *b, struct order *o, pay_time_t now);
/* The payer has to type a password. */
enum books_result books_await(struct books *b, struct order *o, pay_time_t now);
/* The payer's bank refuses for good. */
enum books_result books_refuse(struct books *b, struct order *o, pay_time_t now);
enum books_result books_close(struct books *b, struct order *o, pay_time_t now);
/* IS_PAYING: not while the payer types, unless `paying_too`. */
enum books_result books_reverse(struct books *b, struct order *o, bool paying_too, pay_time_t now);
/* A payer looks at the order. 0 or -1. */
int books_scan(struct books *b, struct order *o, pay_time_t now);
/* A notification was sent; status 0 = no answer. 0 or -1. */
int books_tried(struct books *b, struct order *o, int status, bool taken, pay_time_t now);

/* State as of now: closes what expired. */
enum order_state order_settle(struct order *o, pay_time_t now);

struct order *books_find(struct books *b, const struct merchant *m, struct slice out_trade_no);
/* Where the number alone does not name an order. */
struct order *books_find_stamped(struct books *b, const struct merchant *m,
                                 struct slice out_trade_no, struct slice stamp);
/* All orders of that number over channels and merchants: start with after = NULL. */
struct order *books_next(struct books *b, struct slice out_trade_no, const struct order *after);
uint32_t books_count(const struct books *b);
struct order *books_at(struct books *b, uint32_t seq); /* NULL out of 1..count */

/* The part of code_url that names the order, NUL-terminated. */
void order_code(const struct order *o, char out[ORDER_CODE_LEN + 1]);
/* NULL when it names none. */
struct order *books_by_code(struct books *b, struct slice code);
/* Made of day and seq; empty while the order has none. */
void order_transaction_id(const struct order *o, char out[TRANSACTION_ID_MAX]);
struct order *books_by_transaction_id(struct books *b, const struct merchant *m, struct slice id);

#endif
