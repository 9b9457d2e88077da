/* AES-256-GCM, secrets at rest, base64 and hex. */
#include "crypto.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <pthread.h>

#define NONCE_LEN 12u
/* WeChat names "up to 16 bytes" for the nonces it sends; today they have 12 */
#define NONCE_MIN     8u
#define NONCE_MAX     16u
#define VAULT_VERSION 1

/* Fetching searches the providers under a lock: once per process. */
static EVP_CIPHER *aes_gcm;
static pthread_once_t aes_gcm_once = PTHREAD_ONCE_INIT;

static void fetch_aes_gcm(void)
{
    aes_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
}

/* A context with key and nonce set and aad added, or NULL. */
static EVP_CIPHER_CTX *gcm_begin(struct slice key, struct slice nonce, struct slice aad, int seal)
{
    EVP_CIPHER_CTX *ctx;
    int n;

    if (key.n != AES256_KEY_LEN || nonce.n < NONCE_MIN || nonce.n > NONCE_MAX || aad.n > INT_MAX)
        return NULL;
    pthread_once(&aes_gcm_once, fetch_aes_gcm);
    ctx = EVP_CIPHER_CTX_new();
    if (ctx && EVP_CipherInit_ex2(ctx, aes_gcm, NULL, NULL, seal, NULL) == 1 &&
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, (int)nonce.n, NULL) == 1 &&
        EVP_CipherInit_ex2(ctx, NULL, (const uint8_t *)key.p, (const uint8_t *)nonce.p, seal,
                           NULL) == 1 &&
        (aad.n == 0 || EVP_CipherUpdate(ctx, NULL, &n, (const uint8_t *)aad.p, (int)aad.n) == 1))
        return ctx;
    EVP_CIPHER_CTX_free(ctx);
    return NULL;
}

/* All of `in` into `to`, which has room for it. */
static bool gcm_update(EVP_CIPHER_CTX *ctx, struct slice in, uint8_t *to)
{
    int n = 0;

    return in.n == 0 ||
           (EVP_CipherUpdate(ctx, to, &n, (const uint8_t *)in.p, (int)in.n) == 1 && n == (int)in.n);
}

int gcm_seal(struct slice key, struct slice nonce, struct slice aad, struct slice plain,
             struct buf *out)
{
    EVP_CIPHER_CTX *ctx;
    uint8_t *to;
    int n = 0;
    bool ok;

    if (nonce.n != NONCE_LEN || plain.n > INT_MAX - GCM_TAG_LEN)
        return -1;
    to = (uint8_t *)buf_reserve(out, plain.n + GCM_TAG_LEN);
    ctx = to ? gcm_begin(key, nonce, aad, 1) : NULL;
    ok = ctx && gcm_update(ctx, plain, to) && EVP_CipherFinal_ex(ctx, to + plain.n, &n) == 1 &&
         n == 0 && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, GCM_TAG_LEN, to + plain.n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (!ok) {
        ERR_clear_error();
        return -1;
    }
    out->n += plain.n + GCM_TAG_LEN;
    return 0;
}

int gcm_open(struct slice key, struct slice nonce, struct slice aad, struct slice in,
             struct buf *out)
{
    uint8_t tag[GCM_TAG_LEN];
    EVP_CIPHER_CTX *ctx;
    struct slice cipher;
    uint8_t *to;
    int n = 0;
    bool ok;

    if (in.n < GCM_TAG_LEN || in.n > INT_MAX)
        return -1;
    cipher = slice_n(in.p, in.n - GCM_TAG_LEN);
    memcpy(tag, in.p + cipher.n, sizeof(tag));
    to = (uint8_t *)buf_reserve(out, cipher.n);
    ctx = to ? gcm_begin(key, nonce, aad, 0) : NULL;
    ok = ctx && gcm_update(ctx, cipher, to) &&
         EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, GCM_TAG_LEN, tag) == 1 &&
         EVP_CipherFinal_ex(ctx, to + cipher.n, &n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (!ok) {
        /* what was decrypted before the tag turned out wrong is nobody's business */
        if (to)
            wipe(to, cipher.n);
        ERR_clear_error();
        return -1;
    }
    out->n += cipher.n;
    return 0;
}

int vault_seal(struct slice master, struct slice context, struct slice plain, struct buf *out)
{
    uint8_t head[1 + NONCE_LEN] = {VAULT_VERSION};
    size_t before = out->n;

    if (random_bytes(head + 1, NONCE_LEN) < 0)
        return -1;
    buf_add(out, head, sizeof(head));
    if (gcm_seal(master, slice_n(head + 1, NONCE_LEN), context, plain, out) < 0) {
        if (buf_ok(out))
            out->n = before;
        return -1;
    }
    return 0;
}

