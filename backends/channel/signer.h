/*
 * signer - signatures carried by headers, in both directions, as the adapter describes them: an
 * algorithm, the lines of the signed text, and templates of the headers. The same template that
 * writes a header ('t=$timestamp,n=$nonce,s=$signature') reads it.
 */
#ifndef CHANNEL_SIGNER_H
#define CHANNEL_SIGNER_H

#include "source.h"

enum sign_algorithm { ALGORITHM_RSA_SHA256, ALGORITHM_HMAC_SHA256 };
enum sign_text { SIGN_BASE64, SIGN_HEX };

#define SIGNER_KEYS_MAX    4u
#define SIGNER_HEADERS_MAX 6u

struct signer_header {
    const char *name;
    struct text_template value;
    bool optional; /* verify: may be absent */
};

struct signer {
    enum sign_algorithm algorithm;
    enum sign_text text;
    uint32_t keys[SIGNER_KEYS_MAX]; /* secrets of the account */
    uint32_t nkeys;
    struct text_template message;
    struct signer_header headers[SIGNER_HEADERS_MAX];
    uint32_t nheaders;
    bool by_serial; /* verify: $serial chooses the key */
    int64_t window_s;
    struct slice probe; /* a signature that begins so never verifies */
};

/* Names of algorithms, texts and messages forms, for documentation; NULL past the last. */
const char *signer_word(size_t i);
extern const struct conf_directive signer_sign_table[];
extern const struct conf_directive signer_verify_table[];

int signer_compile(struct compiler *cp, const struct conf_node *block, bool verify,
                   struct signer *out);

/* Adds the headers of a signed request. f has method, target, timestamp, nonce, body. 0 or -1. */
int signer_sign(const struct signer *s, struct facts *f, struct http_header *headers,
                size_t *nheaders, size_t max);

enum signature { SIGNATURE_GOOD, SIGNATURE_ABSENT, SIGNATURE_BAD };
/* *reason: static text why it is not good. f needs account, now, body, arena. */
enum signature signer_verify(const struct signer *s, struct facts *f,
                             const struct http_header *headers, size_t nheaders,
                             const char **reason);

#endif
