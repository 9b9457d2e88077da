#include "wechat_sign.h"

#include "backends/paybank/wire/check.h"

#define SCHEMA        "WECHATPAY2-SHA256-RSA2048 "
#define NONCE_MAX     32
#define MESSAGE_SLACK 4096

static int not_genuine(const char **reason, const char *why)
{
    *reason = why;
    return -1;
}

static struct slice *member_of(struct wechat_auth *auth, struct slice name)
{
    if (slice_is(name, "mchid"))
        return &auth->mchid;
    if (slice_is(name, "nonce_str"))
        return &auth->nonce_str;
    if (slice_is(name, "timestamp"))
        return &auth->timestamp;
    if (slice_is(name, "serial_no"))
        return &auth->serial_no;
    if (slice_is(name, "signature"))
        return &auth->signature;
    return NULL;
}

/* Takes name="value" from the front of *rest. */
static int take_parameter(struct slice *rest, struct wechat_auth *auth, const char **reason)
{
    struct slice name = slice_trim(slice_cut(rest, '='));
    struct slice *member = member_of(auth, name);
    const char *quote;

    if (!member)
        return not_genuine(reason, "unknown parameter");
    if (member->p)
        return not_genuine(reason, "parameter stands twice");
    if (rest->n < 2 || rest->p[0] != '"')
        return not_genuine(reason, "value is not quoted");
    quote = memchr(rest->p + 1, '"', rest->n - 1);
    if (!quote)
        return not_genuine(reason, "value is not quoted");
    *member = slice_n(rest->p + 1, (size_t)(quote - rest->p) - 1);
    if (member->n == 0)
        return not_genuine(reason, "empty value");
    *rest = slice_n(quote + 1, rest->n - member->n - 2);
    return 0;
}

int wechat_auth_parse(struct slice header, struct wechat_auth *out, const char **reason)
{
    struct slice schema = SLICE(SCHEMA);
    struct slice rest;

    memset(out, 0, sizeof(*out));
    if (!slice_starts(header, schema))
        return not_genuine(reason, "schema is not WECHATPAY2-SHA256-RSA2048");
    rest = slice_n(header.p + schema.n, header.n - schema.n);
    for (;;) {
        if (take_parameter(&rest, out, reason) < 0)
            return -1;
        rest = slice_trim(rest);
        if (rest.n == 0)
            break;
        if (rest.p[0] != ',')
            return not_genuine(reason, "no comma between parameters");
        rest = slice_trim(slice_n(rest.p + 1, rest.n - 1));
    }
    if (!out->mchid.p || !out->nonce_str.p || !out->timestamp.p || !out->serial_no.p ||
        !out->signature.p)
        return not_genuine(reason, "parameter missing");
    if (out->nonce_str.n > NONCE_MAX || !check_charset(out->nonce_str, ""))
        return not_genuine(reason, "nonce_str is not 1 to 32 letters and digits");
    return 0;
}

static void add_line(struct buf *b, struct slice s)
{
    buf_add_slice(b, s);
    buf_add_char(b, '\n');
}

static int verify_message(const struct pkey *key, struct slice message, struct slice signature)
{
    struct buf raw;
    int rc;

    buf_init(&raw, 1024);
    rc = base64_decode(&raw, signature);
    if (rc == 0)
        rc = pkey_verify_sha256(key, &message, 1, buf_slice(&raw));
    buf_release(&raw);
    return rc;
}

int wechat_auth_verify(const struct wechat_auth *auth, const struct merchant *m,
                       struct slice method, struct slice target, struct slice body, int64_t now_s,
                       const char **reason)
{
    struct buf message;
    int64_t at;
    int rc;

    if (slice_int64(auth->timestamp, &at) < 0)
        return not_genuine(reason, "timestamp is not a number of seconds");
    if (at < now_s - WECHAT_WINDOW_S || at > now_s + WECHAT_WINDOW_S)
        return not_genuine(reason, "timestamp is more than 300 s away");
    if (!slice_is(auth->serial_no, m->merchant_serial))
        return not_genuine(reason, "serial_no is not of the merchant's certificate");
    buf_init(&message, method.n + target.n + body.n + MESSAGE_SLACK);
    add_line(&message, method);
    add_line(&message, target);
    add_line(&message, auth->timestamp);
    add_line(&message, auth->nonce_str);
    add_line(&message, body);
    rc = buf_ok(&message) ? verify_message(m->merchant_key, buf_slice(&message), auth->signature)
                          : -1;
    buf_release(&message);
    return rc < 0 ? not_genuine(reason, "sign not match") : 0;
}

int wechat_sign(const struct merchant *m, struct slice timestamp, struct slice nonce,
                struct slice body, struct buf *out)
{
    uint8_t sig[1024];
    size_t n = sizeof(sig);
    struct buf message;
    struct slice whole;
    int rc = -1;

    buf_init(&message, timestamp.n + nonce.n + body.n + 3);
    add_line(&message, timestamp);
    add_line(&message, nonce);
    add_line(&message, body);
    whole = buf_slice(&message);
    if (buf_ok(&message))
        rc = pkey_sign_sha256(m->platform_key, &whole, 1, sig, &n);
    buf_release(&message);
    if (rc < 0)
        return -1;
    base64_encode(out, slice_n(sig, n));
    return buf_ok(out) ? 0 : -1;
}

int wechat_encrypt(const struct merchant *m, struct slice nonce, struct slice aad,
                   struct slice plain, struct buf *out)
{
    struct buf sealed;
    int rc;

    buf_init(&sealed, plain.n + GCM_TAG_LEN);
    rc = gcm_seal(slice_n(m->api_v3_key.p, m->api_v3_key.n), nonce, aad, plain, &sealed);
    if (rc == 0)
        base64_encode(out, buf_slice(&sealed));
    buf_release(&sealed);
    return rc == 0 && buf_ok(out) ? 0 : -1;
}
