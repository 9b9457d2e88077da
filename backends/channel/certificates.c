/*
 * Certificates that the channel signs with and publishes (WeChat: GET /v3/certificates): asked for,
 * opened, checked, and believed beside the account's own keys.
 *
 * The answer is signed like any other. The key may be one of those it brings, or the first could
 * never be had: each was sealed with the account's secret, which only the channel shares.
 */
#include "channel.h"

#include "account.h"
#include "set.h"
#include "trade.h"

#include <stdlib.h>

#define SERIAL_MAX 64u

bool channel_account_refreshes(const struct channel_account *a)
{
    const struct adapter *ad = a->channel->adapter;

    if (!ad->certificates || a->invented)
        return false;
    /* a bare public key does not end, and its channel publishes no certificates */
    for (uint32_t i = 0; i < ad->verify.nkeys; i++) {
        const struct account_key *k = &a->keys[ad->verify.keys[i]];

        if (k->present && k->until_s == 0)
            return false;
    }
    return true;
}

pay_time_t channel_account_trusts_until(const struct channel_account *a, pay_time_t now)
{
    const struct adapter *ad = a->channel->adapter;
    int64_t now_s = now / USEC_PER_SEC, until = 0;

    for (uint32_t i = 0; i < ad->verify.nkeys; i++) {
        const struct account_key *k = &a->keys[ad->verify.keys[i]];

        if (k->present && k->from_s <= now_s && k->until_s > until)
            until = k->until_s;
    }
    for (uint32_t i = 0; i < a->ntrusted; i++)
        if (a->trusted[i].from_s <= now_s && a->trusted[i].until_s > until)
            until = a->trusted[i].until_s;
    return until > now_s ? until * USEC_PER_SEC : 0;
}

/* ------------------------------------------------------------------ trust */

static int trust(struct account_trust *t, struct slice pem)
{
    *t = (struct account_trust){.key = pkey_public_from_pem(pem)};
    if (t->key && cert_serial_hex(pem, t->serial, sizeof(t->serial)) == 0 &&
        cert_validity(pem, &t->from_s, &t->until_s) == 0)
        return 0;
    pkey_destroy(t->key);
    t->key = NULL;
    return -1;
}

uint32_t channel_account_trust(struct channel_account *a, struct slice pems)
{
    static const struct slice begin = {"-----BEGIN CERTIFICATE-----", 27};

    for (; pems.n >= begin.n && a->ntrusted < ACCOUNT_TRUST_MAX;
         pems = slice_n(pems.p + 1, pems.n - 1))
        if (slice_starts(pems, begin) && trust(&a->trusted[a->ntrusted], pems) == 0)
            a->ntrusted++;
    return a->ntrusted;
}

bool channel_account_trusted(const struct channel_account *a, size_t i, struct slice *serial,
                             pay_time_t *from, pay_time_t *until)
{
    if (i >= a->ntrusted)
        return false;
    *serial = slice_of(a->trusted[i].serial);
    *from = a->trusted[i].from_s * USEC_PER_SEC;
    *until = a->trusted[i].until_s * USEC_PER_SEC;
    return true;
}

void account_trust_free(struct account_trust *t, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        pkey_destroy(t[i].key);
}

/* ------------------------------------------------------------------ the answer */

static int read_one(const struct facts *f, const struct json *member, struct account_trust *t,
                    struct channel_certificate *out, const char **reason)
{
    const struct adapter_certificates *ac = f->channel->adapter->certificates;
    struct slice serial = json_str(member, ac->serial);

    *reason = "a certificate cannot be decrypted";
    if (notification_open(&ac->sealed, f->account, member, f->arena, &out->pem) < 0)
        return -1;
    *reason = "a certificate is malformed";
    if (trust(t, out->pem) < 0)
        return -1;
    *reason = "a certificate has another serial number than it is said to have";
    if (!slice_is(serial, t->serial)) {
        account_trust_free(t, 1);
        return -1;
    }
    out->serial = serial;
    out->from = t->from_s * USEC_PER_SEC;
    out->until = t->until_s * USEC_PER_SEC;
    return 0;
}

/* The signature, with what the account has and what came. */
static int verify(struct facts *f, const struct http_header *headers, size_t nheaders,
                  const struct json *body, const struct account_trust *came, uint32_t n,
                  const char **reason)
{
    struct channel_account both = *f->account; /* borrows its keys */

    f->account = &both;
    for (uint32_t i = 0; i < n && both.ntrusted < 2 * ACCOUNT_TRUST_MAX; i++)
        both.trusted[both.ntrusted++] = came[i];
    return signer_verify(&f->channel->adapter->verify, f, headers, nheaders, body, reason) ==
                   SIGNATURE_GOOD
               ? 0
               : -1;
}

static int read_list(struct facts *f, const struct http_header *headers, size_t nheaders,
                     const struct json *body, struct channel_certificate *out, uint32_t *n,
                     const char **reason)
{
    const struct json *list = json_get(body, f->channel->adapter->certificates->list);
    struct account_trust came[ACCOUNT_TRUST_MAX];
    int rc = 0;

    *n = 0;
    *reason = "the answer has no list of certificates, or too many";
    if (!list || list->type != JSON_ARRAY || list->count == 0 || list->count > ACCOUNT_TRUST_MAX)
        return -1;
    for (const struct json *m = list->child; m && rc == 0; m = m->next) {
        rc = read_one(f, m, &came[*n], &out[*n], reason);
        *n += rc == 0;
    }
    if (rc == 0)
        rc = verify(f, headers, nheaders, body, came, *n, reason);
    account_trust_free(came, *n);
    return rc;
}

int channel_certificates_decode(const struct channel *c, const struct channel_account *a,
                                int status, const struct http_header *headers, size_t nheaders,
                                struct slice body, pay_time_t now, struct arena *arena,
                                struct channel_certificate out[CHANNEL_CERTIFICATES_MAX],
                                uint32_t *n, const char **reason)
{
    struct facts f = {
        .channel = c, .account = a, .now = now, .body = body, .envelope = body, .arena = arena};
    const struct json *tree;

    *n = 0;
    *reason = "the adapter has no certificates";
    if (!c->adapter->certificates || a->channel != c)
        return -1;
    *reason = "the status is not 200";
    if (status != 200)
        return -1;
    *reason = "the answer is malformed";
    if (body.n > ADAPTER_BODY_MAX || body_parse(c->adapter->decode, body, arena, &tree) < 0)
        return -1;
    if (read_list(&f, headers, nheaders, tree, out, n, reason) < 0) {
        *n = 0;
        return -1;
    }
    return 0;
}
