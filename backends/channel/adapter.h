/*
 * adapter - the compiled form of one lua-free-conf/adapters/NAME.conf: flat arrays of numbers and
 * slices that encode, decode and notify walk without looking a name up. Built once by adapter_load,
 * immutable afterwards, everything in the arena of the channel set.
 */
#ifndef CHANNEL_ADAPTER_H
#define CHANNEL_ADAPTER_H

#include "core/arena.h"
#include "core/conf.h"
#include "core/terms.h"
#include "body.h"
#include "filter.h"
#include "signer.h"
#include "source.h"

#define ADAPTER_VALUES_MAX  32u
#define ADAPTER_SECRETS_MAX 16u
#define ADAPTER_HEADERS_MAX 8u
#define ADAPTER_APIS_MAX    32u
#define ADAPTER_NOTES_MAX   4u
#define ADAPTER_HOSTS_MAX   8u
#define ADAPTER_BODY_MAX    (256u * 1024u)        /* of answers and notifications */
#define ADAPTER_BILL_MAX    (64u * 1024u * 1024u) /* of answers that hold a bill */

/* What an account has to bring: plain values and secrets. */
struct adapter_value {
    const char *name;
    bool optional;
};

enum secret_type {
    SECRET_RSA_PRIVATE,
    SECRET_RSA_PUBLIC,
    SECRET_HMAC_SHA256,
    SECRET_AES256,
    SECRET_X509_ROOTS,
    SECRET_X509, /* a certificate of ours: kept for its end, signs nothing */
    SECRET_TYPE_COUNT
};

struct adapter_secret {
    const char *name;
    enum secret_type type;
    int serial; /* index of the value that names this key, -1 = none */
    bool optional;
};

/* A source and what is done to it. */
struct adapter_expr {
    struct source source;
    struct filter_list filters;
    bool optional; /* nothing there: leave out */
};

/* One member of a body. Objects are opened and closed around it. */
struct adapter_field {
    struct adapter_expr expr;
    struct slice key;
    const struct slice *open; /* names of the objects that begin before it */
    uint32_t nopen;
    uint32_t nclose;      /* objects that end before it */
    enum value_type type; /* as it is written */
    const char *missing;  /* reasons, ready made: nothing is formatted while encoding */
    const char *refused;
};

/* A member of a flat body (form, XML): one value, or a JSON text of the fields in it. */
struct adapter_member {
    struct slice key;
    uint32_t first, n; /* its fields */
    bool object;
};

/* What a request, or a text for the payer, consists of. */
struct adapter_message {
    enum encoding encoding;
    const struct adapter_field *fields;
    uint32_t nfields;
    uint32_t nclose;     /* objects that end behind the last field */
    uint32_t fixed_size; /* bytes without the values */
    const struct adapter_member *members;
    const uint32_t *sorted; /* members by name */
    uint32_t nmembers;
};

/* A member that must equal something, or must not be there. */
struct adapter_check {
    const char *path;
    bool absent;
    struct adapter_expr want;
};

/* Members of a struct channel_result that `take` can fill. */
#define MEMBER_TABLE(X)                                                                            \
    X(REQUEST_NO, "request_no", VALUE_TEXT, 64, "our number of the order")                         \
    X(CHANNEL_TRADE_NO, "channel_trade_no", VALUE_TEXT, 64, "the channel's number")                \
    X(AMOUNT, "amount", VALUE_INT, 0, "amount in fen, not negative")                               \
    X(CURRENCY, "currency", VALUE_TEXT, 3, "three upper-case letters")                             \
    X(PAID_AT, "paid_at", VALUE_TIME, 0, "when the payer paid")                                    \
    X(CODE_URL, "code_url", VALUE_TEXT, 1024, "what the payer's QR code says")                     \
    X(H5_URL, "h5_url", VALUE_TEXT, 2048, "address for the payer's browser")                       \
    X(PREPAY, "prepay", VALUE_TEXT, 128, "what `present` needs: prepay_id, trade_no, tn")          \
    X(PAYER_ID, "payer_id", VALUE_TEXT, 128, "who paid")                                           \
    X(REFUND_NO, "refund_no", VALUE_TEXT, 64, "our number of the refund")                          \
    X(CHANNEL_REFUND_NO, "channel_refund_no", VALUE_TEXT, 64, "the channel's number of it")        \
    X(REFUND_AMOUNT, "refund_amount", VALUE_INT, 0, "refunded by it, in fen")                      \
    X(BILL_URL, "bill_url", VALUE_TEXT, 2048, "where the bill lies")                               \
    X(BILL_SHA1, "bill_sha1", VALUE_TEXT, 40, "of the unpacked bill, hex")                         \
    X(BILL, "bill", VALUE_TEXT, ADAPTER_BILL_MAX, "the bill itself")                               \
    X(MESSAGE, "message", VALUE_TEXT, 1024, "text for people")
