/*
 * faults - misbehaviour on demand. A list of rules; for each request (or notification) the first
 * rule that fits, in the order of their making, and whose dice fall, takes effect; its `times`
 * counts down and at nought it leaves the list.
 */
#ifndef PAYBANK_FAULTS_H
#define PAYBANK_FAULTS_H

#include "conf.h"
#include "core/json.h"

/* Where a fault can strike. */
#define STRIKE_ANSWER 1u /* native, query, close */
#define STRIKE_NOTIFY 2u

/* X(name, text, strikes) */
#define FAULT_TABLE(X)                                                                             \
    X(NONE, "none", 0)                                                                             \
    X(DELAY, "delay", STRIKE_ANSWER | STRIKE_NOTIFY) /* booked at once, answered later */          \
    X(TIMEOUT_BEFORE, "timeout_before", STRIKE_ANSWER)                                             \
    X(TIMEOUT_AFTER, "timeout_after", STRIKE_ANSWER)                                               \
    X(RESET_BEFORE, "reset_before", STRIKE_ANSWER)                                                 \
    X(RESET_AFTER, "reset_after", STRIKE_ANSWER)                                                   \
    X(ERROR_500, "error_500", STRIKE_ANSWER)       /* nothing booked */                            \
    X(ERROR_503, "error_503", STRIKE_ANSWER)       /* nothing booked */                            \
    X(TOO_FREQUENT, "too_frequent", STRIKE_ANSWER) /* 429, nothing booked */                       \
    X(NOT_FOUND, "not_found", STRIKE_ANSWER) /* query, close: denies the order for a while */      \
    X(GARBAGE, "garbage", STRIKE_ANSWER)     /* booked */                                          \
    X(BAD_SIGNATURE, "bad_signature", STRIKE_ANSWER | STRIKE_NOTIFY) /* booked */                  \
    X(WRONG_AMOUNT, "wrong_amount", STRIKE_NOTIFY)                                                 \
    X(DUPLICATE_NOTIFY, "duplicate_notify", STRIKE_NOTIFY)                                         \
    X(NO_NOTIFY, "no_notify", STRIKE_NOTIFY)
enum fault_kind {
#define X(name, text, strikes) FAULT_##name,
    FAULT_TABLE(X)
#undef X
        FAULT_COUNT
};
const char *fault_name(enum fault_kind k);

#define BANK_API_TABLE(X)                                                                          \
    X(NONE, "?")                                                                                   \
    X(NATIVE, "native")                                                                            \
    X(QUERY, "query")                                                                              \
    X(CLOSE, "close")                                                                              \
    X(NOTIFY, "notify")
enum bank_api {
#define X(name, text) BANK_##name,
    BANK_API_TABLE(X)
#undef X
        BANK_API_COUNT
};
const char *bank_api_name(enum bank_api api);

struct fault_draw {
    enum fault_kind kind;
    int64_t delay_us;
};

struct faults;
struct faults *faults_new(uint64_t seed);
void faults_free(struct faults *f);
/* Switches on what the JSON object says. 0, or -1 with a static reason. */
int faults_add(struct faults *f, const struct json *doc, const char **reason);
void faults_clear(struct faults *f);
/* {"faults":[...]}: `times` is what is left, `hits` how often it struck. */
void faults_list(const struct faults *f, struct json_writer *w);
struct fault_draw faults_draw(struct faults *f, enum bank_channel channel, enum bank_api api,
                              struct slice out_trade_no);

#endif
