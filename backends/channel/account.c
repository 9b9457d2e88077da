#include "account.h"

#include "core/json.h"
#include "set.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define ACCOUNT_MEMORY (64u * 1024)
#define JSON_MEMORY    (256u * 1024)
#define VALUE_MAX      128u
#define INVENTED_KEY   "INVENTEDinventedINVENTEDinvented"
#define HMAC_KEY_MIN   32u

static const char *const type_names[] = {
    [SECRET_RSA_PRIVATE] = "rsa_private", [SECRET_RSA_PUBLIC] = "rsa_public",
    [SECRET_HMAC_SHA256] = "hmac_sha256", [SECRET_AES256] = "aes256",
    [SECRET_X509_ROOTS] = "x509_roots",   [SECRET_X509] = "x509",
};
#define TYPE_COUNT (sizeof(type_names) / sizeof(*type_names))

const char *secret_type_name(enum secret_type t)
{
    return t < TYPE_COUNT ? type_names[t] : "?";
}

int secret_type_parse(struct slice s)
{
    for (size_t i = 0; i < TYPE_COUNT; i++)
        if (slice_is(s, type_names[i]))
            return (int)i;
    return -1;
}

/* "account NAME of channel NAME: ..."; never a value, let alone a secret. */
__attribute__((format(printf, 3, 4))) static int
fail_account(const struct channel_account *a, struct conf_error *err, const char *fmt, ...)
{
    char text[256];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return conf_fail(err, NULL, "account %.*s of channel %.*s: %s", SLICE_FMT(a->name),
                     SLICE_FMT(a->channel->facts.name), text);
}

/* Account values go into headers and between quotes; names of people and firms are not ASCII. */
static bool value_valid(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f || s.p[i] == '"' || s.p[i] == '\\')
            return false;
    return s.n > 0 && s.n <= VALUE_MAX && utf8_valid(s);
}

static int set_values(struct channel_account *a, const struct json *config, struct conf_error *err)
{
    const struct adapter *ad = a->channel->adapter;

    for (uint32_t i = 0; i < ad->nvalues; i++) {
        const struct json *v = json_get(config, ad->values[i].name);

        if (!v && ad->values[i].optional)
            continue;
        if (!v)
            return fail_account(a, err, "value \"%s\" is missing", ad->values[i].name);
        if (v->type != JSON_STRING || !value_valid(v->text))
            return fail_account(a, err, "value \"%s\" must be a text of 1..%u printable characters",
                                ad->values[i].name, VALUE_MAX);
        a->values[i] = arena_copy(&a->arena, v->text);
    }
    return a->arena.failed ? fail_account(a, err, "values are too large") : 0;
}

static int load_key(struct account_key *k, enum secret_type type, struct slice text)
{
    bool is_private = slice_contains(text, SLICE("PRIVATE KEY-----"));

    if (cert_validity_all(text, &k->from_s, &k->until_s) < 0)
        k->from_s = k->until_s = 0;
    switch (type) {
    case SECRET_RSA_PRIVATE:
        k->pkey = is_private ? pkey_private_from_pem(text) : NULL;
        return k->pkey ? 0 : -1;
    case SECRET_RSA_PUBLIC:
        k->pkey = is_private ? NULL : pkey_public_from_pem(text);
        return k->pkey ? 0 : -1;
    case SECRET_HMAC_SHA256:
        k->hmac = text.n < HMAC_KEY_MIN ? NULL : hmac_key_new(text);
        return k->hmac ? secret_set(&k->raw, text) : -1;
    case SECRET_AES256:
        return text.n != AES256_KEY_LEN ? -1 : secret_set(&k->raw, text);
    case SECRET_X509_ROOTS:
        k->roots = is_private ? NULL : cert_roots_from_pem(text);
        return k->roots ? 0 : -1;
    case SECRET_X509:
        return is_private || k->until_s == 0 ? -1 : 0;
    case SECRET_TYPE_COUNT:
        break;
    }
    return -1;
}

