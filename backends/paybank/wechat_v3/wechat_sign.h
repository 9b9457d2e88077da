/*
 * wechat_sign - signatures and encryption of WeChat Pay v3 as the platform sees them. Built here
 * from the fact sheet and not from core/scheme.h, which the gateway uses: were both made by one
 * hand, a mistake would be right on both sides. Pure: no clock, no I/O.
 */
#ifndef PAYBANK_WECHAT_SIGN_H
#define PAYBANK_WECHAT_SIGN_H

#include "backends/paybank/conf.h"

#define WECHAT_WINDOW_S 300

struct wechat_auth {
    struct slice mchid;
    struct slice nonce_str;
    struct slice timestamp;
    struct slice serial_no;
    struct slice signature;
};

/* The header's parameters, each exactly once, in any order. 0, or -1 with a static reason. */
int wechat_auth_parse(struct slice header, struct wechat_auth *out, const char **reason);
/* Serial number, time and signature against the merchant's certificate. */
int wechat_auth_verify(const struct wechat_auth *auth, const struct merchant *m,
                       struct slice method, struct slice target, struct slice body, int64_t now_s,
                       const char **reason);
/* Adds the base64 signature over "timestamp\nnonce\nbody\n". 0 or -1. */
int wechat_sign(const struct merchant *m, struct slice timestamp, struct slice nonce,
                struct slice body, struct buf *out);
/* Adds base64(AES-256-GCM) under the merchant's APIv3 key. nonce: 12 bytes. 0 or -1. */
int wechat_encrypt(const struct merchant *m, struct slice nonce, struct slice aad,
                   struct slice plain, struct buf *out);

#endif
