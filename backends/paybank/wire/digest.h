/*
 * digest - what the old protocols are made of: MD5 and HMAC-SHA256 as hex, SHA-1 of a bill,
 * AES-ECB. All: 0, or -1. Hex is NUL-terminated.
 */
#ifndef PAYBANK_DIGEST_H
#define PAYBANK_DIGEST_H

#include "core/crypto.h"

#define DIGEST_HEX_MAX 65

int md5_hex(struct slice in, bool upper, char out[DIGEST_HEX_MAX]);
int sha1_hex(struct slice in, char out[DIGEST_HEX_MAX]);
int sha256_hex(struct slice in, char out[DIGEST_HEX_MAX]);
int hmac_hex_upper(const struct hmac_key *k, struct slice in, char out[DIGEST_HEX_MAX]);
/* PKCS#7 padding; key: 32 bytes. */
int aes256_ecb_seal(struct slice key, struct slice plain, struct buf *out);

#endif
