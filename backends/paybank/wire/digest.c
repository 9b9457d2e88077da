#include "digest.h"

#include "core/crypto_old.h"
#include <openssl/evp.h>

static void to_hex(const uint8_t *raw, size_t n, bool upper, char *out)
{
    const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[raw[i] >> 4];
        out[2 * i + 1] = digits[raw[i] & 15];
    }
    out[2 * n] = '\0';
}

int md5_hex(struct slice in, bool upper, char out[DIGEST_HEX_MAX])
{
    uint8_t raw[MD5_LEN];

    if (md5_parts(&in, 1, raw) < 0)
        return -1;
    to_hex(raw, sizeof(raw), upper, out);
    return 0;
}

int sha1_hex(struct slice in, char out[DIGEST_HEX_MAX])
{
    uint8_t raw[SHA1_LEN];

    if (EVP_Digest(in.p, in.n, raw, NULL, EVP_sha1(), NULL) != 1)
        return -1;
    to_hex(raw, sizeof(raw), false, out);
    return 0;
}

int sha256_hex(struct slice in, char out[DIGEST_HEX_MAX])
{
    uint8_t raw[SHA256_LEN];

    if (sha256(in, raw) < 0)
        return -1;
    to_hex(raw, sizeof(raw), false, out);
    return 0;
}

int hmac_hex_upper(const struct hmac_key *k, struct slice in, char out[DIGEST_HEX_MAX])
{
    uint8_t raw[SHA256_LEN];

    if (hmac_sign(k, &in, 1, raw) < 0)
        return -1;
    to_hex(raw, sizeof(raw), true, out);
    return 0;
}

int aes256_ecb_seal(struct slice key, struct slice plain, struct buf *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    unsigned char *to = (unsigned char *)buf_reserve(out, plain.n + 32);
    int n = 0, rest = 0;
    int rc = -1;

    if (ctx && to && key.n == AES256_KEY_LEN &&
        EVP_EncryptInit_ex(ctx, EVP_aes_256_ecb(), NULL, (const unsigned char *)key.p, NULL) == 1 &&
        EVP_EncryptUpdate(ctx, to, &n, (const unsigned char *)plain.p, (int)plain.n) == 1 &&
        EVP_EncryptFinal_ex(ctx, to + n, &rest) == 1) {
        out->n += (size_t)(n + rest);
        rc = 0;
    }
    EVP_CIPHER_CTX_free(ctx);
    return rc;
}
