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

/* Which characters a value may have. */
#define DIGIT  1u
#define TOKEN  2u
#define BASE64 4u

static const uint8_t characters[256] = {
    ['0' ... '9'] = DIGIT | TOKEN | BASE64,
    ['A' ... 'Z'] = TOKEN | BASE64,
    ['a' ... 'z'] = TOKEN | BASE64,
    ['-'] = TOKEN,
    ['_'] = TOKEN,
    ['+'] = BASE64,
    ['/'] = BASE64,
    ['='] = BASE64,
};

static const struct parameter {
    struct slice name;
    size_t offset; /* of the slice in struct authorization */
    size_t min, max;
    uint8_t allowed; /* characters */
    const char *missing, *repeated, *bad;
} parameters[] = {
#define PARAMETER(name, min, max, allowed)                                                         \
    {                                                                                              \
        {#name, sizeof(#name) - 1}, offsetof(struct authorization, name), min, max, allowed,       \
            #name " is missing", #name " is repeated", #name " is malformed"                       \
    }
    PARAMETER(mchid, 1, 64, TOKEN),
    PARAMETER(nonce_str, 16, 64, TOKEN),
    PARAMETER(timestamp, 1, 12, DIGIT),
    PARAMETER(serial_no, 1, 64, TOKEN),
    PARAMETER(signature, 4, SIGNATURE_TEXT_MAX, BASE64),
};

static struct slice *field(struct authorization *a, const struct parameter *p)
{
    return (struct slice *)((char *)a + p->offset);
}

static const struct parameter *find_parameter(struct slice name)
{
    for (size_t i = 0; i < COUNT(parameters); i++)
        if (slice_eq(name, parameters[i].name))
            return &parameters[i];
    return NULL;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* name="value" from the start of *rest, with what may stand behind: the comma or the end. */
static int parse_parameter(struct slice *rest, struct authorization *a, const char **reason)
{
    const char *p = rest->p, *end = rest->p + rest->n, *from;
    const struct parameter *known;

    *reason = "parameters are malformed";
    for (from = p; p < end && *p != '='; p++)
        ;
    if (p == end)
        return -1;
    known = find_parameter(slice_trim(slice_n(from, (size_t)(p - from))));
    *reason = "unknown parameter";
    if (!known)
        return -1;
    *reason = known->bad;
    if (++p == end || *p != '"')
        return -1;
    for (from = ++p; p < end && characters[(unsigned char)*p] & known->allowed; p++)
        ;
    if (p == end || *p != '"' || (size_t)(p - from) < known->min || (size_t)(p - from) > known->max)
        return -1;
    *reason = known->repeated;
    if (field(a, known)->p)
        return -1;
    *field(a, known) = slice_n(from, (size_t)(p - from));
    *reason = "parameters are malformed";
    for (p++; p < end && is_blank(*p); p++)
        ;
    if (p < end && *p != ',')
        return -1;
    *rest = p < end ? slice_n(p + 1, (size_t)(end - p - 1)) : SLICE_NULL;
    return 0;
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
