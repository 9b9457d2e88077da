#include "scheme.h"

#define SIGNATURE_MAX      1024u /* bytes: RSA of 8192 bits */
#define SIGNATURE_TEXT_MAX ((SIGNATURE_MAX + 2) / 3 * 4)

/* ------------------------------------------------------------------ names */

static const struct {
    enum scheme scheme;
    const char *name;
    const char *prefix;
    enum key_alg alg;
} schemes[] = {
    {SCHEME_WECHATPAY2_RSA, "WECHATPAY2-SHA256-RSA2048", "Wechatpay-", KEY_RSA_SHA256},
    {SCHEME_PAY_RSA, "PAY-SHA256-RSA2048", "Pay-", KEY_RSA_SHA256},
    {SCHEME_PAY_HMAC, "PAY-HMAC-SHA256", "Pay-", KEY_HMAC_SHA256},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const char *scheme_name(enum scheme s)
{
    for (size_t i = 0; i < COUNT(schemes); i++)
        if (schemes[i].scheme == s)
            return schemes[i].name;
    return "none";
}

const char *scheme_header_prefix(enum scheme s)
{
    for (size_t i = 0; i < COUNT(schemes); i++)
        if (schemes[i].scheme == s)
            return schemes[i].prefix;
    return "Pay-";
}

bool scheme_fits(enum scheme s, enum key_alg alg)
{
    for (size_t i = 0; i < COUNT(schemes); i++)
        if (schemes[i].scheme == s)
            return schemes[i].alg == alg;
    return false;
}

const char *key_alg_name(enum key_alg alg)
{
    return alg == KEY_RSA_SHA256 ? "rsa-sha256" : alg == KEY_HMAC_SHA256 ? "hmac-sha256" : "none";
}

enum key_alg key_alg_parse(struct slice s)
{
    if (slice_is(s, "rsa-sha256"))
        return KEY_RSA_SHA256;
    return slice_is(s, "hmac-sha256") ? KEY_HMAC_SHA256 : KEY_ALG_NONE;
}

/* ------------------------------------------------------------------ the Authorization header */

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_token_char(char c)
{
    return is_alnum(c) || c == '_' || c == '-';
}

static bool is_base64_char(char c)
{
    return is_alnum(c) || c == '+' || c == '/' || c == '=';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const struct parameter {
    const char *name;
    size_t offset; /* of the slice in struct authorization */
    size_t min, max;
    bool (*allowed)(char c);
    const char *missing, *repeated, *bad;
} parameters[] = {
#define PARAMETER(name, min, max, allowed)                                                         \
    {                                                                                              \
#name, offsetof(struct authorization, name), min, max, allowed, #name " is missing",       \
            #name " is repeated", #name " is malformed"                                            \
    }
    PARAMETER(mchid, 1, 64, is_token_char),
    PARAMETER(nonce_str, 16, 64, is_token_char),
    PARAMETER(timestamp, 1, 12, is_digit),
    PARAMETER(serial_no, 1, 64, is_token_char),
    PARAMETER(signature, 4, SIGNATURE_TEXT_MAX, is_base64_char),
};

static struct slice *field(struct authorization *a, const struct parameter *p)
{
    return (struct slice *)((char *)a + p->offset);
}

static const struct parameter *find_parameter(struct slice name)
{
    for (size_t i = 0; i < COUNT(parameters); i++)
        if (slice_is(name, parameters[i].name))
            return &parameters[i];
    return NULL;
}

static bool value_valid(const struct parameter *p, struct slice v)
{
    if (v.n < p->min || v.n > p->max)
        return false;
    for (size_t i = 0; i < v.n; i++)
        if (!p->allowed(v.p[i]))
            return false;
    return true;
}

/* name="value" from the start of *rest, with what may stand behind: the comma or the end. */
static int parse_parameter(struct slice *rest, struct authorization *a, const char **reason)
{
    const struct parameter *p;
    struct slice value, behind;

    *reason = "parameters are malformed";
    p = find_parameter(slice_trim(slice_cut(rest, '=')));
    if (!rest->p)
        return -1;
    *reason = "unknown parameter";
    if (!p)
        return -1;
    *reason = p->bad;
    if (rest->n == 0 || rest->p[0] != '"')
        return -1;
    *rest = slice_n(rest->p + 1, rest->n - 1);
    value = slice_cut(rest, '"');
    if (!rest->p || !value_valid(p, value))
        return -1;
    *reason = p->repeated;
    if (field(a, p)->p)
        return -1;
    *field(a, p) = value;
    *reason = "parameters are malformed";
    behind = slice_trim(slice_cut(rest, ','));
    return behind.n == 0 ? 0 : -1;
}

int authorization_parse(struct slice header, struct authorization *out, const char **reason)
{
    struct authorization a = {.scheme = SCHEME_NONE};
    struct slice rest = slice_trim(header);
    struct slice name = slice_cut(&rest, ' ');

    *reason = "unknown schema";
    for (size_t i = 0; i < COUNT(schemes); i++)
        if (slice_is(name, schemes[i].name))
            a.scheme = schemes[i].scheme;
    if (a.scheme == SCHEME_NONE)
        return -1;
    *reason = "parameters are missing";
    if (!rest.p)
        return -1;
    while (rest.p)
        if (parse_parameter(&rest, &a, reason) < 0)
            return -1;
    for (size_t i = 0; i < COUNT(parameters); i++) {
        *reason = parameters[i].missing;
        if (!field(&a, &parameters[i])->p)
            return -1;
    }
    *reason = "timestamp is malformed";
    if (slice_int64(a.timestamp, &a.timestamp_s) < 0)
        return -1;
    *out = a;
    *reason = NULL;
    return 0;
}

/* ------------------------------------------------------------------ messages */

/* Each line and its newline as two parts. */
static size_t lines(const struct slice *line, size_t count, struct slice *parts)
{
    for (size_t i = 0; i < count; i++) {
        parts[2 * i] = line[i];
        parts[2 * i + 1] = SLICE("\n");
    }
    return 2 * count;
}

size_t scheme_request_parts(struct slice method, struct slice target, struct slice timestamp,
                            struct slice nonce, struct slice body, struct slice *parts)
{
    const struct slice line[] = {method, target, timestamp, nonce, body};

    return lines(line, COUNT(line), parts);
}

size_t scheme_answer_parts(struct slice timestamp, struct slice nonce, struct slice body,
                           struct slice *parts)
{
    const struct slice line[] = {timestamp, nonce, body};

    return lines(line, COUNT(line), parts);
}

/* ------------------------------------------------------------------ keys, signing, verifying */

int verify_key_load(struct verify_key *k, enum key_alg alg, struct slice material)
{
    *k = (struct verify_key){.alg = alg};
    switch (alg) {
    case KEY_HMAC_SHA256:
        k->hmac = hmac_key_new(material);
        break;
    case KEY_RSA_SHA256:
        k->pkey = slice_contains(material, SLICE("PRIVATE KEY-----"))
                      ? pkey_private_from_pem(material)
                      : pkey_public_from_pem(material);
        break;
    case KEY_ALG_NONE:
        break;
    }
    if (k->hmac || k->pkey)
        return 0;
    k->alg = KEY_ALG_NONE;
    return -1;
}

void verify_key_release(struct verify_key *k)
{
    hmac_key_free(k->hmac);
    pkey_destroy(k->pkey);
    *k = (struct verify_key){KEY_ALG_NONE, NULL, NULL};
}

int scheme_verify(const struct verify_key *k, const struct slice *parts, size_t count,
                  struct slice signature_base64)
{
    struct buf raw;
    int rc = -1;

    buf_init(&raw, SIGNATURE_MAX);
    if (base64_decode(&raw, signature_base64) == 0) {
        if (k->alg == KEY_HMAC_SHA256 && k->hmac)
            rc = hmac_verify(k->hmac, parts, count, buf_slice(&raw));
        else if (k->alg == KEY_RSA_SHA256 && k->pkey)
            rc = pkey_verify_sha256(k->pkey, parts, count, buf_slice(&raw));
    }
    buf_release(&raw);
    return rc;
}

int scheme_sign(const struct verify_key *k, const struct slice *parts, size_t count,
                struct buf *out)
{
    uint8_t sig[SIGNATURE_MAX];
    size_t n = sizeof(sig);
    int rc = -1;

    if (k->alg == KEY_HMAC_SHA256 && k->hmac) {
        rc = hmac_sign(k->hmac, parts, count, sig);
        n = SHA256_LEN;
    } else if (k->alg == KEY_RSA_SHA256 && k->pkey) {
        rc = pkey_sign_sha256(k->pkey, parts, count, sig, &n);
    }
    if (rc < 0)
        return -1;
    base64_encode(out, slice_n(sig, n));
    return buf_ok(out) ? 0 : -1;
}
