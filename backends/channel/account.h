/*
 * account - credentials of one account at one channel: values by number, keys parsed once.
 */
#ifndef CHANNEL_ACCOUNT_H
#define CHANNEL_ACCOUNT_H

#include "adapter.h"
#include "core/crypto.h"
#include "core/scheme.h"

struct account_key {
    bool present;
    struct verify_key key; /* RSA and HMAC */
    struct secret raw;     /* AES */
    struct slice serial;   /* empty when it has none */
};

struct channel_account {
    const struct channel *channel;
    struct arena arena; /* names and plain values */
    struct slice name;
    struct slice notify_url;
    struct slice values[ADAPTER_VALUES_MAX];
    struct account_key keys[ADAPTER_SECRETS_MAX];
};

const char *secret_type_name(enum secret_type t);
int secret_type_parse(struct slice s);

#endif
