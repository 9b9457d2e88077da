/*
 * faults - misbehaviour on demand, three ways:
 *
 *   a rule        for each request (or notification) the first rule that fits, in the order of
 *                 their making, and whose dice fall, takes effect; its `times` counts down and at
 *                 nought it leaves the list
 *   a share       the same with `percent`: drawn from one generator with the configured seed, so
 *                 that the same requests in the same order meet the same misfortunes
 *   a scenario    a list of steps for every order number that fits a pattern: each order goes
 *                 through the steps on its own, a step takes effect at its api and is then done
 *
 * Scenarios come before rules.
 */
#ifndef PAYBANK_FAULTS_H
#define PAYBANK_FAULTS_H

#include "backends/paybank/conf.h"
#include "core/json.h"

#define BANK_API_TABLE(X)                                                                          \
    X(NONE, "?")                                                                                   \
    X(NATIVE, "native")                                                                            \
    X(JSAPI, "jsapi")                                                                              \
    X(H5, "h5")                                                                                    \
    X(APP, "app")                                                                                  \
    X(BARCODE, "barcode")                                                                          \
    X(QUERY, "query")                                                                              \
    X(CLOSE, "close")                                                                              \
    X(REVERSE, "reverse")                                                                          \
    X(REFUND, "refund")                                                                            \
    X(REFUND_QUERY, "refund_query")                                                                \
    X(BILL, "bill")                                                                                \
    X(NOTIFY, "notify")                                                                            \
    X(NOTIFY_REFUND, "notify_refund")                                                              \
    X(CERTIFICATES, "certificates")
enum bank_api {
#define X(name, text) BANK_##name,
    BANK_API_TABLE(X)
#undef X
        BANK_API_COUNT
};
const char *bank_api_name(enum bank_api api);
int bank_api_parse(struct slice name); /* -1 when unknown */

/* Where a fault can strike. */
#define AT(api)    (1u << BANK_##api)
#define AT_NOTIFY  (AT(NOTIFY) | AT(NOTIFY_REFUND))
#define AT_QUERY   (AT(QUERY) | AT(REFUND_QUERY))
#define AT_PREPARE (AT(NATIVE) | AT(JSAPI) | AT(H5) | AT(APP))
#define AT_KNOWN   (AT_QUERY | AT(CLOSE) | AT(REVERSE) | AT(REFUND))
#define AT_ANSWER  (AT_PREPARE | AT(BARCODE) | AT_KNOWN | AT(BILL) | AT(CERTIFICATES))

/* X(name, text, where) */
#define FAULT_TABLE(X)                                                                             \
    X(NONE, "none", AT_ANSWER | AT_NOTIFY)   /* behaves; in scenarios */                           \
    X(DELAY, "delay", AT_ANSWER | AT_NOTIFY) /* booked at once, answered later */                  \
    X(TIMEOUT_BEFORE, "timeout_before", AT_ANSWER)                                                 \
    X(TIMEOUT_AFTER, "timeout_after", AT_ANSWER)                                                   \
    X(RESET_BEFORE, "reset_before", AT_ANSWER)                                                     \
    X(RESET_AFTER, "reset_after", AT_ANSWER)                                                       \
    X(ERROR_500, "error_500", AT_ANSWER)          /* nothing booked */                             \
    X(ERROR_503, "error_503", AT_ANSWER)          /* nothing booked */                             \
    X(TOO_FREQUENT, "too_frequent", AT_ANSWER)    /* nothing booked */                             \
    X(NOT_FOUND, "not_found", AT_KNOWN)           /* denies the order for a while */               \
    X(CODE, "code", AT_ANSWER)                    /* answers `code`, nothing booked */             \
    X(CODE_AFTER, "code_after", AT_ANSWER)        /* answers `code`, and booked nevertheless */    \
    X(USER_PAYING, "user_paying", AT(BARCODE))    /* the payer has to type a password */           \
    X(RECALL, "recall", AT(REVERSE))              /* not done, call again */                       \
    X(REFUND_CLOSED, "refund_closed", AT(REFUND)) /* accepted, and fails later */                  \
    X(REFUND_ABNORMAL, "refund_abnormal", AT(REFUND)) /* accepted, and cannot be credited */       \
    X(GARBAGE, "garbage", AT_ANSWER)                  /* booked */                                 \
    X(UNSIGNED, "unsigned", AT_ANSWER | AT_NOTIFY)    /* booked */                                 \
    X(BAD_SIGNATURE, "bad_signature", AT_ANSWER | AT_NOTIFY) /* booked */                          \
    X(WRONG_AMOUNT, "wrong_amount", AT_QUERY | AT_NOTIFY)    /* one fen more */                    \
    X(CONTRADICTORY, "contradictory_notify", AT(NOTIFY)) /* first the contrary, then the truth */  \
    X(DUPLICATE_NOTIFY, "duplicate_notify", AT_NOTIFY)                                             \
    X(NO_NOTIFY, "no_notify", AT_NOTIFY)
enum fault_kind {
#define X(name, text, where) FAULT_##name,
    FAULT_TABLE(X)
#undef X
        FAULT_COUNT
};
const char *fault_name(enum fault_kind k);
int fault_parse(struct slice name); /* -1 when unknown */
bool fault_strikes_at(enum fault_kind kind, enum bank_api api);

#define FAULT_CODE_MAX 64

struct fault_draw {
    enum fault_kind kind;
    int64_t delay_us; /* delay; user_paying: until the payer pays by himself, 0 = never */
    int status;       /* HTTP status with code, 0 = what the protocol thinks fit */
    char code[FAULT_CODE_MAX];
};

struct faults;
struct faults *faults_new(uint64_t seed);
void faults_free(struct faults *f);
/* Switches on what the JSON object says. 0, or -1 with a static reason. */
int faults_add(struct faults *f, const struct json *doc, const char **reason);
void faults_clear(struct faults *f);
/* {"faults":[...],"scenarios":[...]}: `times` is what is left, `hits` how often it struck. */
void faults_list(const struct faults *f, struct json_writer *w);
struct fault_draw faults_draw(struct faults *f, enum bank_channel channel, enum bank_api api,
                              struct slice out_trade_no);

#endif
