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

enum bank_channel { CHANNEL_WECHAT_V3, CHANNEL_BANK_JSON, CHANNEL_COUNT };

/* "wechat_v3", "bank_json" */
const char *bank_channel_name(enum bank_channel c);
/* -1 when unknown. */
int bank_channel_parse(struct slice s);

struct merchant {
    enum bank_channel channel;
    struct slice id;
    bool disabled; /* may not take payments */
    /* wechat_v3 */
    struct slice appids[APPIDS_MAX];
    uint32_t nappids;
    struct secret api_v3_key;  /* 32 bytes, encrypts notifications */
    struct pkey *merchant_key; /* public, from the merchant's certificate */
    char merchant_serial[64];  /* of that certificate, upper-case hex */
    struct slice platform_serial;
    struct pkey *platform_key; /* private, signs our answers and notifications */
    /* bank_json */
    struct hmac_key *shared_key;
    struct merchant *next;
};

struct bank_conf {
    struct arena arena;
    const char *listen; /* "127.0.0.1:PORT", NULL when absent */
    const char *listen_tls;
    const char *tls_cert;
    const char *tls_key;
    const char *ready_file; /* NULL: none */
    const char *journal;    /* NULL: books in memory only */
    const char *ca_file;    /* for notifications over https; NULL: the system's */
    const char *log_file;   /* NULL: stderr */
    uint64_t seed;          /* of the dice behind `percent` */
    int64_t notify_delay_us;
    int64_t notify_retry_us[NOTIFY_RETRY_MAX];
    uint32_t notify_retries;
    struct merchant *merchants;
};

/* 0, or -1 with "FILE:LINE: reason". Release in both cases. */
int bank_conf_load(struct bank_conf *c, const char *file, struct conf_error *err);
void bank_conf_release(struct bank_conf *c);

const struct merchant *bank_conf_merchant(const struct bank_conf *c, enum bank_channel channel,
                                          struct slice id);
/* The tables, for `--directives`: "block\tdirective\tsyntax\tdefault\thelp" lines. */
void bank_conf_directives(struct buf *out);

#endif
