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
/* All mistakes of one file, of adapters or of channels (then their adapters are looked for in
 * adapter_dir): one call of `found` each, "FILE:LINE:COLUMN: reason". How many. */
uint32_t channel_check(const char *path, const char *adapter_dir,
                       void (*found)(void *arg, const struct conf_error *err), void *arg);
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
    struct slice tls_certificate; /* file of the one that nginx shows it; empty: none */
    uint32_t wallets;             /* bits by payer_app: whose codes it takes, 0 = not said */
};
const struct channel_facts *channel_facts(const struct channel *c);
bool channel_has(const struct channel *c, enum call_kind kind, enum payment_method method);

/* What the adapter declares about one API (R2.15, R2.18). */
struct channel_api {
    const char *name;
    bool idempotent;     /* the same call again has no second effect */
    bool resend;         /* ... and a further attempt may go out with the same number */
    bool local;          /* nothing is sent: channel_present makes all that the payer needs */
    int64_t sla_us;      /* within which an answer is on time (5 s) */
    int64_t earliest_us; /* after the charge: not called before (reverse) */
    int64_t window_us;   /* after the payment: not called later; 0 = no limit */
    bool same_day;       /* the window ends with the payment's day in China */
};
/* false: the adapter has no such API. */
bool channel_api(const struct channel *c, enum call_kind kind, enum payment_method method,
                 struct channel_api *out);
/* Is now inside the window of that API for a payment of paid_at? Unknown APIs: no. */
bool channel_in_window(const struct channel *c, enum call_kind kind, enum payment_method method,
                       pay_time_t paid_at, pay_time_t now);

/* An account: config is a JSON object of plain values ($account.NAME in the adapter), secrets a
 * JSON object of secret values (keys as PEM or text). Checks that all names the adapter wants are
 * there; parses keys once. 0, or -1 with the reason. */
int channel_account_new(const struct channel *c, struct slice account, struct slice config_json,
                        struct slice secrets_json, struct channel_account **out,
                        struct conf_error *err);
/* An account with made-up values and keys, to look at what an adapter would send. Nothing is
 * verified with it: every answer counts as well signed. For people who write adapters, never for
 * payments. */
int channel_account_invent(const struct channel *c, struct channel_account **out,
                           struct conf_error *err);
void channel_account_free(struct channel_account *a);
struct slice channel_account_name(const struct channel_account *a);
struct slice channel_account_channel(const struct channel_account *a);
/* What the i-th value and secret of the adapter are in the account; false past the last. A secret
 * tells everything but itself. */
struct channel_secret {
    struct slice name;
    const char *type;
    bool present, optional;
    struct slice serial;    /* empty when it has none */
    pay_time_t from, until; /* of the certificates in it; until 0: there are none */
};
bool channel_account_value(const struct channel_account *a, size_t i, struct slice *name,
                           struct slice *value);
bool channel_account_secret(const struct channel_account *a, size_t i, struct channel_secret *out);

/*
 * Certificates that the channel signs with and publishes itself. An account refreshes when its
 * adapter has such a list and it does not rely on a bare public key; then they are asked for before
 * they end, kept by the caller, and told to the account after each channel_account_new.
 */
#define CHANNEL_CERTIFICATES_MAX 8u
struct channel_certificate {
    struct slice serial, pem;
    pay_time_t from, until;
};
bool channel_account_refreshes(const struct channel_account *a);
/* Certificates in PEM behind each other; what is none is left out. How many it has now. */
uint32_t channel_account_trust(struct channel_account *a, struct slice pems);
bool channel_account_trusted(const struct channel_account *a, size_t i, struct slice *serial,
                             pay_time_t *from, pay_time_t *until);
/* When the last certificate that is good now ends; 0: none is, no answer can be verified. */
pay_time_t channel_account_trusts_until(const struct channel_account *a, pay_time_t now);

/* Where a bill lies, from the address that the channel answered. */
struct channel_address {
    struct slice host;   /* one of the adapter's `download` hosts */
    struct slice target; /* path and query */
};
/* 0, or -1 with *reason: not https, or a host that the adapter does not name. */
int channel_address(const struct channel *c, struct slice url, struct channel_address *out,
                    const char **reason);

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
    struct slice payer_id;
    struct slice auth_code; /* barcode: never stored, never logged */
    struct slice return_url;
    struct slice store_id, terminal_id;
    struct slice prepay;   /* of the prepare's answer, for channel_present */
    pay_time_t created_at; /* UnionPay names an order by it: the same value in all its calls */
    pay_time_t time_expire;
    struct slice refund_no;
    int64_t refund_amount;
    struct slice refund_reason;
    pay_time_t refund_created_at;
    pay_time_t bill_day; /* any time of that day in China */
    struct channel_address download;
};

struct channel_request {
    struct slice host; /* empty: the channel's endpoint; else bills lie on another machine */
    struct slice method;
    struct slice target; /* path + query, as signed */
    struct http_header headers[16];
    size_t nheaders;
    struct slice body;
    struct slice egress_kind; /* Pay-Kind: "pay", "query", "close", "reverse", "refund", "other" */
};

