/*
 * Public keys and their signatures.
 *
 * RSA and ECDSA: the message is hashed here and OpenSSL gets the digest; what EVP_DigestSign would
 * fetch and set up for every signature (methods, padding) is done once per key in two template
 * contexts, and a call duplicates the template it needs. A template is only read, so threads may
 * share a key. Ed25519 signs the message itself and has no template.
 */
#include "crypto.h"

#include "crypto_sha256.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>

#define PEM_MAX      65536u
#define RSA_BITS_MIN 2048
/* merchants send us their keys: a huge one would make each verification a burden */
#define RSA_BITS_MAX 8192
#define ECDSA_HALF   32u
#define ECDSA_RAW    (2 * ECDSA_HALF)
#define ECDSA_DER    80u /* 72 at most */
#define MESSAGE_MAX  (1u << 20)

struct pkey {
    enum pkey_alg alg;
    EVP_PKEY *key;
    EVP_PKEY_CTX *verify; /* NULL for Ed25519 */
    EVP_PKEY_CTX *sign;   /* NULL for a public key and for Ed25519 */
    bool private;
};

/* ------------------------------------------------------------------ reading */

/* OpenSSL's default would ask for the password on the terminal. */
static int no_password(char *buf, int size, int rwflag, void *u)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)u;
    return -1;
}

static BIO *pem_bio(struct slice pem)
{
    if (pem.n == 0 || pem.n > PEM_MAX)
        return NULL;
    return BIO_new_mem_buf(pem.p, (int)pem.n);
}

X509 *crypto_read_cert(struct slice pem)
{
    BIO *bio = pem_bio(pem);
    X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, no_password, NULL) : NULL;

    BIO_free(bio);
    return cert;
}

static EVP_PKEY *read_der(const unsigned char *der, long n)
{
    const unsigned char *at = der;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &at, n);

    if (key && at != der + n) {
        EVP_PKEY_free(key);
        return NULL;
    }
    return key;
}

/* In two steps, as PEM_read_bio_PUBKEY tries every decoder there is: 560 us against 205 us. */
static EVP_PKEY *read_spki(struct slice pem)
{
    BIO *bio = pem_bio(pem);
    unsigned char *der = NULL;
    EVP_PKEY *key = NULL;
    long n;

    if (bio && PEM_bytes_read_bio(&der, &n, NULL, PEM_STRING_PUBLIC, bio, no_password, NULL) == 1)
        key = read_der(der, n);
    OPENSSL_free(der);
    BIO_free(bio);
    return key;
}

static EVP_PKEY *read_public(struct slice in)
{
    EVP_PKEY *key;
    X509 *cert;

    /* DER of a SEQUENCE; PEM may begin with any text but not with this */
    if (in.n && in.n <= PEM_MAX && in.p[0] == 0x30)
        return read_der((const unsigned char *)in.p, (long)in.n);
    if (slice_contains(in, SLICE("-----BEGIN CERTIFICATE-----"))) {
        cert = crypto_read_cert(in);
        key = cert ? X509_get_pubkey(cert) : NULL;
        X509_free(cert);
        return key;
    }
    return read_spki(in);
}

/* ------------------------------------------------------------------ loading */

static bool rsa_fits(EVP_PKEY *key)
{
    int bits = EVP_PKEY_get_bits(key);

    return bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX;
}

static bool key_fits(EVP_PKEY *key, enum pkey_alg alg)
{
    char group[32];
    size_t n;

    switch (alg) {
    case PKEY_RSA_SHA256:
        return EVP_PKEY_is_a(key, "RSA") && rsa_fits(key);
    case PKEY_RSA_PSS_SHA512:
        return (EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_is_a(key, "RSA-PSS")) && rsa_fits(key);
    case PKEY_ECDSA_P256_SHA256:
        return EVP_PKEY_is_a(key, "EC") &&
               EVP_PKEY_get_group_name(key, group, sizeof(group), &n) == 1 &&
               slice_is(slice_n(group, n), "prime256v1");
    case PKEY_ED25519:
        return EVP_PKEY_is_a(key, "ED25519");
    }
    return false;
}

static bool set_method(EVP_PKEY_CTX *ctx, enum pkey_alg alg)
{
    switch (alg) {
    case PKEY_RSA_SHA256:
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) > 0 &&
               EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) > 0;
    case PKEY_RSA_PSS_SHA512:
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) > 0 &&
               EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha512()) > 0 &&
               EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha512()) > 0 &&
               EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, SHA512_LEN) > 0;
    case PKEY_ECDSA_P256_SHA256:
        return EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) > 0;
    case PKEY_ED25519:
        break;
    }
    return false;
}

static EVP_PKEY_CTX *make_template(struct pkey *k, int (*init)(EVP_PKEY_CTX *))
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, k->key, NULL);

    if (ctx && init(ctx) > 0 && set_method(ctx, k->alg))
        return ctx;
    EVP_PKEY_CTX_free(ctx);
    return NULL;
}

