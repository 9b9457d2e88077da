/*
 * Hashes, HMAC, secrets, random numbers. Public keys live in crypto_pkey.c, encryption and the text
 * forms in crypto_seal.c.
 *
 * SHA-256 goes through OpenSSL's low-level functions, deprecated since 3.0: HMAC with copied
 * contexts costs 388 ns a message, the cached EVP_MAC way 1396 ns, and the edge does at least one
 * for each request. They do not touch the heap, the error queue or a lock either.
 */
#include "crypto.h"

#include "crypto_sha256.h"

#include <openssl/crypto.h>
#include <errno.h>
#include <openssl/md5.h>
#include <stdlib.h>
#include <sys/random.h>

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#define HMAC_BLOCK 64u

void wipe(void *p, size_t n)
{
    if (n)
        OPENSSL_cleanse(p, n);
}

bool equal_ct(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || CRYPTO_memcmp(a.p, b.p, a.n) == 0);
}

int secret_set(struct secret *s, struct slice from)
{
    uint8_t *p = NULL;

    if (from.n) {
        p = malloc(from.n);
        if (!p)
            return -1;
        memcpy(p, from.p, from.n);
    }
    secret_release(s);
    s->p = p;
    s->n = from.n;
    return 0;
}

void secret_release(struct secret *s)
{
    wipe(s->p, s->n);
    free(s->p);
    *s = (struct secret){0};
}

static int update_parts(SHA256_CTX *ctx, const struct slice *parts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (parts[i].n && SHA256_Update(ctx, parts[i].p, parts[i].n) != 1)
            return -1;
    return 0;
}

int sha256_parts(const struct slice *parts, size_t count, uint8_t out[SHA256_LEN])
{
    SHA256_CTX ctx;

    if (SHA256_Init(&ctx) != 1 || update_parts(&ctx, parts, count) < 0)
        return -1;
    return SHA256_Final(out, &ctx) == 1 ? 0 : -1;
}

int sha256(struct slice in, uint8_t out[SHA256_LEN])
{
    return sha256_parts(&in, 1, out);
}

int sha512_parts(const struct slice *parts, size_t count, uint8_t out[SHA512_LEN])
{
    SHA512_CTX ctx;

    if (SHA512_Init(&ctx) != 1)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (parts[i].n && SHA512_Update(&ctx, parts[i].p, parts[i].n) != 1)
            return -1;
    return SHA512_Final(out, &ctx) == 1 ? 0 : -1;
}

int md5_parts(const struct slice *parts, size_t count, uint8_t out[MD5_LEN])
{
    MD5_CTX ctx;

    if (MD5_Init(&ctx) != 1)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (parts[i].n && MD5_Update(&ctx, parts[i].p, parts[i].n) != 1)
            return -1;
    return MD5_Final(out, &ctx) == 1 ? 0 : -1;
}

/* ------------------------------------------------------------------ HMAC (RFC 2104) */

struct hmac_key {
    SHA256_CTX inner; /* after the block key ^ ipad */
    SHA256_CTX outer; /* after the block key ^ opad */
};

static int hash_pad(SHA256_CTX *ctx, const uint8_t key[HMAC_BLOCK], uint8_t pad)
{
    uint8_t block[HMAC_BLOCK];
    int ok;

    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = key[i] ^ pad;
    ok = SHA256_Init(ctx) == 1 && SHA256_Update(ctx, block, sizeof(block)) == 1;
    wipe(block, sizeof(block));
    return ok ? 0 : -1;
}

struct hmac_key *hmac_key_new(struct slice key)
{
    uint8_t block[HMAC_BLOCK] = {0};
    struct hmac_key *k;
    int rc = 0;

    if (key.n == 0)
        return NULL;
    k = malloc(sizeof(*k));
    if (!k)
        return NULL;
    if (key.n > sizeof(block))
        rc = sha256(key, block);
    else
        memcpy(block, key.p, key.n);
    if (rc == 0)
        rc = hash_pad(&k->inner, block, 0x36);
    if (rc == 0)
        rc = hash_pad(&k->outer, block, 0x5c);
    wipe(block, sizeof(block));
    if (rc < 0) {
        hmac_key_free(k);
        return NULL;
    }
    return k;
}

void hmac_key_free(struct hmac_key *k)
{
    if (!k)
        return;
    wipe(k, sizeof(*k));
    free(k);
}

int hmac_sign(const struct hmac_key *k, const struct slice *parts, size_t count,
              uint8_t out[SHA256_LEN])
{
    SHA256_CTX ctx = k->inner;
    uint8_t inner[SHA256_LEN];
    int ok;

    ok = update_parts(&ctx, parts, count) == 0 && SHA256_Final(inner, &ctx) == 1;
    ctx = k->outer;
    ok = ok && SHA256_Update(&ctx, inner, sizeof(inner)) == 1 && SHA256_Final(out, &ctx) == 1;
    return ok ? 0 : -1; /* SHA256_Final has wiped the context */
}

int hmac_verify(const struct hmac_key *k, const struct slice *parts, size_t count, struct slice mac)
{
    uint8_t own[SHA256_LEN];

    if (hmac_sign(k, parts, count, own) < 0)
        return -1;
    return equal_ct(slice_n(own, sizeof(own)), mac) ? 0 : -1;
}

/* ------------------------------------------------------------------ random */

int random_bytes(void *p, size_t n)
{
    char *to = p;

    /* the kernel's: a generator of our own process would have to notice forks */
    while (n) {
        ssize_t got = getrandom(to, n, 0);

        if (got < 0 && errno != EINTR)
            return -1;
        if (got > 0) {
            to += got;
            n -= (size_t)got;
        }
    }
    return 0;
}

void random_token(char *out, size_t n)
{
    static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const unsigned letters = sizeof(alphabet) - 1;
    uint8_t raw[64];
    size_t have = 0;

    while (n) {
        if (have == 0) {
            /* a nonce that can be guessed is worse than no process: nobody checks a void */
            if (random_bytes(raw, sizeof(raw)) < 0)
                abort();
            have = sizeof(raw);
        }
        have--;
        /* bytes over the last whole multiple would favour the alphabet's first letters */
        if (raw[have] >= 256 / letters * letters)
            continue;
        *out++ = alphabet[raw[have] % letters];
        n--;
    }
}
