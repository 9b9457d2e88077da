/*
 * Keys of the signature schemes: names, loading, and the one place where signatures are made and
 * verified.
 */
#include "scheme.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ------------------------------------------------------------------ names */

#define BIT(alg) (1u << (alg))

static const struct {
    const char *name;
    unsigned algs;
} key_schemes[] = {
    [KEY_SCHEME_NONE] = {"none", 0},
    [KEY_SCHEME_HEADER] = {"header", BIT(KEY_RSA_SHA256) | BIT(KEY_HMAC_SHA256) | BIT(KEY_ED25519)},
    [KEY_SCHEME_SORTED] = {"sorted", BIT(KEY_RSA_SHA256) | BIT(KEY_HMAC_SHA256) | BIT(KEY_MD5)},
    [KEY_SCHEME_RFC9421] = {"rfc9421", BIT(KEY_RSA_SHA256) | BIT(KEY_HMAC_SHA256) |
                                           BIT(KEY_ED25519) | BIT(KEY_ECDSA_P256_SHA256) |
                                           BIT(KEY_RSA_PSS_SHA512)},
};

static const char *const algs[] = {
    [KEY_ALG_NONE] = "none",
    [KEY_RSA_SHA256] = "rsa-sha256",
    [KEY_HMAC_SHA256] = "hmac-sha256",
    [KEY_ED25519] = "ed25519",
    [KEY_ECDSA_P256_SHA256] = "ecdsa-p256-sha256",
    [KEY_RSA_PSS_SHA512] = "rsa-pss-sha512",
    [KEY_MD5] = "md5",
};

enum key_scheme key_scheme_parse(struct slice s)
{
    for (size_t i = KEY_SCHEME_NONE + 1; i < COUNT(key_schemes); i++)
        if (slice_is(s, key_schemes[i].name))
            return (enum key_scheme)i;
    return KEY_SCHEME_NONE;
}

const char *key_scheme_name(enum key_scheme s)
{
    return key_schemes[(size_t)s < COUNT(key_schemes) ? s : KEY_SCHEME_NONE].name;
}

bool key_scheme_allows(enum key_scheme s, enum key_alg alg)
{
    return (size_t)s < COUNT(key_schemes) && (size_t)alg < COUNT(algs) &&
           (key_schemes[s].algs & BIT(alg)) != 0;
}

enum key_alg key_alg_parse(struct slice s)
{
    for (size_t i = KEY_ALG_NONE + 1; i < COUNT(algs); i++)
        if (slice_is(s, algs[i]))
            return (enum key_alg)i;
    return KEY_ALG_NONE;
}

const char *key_alg_name(enum key_alg alg)
{
    return algs[(size_t)alg < COUNT(algs) ? alg : KEY_ALG_NONE];
}

bool key_alg_is_shared(enum key_alg alg)
{
    return alg == KEY_HMAC_SHA256 || alg == KEY_MD5;
}

/* ------------------------------------------------------------------ loading */

static struct pkey *load_pkey(enum pkey_alg alg, struct slice material)
{
    return slice_contains(material, SLICE("PRIVATE KEY-----")) ? pkey_private(material, alg)
                                                               : pkey_public(material, alg);
}

/* A secret that is a public key is no secret: the old confusion of HMAC and RSA. */
static int load_secret(struct verify_key *k, struct slice material)
{
    if (material.n == 0 || slice_contains(material, SLICE("-----BEGIN ")))
        return -1;
    if (k->alg == KEY_HMAC_SHA256) {
        k->hmac = hmac_key_new(material);
        if (!k->hmac)
            return -1;
    }
    return secret_set(&k->secret, material);
}

