/* crypto_sha256 - internal to crypto*.c: the hash of a message given in parts, certificates. */
#ifndef CORE_CRYPTO_SHA256_H
#define CORE_CRYPTO_SHA256_H

#include "crypto.h"

#include <openssl/sha.h>
#include <openssl/x509.h>

/* NULL when it is none. */
X509 *crypto_read_cert(struct slice pem);
int sha256_parts(const struct slice *parts, size_t count, uint8_t out[SHA256_LEN]);

#endif
