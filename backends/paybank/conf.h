/*
 * conf - what paybank's configuration file says, checked and with parsed keys.
 *
 * Immutable after bank_conf_load; lives until bank_conf_release. Relative file names count from the
 * folder of the configuration file.
 */
#ifndef PAYBANK_CONF_H
#define PAYBANK_CONF_H

#include "core/conf.h"
#include "core/crypto.h"

#define NOTIFY_RETRY_MAX 16
#define APPIDS_MAX       16
#define MCHID_MAX        32

/* X(name, text, block of the configuration) */
#define BANK_CHANNEL_TABLE(X)                                                                      \
    X(WECHAT_V2, "wechat_v2", "wechat_v2")                                                         \
    X(WECHAT_V3, "wechat_v3", "wechat")                                                            \
    X(ALIPAY, "alipay", "alipay")                                                                  \
    X(UNIONPAY, "unionpay", "unionpay")                                                            \
    X(BANK_JSON, "bank_json", "bank_json")
enum bank_channel {
#define X(name, text, block) CHANNEL_##name,
    BANK_CHANNEL_TABLE(X)
#undef X
        CHANNEL_COUNT
};

const char *bank_channel_name(enum bank_channel c);
/* -1 when unknown. */
int bank_channel_parse(struct slice s);

#define PLATFORM_CERTS_MAX 4

struct merchant {
    enum bank_channel channel;
    struct slice id; /* mchid, mch_id, app_id, merId */
    bool disabled;   /* may not take payments */
    /* both WeChats */
    struct slice appids[APPIDS_MAX];
    uint32_t nappids;
    /* wechat_v2 and bank_json: the shared key, and its HMAC */
    struct secret api_key;
    struct hmac_key *shared_key;
    struct slice api_cert; /* wechat_v2: DER of the client's certificate; empty: it has none */
    /* the others */
    struct pkey *merchant_key;    /* public: verifies requests */
    struct pkey *platform_key;    /* private: signs our answers and notifications */
    struct slice platform_serial; /* wechat_v3 */
    struct secret api_v3_key;     /* 32 bytes, encrypts notifications */
    struct slice platform_certs[PLATFORM_CERTS_MAX]; /* wechat_v3: PEM, published */
    uint32_t nplatform_certs;
    struct slice seller_id;     /* alipay */
    struct slice platform_cert; /* unionpay: PEM with CRLF, goes with every message */
    char platform_cert_id[64];  /* its serial number, decimal */
    char merchant_serial[64];   /* wechat_v3: upper-case hex; unionpay: decimal */
    struct merchant *next;
};

struct bank_conf {
    struct arena arena;
    const char *listen; /* "127.0.0.1:PORT", NULL when absent */
    const char *listen_tls;
    const char *tls_cert;
    const char *tls_key;
    const char *tls_clients; /* PEM of all merchants' client certificates, NULL: none */
    const char *ready_file;  /* NULL: none */
    const char *journal;     /* NULL: books in memory only */
    const char *ca_file;     /* for notifications over https; NULL: the system's */
    const char *log_file;    /* NULL: stderr */
    uint64_t seed;           /* of the dice behind `percent` */
    int64_t notify_delay_us;
    int64_t notify_retry_us[NOTIFY_RETRY_MAX];
    uint32_t notify_retries;
    int64_t refund_delay_us;  /* a refund is in progress that long */
    int64_t refund_gap_us;    /* WeChat: between two refunds of one order */
    int64_t reverse_after_us; /* WeChat: a charge is not reversed before */
    int64_t password_above;   /* fen; barcode payments over it ask for the password */
    bool plain_channels;      /* every protocol also without TLS (benchmarks) */
    struct merchant *merchants;
};

/* 0, or -1 with "FILE:LINE: reason". Release in both cases. */
int bank_conf_load(struct bank_conf *c, const char *file, struct conf_error *err);
void bank_conf_release(struct bank_conf *c);

const struct merchant *bank_conf_merchant(const struct bank_conf *c, enum bank_channel channel,
                                          struct slice id);

/* What the readers of the configuration share (conf.c and conf_merchant.c). */
struct conf_loader {
    struct bank_conf *c;
    struct slice folder; /* of the configuration file, with its last '/' */
    struct conf_error *err;
};
int conf_set_path(struct conf_loader *l, const struct conf_node *n, uint32_t arg, const char **out);
/* The merchants of one channel's block. 0 or -1. */
int conf_read_channel(struct conf_loader *l, const struct conf_node *block,
                      enum bank_channel channel);
void conf_merchant_release(struct merchant *m);
const struct conf_directive *conf_channel_directives(void);
const struct conf_directive *conf_merchant_directives(enum bank_channel channel);
/* -1 when it names no channel. */
int conf_channel_of_block(struct slice name);

/* The tables, for `--directives`: "block\tdirective\tsyntax\tdefault\thelp" lines. */
void bank_conf_directives(struct buf *out);

#endif