int verify_key_load(struct verify_key *k, enum key_alg alg, struct slice material)
{
    *k = (struct verify_key){.alg = alg};
    switch (alg) {
    case KEY_HMAC_SHA256:
    case KEY_MD5:
        if (load_secret(k, material) == 0)
            return 0;
        break;
    case KEY_RSA_SHA256:
        k->pkey = load_pkey(PKEY_RSA_SHA256, material);
        break;
    case KEY_RSA_PSS_SHA512:
        k->pkey = load_pkey(PKEY_RSA_PSS_SHA512, material);
        break;
    case KEY_ECDSA_P256_SHA256:
        k->pkey = load_pkey(PKEY_ECDSA_P256_SHA256, material);
        break;
    case KEY_ED25519:
        k->pkey = load_pkey(PKEY_ED25519, material);
        break;
    case KEY_ALG_NONE:
        break;
    }
    if (k->pkey)
        return 0;
    verify_key_release(k);
    return -1;
}

enum key_alg key_alg_of_public(struct slice pem)
{
    static const enum key_alg kinds[] = {KEY_RSA_SHA256, KEY_ED25519, KEY_ECDSA_P256_SHA256};
    struct verify_key k;

    for (size_t i = 0; i < COUNT(kinds); i++)
        if (!slice_contains(pem, SLICE("PRIVATE KEY-----")) &&
            verify_key_load(&k, kinds[i], pem) == 0) {
            verify_key_release(&k);
            return kinds[i];
        }
    return KEY_ALG_NONE;
}

void verify_key_release(struct verify_key *k)
{
    hmac_key_free(k->hmac);
    pkey_destroy(k->pkey);
    secret_release(&k->secret);
    *k = (struct verify_key){.alg = KEY_ALG_NONE};
}

/* ------------------------------------------------------------------ signing, verifying */

int key_verify(const struct verify_key *k, const struct slice *parts, size_t count,
               struct slice signature)
{
    uint8_t own[MD5_LEN];

    switch (k->alg) {
    case KEY_HMAC_SHA256:
        return hmac_verify(k->hmac, parts, count, signature);
    case KEY_MD5:
        if (md5_parts(parts, count, own) < 0)
            return -1;
        return equal_ct(slice_n(own, sizeof(own)), signature) ? 0 : -1;
    case KEY_RSA_SHA256:
    case KEY_RSA_PSS_SHA512:
    case KEY_ECDSA_P256_SHA256:
    case KEY_ED25519:
        return pkey_verify(k->pkey, parts, count, signature);
    case KEY_ALG_NONE:
        break;
    }
    return -1;
}

int key_sign(const struct verify_key *k, const struct slice *parts, size_t count, uint8_t *sig,
             size_t *n)
{
    switch (k->alg) {
    case KEY_HMAC_SHA256:
        *n = SHA256_LEN;
        return hmac_sign(k->hmac, parts, count, sig);
    case KEY_MD5:
        *n = MD5_LEN;
        return md5_parts(parts, count, sig);
    case KEY_RSA_SHA256:
    case KEY_RSA_PSS_SHA512:
    case KEY_ECDSA_P256_SHA256:
    case KEY_ED25519:
        *n = SIGNATURE_MAX;
        return pkey_sign(k->pkey, parts, count, sig, n);
    case KEY_ALG_NONE:
        break;
    }
    return -1;
}

int scheme_verify(const struct verify_key *k, const struct slice *parts, size_t count,
                  struct slice signature_base64)
{
    struct buf raw;
    int rc = -1;

    buf_init(&raw, SIGNATURE_MAX);
    if (base64_decode(&raw, signature_base64) == 0)
        rc = key_verify(k, parts, count, buf_slice(&raw));
    buf_release(&raw);
    return rc;
}

int scheme_sign(const struct verify_key *k, const struct slice *parts, size_t count,
                struct buf *out)
{
    uint8_t sig[SIGNATURE_MAX];
    size_t n;

    if (key_sign(k, parts, count, sig, &n) < 0)
        return -1;
    base64_encode(out, slice_n(sig, n));
    return buf_ok(out) ? 0 : -1;
}
