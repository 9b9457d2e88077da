/*
 * primitives - what the cryptography alone costs here and now: CPU microseconds per operation, as
 * one JSON line. bench-create prints the WeChat Pay v3 row beside the RSA floor made of these.
 */
#define _GNU_SOURCE
#include "core/crypto.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BODY 500

static int64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static struct slice pem_of(EVP_PKEY *key, int private)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *p;
    long n;
    char *copy;

    if (private)
        PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    else
        PEM_write_bio_PUBKEY(bio, key);
    n = BIO_get_mem_data(bio, &p);
    copy = malloc((size_t)n);
    if (!copy)
        exit(1);
    memcpy(copy, p, (size_t)n);
    BIO_free(bio);
    return slice_n(copy, (size_t)n);
}

int main(void)
{
    static char body[BODY];
    struct slice part = slice_n(body, sizeof(body));
    EVP_PKEY *made = EVP_RSA_gen(2048);
    struct pkey *private = pkey_private_from_pem(pem_of(made, 1));
    struct pkey *public = pkey_public_from_pem(pem_of(made, 0));
    struct hmac_key *hmac = hmac_key_new(SLICE("0123456789abcdef0123456789abcdef"));
    uint8_t sig[512], mac[SHA256_LEN];
    size_t n = sizeof(sig);
    int64_t t, sign_ns, verify_ns, hmac_ns;

    if (!private || !public || !hmac)
        return 1;
    t = cpu_ns();
    for (int i = 0; i < 400; i++) {
        n = sizeof(sig);
        if (pkey_sign_sha256(private, &part, 1, sig, &n) != 0)
            return 1;
    }
    sign_ns = (cpu_ns() - t) / 400;
    t = cpu_ns();
    for (int i = 0; i < 4000; i++)
        if (pkey_verify_sha256(public, &part, 1, slice_n(sig, n)) != 0)
            return 1;
    verify_ns = (cpu_ns() - t) / 4000;
    t = cpu_ns();
    for (int i = 0; i < 200000; i++)
        if (hmac_sign(hmac, &part, 1, mac) != 0)
            return 1;
    hmac_ns = (cpu_ns() - t) / 200000;
    printf("{\"rsa_sign_us\":%.1f,\"rsa_verify_us\":%.1f,\"hmac_us\":%.3f}\n",
           (double)sign_ns / 1e3, (double)verify_ns / 1e3, (double)hmac_ns / 1e3);
    return 0;
}