static bool make_templates(struct pkey *k)
{
    if (k->alg == PKEY_ED25519)
        return true;
    k->verify = make_template(k, EVP_PKEY_verify_init);
    if (k->verify && k->private)
        k->sign = make_template(k, EVP_PKEY_sign_init);
    return k->verify && (k->sign || !k->private);
}

/* Takes over `key`. */
static struct pkey *make_pkey(EVP_PKEY *key, enum pkey_alg alg, bool private)
{
    struct pkey *k = key ? calloc(1, sizeof(*k)) : NULL;

    if (k) {
        *k = (struct pkey){.alg = alg, .key = key, .private = private};
        if (key_fits(key, alg) && make_templates(k))
            return k;
        pkey_destroy(k);
    } else {
        EVP_PKEY_free(key);
    }
    /* what stays in the queue would be blamed on somebody's TLS connection */
    ERR_clear_error();
    return NULL;
}

struct pkey *pkey_private(struct slice pem, enum pkey_alg alg)
{
    BIO *bio = pem_bio(pem);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;

    BIO_free(bio);
    return make_pkey(key, alg, true);
}

struct pkey *pkey_public(struct slice pem_or_der, enum pkey_alg alg)
{
    return make_pkey(read_public(pem_or_der), alg, false);
}

struct pkey *pkey_private_from_pem(struct slice pem)
{
    return pkey_private(pem, PKEY_RSA_SHA256);
}

struct pkey *pkey_public_from_pem(struct slice pem)
{
    return pkey_public(pem, PKEY_RSA_SHA256);
}

void pkey_destroy(struct pkey *k)
{
    if (!k)
        return;
    EVP_PKEY_CTX_free(k->sign);
    EVP_PKEY_CTX_free(k->verify);
    EVP_PKEY_free(k->key);
    free(k);
}

size_t pkey_signature_len(const struct pkey *k)
{
    if (k->alg == PKEY_ECDSA_P256_SHA256)
        return ECDSA_RAW;
    return (size_t)EVP_PKEY_get_size(k->key);
}

int pkey_public_der(const struct pkey *k, struct buf *out)
{
    unsigned char *der = NULL;
    int n = i2d_PUBKEY(k->key, &der);

    if (n > 0)
        buf_add(out, der, (size_t)n);
    OPENSSL_free(der);
    if (n <= 0)
        ERR_clear_error();
    return n > 0 && buf_ok(out) ? 0 : -1;
}

/* ------------------------------------------------------------------ signatures of a digest */

static int digest_of(const struct pkey *k, const struct slice *parts, size_t count,
                     uint8_t out[SHA512_LEN], size_t *n)
{
    if (k->alg == PKEY_RSA_PSS_SHA512) {
        *n = SHA512_LEN;
        return sha512_parts(parts, count, out);
    }
    *n = SHA256_LEN;
    return sha256_parts(parts, count, out);
}

static int digest_sign(const struct pkey *k, const struct slice *parts, size_t count, uint8_t *sig,
                       size_t *n)
{
    uint8_t digest[SHA512_LEN];
    EVP_PKEY_CTX *ctx;
    size_t len;
    int ok;

    if (!k->sign || digest_of(k, parts, count, digest, &len) < 0)
        return -1;
    ctx = EVP_PKEY_CTX_dup(k->sign);
    ok = ctx && EVP_PKEY_sign(ctx, sig, n, digest, len) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok ? 0 : -1;
}

static int digest_verify(const struct pkey *k, const struct slice *parts, size_t count,
                         struct slice sig)
{
    uint8_t digest[SHA512_LEN];
    EVP_PKEY_CTX *ctx;
    size_t len;
    int ok;

    if (digest_of(k, parts, count, digest, &len) < 0)
        return -1;
    ctx = EVP_PKEY_CTX_dup(k->verify);
    ok = ctx && EVP_PKEY_verify(ctx, (const uint8_t *)sig.p, sig.n, digest, len) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok ? 0 : -1;
}

/* ------------------------------------------------------------------ ECDSA: r || s against DER */

static int ecdsa_to_raw(const uint8_t *der, size_t n, uint8_t raw[ECDSA_RAW])
{
    ECDSA_SIG *s = d2i_ECDSA_SIG(NULL, &der, (long)n);
    int ok = s && BN_bn2binpad(ECDSA_SIG_get0_r(s), raw, ECDSA_HALF) == (int)ECDSA_HALF &&
             BN_bn2binpad(ECDSA_SIG_get0_s(s), raw + ECDSA_HALF, ECDSA_HALF) == (int)ECDSA_HALF;

    ECDSA_SIG_free(s);
    return ok ? 0 : -1;
}

