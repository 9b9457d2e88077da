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
    X(CREATED_AT, "order.created_at", VALUE_TIME, IN_SEND, "time")                                 \
    X(TIME_EXPIRE, "order.time_expire", VALUE_TIME, IN_SEND, "time")                               \
    X(CHANNEL_NAME, "channel.name", VALUE_TEXT, IN_SEND, "name of the pay_channel block")          \
    X(NOTIFY_URL, "channel.notify_url", VALUE_TEXT, IN_SEND, "notify_base/CHANNEL/ACCOUNT")        \
    X(NOW, "now", VALUE_TIME, IN_SEND, "time of the call")                                         \
    X(NONCE, "nonce", VALUE_TEXT, IN_SEND | IN_SIGN | IN_VERIFY, "fresh random text")              \
    X(HTTP_METHOD, "method", VALUE_TEXT, IN_SIGN, "GET, POST")                                     \
    X(TARGET, "target", VALUE_TEXT, IN_SIGN, "path and query as sent")                             \
    X(TIMESTAMP, "timestamp", VALUE_TEXT, IN_SIGN | IN_VERIFY, "seconds since 1970, decimal")      \
    X(BODY, "body", VALUE_TEXT, IN_SIGN | IN_VERIFY, "bytes of the body")                          \
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
