#include "crypto_old.h"

#include <limits.h>
#include <openssl/evp.h>

/* OpenSSL's context under our name */
struct sha1 *sha1_new(void)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    if (ctx && EVP_DigestInit_ex(ctx, EVP_sha1(), NULL) != 1) {
        EVP_MD_CTX_free(ctx);
        ctx = NULL;
    }
    return (struct sha1 *)ctx;
}

int sha1_add(struct sha1 *s, struct slice in)
{
    return EVP_DigestUpdate((EVP_MD_CTX *)s, in.p, in.n) == 1 ? 0 : -1;
}

int sha1_end(struct sha1 *s, uint8_t out[SHA1_LEN])
{
    return EVP_DigestFinal_ex((EVP_MD_CTX *)s, out, NULL) == 1 ? 0 : -1;
}

void sha1_free(struct sha1 *s)
{
    EVP_MD_CTX_free((EVP_MD_CTX *)s);
}

int aes256_ecb_open(struct slice key, struct slice in, struct buf *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    char *to = in.n <= INT_MAX / 2 ? buf_reserve(out, in.n + 32) : NULL;
    int n = 0, tail = 0, rc = -1;

    if (ctx && to && key.n == AES256_KEY_LEN && in.n > 0 &&
        EVP_DecryptInit_ex(ctx, EVP_aes_256_ecb(), NULL, (const uint8_t *)key.p, NULL) == 1 &&
        EVP_DecryptUpdate(ctx, (uint8_t *)to, &n, (const uint8_t *)in.p, (int)in.n) == 1 &&
        EVP_DecryptFinal_ex(ctx, (uint8_t *)to + n, &tail) == 1) {
        out->n += (size_t)(n + tail);
        rc = 0;
    }
    EVP_CIPHER_CTX_free(ctx);
    return rc;
}