/* nonce: 32 characters of [0-9A-Za-z], made by the caller (this is pure). 0, or -1 with a static
 * reason (field too long, missing value). */
int channel_encode(const struct channel *c, const struct channel_account *a, enum call_kind kind,
                   const struct channel_order *order, pay_time_t now, struct slice nonce,
                   struct arena *arena, struct channel_request *out, const char **reason);

/* The call for the channel's certificates, and what it answered: verified with the keys of the
 * account or with those that came, since they were sealed for the account. 0, or -1 with a static
 * reason; slices live in the arena. */
int channel_certificates_encode(const struct channel *c, const struct channel_account *a,
                                pay_time_t now, struct slice nonce, struct arena *arena,
                                struct channel_request *out, const char **reason);
int channel_certificates_decode(const struct channel *c, const struct channel_account *a,
                                int status, const struct http_header *headers, size_t nheaders,
                                struct slice body, pay_time_t now, struct arena *arena,
                                struct channel_certificate out[CHANNEL_CERTIFICATES_MAX],
                                uint32_t *n, const char **reason);

/* What the payer's browser or app is given to pay an order that was prepared: each member as far as
 * the channel has it. Made afresh whenever it is asked for, since it carries a time. */
struct channel_present {
    struct slice h5_url;
    struct slice
        pay_params; /* for the payer's app or page: a JSON object, or an app's order text */
};
/* 0, also when the API needs nothing; -1 with *reason. */
int channel_present(const struct channel *c, const struct channel_account *a,
                    const struct channel_order *order, pay_time_t now, struct slice nonce,
                    struct arena *arena, struct channel_present *out, const char **reason);

/* What a channel said, in our words. Members are set as far as the answer has them. */
struct channel_result {
    enum answer_class cls;
    enum call_kind about; /* notifications: it reads like the answer to this call (query,
                             refund_query, reverse) */
    bool verified;        /* signature checked and good */
    struct slice code;    /* the channel's code or state that decided, for people */
    struct slice message;
    struct slice request_no;
    struct slice channel_trade_no;
    int64_t amount; /* -1 when absent */
    struct slice currency;
    pay_time_t paid_at;
    struct slice code_url;
    struct slice h5_url;
    struct slice prepay;   /* for channel_present */
    struct slice payer_id; /* who paid, in the channel's words */
    struct slice refund_no, channel_refund_no;
    int64_t refund_amount;  /* -1 when absent */
    struct slice bill_url;  /* where the bill lies */
    struct slice bill_sha1; /* hex, of the unpacked bill */
    struct slice bill;      /* the bill itself */
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

/* One row of a channel's bill, in our words; slices live only during the callback. */
enum bill_kind { BILL_PAYMENT, BILL_REFUND, BILL_REVERSAL, BILL_OTHER };
struct channel_bill_line {
    enum bill_kind kind; /* OTHER: no row of the adapter fits; state is its first cell */
    uint32_t number;     /* of the line in the file, from 1 */
    struct slice request_no, channel_trade_no;
    struct slice refund_no, channel_refund_no;
    int64_t amount; /* fen, not negative: the kind says which way it went */
    int64_t fee;    /* thousandths of a fen; negative: given back */
    pay_time_t at;
    struct slice state;
};
struct channel_bill_sum {
    int64_t rows;
    int64_t paid, returned; /* fen of payments; of refunds and reversals */
};
/* -1 ends the reading. */
typedef int channel_bill_row(void *arg, const struct channel_bill_line *row);
/* Reads a bill as it came (channel_result.bill, or a downloaded file), whatever its size in little
 * memory. sha1: hex of the unpacked file, empty when nobody told. 0, or -1 with the line and why:
 * damaged, cut, a cell that is malformed, sums that are not those of its rows. Rows were told by
 * then, so nothing is booked before 0. */
int channel_bill_read(const struct channel *c, struct slice file, struct slice sha1,
                      channel_bill_row *on_row, void *arg, struct channel_bill_sum *sum,
                      struct conf_error *err);
const char *channel_bill_kind_name(enum bill_kind k);
/* Days are "2026-09-01", in China. The newest whose bill should be there; false: the channel has no
 * bills. */
#define CHANNEL_DAY_LEN 10
bool channel_bill_newest(const struct channel *c, pay_time_t now, char day[CHANNEL_DAY_LEN + 1]);
/* From when on the bill of that day should be there; 0: no such day. */
pay_time_t channel_bill_ready(const struct channel *c, struct slice day);
/* Its first moment. 0 or -1. */
int channel_day_parse(struct slice day, pay_time_t *start);

/* "payment", "refund", "reversal": what a notification speaks of. */
const char *channel_about_name(enum call_kind about);

/* How the channel wants to hear that we took it (ok) or did not: status, content type, body. */
struct channel_ack {
    int status;
    struct slice content_type;
    struct slice body;
};
void channel_ack(const struct channel *c, bool ok, struct channel_ack *out);

#endif