static int ecdsa_to_der(const uint8_t *raw, uint8_t der[ECDSA_DER], size_t *n)
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, ECDSA_HALF, NULL);
    BIGNUM *s = BN_bin2bn(raw + ECDSA_HALF, ECDSA_HALF, NULL);
    int len = -1;

    if (sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1) {
        r = s = NULL; /* sig's now */
        len = i2d_ECDSA_SIG(sig, NULL) <= (int)ECDSA_DER ? i2d_ECDSA_SIG(sig, &der) : -1;
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(sig);
    *n = len > 0 ? (size_t)len : 0;
    return len > 0 ? 0 : -1;
}

static int ecdsa_sign(const struct pkey *k, const struct slice *parts, size_t count, uint8_t *sig,
                      size_t *n)
{
    uint8_t der[ECDSA_DER];
    size_t len = sizeof(der);

    if (digest_sign(k, parts, count, der, &len) < 0 || ecdsa_to_raw(der, len, sig) < 0)
        return -1;
    *n = ECDSA_RAW;
    return 0;
}

static int ecdsa_verify(const struct pkey *k, const struct slice *parts, size_t count,
                        struct slice sig)
{
    uint8_t der[ECDSA_DER];
    size_t len;

    if (ecdsa_to_der((const uint8_t *)sig.p, der, &len) < 0)
        return -1;
    return digest_verify(k, parts, count, slice_n(der, len));
}

/* ------------------------------------------------------------------ Ed25519: the whole message */

/* *whole is parts[0] itself when there is but one. */
static int join(const struct slice *parts, size_t count, struct buf *b, struct slice *whole)
{
    buf_init(b, MESSAGE_MAX);
    if (count == 1) {
        *whole = parts[0];
        return 0;
    }
    for (size_t i = 0; i < count; i++)
        buf_add_slice(b, parts[i]);
    *whole = buf_slice(b);
    return buf_ok(b) ? 0 : -1;
}

static int ed25519_sign(const struct pkey *k, const struct slice *parts, size_t count, uint8_t *sig,
                        size_t *n)
{
    EVP_MD_CTX *ctx = k->private ? EVP_MD_CTX_new() : NULL;
    struct slice whole;
    struct buf b;
    int ok;

    ok = join(parts, count, &b, &whole) == 0 && ctx &&
         EVP_DigestSignInit(ctx, NULL, NULL, NULL, k->key) == 1 &&
         EVP_DigestSign(ctx, sig, n, (const uint8_t *)whole.p, whole.n) == 1;
    EVP_MD_CTX_free(ctx);
    buf_release(&b);
    return ok ? 0 : -1;
}

static int ed25519_verify(const struct pkey *k, const struct slice *parts, size_t count,
                          struct slice sig)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    struct slice whole;
    struct buf b;
    int ok;

    ok = join(parts, count, &b, &whole) == 0 && ctx &&
         EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, k->key) == 1 &&
         EVP_DigestVerify(ctx, (const uint8_t *)sig.p, sig.n, (const uint8_t *)whole.p, whole.n) ==
             1;
    EVP_MD_CTX_free(ctx);
    buf_release(&b);
    return ok ? 0 : -1;
}

/* ------------------------------------------------------------------ by the key's algorithm */

int pkey_sign(const struct pkey *k, const struct slice *parts, size_t count, uint8_t *sig,
              size_t *n)
{
    int rc = -1;

    if (*n < pkey_signature_len(k))
        return -1;
    switch (k->alg) {
    case PKEY_RSA_SHA256:
    case PKEY_RSA_PSS_SHA512:
        rc = digest_sign(k, parts, count, sig, n);
        break;
    case PKEY_ECDSA_P256_SHA256:
        rc = ecdsa_sign(k, parts, count, sig, n);
        break;
    case PKEY_ED25519:
        rc = ed25519_sign(k, parts, count, sig, n);
        break;
    }
    if (rc < 0)
        ERR_clear_error();
    return rc;
}

int pkey_verify(const struct pkey *k, const struct slice *parts, size_t count, struct slice sig)
{
    int rc = -1;

    if (sig.n != pkey_signature_len(k))
        return -1;
    switch (k->alg) {
    case PKEY_RSA_SHA256:
    case PKEY_RSA_PSS_SHA512:
        rc = digest_verify(k, parts, count, sig);
        break;
    case PKEY_ECDSA_P256_SHA256:
        rc = ecdsa_verify(k, parts, count, sig);
        break;
    case PKEY_ED25519:
        rc = ed25519_verify(k, parts, count, sig);
        break;
    }
    if (rc < 0)
        ERR_clear_error();
    return rc;
}

int pkey_sign_sha256(const struct pkey *k, const struct slice *parts, size_t count, uint8_t *sig,
                     size_t *n)
{
    return k->alg == PKEY_RSA_SHA256 ? pkey_sign(k, parts, count, sig, n) : -1;
}

int pkey_verify_sha256(const struct pkey *k, const struct slice *parts, size_t count,
                       struct slice sig)
{
    return k->alg == PKEY_RSA_SHA256 ? pkey_verify(k, parts, count, sig) : -1;
}
