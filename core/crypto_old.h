/*
 * crypto_old - primitives that payment channels still ask for and nobody would choose today: SHA-1
 * as the checksum of a bill, AES-256-ECB as the envelope of WeChat's refund notifications. Neither
 * proves who wrote something.
 */
#ifndef CORE_CRYPTO_OLD_H
#define CORE_CRYPTO_OLD_H

#include "crypto.h"

#define SHA1_LEN 20

int sha1(struct slice in, uint8_t out[SHA1_LEN]);
/* PKCS#7 padding removed. key has AES256_KEY_LEN bytes. 0, or -1 (length, padding). */
int aes256_ecb_open(struct slice key, struct slice in, struct buf *out);

#endif
