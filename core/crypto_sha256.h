/* crypto_sha256 - internal to crypto*.c: the hash of a message given in parts. */
#ifndef CORE_CRYPTO_SHA256_H
#define CORE_CRYPTO_SHA256_H

#include "crypto.h"

#include <openssl/sha.h>

int sha256_parts(const struct slice *parts, size_t count, uint8_t out[SHA256_LEN]);

#endif
