/*
 * crypto_old - primitives that payment channels still ask for and nobody would choose today: SHA-1
 * as the checksum of a bill, AES-256-ECB as the envelope of WeChat's refund notifications. Neither
 * proves who wrote something.
 */
#ifndef CORE_CRYPTO_OLD_H
#define CORE_CRYPTO_OLD_H

#include "crypto.h"

#define SHA1_LEN 20

/* SHA-1 of bytes that come in pieces. NULL: no memory. sha1_end gives the digest; sha1_free always.
 */
struct sha1;
struct sha1 *sha1_new(void);
int sha1_add(struct sha1 *s, struct slice in);
int sha1_end(struct sha1 *s, uint8_t out[SHA1_LEN]);
void sha1_free(struct sha1 *s);
/* PKCS#7 padding removed. key has AES256_KEY_LEN bytes. 0, or -1 (length, padding). */
int aes256_ecb_open(struct slice key, struct slice in, struct buf *out);

#endif
