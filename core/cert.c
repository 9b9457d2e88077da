#include "cert.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#define ROOTS_MAX 16

struct cert_roots {
    X509_STORE *store;
};

void cert_roots_free(struct cert_roots *r)
{
    if (!r)
        return;
    X509_STORE_free(r->store);
    free(r);
}

/* Adds each certificate of the text; how many, or -1. */
static int add_all(X509_STORE *store, struct slice pem)
{
    BIO *bio = pem.n <= INT_MAX ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
    X509 *cert;
    int n = 0;

    while (bio && n >= 0 && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        bool ok = n < ROOTS_MAX && X509_check_ca(cert) > 0 && X509_STORE_add_cert(store, cert) == 1;

        n = ok ? n + 1 : -1;
        X509_free(cert);
    }
    BIO_free(bio);
    return n;
}

struct cert_roots *cert_roots_from_pem(struct slice pem)
{
    struct cert_roots *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->store = X509_STORE_new();
    if (!r->store || add_all(r->store, pem) <= 0) {
        cert_roots_free(r);
        r = NULL;
    }
    ERR_clear_error();
    return r;
}

static X509 *read_cert(struct slice pem)
{
    BIO *bio = pem.n <= INT_MAX ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
    X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

    BIO_free(bio);
    return cert;
}

static bool chains(const struct cert_roots *r, X509 *cert, int64_t now_s)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    bool ok = false;

    if (ctx && X509_STORE_CTX_init(ctx, r->store, cert, NULL) == 1) {
        X509_STORE_CTX_set_time(ctx, 0, (time_t)now_s);
        /* an intermediate among our own certificates is as good as a root */
        X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_PARTIAL_CHAIN);
        ok = X509_verify_cert(ctx) == 1;
    }
    X509_STORE_CTX_free(ctx);
    return ok;
}

/* The subject has one common name, and one of its parts is `name`. */
static bool is_named(const X509 *cert, struct slice name)
{
    const X509_NAME *subject = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    uint8_t *text = NULL;
    bool found = false;
    int n;

    if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
        return false;
    n = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    for (struct slice rest = slice_n(text, n > 0 ? (size_t)n : 0); rest.n && !found;)
        found = slice_eq(slice_cut(&rest, '@'), name);
    OPENSSL_free(text);
    return found;
}

struct pkey *cert_trusted_key(const struct cert_roots *r, struct slice pem, struct slice name,
                              int64_t now_s, int64_t *until_s, const char **reason)
{
    X509 *cert = read_cert(pem);
    struct pkey *key = NULL;
    int64_t from;

    *reason = "certificate cannot be read";
    if (cert && cert_validity(pem, &from, until_s) == 0) {
        *reason = "certificate is not of the expected name";
        if (is_named(cert, name)) {
            *reason = "certificate does not chain to the account's, or is out of date";
            if (chains(r, cert, now_s)) {
                key = pkey_public_from_pem(pem);
                *reason = key ? NULL : "certificate has no usable key";
            }
        }
    }
    X509_free(cert);
    ERR_clear_error();
    return key;
}

struct pkey *pkey_private_generate(void)
{
    EVP_PKEY *made = EVP_RSA_gen(2048);
    BIO *bio = BIO_new(BIO_s_mem());
    struct pkey *key = NULL;
    char *p;
    long n;

    if (made && bio && PEM_write_bio_PrivateKey(bio, made, NULL, NULL, 0, NULL, NULL) == 1) {
        n = BIO_get_mem_data(bio, &p);
        key = pkey_private_from_pem(slice_n(p, (size_t)n));
        wipe(p, (size_t)n);
    }
    BIO_free(bio);
    EVP_PKEY_free(made);
    ERR_clear_error();
    return key;
}
