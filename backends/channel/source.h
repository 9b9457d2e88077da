/*
 * source - where a value comes from ($order.amount, $account.mchid, a literal) and templates made
 * of them. Names are resolved when a file is loaded; reading one is a switch over a number.
 */
#ifndef CHANNEL_SOURCE_H
#define CHANNEL_SOURCE_H

#include "channel.h"

enum value_type { VALUE_NONE, VALUE_TEXT, VALUE_INT, VALUE_TIME };

/* NONE: nothing there. TEXT uses text, INT and TIME use num. */
struct value {
    enum value_type type;
    struct slice text;
    int64_t num;
};

/* Where a source may be used. */
#define IN_SEND   1u /* making a call: order, account, channel */
#define IN_ANSWER 2u /* reading the answer to it */
#define IN_NOTIFY 4u /* reading a notification: no order is known */
#define IN_SIGN   8u
#define IN_VERIFY 16u
#define IN_TEXT   32u /* the text that is signed, and nothing that leaves the house */

#define SOURCE_TABLE(X)                                                                            \
    X(REQUEST_NO, "order.request_no", VALUE_TEXT, IN_SEND | IN_ANSWER,                             \
      "our number of the order at the channel")                                                    \
    X(CHANNEL_TRADE_NO, "order.channel_trade_no", VALUE_TEXT, IN_SEND | IN_ANSWER,                 \
      "the channel's number, when known")                                                          \
    X(METHOD, "order.method", VALUE_TEXT, IN_SEND | IN_ANSWER, "native, barcode, ...")             \
    X(AMOUNT, "order.amount", VALUE_INT, IN_SEND | IN_ANSWER, "fen")                               \
    X(CURRENCY, "order.currency", VALUE_TEXT, IN_SEND | IN_ANSWER, "CNY")                          \
    X(DESCRIPTION, "order.description", VALUE_TEXT, IN_SEND, "what is sold")                       \
    X(ATTACH, "order.attach", VALUE_TEXT, IN_SEND | IN_ANSWER, "merchant's own text")              \
    X(PAYER_IP, "order.payer_ip", VALUE_TEXT, IN_SEND, "payer's address")                          \
    X(PAYER_ID, "order.payer_id", VALUE_TEXT, IN_SEND,                                             \
      "payer's number at the channel: openid, buyer_id")                                           \
    X(AUTH_CODE, "order.auth_code", VALUE_TEXT, IN_SEND,                                           \
      "the payer's code: masked in whatever people see")                                           \
    X(RETURN_URL, "order.return_url", VALUE_TEXT, IN_SEND,                                         \
      "where the payer's browser goes afterwards")                                                 \
    X(STORE_ID, "order.store_id", VALUE_TEXT, IN_SEND, "store")                                    \
    X(TERMINAL_ID, "order.terminal_id", VALUE_TEXT, IN_SEND, "cash desk, device")                  \
    X(CREATED_AT, "order.created_at", VALUE_TIME, IN_SEND, "time")                                 \
    X(TIME_EXPIRE, "order.time_expire", VALUE_TIME, IN_SEND, "time")                               \
    X(EXPIRES_IN, "order.expires_in", VALUE_INT, IN_SEND,                                          \
      "whole minutes from now to time_expire, at least 1")                                         \
    X(PREPAY, "order.prepay", VALUE_TEXT, IN_SEND | IN_SIGN,                                       \
      "what the prepare answered: prepay_id, trade_no, tn")                                        \
    X(REFUND_NO, "refund.no", VALUE_TEXT, IN_SEND | IN_ANSWER, "our number of the refund")         \
    X(REFUND_AMOUNT, "refund.amount", VALUE_INT, IN_SEND | IN_ANSWER, "fen")                       \
    X(REFUND_REASON, "refund.reason", VALUE_TEXT, IN_SEND, "for the payer")                        \
    X(REFUND_CREATED_AT, "refund.created_at", VALUE_TIME, IN_SEND, "time")                         \
    X(BILL_DAY, "bill.day", VALUE_TIME, IN_SEND, "noon of the day that is asked for")              \
    X(BILL_DATE, "bill.date", VALUE_TEXT, IN_SEND, "that day as 2026-09-01")                       \
    X(BILL_NUMBER, "bill.number", VALUE_TEXT, IN_SEND, "that day as 20260901")                     \
    X(BILL_TARGET, "bill.target", VALUE_TEXT, IN_SEND,                                             \
      "path and query of the download address, as the channel gave it")                            \
    X(CHANNEL_NAME, "channel.name", VALUE_TEXT, IN_SEND, "name of the pay_channel block")          \
    X(ENDPOINT, "channel.endpoint", VALUE_TEXT, IN_SEND,                                           \
      "its endpoint, for addresses that a payer opens")                                            \
    X(NOTIFY_URL, "channel.notify_url", VALUE_TEXT, IN_SEND, "notify_base/CHANNEL/ACCOUNT")        \
    X(NOW, "now", VALUE_TIME, IN_SEND, "time of the call")                                         \
    X(NONCE, "nonce", VALUE_TEXT, IN_SEND | IN_SIGN | IN_VERIFY, "fresh random text")              \
    X(HTTP_METHOD, "method", VALUE_TEXT, IN_SIGN, "GET, POST")                                     \
    X(TARGET, "target", VALUE_TEXT, IN_SIGN, "path and query as sent")                             \
    X(TIMESTAMP, "timestamp", VALUE_TEXT, IN_SIGN | IN_VERIFY, "seconds since 1970, decimal")      \
    X(BODY, "body", VALUE_TEXT, IN_SIGN | IN_VERIFY, "bytes of the body")                          \
    X(SORTED, "sorted", VALUE_TEXT, IN_TEXT,                                                       \
      "members of the message as k=v&k=v, by name, without empty ones and the signature")          \
    X(ENVELOPE, "envelope", VALUE_TEXT, IN_TEXT,                                                   \
      "bytes of the member that recv names as envelope")                                           \
    X(KEY, "key", VALUE_TEXT, IN_TEXT, "the secret itself")                                        \
    X(SERIAL, "serial", VALUE_TEXT, IN_VERIFY, "which key signed")                                 \
    X(SIGNATURE, "signature", VALUE_TEXT, IN_SIGN | IN_VERIFY, "as text")
