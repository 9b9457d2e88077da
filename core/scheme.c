/*
 * Names of schemes, and the header scheme. Keys, signing and verifying: scheme_key.c.
 */
#include "scheme.h"

#define SIGNATURE_TEXT_MAX ((SIGNATURE_MAX + 2) / 3 * 4)

/* ------------------------------------------------------------------ names */

static const struct {
    enum scheme scheme;
    const char *name;
    const char *prefix;
    enum key_scheme key_scheme;
    enum key_alg alg; /* KEY_ALG_NONE: any that the key's scheme allows */
} schemes[] = {
    {SCHEME_WECHATPAY2_RSA, "WECHATPAY2-SHA256-RSA2048", "Wechatpay-", KEY_SCHEME_HEADER,
     KEY_RSA_SHA256},
    {SCHEME_PAY_RSA, "PAY-SHA256-RSA2048", "Pay-", KEY_SCHEME_HEADER, KEY_RSA_SHA256},
    {SCHEME_PAY_HMAC, "PAY-HMAC-SHA256", "Pay-", KEY_SCHEME_HEADER, KEY_HMAC_SHA256},
    {SCHEME_PAY_ED25519, "PAY-ED25519", "Pay-", KEY_SCHEME_HEADER, KEY_ED25519},
    {SCHEME_SORTED, "sorted", "Pay-", KEY_SCHEME_SORTED, KEY_ALG_NONE},
    {SCHEME_RFC9421, "rfc9421", "Pay-", KEY_SCHEME_RFC9421, KEY_ALG_NONE},
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

bool scheme_fits(enum scheme s, enum key_scheme key_scheme, enum key_alg alg)
{
    for (size_t i = 0; i < COUNT(schemes); i++)
        if (schemes[i].scheme == s)
            return schemes[i].key_scheme == key_scheme && key_scheme_allows(key_scheme, alg) &&
                   (schemes[i].alg == KEY_ALG_NONE || schemes[i].alg == alg);
    return false;
}

/* ------------------------------------------------------------------ the Authorization header */

/* Characters as bits: 0 to 63, 64 to 127. */
#define DIGITS  0x03ff000000000000u
#define LETTERS 0x07fffffe07fffffeu
#define LOW(c)  (1ULL << (c))
#define HIGH(c) (1ULL << ((c)-64))

#define DIGIT_CHARS                                                                                \
    {                                                                                              \
        DIGITS, 0                                                                                  \
    }
#define TOKEN_CHARS                                                                                \
    {                                                                                              \
        DIGITS | LOW('-'), LETTERS | HIGH('_')                                                     \
    }
#define BASE64_CHARS                                                                               \
    {                                                                                              \
        DIGITS | LOW('+') | LOW('/') | LOW('='), LETTERS                                           \
    }

static const struct parameter {
    const char *name;
    size_t offset; /* of the slice in struct authorization */
    size_t min, max;
    uint64_t allowed[2];
    const char *missing, *repeated, *bad;
} parameters[] = {
#define PARAMETER(name, min, max, allowed)                                                         \
    {                                                                                              \
#name, offsetof(struct authorization, name), min, max, allowed, #name " is missing",       \
            #name " is repeated", #name " is malformed"                                            \
    }
    PARAMETER(mchid, 1, 64, TOKEN_CHARS),
    PARAMETER(nonce_str, 16, 64, TOKEN_CHARS),
    PARAMETER(timestamp, 1, 12, DIGIT_CHARS),
    PARAMETER(serial_no, 1, 64, TOKEN_CHARS),
    PARAMETER(signature, 4, SIGNATURE_TEXT_MAX, BASE64_CHARS),
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
    for (size_t i = 0; i < v.n; i++) {
        unsigned char c = (unsigned char)v.p[i];

        if (c > 127 || !(p->allowed[c / 64] >> (c % 64) & 1))
            return false;
    }
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
        if (schemes[i].key_scheme == KEY_SCHEME_HEADER && slice_is(name, schemes[i].name))
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

size_t scheme_webhook_parts(struct slice id, struct slice timestamp, struct slice body,
                            struct slice *parts)
{
    const struct slice all[] = {id, SLICE("."), timestamp, SLICE("."), body};

    memcpy(parts, all, sizeof(all));
    return COUNT(all);
}
