/*
 * signer - signatures of messages, in both directions, as the adapter describes them: an algorithm,
 * the text that is signed, and where the signature stands: in headers, whose templates are written
 * and read alike ('t=$timestamp,n=$nonce,s=$signature'), or in a member of the body.
 */
#ifndef CHANNEL_SIGNER_H
#define CHANNEL_SIGNER_H

#include "core/json.h"
#include "source.h"

enum sign_algorithm { ALGORITHM_RSA_SHA256, ALGORITHM_HMAC_SHA256, ALGORITHM_MD5 };
enum sign_text { SIGN_BASE64, SIGN_HEX, SIGN_HEX_UPPER };

#define SIGNER_KEYS_MAX    4u
#define SIGNER_HEADERS_MAX 6u
#define SIGNER_LEAVE_MAX   8u

struct signer_header {
    const char *name;
    struct text_template value;
    bool optional; /* verify: may be absent */
};

struct signer {
    enum sign_algorithm algorithm;
    enum sign_text text;
    bool digest;                    /* what is signed is the lower-case hex of the text's SHA-256 */
    uint32_t keys[SIGNER_KEYS_MAX]; /* secrets of the account */
    uint32_t nkeys;
    struct text_template message;
    struct slice
        leave[SIGNER_LEAVE_MAX]; /* not in $sorted; the signature's own name is the first */
    uint32_t nleave;
    const char *member; /* of the body, which is the signature; NULL: it stands in headers */
    struct signer_header headers[SIGNER_HEADERS_MAX];
    uint32_t nheaders;
    const char
        *certificate; /* verify: member with the certificate that signed; the key is its CA */
    struct source cert_name; /* part of its common name */
    bool uses_sorted, uses_key;
    bool by_serial; /* verify: $serial chooses the key */
    int64_t window_s;
    struct slice probe; /* a signature that begins so never verifies */
};

/* Words of the language, for documentation; NULL past the last. */
const char *signer_word(size_t i);
extern const struct conf_directive signer_sign_table[];
extern const struct conf_directive signer_verify_table[];

enum signer_use {
    SIGNER_REQUEST,
    SIGNER_VERIFY,
    SIGNER_PRESENT /* a member, over whatever texts the payer's app wants */
};
struct compiler;
int signer_compile(struct compiler *cp, struct conf_node *block, enum signer_use use,
                   struct signer *out);

/* Makes f->signature. f has method, target, timestamp, nonce, body or sorted as the text needs. */
int signer_make(const struct signer *s, struct facts *f);
/* Adds the headers of a signed request. 0 or -1. */
int signer_headers(const struct signer *s, struct facts *f, struct http_header *headers,
                   size_t *nheaders, size_t max);

enum signature { SIGNATURE_GOOD, SIGNATURE_ABSENT, SIGNATURE_BAD };
/* *reason: static text why it is not good. f needs account, now, body, envelope, arena; `tree` is
 * the parsed body, NULL when it has none. */
enum signature signer_verify(const struct signer *s, struct facts *f,
                             const struct http_header *headers, size_t nheaders,
                             const struct json *tree, const char **reason);

#endif
