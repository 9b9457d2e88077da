/*
 * problem - the closed list of refusals a merchant can meet, and their RFC 9457 form. One table for
 * edge and workers; docs/api.md and openapi.yaml are compared with it.
 */
#ifndef CORE_PROBLEM_H
#define CORE_PROBLEM_H

#include "buf.h"

/* X(code, HTTP status, title). The code is what programs act on. */
#define PROBLEM_TABLE(X)                                                                           \
    X(AUTHORIZATION_INVALID, 401, "Signature missing or malformed")                                \
    X(SIGN_ERROR, 401, "Signature does not verify")                                                \
    X(KEY_UNKNOWN, 401, "Key serial number unknown")                                               \
    X(KEY_DISABLED, 401, "Key, app or merchant disabled or key outside its validity")              \
    X(TIMESTAMP_STALE, 401, "Timestamp outside the window")                                        \
    X(IDENTITY_MISMATCH, 401, "Identity in the request differs from the key's")                    \
    X(ADDRESS_NOT_ALLOWED, 403, "Address not on the app's list")                                   \
    X(NONCE_REPLAYED, 409, "Nonce used before")                                                    \
    X(RATE_LIMITED, 429, "Rate limit exceeded")                                                    \
    X(REQUEST_INVALID, 400, "Not a valid request")                                                 \
    X(TARGET_INVALID, 400, "Request target is not in normal form")                                 \
    X(JSON_INVALID, 400, "Body is not valid JSON")                                                 \
    X(FIELD_UNKNOWN, 400, "Unknown field")                                                         \
    X(FIELD_MISSING, 400, "Required field missing")                                                \
    X(FIELD_TYPE, 400, "Field has the wrong type")                                                 \
    X(FIELD_INVALID, 400, "Field value not allowed")                                               \
    X(AMOUNT_OUT_OF_RANGE, 422, "Amount outside of what is allowed")                               \
    X(NO_CHANNEL, 422, "No channel serves this payment")                                           \
    X(CHANNEL_BUSY, 503, "All channels for this payment are busy")                                 \
    X(CHANNEL_OUT, 503, "Channels for this payment are out of order")                              \
    X(RETRY_SAME_NUMBER, 503, "Not processed; repeat with the same out_trade_no")                  \
    X(RESULT_UNKNOWN, 504, "Result unknown; query by out_trade_no")                                \
    X(OVERLOADED, 503, "Too many requests in progress")                                            \
    X(BODY_TOO_LARGE, 413, "Body too large")                                                       \
    X(PATH_UNKNOWN, 404, "No such path")                                                           \
    X(METHOD_NOT_ALLOWED, 405, "Method not allowed on this path")                                  \
    X(ORDER_NOT_FOUND, 404, "No such order")                                                       \
    X(OUT_TRADE_NO_CONFLICT, 409, "out_trade_no used before with other content")                   \
    X(STATE_CONFLICT, 409, "Order state does not allow this")                                      \
    X(PAYMENT_NOT_PAID, 422, "Payment is not paid")                                                \
    X(REFUND_EXCEEDS_PAID, 422, "Refunds would exceed what was paid")                              \
    X(REFUND_TOO_LATE, 422, "Too late for a refund over this channel")                             \
    X(REFUND_UNSUPPORTED, 422, "The channel cannot refund this payment")                           \
    X(REFUND_NOT_FOUND, 404, "No such refund")                                                     \
    X(OUT_REFUND_NO_CONFLICT, 409, "out_refund_no used before with other content")                 \
    X(INTERNAL, 500, "Internal error; query by out_trade_no")

enum problem_code {
    PROBLEM_NONE,
#define X(code, status, title) PROBLEM_##code,
    PROBLEM_TABLE(X)
#undef X
        PROBLEM_COUNT
};

struct problem {
    enum problem_code code;
    struct slice detail;  /* a sentence for a person, optional */
    struct slice pointer; /* RFC 6901 pointer of the field concerned ("/amount/total"), optional */
    int status;           /* 0 = the code's; nginx's own refusals keep theirs (414, 431, ...) */
};

int problem_status(enum problem_code code);
const char *problem_name(enum problem_code code); /* "SIGN_ERROR" */
const char *problem_title(enum problem_code code);
/* {"type":"about:blank","title":..,"status":..,"code":..,"detail":..,"errors":[{"pointer":..,
 * "detail":..}],"trace_id":..} ; errors only when a pointer is set. */
void problem_write(struct buf *b, const struct problem *p, struct slice trace_id);
#define PROBLEM_CONTENT_TYPE "application/problem+json"

#endif
