/*
 * scheme - signature schemes between merchants and us (and WeChat Pay v3, which has the same form).
 *
 * Header scheme (wechat-v3.md): `Authorization: SCHEMA mchid="..",nonce_str="..",timestamp="..",
 * serial_no="..",signature=".."`, parameters in any order, each exactly once.
 *   request message:  METHOD\n target-as-sent\n timestamp\n nonce\n body\n
 *   answer message:   timestamp\n nonce\n body\n
 * Schemas: WECHATPAY2-SHA256-RSA2048 (answers carry Wechatpay-...), PAY-SHA256-RSA2048 and
 * PAY-HMAC-SHA256 (answers carry Pay-...). The algorithm is the key record's; a schema that does
 * not fit the key's algorithm is refused by the caller with scheme_fits.
 */
#ifndef CORE_SCHEME_H
#define CORE_SCHEME_H

#include "crypto.h"

enum scheme { SCHEME_NONE, SCHEME_WECHATPAY2_RSA, SCHEME_PAY_RSA, SCHEME_PAY_HMAC };
enum key_alg { KEY_ALG_NONE, KEY_RSA_SHA256, KEY_HMAC_SHA256 };

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
bool scheme_fits(enum scheme s, enum key_alg alg);
/* "rsa-sha256", "hmac-sha256" (as stored in app_key.alg). KEY_ALG_NONE when unknown. */
enum key_alg key_alg_parse(struct slice s);
const char *key_alg_name(enum key_alg alg);

/* The five (three) lines as parts for hmac_/pkey_ functions; parts must hold SCHEME_PARTS. Returns
 * the count. No copy: slices must outlive the call that uses the parts. */
#define SCHEME_PARTS 10
size_t scheme_request_parts(struct slice method, struct slice target, struct slice timestamp,
                            struct slice nonce, struct slice body, struct slice *parts);
size_t scheme_answer_parts(struct slice timestamp, struct slice nonce, struct slice body,
                           struct slice *parts);

/* Exactly one of hmac, pkey is set, as alg says. */
struct verify_key {
    enum key_alg alg;
    struct hmac_key *hmac;
    struct pkey *pkey;
};
/* key material: HMAC secret bytes, or PEM for RSA (public for verifying, private for signing). */
int verify_key_load(struct verify_key *k, enum key_alg alg, struct slice material);
void verify_key_release(struct verify_key *k);
/* The one verification path. 0 = genuine, -1 = not. */
int scheme_verify(const struct verify_key *k, const struct slice *parts, size_t count,
                  struct slice signature_base64);
/* Adds the base64 signature; k holds the private key or the HMAC secret. */
int scheme_sign(const struct verify_key *k, const struct slice *parts, size_t count,
                struct buf *out);

#endif