static const char *expected(enum secret_type type)
{
    switch (type) {
    case SECRET_RSA_PRIVATE:
        return "an RSA private key in PEM of at least 2048 bits";
    case SECRET_RSA_PUBLIC:
        return "an RSA public key or certificate in PEM of at least 2048 bits";
    case SECRET_HMAC_SHA256:
        return "a key of at least 32 bytes";
    case SECRET_AES256:
        return "a key of 32 bytes";
    case SECRET_X509_ROOTS:
        return "one or more CA certificates in PEM";
    case SECRET_X509:
        return "a certificate in PEM";
    case SECRET_TYPE_COUNT:
        break;
    }
    return "?";
}

static int set_secret(struct channel_account *a, uint32_t i, const struct json *secrets,
                      struct conf_error *err)
{
    const struct adapter_secret *s = &a->channel->adapter->secrets[i];
    const struct json *v = json_get(secrets, s->name);
    struct account_key *k = &a->keys[i];

    if (s->serial >= 0)
        k->serial = a->values[s->serial];
    if (!v) {
        if (!s->optional)
            return fail_account(a, err, "secret \"%s\" is missing", s->name);
        if (k->serial.n)
            return fail_account(a, err, "value \"%s\" is there without secret \"%s\"",
                                a->channel->adapter->values[s->serial].name, s->name);
        return 0;
    }
    if (s->serial >= 0 && k->serial.n == 0)
        return fail_account(a, err, "secret \"%s\" is there without value \"%s\"", s->name,
                            a->channel->adapter->values[s->serial].name);
    if (v->type != JSON_STRING || load_key(k, s->type, v->text) < 0)
        return fail_account(a, err, "secret \"%s\" must be %s", s->name, expected(s->type));
    k->present = true;
    return 0;
}

static void wipe_texts(const struct json *v)
{
    for (; v; v = v->next) {
        wipe_texts(v->child);
        if (v->text.n)
            wipe((void *)(uintptr_t)v->text.p, v->text.n);
    }
}

static int set_json(struct channel_account *a, struct slice config_json, struct slice secrets_json,
                    struct conf_error *err)
{
    const struct json *config = NULL, *secrets = NULL;
    struct json_error why;
    struct arena arena;
    int rc = -1;

    arena_init(&arena, JSON_MEMORY);
    if (json_parse(&arena, config_json, NULL, &config, &why) < 0 || config->type != JSON_OBJECT) {
        fail_account(a, err, "config is not a JSON object");
    } else if (json_parse(&arena, secrets_json, NULL, &secrets, &why) < 0 ||
               secrets->type != JSON_OBJECT) {
        fail_account(a, err, "secrets are not a JSON object");
    } else {
        rc = set_values(a, config, err);
        for (uint32_t i = 0; rc == 0 && i < a->channel->adapter->nsecrets; i++)
            rc = set_secret(a, i, secrets, err);
    }
    wipe_texts(secrets);
    arena_release(&arena);
    return rc;
}

static bool account_name_valid(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-'))
            return false;
    }
    return s.n > 0 && s.n <= 64;
}

static struct channel_account *new_account(const struct channel *c, struct slice account,
                                           struct conf_error *err)
{
    struct channel_account *a = calloc(1, sizeof(*a));

    if (a)
        a->cert = calloc(1, sizeof(*a->cert));
    if (!a || !a->cert) {
        free(a);
        conf_fail(err, NULL, "out of memory");
        return NULL;
    }
    a->channel = c;
    arena_init(&a->arena, ACCOUNT_MEMORY);
    a->name = arena_copy(&a->arena, account);
    a->notify_url = arena_printf(&a->arena, "%.*s/%.*s/%.*s", SLICE_FMT(c->facts.notify_base),
                                 SLICE_FMT(c->facts.name), SLICE_FMT(account));
    return a;
}

int channel_account_new(const struct channel *c, struct slice account, struct slice config_json,
                        struct slice secrets_json, struct channel_account **out,
                        struct conf_error *err)
{
    struct channel_account *a;

    if (!account_name_valid(account))
        return conf_fail(err, NULL, "channel %.*s: account name must be 1..64 of 0-9A-Za-z_-",
                         SLICE_FMT(c->facts.name));
    a = new_account(c, account, err);
    if (!a)
        return -1;
    if (set_json(a, config_json, secrets_json, err) < 0) {
        channel_account_free(a);
        return -1;
    }
    *out = a;
    return 0;
}

