/*
 * scheme - signature schemes between merchants and us, and the keys they are made with.
 *
 * A key belongs to one scheme and one algorithm from its birth; whoever verifies takes both from
 * the key, never from the message (scheme_fits compares what the message claims). The three
 * schemes: header   here, below sorted   scheme_sorted.h rfc9421  scheme_rfc9421.h
 *
 * Header scheme (wechat-v3.md): `Authorization: SCHEMA mchid="..",nonce_str="..",timestamp="..",
 * serial_no="..",signature=".."`, parameters in any order, each exactly once.
 *   request message:  METHOD\n target-as-sent\n timestamp\n nonce\n body\n
 *   answer message:   timestamp\n nonce\n body\n
 * Schemas: WECHATPAY2-SHA256-RSA2048 (answers carry Wechatpay-...), PAY-SHA256-RSA2048,
 * PAY-HMAC-SHA256 and PAY-ED25519 (answers carry Pay-...).
 */
#ifndef CORE_SCHEME_H
#define CORE_SCHEME_H

#include "crypto.h"

#define SIGNATURE_MAX 1024u /* bytes, not encoded: RSA of 8192 bits */

/* What a message claims. */
enum scheme {
    SCHEME_NONE,
    SCHEME_WECHATPAY2_RSA,
    SCHEME_PAY_RSA,
    SCHEME_PAY_HMAC,
    SCHEME_PAY_ED25519,
    SCHEME_SORTED,
    SCHEME_RFC9421
};

/* What a key is made for. */
enum key_scheme { KEY_SCHEME_NONE, KEY_SCHEME_HEADER, KEY_SCHEME_SORTED, KEY_SCHEME_RFC9421 };
enum key_alg {
    KEY_ALG_NONE,
    KEY_RSA_SHA256, /* RFC 9421: rsa-v1_5-sha256 */
    KEY_HMAC_SHA256,
    KEY_ED25519,
    KEY_ECDSA_P256_SHA256,
    KEY_RSA_PSS_SHA512,
    KEY_MD5
};

struct authorization {
    enum scheme scheme;
    struct slice mchid;
    struct slice nonce_str; /* 16..64 of 0-9A-Za-z_- */
    struct slice timestamp; /* decimal as sent */
    int64_t timestamp_s;
    struct slice serial_no; /* 1..64 of 0-9A-Za-z_- */
    struct slice signature; /* base64 as sent */
};

/* Slices point into `header`. 0, or -1 with *reason a static text naming the parameter. */
int authorization_parse(struct slice header, struct authorization *out, const char **reason);

const char *scheme_name(enum scheme s);
/* "Wechatpay-" or "Pay-". */
const char *scheme_header_prefix(enum scheme s);
/* Whether a message of scheme s may be verified with a key of that scheme and algorithm. */
bool scheme_fits(enum scheme s, enum key_scheme key_scheme, enum key_alg alg);

/* "header", "sorted", "rfc9421" (as stored in app_key.scheme). KEY_SCHEME_NONE when unknown. */
enum key_scheme key_scheme_parse(struct slice s);
const char *key_scheme_name(enum key_scheme s);
/* header: RSA, HMAC, Ed25519; sorted: MD5, HMAC, RSA; rfc9421: all but MD5. */
bool key_scheme_allows(enum key_scheme s, enum key_alg alg);
/* "rsa-sha256", "hmac-sha256", "ed25519", "ecdsa-p256-sha256", "rsa-pss-sha512", "md5" (as stored
 * in app_key.alg). KEY_ALG_NONE when unknown. */
enum key_alg key_alg_parse(struct slice s);
const char *key_alg_name(enum key_alg alg);
/* What a PEM certificate or public key verifies; RSA counts as KEY_RSA_SHA256. */
enum key_alg key_alg_of_public(struct slice pem);
/* A secret that both sides hold: HMAC-SHA256 and MD5. */
bool key_alg_is_shared(enum key_alg alg);

/* The five (three) lines as parts for hmac_/pkey_ functions; parts must hold SCHEME_PARTS. Returns
 * the count. No copy: slices must outlive the call that uses the parts. */
#define SCHEME_PARTS 10
size_t scheme_request_parts(struct slice method, struct slice target, struct slice timestamp,
                            struct slice nonce, struct slice body, struct slice *parts);
size_t scheme_answer_parts(struct slice timestamp, struct slice nonce, struct slice body,
                           struct slice *parts);
/* Standard Webhooks 1.0.0: ID.TIMESTAMP.BODY; the header is "v1," and the base64 of its HMAC. */
size_t scheme_webhook_parts(struct slice id, struct slice timestamp, struct slice body,
                            struct slice *parts);

/* pkey for public-key algorithms, secret for the shared ones, and hmac with it for HMAC. */
struct verify_key {
    enum key_alg alg;
    struct hmac_key *hmac;
    struct pkey *pkey;
    struct secret secret;
};
/* Key material: the secret's bytes, or PEM (private or public) or DER (public) of a key that is one
 * of `alg`. A secret that reads like a public key is refused: the public half is known to anybody.
 */
int verify_key_load(struct verify_key *k, enum key_alg alg, struct slice material);
void verify_key_release(struct verify_key *k);

/* The one verification path: every scheme ends here. 0 = genuine, -1 = not. The signature is raw
 * bytes; MD5 is of the message as it is, whose scheme has put the secret into it. */
int key_verify(const struct verify_key *k, const struct slice *parts, size_t count,
               struct slice signature);
/* sig has SIGNATURE_MAX bytes of room; k holds the private key or the secret. */
int key_sign(const struct verify_key *k, const struct slice *parts, size_t count, uint8_t *sig,
             size_t *n);
/* The same with the signature in base64; scheme_sign adds it to out. */
int scheme_verify(const struct verify_key *k, const struct slice *parts, size_t count,
                  struct slice signature_base64);
int scheme_sign(const struct verify_key *k, const struct slice *parts, size_t count,
                struct buf *out);

#endif