enum result_member {
#define X(name, text, type, max, help) MEMBER_##name,
    MEMBER_TABLE(X)
#undef X
        MEMBER_COUNT
};

enum take_need { NEED_ALWAYS, NEED_NEVER, NEED_ON_SUCCESS };

struct adapter_take {
    enum result_member member;
    const char *path;
    struct filter_list filters;
    enum value_type type; /* as it stands in the answer */
    enum take_need need;
};

/* A result member that every answer has, whatever it says: `set currency CNY`. */
struct adapter_set {
    enum result_member member;
    struct slice text;
};

/* One row of a table of words. `status` 0 = any 4xx (tables of codes only). */
struct adapter_row {
    struct slice word;
    enum answer_class cls;
    int status;
    /* tables of states: the row counts only if ... */
    const char *given, *lacking; /* ... this member is there, is not there */
    uint32_t methods;            /* ... the order is of one of these methods; 0 = any */
    const struct conf_node *at;
};

struct adapter_rows {
    const struct adapter_row *v;
    uint32_t n;
};

/* The trade layer of an answer, or of a notification. */
struct adapter_trade {
    const struct adapter_check *checks;
    uint32_t nchecks;
    const struct adapter_take *takes;
    uint32_t ntakes;
    const struct adapter_set *sets;
    uint32_t nsets;
    const char *state; /* path, NULL: always `cls` */
    struct adapter_rows map;
    enum answer_class cls;
    int amount; /* the member that success must have: AMOUNT, REFUND_AMOUNT, or -1 */
};

/* The call layer: which answers are whole, and what the others say. */
#define CALL_STATUS_MAX 4u
struct adapter_call {
    int status[CALL_STATUS_MAX];
    uint32_t nstatus;
    bool no_body;
    bool file;              /* a whole answer is a file, not a message; nobody signs it ... */
    struct slice file_lead; /* ... unless it begins so: then it is a message */
    const struct adapter_check *checks;
    uint32_t nchecks;
};

/* Where an answer that is not whole keeps its code. */
#define CODE_PATHS_MAX 3u
struct adapter_errors {
    const char *code[CODE_PATHS_MAX]; /* the first that a row lists counts */
    uint32_t ncode;
    const char *message;
    const char *envelope; /* member that holds such an answer, NULL: the body itself */
    char ignore;          /* left out when codes are compared, 0 = none */
    int status;           /* of rows that name none, 0 = any 4xx */
    struct adapter_rows codes;
    struct adapter_rows statuses; /* `word` empty */
};

/* What is made for the payer behind a prepare. */
enum present_form { PRESENT_TEXT, PRESENT_POST };
struct adapter_present {
    bool present;
    bool h5_url; /* else pay_params */
    enum present_form form;
    struct text_template prefix; /* of the text; the address of a POST */
    struct adapter_message message;
    bool has_sign;
    struct signer sign;
};

struct adapter_api {
    const char *name;
    enum call_kind kind;
    uint32_t methods; /* bit per payment_method; 0 = any */
    bool idempotent;
    bool resend; /* resend=same_number */
    bool local;
    bool tls_certificate; /* the channel asks for ours */
    bool is_unsigned;     /* sign off: the request carries no signature */
    int64_t sla_us, earliest_us, window_us;
    bool same_day;
    struct slice verb;
    struct slice host; /* empty: the endpoint's */
    struct text_template target;
    bool has_body;
    struct adapter_message message;
    const char *envelope; /* member of the answer that is signed and read, NULL: the body */
    struct adapter_call call;
    struct adapter_trade trade;
    struct adapter_rows codes; /* own rows, then the common ones that they do not replace */
    struct adapter_rows statuses;
    uint32_t unsigned_believe; /* bit per answer_class */
    struct adapter_present present;
};