/* A value is named after itself; 32 letters serve as every shared secret. */
int channel_account_invent(const struct channel *c, struct channel_account **out,
                           struct conf_error *err)
{
    struct channel_account *a = new_account(c, SLICE("invented"), err);
    const struct adapter *ad = c->adapter;

    if (!a)
        return -1;
    a->invented = true;
    for (uint32_t i = 0; i < ad->nvalues; i++)
        a->values[i] = arena_copy(&a->arena, slice_of(ad->values[i].name));
    for (uint32_t i = 0; i < ad->nsecrets; i++) {
        struct account_key *k = &a->keys[i];
        bool ok = true;

        k->present = true;
        if (ad->secrets[i].type == SECRET_RSA_PRIVATE)
            ok = (k->pkey = pkey_private_generate()) != NULL;
        else if (ad->secrets[i].type == SECRET_HMAC_SHA256 || ad->secrets[i].type == SECRET_AES256)
            ok = load_key(k, ad->secrets[i].type, SLICE(INVENTED_KEY)) == 0;
        if (ok)
            continue;
        channel_account_free(a);
        return conf_fail(err, NULL, "no key can be made");
    }
    *out = a;
    return 0;
}

void channel_account_free(struct channel_account *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < ADAPTER_SECRETS_MAX; i++) {
        pkey_destroy(a->keys[i].pkey);
        hmac_key_free(a->keys[i].hmac);
        cert_roots_free(a->keys[i].roots);
        secret_release(&a->keys[i].raw);
    }
    account_trust_free(a->trusted, a->ntrusted);
    pkey_destroy(a->cert->key);
    secret_release(&a->cert->pem);
    free(a->cert);
    arena_release(&a->arena);
    free(a);
}

struct slice channel_account_name(const struct channel_account *a)
{
    return a->name;
}

struct slice channel_account_channel(const struct channel_account *a)
{
    return a->channel->facts.name;
}

bool channel_account_value(const struct channel_account *a, size_t i, struct slice *name,
                           struct slice *value)
{
    if (i >= a->channel->adapter->nvalues)
        return false;
    *name = slice_of(a->channel->adapter->values[i].name);
    *value = a->values[i];
    return true;
}

bool channel_account_secret(const struct channel_account *a, size_t i, struct channel_secret *out)
{
    const struct adapter_secret *s;
    const struct account_key *k;

    if (i >= a->channel->adapter->nsecrets)
        return false;
    s = &a->channel->adapter->secrets[i];
    k = &a->keys[i];
    *out = (struct channel_secret){.name = slice_of(s->name),
                                   .type = secret_type_name(s->type),
                                   .present = k->present,
                                   .optional = s->optional,
                                   .serial = k->present ? k->serial : SLICE_NULL,
                                   .from = k->from_s * USEC_PER_SEC,
                                   .until = k->until_s * USEC_PER_SEC};
    return true;
}

/* ------------------------------------------------------------------ certificates in messages */

#define CERT_TRUST_S 3600 /* then the chain is looked at again */

const struct pkey *account_cert_key(const struct channel_account *a, uint32_t key, struct slice pem,
                                    struct slice name, int64_t now_s, const char **reason)
{
    struct account_cert *known = a->cert;
    int64_t until;
    struct pkey *found;

    if (known->key && now_s >= known->from_s && now_s < known->until_s &&
        slice_eq(slice_n(known->pem.p, known->pem.n), pem))
        return known->key;
    *reason = "the account has no CA certificates";
    if (!a->keys[key].roots)
        return NULL;
    found = cert_trusted_key(a->keys[key].roots, pem, name, now_s, &until, reason);
    if (!found)
        return NULL;
    pkey_destroy(known->key);
    known->key = found;
    known->from_s = now_s;
    known->until_s = until < now_s + CERT_TRUST_S ? until : now_s + CERT_TRUST_S;
    secret_release(&known->pem);
    if (secret_set(&known->pem, pem) < 0)
        known->until_s = 0;
    return known->key;
}
