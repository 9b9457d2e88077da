/*
 * account - credentials of one account at one channel: values by number, keys parsed once.
 */
#ifndef CHANNEL_ACCOUNT_H
#define CHANNEL_ACCOUNT_H

#include "adapter.h"
#include "channel.h"
#include "core/cert.h"
#include "core/crypto.h"

/* One of the members beside `raw`, as its type says. */
struct account_key {
    bool present;
    struct pkey *pkey;
    struct hmac_key *hmac;
    struct cert_roots *roots;
    struct secret raw;       /* AES; HMAC too, for texts that hold the key itself */
    struct slice serial;     /* empty when it has none */
    int64_t from_s, until_s; /* of the certificates in it; until_s 0: none */
};

/* The latest certificate that came with a message and was found good: the next message brings the
 * same one. A process uses an account from one thread. */
struct account_cert {
    struct secret pem;
    struct pkey *key;
    int64_t from_s, until_s; /* trusted without another look */
};

/* A certificate that the channel published (certificates.c). */
struct account_trust {
    char serial[64]; /* upper-case hex */
    struct pkey *key;
    int64_t from_s, until_s;
};
#define ACCOUNT_TRUST_MAX CHANNEL_CERTIFICATES_MAX

struct channel_account {
    const struct channel *channel;
    struct arena arena; /* names and plain values */
    struct slice name;
    struct slice notify_url;
    struct slice values[ADAPTER_VALUES_MAX];
    struct account_key keys[ADAPTER_SECRETS_MAX];
    struct account_cert *cert;
    struct account_trust trusted[2 * ACCOUNT_TRUST_MAX]; /* half of it is for an answer's own */
    uint32_t ntrusted;
    bool invented; /* no signature is checked */
};

const char *secret_type_name(enum secret_type t);
int secret_type_parse(struct slice s);

/* The key of the certificate `pem` under roots of secret `key`, named `name`; NULL with *reason. It
 * belongs to the account. */
const struct pkey *account_cert_key(const struct channel_account *a, uint32_t key, struct slice pem,
                                    struct slice name, int64_t now_s, const char **reason);

void account_trust_free(struct account_trust *t, uint32_t n);

#endif
