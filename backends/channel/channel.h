/*
 * channel - the adapter engine: what lua-free-conf/adapters/NAME.conf says about a protocol and
 * lua-free-conf/channels/NAME.conf about an instance of it, compiled at start to flat arrays.
 * Pure: it makes the bytes of a call and understands the bytes of an answer or a notification; it
 * sends nothing and reads no clock. No file here knows a channel by name; what protocols need
 * beyond configuration is the closed list of encoders, signers and filters (docs/channels.md).
 *
 * Two layers (R2.14): the call (HTTP status, signature, parse, return code) and the trade. Only a
 * verified, whole answer gets a class other than `unknown`, unless the adapter says that unsigned
 * answers of that status may be believed.
 */
#ifndef CHANNEL_CHANNEL_H
#define CHANNEL_CHANNEL_H

#include "backends/io/http.h"
#include "core/arena.h"
#include "core/clock.h"
#include "core/conf.h"
#include "core/terms.h"

struct channel_set;     /* all channels of a process, immutable after loading */
struct channel;         /* one pay_channel block with its compiled adapter */
struct channel_account; /* credentials at a channel, with parsed keys */

/* Reads every channels file (glob) and the adapters they name from adapter_dir. 0, or -1 with
 * "FILE:LINE: reason". */
int channel_set_load(const char *channels_glob, const char *adapter_dir, struct channel_set **out,
                     struct conf_error *err);
void channel_set_free(struct channel_set *set);
size_t channel_count(const struct channel_set *set);
const struct channel *channel_at(const struct channel_set *set, size_t i);
const struct channel *channel_find(const struct channel_set *set, struct slice name);

struct channel_facts {
    struct slice name;
    struct slice adapter;
    uint32_t version;         /* of the adapter file: hash of its bytes, kept with the attempt */
    struct slice notify_base; /* "https://pay.example/notify" as the channel reaches us */
    int64_t first_query_us;   /* after sending a prepare, when nothing else is known (120 s) */
    int64_t settle_us;        /* after send_before: how long "not found" proves nothing */
    bool prepare_resend;      /* adapter: resend=same_number */
    struct slice account;     /* first account the block names, empty when it names none */
};
const struct channel_facts *channel_facts(const struct channel *c);
bool channel_has(const struct channel *c, enum call_kind kind, enum payment_method method);

/* An account: config is a JSON object of plain values ($account.NAME in the adapter), secrets a
 * JSON object of secret values (keys as PEM or text). Checks that all names the adapter wants are
 * there; parses keys once. 0, or -1 with the reason. */
int channel_account_new(const struct channel *c, struct slice account, struct slice config_json,
                        struct slice secrets_json, struct channel_account **out,
                        struct conf_error *err);
void channel_account_free(struct channel_account *a);
struct slice channel_account_name(const struct channel_account *a);

/* What a call is about; unused members empty. */
struct channel_order {
    struct slice request_no;       /* out_trade_no at the channel */
    struct slice channel_trade_no; /* when known */
    enum payment_method method;
    int64_t amount;
    struct slice currency;
    struct slice description;
    struct slice attach;
    struct slice payer_ip;
    pay_time_t created_at;
    pay_time_t time_expire;
};

struct channel_request {
    struct slice method;
    struct slice target; /* path + query, as signed */
    struct http_header headers[16];
    size_t nheaders;
    struct slice body;
    struct slice egress_kind; /* Pay-Kind: "pay", "query", "close" */
};

/* nonce: 32 characters of [0-9A-Za-z], made by the caller (this is pure). 0, or -1 with a static
 * reason (field too long, missing value). */
int channel_encode(const struct channel *c, const struct channel_account *a, enum call_kind kind,
                   const struct channel_order *order, pay_time_t now, struct slice nonce,
                   struct arena *arena, struct channel_request *out, const char **reason);

/* What a channel said, in our words. Members are set as far as the answer has them. */
struct channel_result {
    enum answer_class cls;
    bool verified;     /* signature checked and good */
    struct slice code; /* the channel's code or state that decided, for people */
    struct slice message;
    struct slice request_no;
    struct slice channel_trade_no;
    int64_t amount; /* -1 when absent */
    struct slice currency;
    pay_time_t paid_at;
    struct slice code_url;
};

/* Total: whatever comes in gives a result, at worst CLASS_UNKNOWN with a code that says why
 * ("HTTP 502", "signature", "parse"). */
void channel_decode(const struct channel *c, const struct channel_account *a, enum call_kind kind,
                    const struct channel_order *order, int status,
                    const struct http_header *headers, size_t nheaders, struct slice body,
                    pay_time_t now, struct arena *arena, struct channel_result *out);

/* A notification, verified, decrypted and mapped. 0: genuine, *out is set (identity - merchant id,
 * app id - was checked against the account; amount, currency and order are the caller's to check).
 * -1: not genuine or not understood: *reason; nothing in *out may be believed. */
int channel_notification(const struct channel *c, const struct channel_account *a,
                         const struct http_header *headers, size_t nheaders, struct slice body,
                         pay_time_t now, struct arena *arena, struct channel_result *out,
                         const char **reason);

/* How the channel wants to hear that we took it (ok) or did not: status, content type, body. */
struct channel_ack {
    int status;
    struct slice content_type;
    struct slice body;
};
void channel_ack(const struct channel *c, bool ok, struct channel_ack *out);

#endif