enum source_id {
    SOURCE_LITERAL,
    SOURCE_ACCOUNT, /* index = which value */
#define X(name, text, type, scopes, help) SOURCE_##name,
    SOURCE_TABLE(X)
#undef X
        SOURCE_COUNT
};

struct source {
    uint8_t id;
    uint8_t index;
    struct slice literal;
};

/* Pieces that stand behind each other: text sources only. */
#define TEMPLATE_PARTS_MAX 32u
struct text_template {
    const struct source *parts;
    uint32_t n;
};

/* What sources read; members outside of the scope stay empty. */
struct facts {
    const struct channel *channel;
    const struct channel_account *account;
    const struct channel_order *order;
    pay_time_t now;
    struct slice nonce, method, target, timestamp, body, serial, signature;
    struct slice sorted, envelope, key; /* while a signature is made or checked */
    struct arena *arena;
};

struct compiler;

/* Names for documentation and its test; NULL past the last. $account.NAME is not among them. */
const char *source_name(size_t i);

enum value_type source_type(const struct source *s);
/* One word: "$name" or a literal. */
int source_compile(struct compiler *cp, const struct conf_node *at, struct slice word,
                   unsigned scope, struct source *out);
/* Text with $name or ${name} inside. */
int template_compile(struct compiler *cp, const struct conf_node *at, struct slice word,
                     unsigned scope, struct text_template *out);

void source_read(const struct source *s, const struct facts *f, struct value *out);
struct slice source_text(const struct source *s, const struct facts *f);
/* SLICE_NULL when the arena is full. percent: values (not literals) are percent-encoded. */
struct slice template_render(const struct text_template *t, const struct facts *f, bool percent);

/* A buf over n bytes of the arena: it never grows and needs no release. */
struct buf arena_buf(struct arena *a, size_t n);
void percent_encode(struct buf *b, struct slice s);

#endif
