/*
 * Public-key signatures and certificates.
 *
 * The message is hashed here and OpenSSL gets the digest; what EVP_DigestSign would fetch and set
 * up for every signature (methods, padding) is done once per key in two template contexts, and a
 * call duplicates the template it needs. A template is only read, so threads may share a key.
 */
#include "crypto.h"

#include "crypto_sha256.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>

#define PEM_MAX      65536u
#define RSA_BITS_MIN 2048
/* merchants send us their keys: a huge one would make each verification a burden */
#define RSA_BITS_MAX 8192

struct pkey {
    EVP_PKEY *key;
    EVP_PKEY_CTX *verify;
    EVP_PKEY_CTX *sign; /* NULL for a public key */
};

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

static X509 *read_cert(struct slice pem)
{
    BIO *bio = pem_bio(pem);
    X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, no_password, NULL) : NULL;

    BIO_free(bio);
    return cert;
}

/* In two steps, as PEM_read_bio_PUBKEY tries every decoder there is: 560 us against 205 us. */
static EVP_PKEY *read_spki(struct slice pem)
{
    BIO *bio = pem_bio(pem);
    const unsigned char *at;
    unsigned char *der = NULL;
    EVP_PKEY *key = NULL;
    long n;

    if (bio && PEM_bytes_read_bio(&der, &n, NULL, PEM_STRING_PUBLIC, bio, no_password, NULL) == 1) {
        at = der;
        key = d2i_PUBKEY(NULL, &at, n);
    }
    OPENSSL_free(der);
    BIO_free(bio);
    return key;
}

static EVP_PKEY *read_public(struct slice pem)
{
    EVP_PKEY *key;
    X509 *cert;

    if (slice_contains(pem, SLICE("-----BEGIN CERTIFICATE-----"))) {
        cert = read_cert(pem);
        key = cert ? X509_get_pubkey(cert) : NULL;
        X509_free(cert);
        return key;
    }
    return read_spki(pem);
}

static EVP_PKEY_CTX *make_template(EVP_PKEY *key, int (*init)(EVP_PKEY_CTX *))
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);

    if (ctx && init(ctx) > 0 && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) > 0 &&
        EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) > 0)
        return ctx;
    EVP_PKEY_CTX_free(ctx);
    return NULL;
}

/* Takes over `key`. */
static struct pkey *make_pkey(EVP_PKEY *key, bool private)
{
    struct pkey *k = key ? calloc(1, sizeof(*k)) : NULL;
    int bits;

    if (!k) {
        EVP_PKEY_free(key);
        goto fail;
    }
    k->key = key;
    bits = EVP_PKEY_get_bits(key);
    if (!EVP_PKEY_is_a(key, "RSA") || bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
        goto fail;
    k->verify = make_template(key, EVP_PKEY_verify_init);
    if (!k->verify)
        goto fail;
    if (private) {
        k->sign = make_template(key, EVP_PKEY_sign_init);
        if (!k->sign)
            goto fail;
    }
    return k;
fail:
    pkey_destroy(k);
    /* what stays in the queue would be blamed on somebody's TLS connection */
    ERR_clear_error();
    return NULL;
}

struct pkey *pkey_private_from_pem(struct slice pem)
{
    BIO *bio = pem_bio(pem);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;

    BIO_free(bio);
    return make_pkey(key, true);
}

struct pkey *pkey_public_from_pem(struct slice pem)
{
    return make_pkey(read_public(pem), false);
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
    return (size_t)EVP_PKEY_get_size(k->key);
}

int pkey_sign_sha256(const struct pkey *k, const struct slice *parts, size_t count, uint8_t *sig,
                     size_t *n)
{
    uint8_t digest[SHA256_LEN];
    EVP_PKEY_CTX *ctx;
    int ok;

    if (!k->sign || *n < pkey_signature_len(k) || sha256_parts(parts, count, digest) < 0)
        return -1;
    ctx = EVP_PKEY_CTX_dup(k->sign);
    ok = ctx && EVP_PKEY_sign(ctx, sig, n, digest, sizeof(digest)) == 1;
    EVP_PKEY_CTX_free(ctx);
    if (!ok)
        ERR_clear_error();
    return ok ? 0 : -1;
}

int pkey_verify_sha256(const struct pkey *k, const struct slice *parts, size_t count,
                       struct slice sig)
{
    uint8_t digest[SHA256_LEN];
    EVP_PKEY_CTX *ctx;
    int ok;

    if (sig.n != pkey_signature_len(k) || sha256_parts(parts, count, digest) < 0)
        return -1;
    ctx = EVP_PKEY_CTX_dup(k->verify);
    ok = ctx && EVP_PKEY_verify(ctx, (const uint8_t *)sig.p, sig.n, digest, sizeof(digest)) == 1;
    EVP_PKEY_CTX_free(ctx);
    if (!ok)
        ERR_clear_error();
    return ok ? 0 : -1;
}

int cert_serial_hex(struct slice pem, char *out, size_t n)
{
    X509 *cert = read_cert(pem);
    BIGNUM *serial = cert ? ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL) : NULL;
    char *hex = serial && !BN_is_negative(serial) ? BN_bn2hex(serial) : NULL;
    int rc = -1;

    if (hex && strlen(hex) < n) {
        memcpy(out, hex, strlen(hex) + 1);
        rc = 0;
    }
    OPENSSL_free(hex);
    BN_free(serial);
    X509_free(cert);
    if (rc < 0)
        ERR_clear_error();
    return rc;
}

static int seconds_of(const ASN1_TIME *epoch, const ASN1_TIME *t, int64_t *out)
{
    int days, seconds;

    if (!t || ASN1_TIME_diff(&days, &seconds, epoch, t) != 1)
        return -1;
    *out = (int64_t)days * 86400 + seconds;
    return 0;
}

int cert_validity(struct slice pem, int64_t *from, int64_t *to)
{
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    X509 *cert = read_cert(pem);
    int64_t not_before, not_after;
    int rc = -1;

    if (epoch && cert && seconds_of(epoch, X509_get0_notBefore(cert), &not_before) == 0 &&
        seconds_of(epoch, X509_get0_notAfter(cert), &not_after) == 0) {
        *from = not_before;
        *to = not_after;
        rc = 0;
    }
    X509_free(cert);
    ASN1_TIME_free(epoch);
    if (rc < 0)
        ERR_clear_error();
    return rc;
}