struct adapter_header {
    struct slice name;
    struct text_template value;
};

struct adapter_ack {
    int status;
    struct slice content_type;
    struct slice body;
};

enum decrypt_how { DECRYPT_NONE, DECRYPT_AES_256_GCM, DECRYPT_AES_256_ECB };

struct adapter_notification {
    enum call_kind about;               /* QUERY, REFUND_QUERY, REVERSE */
    const struct adapter_check *checks; /* of the envelope */
    uint32_t nchecks;
    const char *event;         /* path, NULL: this block takes what comes here */
    const struct slice *words; /* values of event; none: it must be there */
    uint32_t nwords;
    bool unsigned_hint; /* nobody signs it: it may wake us, no more */
    bool has_verify;
    struct signer verify; /* instead of the file's */
    enum decrypt_how decrypt;
    bool md5_key; /* the key is the lower-case hex of the secret's MD5 */
    enum encoding inner;
    uint32_t key; /* secret */
    const char *ciphertext, *nonce, *aad;
    struct adapter_trade trade;
    struct adapter_ack ok, fail;
};

struct adapter_bill; /* bill.h */

/* Where the channel publishes the certificates it signs with. */
struct adapter_certificates {
    struct slice target;
    const char *list, *serial;          /* the array; in each member */
    struct adapter_notification sealed; /* decrypt, key, ciphertext, nonce, aad of a member */
};

struct adapter {
    struct slice name;
    uint32_t version;
    struct adapter_value values[ADAPTER_VALUES_MAX];
    uint32_t nvalues;
    struct adapter_secret secrets[ADAPTER_SECRETS_MAX];
    uint32_t nsecrets;
    struct adapter_header headers[ADAPTER_HEADERS_MAX];
    uint32_t nheaders;
    enum encoding encode, decode, notify; /* of requests, answers, notifications */
    struct signer sign;
    struct signer verify;
    struct adapter_errors errors;
    const struct adapter_api *apis;
    uint32_t napis;
    /* index + 1 into apis, 0 = none */
    uint8_t api_of[CALL_KIND_COUNT][PAYMENT_METHOD_COUNT];
    const struct adapter_notification *notifications; /* the first that fits counts */
    uint32_t nnotifications;
    struct slice hosts[ADAPTER_HOSTS_MAX]; /* where bills may lie */
    uint32_t nhosts;
    const struct adapter_bill *bill;                 /* NULL: none */
    const struct adapter_certificates *certificates; /* NULL: none */
    bool uses_notify_url, uses_endpoint;
};

/* While a file is compiled. */
struct compiler {
    struct arena *arena;
    struct adapter *adapter;
    struct conf_error *err;
    const struct conf_node *common; /* members of every request, NULL: none */
    /* NULL: the first mistake ends it. Else each is told, and what stands behind it is read too. */
    void (*found)(void *arg, const struct conf_error *err);
    void *arg;
    uint32_t mistakes;
};

/* Reads and compiles dir/NAME.conf; `at` is the directive that names it (errors without a line of
 * the adapter's own are reported there). Everything goes into the arena. 0 or -1. */
int adapter_load(struct arena *arena, const char *dir, struct slice name,
                 const struct conf_node *at, struct adapter **out, struct conf_error *err);

/* All mistakes of the file `path`, one call of `found` each; how many. text: what it holds; NULL:
 * it is read. */
uint32_t adapter_check(const char *path, const struct slice *text,
                       void (*found)(void *arg, const struct conf_error *err), void *arg);

/* NULL when the adapter has none. */
const struct adapter_api *adapter_find_api(const struct adapter *ad, enum call_kind kind,
                                           enum payment_method method);

/* Secret by name: index or -1. */
int adapter_secret_index(const struct adapter *ad, struct slice name);

/* The directive tables of adapter files, for documentation and its test. NULL past the last. */
struct directive_context {
    const char *name; /* "api", "api/recv/call", "" = the file */
    const struct conf_directive *table;
};
const struct directive_context *adapter_contexts(size_t i);

/* NUL-terminated copy; for words that were checked to have no NUL. */
const char *adapter_cstr(struct compiler *cp, struct slice s);
int adapter_no_memory(struct compiler *cp);

#endif
