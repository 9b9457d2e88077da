#include "crypto_old.h"

#include <limits.h>
#include <openssl/evp.h>

int sha1(struct slice in, uint8_t out[SHA1_LEN])
{
    return EVP_Digest(in.p, in.n, out, NULL, EVP_sha1(), NULL) == 1 ? 0 : -1;
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