int vault_open(struct slice master, struct slice context, struct slice sealed, struct buf *out)
{
    if (sealed.n < 1 + NONCE_LEN + GCM_TAG_LEN || sealed.p[0] != VAULT_VERSION)
        return -1;
    return gcm_open(master, slice_n(sealed.p + 1, NONCE_LEN), context,
                    slice_n(sealed.p + 1 + NONCE_LEN, sealed.n - 1 - NONCE_LEN), out);
}

/* ------------------------------------------------------------------ text forms */

void base64_encode(struct buf *b, struct slice in)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *p = (const uint8_t *)in.p;
    char *to = in.n > SIZE_MAX / 2 ? NULL : buf_reserve(b, (in.n + 2) / 3 * 4);

    if (!to) {
        b->failed = true;
        return;
    }
    for (size_t i = 0; i < in.n; i += 3) {
        size_t left = in.n - i;
        uint32_t bits = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
                        (left > 2 ? (uint32_t)p[i + 2] : 0);

        *to++ = alphabet[bits >> 18];
        *to++ = alphabet[bits >> 12 & 63];
        *to++ = left > 1 ? alphabet[bits >> 6 & 63] : '=';
        *to++ = left > 2 ? alphabet[bits & 63] : '=';
    }
    b->n += (in.n + 2) / 3 * 4;
}

/* The letters from '+' to 'z'; 255 is none. */
static uint32_t base64_value(char c)
{
    static const uint8_t values[] = {
        62,  255, 255, 255, 63,  52,  53, 54, 55, 56, 57, 58, 59, 60, 61, 255,
        255, 255, 255, 255, 255, 255, 0,  1,  2,  3,  4,  5,  6,  7,  8,  9,
        10,  11,  12,  13,  14,  15,  16, 17, 18, 19, 20, 21, 22, 23, 24, 25,
        255, 255, 255, 255, 255, 255, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35,
        36,  37,  38,  39,  40,  41,  42, 43, 44, 45, 46, 47, 48, 49, 50, 51};
    unsigned at = (unsigned char)c - (unsigned)'+';

    return at < sizeof(values) ? values[at] : 255;
}

/* Strict: one text per value. No blanks, padding where it must be, unused bits zero. */
int base64_decode(struct buf *b, struct slice in)
{
    size_t padding = 0, i = 0;
    uint32_t bits = 0;
    size_t n, letters;
    uint8_t *to;

    if (in.n % 4 != 0)
        return -1;
    if (in.n)
        padding = in.p[in.n - 1] != '=' ? 0 : in.p[in.n - 2] != '=' ? 1 : 2;
    letters = in.n - padding;
    n = in.n / 4 * 3 - padding;
    to = (uint8_t *)buf_reserve(b, n);
    if (!to)
        return -1;
    for (; i + 4 <= letters; i += 4) {
        uint32_t a = base64_value(in.p[i]), b1 = base64_value(in.p[i + 1]);
        uint32_t c = base64_value(in.p[i + 2]), d = base64_value(in.p[i + 3]);

        if ((a | b1 | c | d) > 63)
            return -1;
        bits = a << 18 | b1 << 12 | c << 6 | d;
        *to++ = (uint8_t)(bits >> 16);
        *to++ = (uint8_t)(bits >> 8);
        *to++ = (uint8_t)bits;
    }
    for (; i < letters; i++) {
        uint32_t v = base64_value(in.p[i]);

        if (v > 63)
            return -1;
        bits = bits << 6 | v;
        if (i % 4 != 0)
            *to++ = (uint8_t)(bits >> (6 - i % 4 * 2));
    }
    /* one '=' leaves 2 unused bits, two leave 4 */
    if ((bits & ((1u << 2 * padding) - 1)) != 0)
        return -1;
    b->n += n;
    return 0;
}

void hex_encode(struct buf *b, struct slice in, bool upper)
{
    const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    char *to = in.n > SIZE_MAX / 2 ? NULL : buf_reserve(b, 2 * in.n);

    if (!to) {
        b->failed = true;
        return;
    }
    for (size_t i = 0; i < in.n; i++) {
        *to++ = digits[(uint8_t)in.p[i] >> 4];
        *to++ = digits[(uint8_t)in.p[i] & 15];
    }
    b->n += 2 * in.n;
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

int hex_decode(struct buf *b, struct slice in)
{
    char *to;

    if (in.n % 2 != 0)
        return -1;
    to = buf_reserve(b, in.n / 2);
    if (!to)
        return -1;
    for (size_t i = 0; i < in.n; i += 2) {
        int high = hex_value(in.p[i]);
        int low = hex_value(in.p[i + 1]);

        if (high < 0 || low < 0)
            return -1;
        *to++ = (char)(high << 4 | low);
    }
    b->n += in.n / 2;
    return 0;
}
