#include "signer.h"

#include "account.h"
#include "core/crypto_old.h"

#define SIGNATURE_TEXT_MAX 2048u /* base64 of RSA-8192 and room */
#define SIGNATURE_RAW_MAX  1024u
#define TIMESTAMP_MAX      99999999999LL

/* ------------------------------------------------------------------ signing */

static size_t message_parts(const struct signer *s, const struct facts *f, struct slice *parts)
{
    for (uint32_t i = 0; i < s->message.n; i++)
        parts[i] = source_text(&s->message.parts[i], f);
    return s->message.n;
}

/* The parts, or the hex of their digest in their place. */
static int digest_parts(const struct facts *f, struct slice *parts, size_t *count)
{
    struct buf hex = arena_buf(f->arena, 2 * SHA256_LEN);
    uint8_t raw[SHA256_LEN];
    struct slice all = parts[0];

    if (*count > 1) {
        struct buf b;
        size_t n = 0;

        for (size_t i = 0; i < *count; i++)
            n += parts[i].n;
        b = arena_buf(f->arena, n);
        for (size_t i = 0; i < *count; i++)
            buf_add_slice(&b, parts[i]);
        if (!buf_ok(&b))
            return -1;
        all = buf_slice(&b);
    }
    if (sha256(all, raw) < 0)
        return -1;
    hex_encode(&hex, slice_n(raw, sizeof(raw)), false);
    parts[0] = buf_slice(&hex);
    *count = 1;
    return buf_ok(&hex) ? 0 : -1;
}

/* What is signed with key k. */
static int signed_parts(const struct signer *s, const struct account_key *k, struct facts *f,
                        struct slice *parts, size_t *count)
{
    f->key = s->uses_key ? slice_n(k->raw.p, k->raw.n) : SLICE_NULL;
    *count = message_parts(s, f, parts);
    f->key = SLICE_NULL;
    return s->digest ? digest_parts(f, parts, count) : 0;
}

static int sign_raw(const struct signer *s, const struct account_key *k, const struct slice *parts,
                    size_t count, uint8_t *raw, size_t *n)
{
    switch (s->algorithm) {
    case ALGORITHM_RSA_SHA256:
        return pkey_sign_sha256(k->pkey, parts, count, raw, n);
    case ALGORITHM_HMAC_SHA256:
        *n = SHA256_LEN;
        return hmac_sign(k->hmac, parts, count, raw);
    case ALGORITHM_MD5:
        *n = MD5_LEN;
        return md5_parts(parts, count, raw);
    }
    return -1;
}

int signer_make(const struct signer *s, struct facts *f)
{
    const struct account_key *k = &f->account->keys[s->keys[0]];
    struct buf text = arena_buf(f->arena, SIGNATURE_TEXT_MAX);
    struct slice parts[TEMPLATE_PARTS_MAX];
    uint8_t raw[SIGNATURE_RAW_MAX];
    size_t n = sizeof(raw), count;

    if (signed_parts(s, k, f, parts, &count) < 0 || sign_raw(s, k, parts, count, raw, &n) < 0)
        return -1;
    if (s->text == SIGN_BASE64)
        base64_encode(&text, slice_n(raw, n));
    else
        hex_encode(&text, slice_n(raw, n), s->text == SIGN_HEX_UPPER);
    f->signature = buf_slice(&text);
    return buf_ok(&text) ? 0 : -1;
}

int signer_headers(const struct signer *s, struct facts *f, struct http_header *headers,
                   size_t *nheaders, size_t max)
{
    if (signer_make(s, f) < 0)
        return -1;
    for (uint32_t i = 0; i < s->nheaders; i++) {
        const struct signer_header *h = &s->headers[i];

        if (*nheaders == max)
            return -1;
        headers[*nheaders].name = slice_of(h->name);
        headers[*nheaders].value = template_render(&h->value, f, false);
        (*nheaders)++;
    }
    return f->arena->failed ? -1 : 0;
}

/* ------------------------------------------------------------------ verifying */

static void store(enum source_id id, struct slice s, struct facts *f)
{
    if (id == SOURCE_TIMESTAMP)
        f->timestamp = s;
    else if (id == SOURCE_NONCE)
        f->nonce = s;
    else if (id == SOURCE_SERIAL)
        f->serial = s;
    else
        f->signature = s;
}

static const char *find(struct slice s, struct slice part)
{
    for (; s.n >= part.n; s = slice_n(s.p + 1, s.n - 1))
        if (slice_starts(s, part))
            return s.p;
    return NULL;
}

/* Reads `value` by the template: a source goes up to the next fixed text. */
static int match(const struct text_template *t, struct slice value, struct facts *f)
{
    for (uint32_t i = 0; i < t->n; i++) {
        const struct source *part = &t->parts[i];
        size_t n;

        if (part->id == SOURCE_LITERAL) {
            if (!slice_starts(value, part->literal))
                return -1;
            n = part->literal.n;
        } else {
            const char *end = NULL;

            if (i + 1 < t->n)
                end = find(value, t->parts[i + 1].literal);
            if (i + 1 < t->n && !end)
                return -1;
            n = end ? (size_t)(end - value.p) : value.n;
            if (n == 0)
                return -1;
            store((enum source_id)part->id, slice_n(value.p, n), f);
        }
        value = slice_n(value.p + n, value.n - n);
    }
    return value.n == 0 ? 0 : -1;
}

static enum signature read_headers(const struct signer *s, const struct http_header *headers,
                                   size_t nheaders, struct facts *f, const char **reason)
{
    uint32_t found = 0, bad = 0;

    for (uint32_t i = 0; i < s->nheaders; i++) {
        const struct signer_header *h = &s->headers[i];
        size_t count;
        struct slice value = http_find(headers, nheaders, h->name, &count);

        if (count == 0) {
            bad += !h->optional;
            continue;
        }
        found++;
        bad += count > 1 || match(&h->value, value, f) < 0;
    }
    *reason = found ? "signature headers are incomplete or malformed" : "not signed";
    return bad == 0 ? SIGNATURE_GOOD : found ? SIGNATURE_BAD : SIGNATURE_ABSENT;
}

static bool is_fresh(const struct signer *s, const struct facts *f)
{
    int64_t t, now = f->now / USEC_PER_SEC;

    if (slice_int64(f->timestamp, &t) < 0 || t < 0 || t > TIMESTAMP_MAX)
        return false;
    return t - now <= s->window_s && now - t <= s->window_s;
}

static int check_raw(const struct signer *s, const struct account_key *k, const struct pkey *cert,
                     const struct slice *parts, size_t count, struct slice raw)
{
    uint8_t want[MD5_LEN];

    switch (s->algorithm) {
    case ALGORITHM_RSA_SHA256:
        return pkey_verify_sha256(cert ? cert : k->pkey, parts, count, raw);
    case ALGORITHM_HMAC_SHA256:
        return hmac_verify(k->hmac, parts, count, raw);
    case ALGORITHM_MD5:
        return md5_parts(parts, count, want) == 0 && equal_ct(slice_n(want, sizeof(want)), raw)
                   ? 0
                   : -1;
    }
    return -1;
}

static int verify_with(const struct signer *s, const struct account_key *k, const struct pkey *cert,
                       struct facts *f)
{
    struct buf raw = arena_buf(f->arena, SIGNATURE_RAW_MAX);
    struct slice parts[TEMPLATE_PARTS_MAX];
    size_t count;

    if ((s->text == SIGN_BASE64 ? base64_decode(&raw, f->signature)
                                : hex_decode(&raw, f->signature)) < 0 ||
        signed_parts(s, k, f, parts, &count) < 0)
        return -1;
    return check_raw(s, k, cert, parts, count, buf_slice(&raw));
}

/* The key of that serial; without serials each key is tried. */
static int verify_keys(const struct signer *s, struct facts *f, const char **reason)
{
    *reason = s->by_serial ? "serial is not one of the account's" : "signature does not verify";
    for (uint32_t i = 0; i < s->nkeys; i++) {
        const struct account_key *k = &f->account->keys[s->keys[i]];

        if (!k->present || (s->by_serial && !slice_eq(k->serial, f->serial)))
            continue;
        *reason = "signature does not verify";
        if (verify_with(s, k, NULL, f) == 0)
            return 0;
    }
    return -1;
}

/* Certificates that the channel published, while they are in date. */
static int verify_trusted(const struct signer *s, struct facts *f, const char **reason)
{
    const struct channel_account *a = f->account;
    int64_t now_s = f->now / USEC_PER_SEC;

    for (uint32_t i = 0; s->by_serial && i < a->ntrusted; i++) {
        const struct account_trust *t = &a->trusted[i];

        if (!slice_is(f->serial, t->serial) || now_s < t->from_s || now_s > t->until_s)
            continue;
        *reason = "signature does not verify";
        if (verify_with(s, &a->keys[s->keys[0]], t->key, f) == 0)
            return 0;
    }
    return -1;
}

static int verify_certificate(const struct signer *s, struct facts *f, const struct json *tree,
                              const char **reason)
{
    const struct pkey *key =
        account_cert_key(f->account, s->keys[0], json_str(tree, s->certificate),
                         source_text(&s->cert_name, f), f->now / USEC_PER_SEC, reason);

    if (!key)
        return -1;
    *reason = "signature does not verify";
    return verify_with(s, &f->account->keys[s->keys[0]], key, f);
}

static enum signature read_member(const struct signer *s, struct facts *f, const struct json *tree,
                                  const char **reason)
{
    *reason = "not signed";
    f->signature = tree ? json_str(tree, s->member) : SLICE_NULL;
    if (f->signature.n == 0)
        return SIGNATURE_ABSENT;
    *reason = "signed members are malformed";
    if (s->uses_sorted)
        f->sorted = body_sorted(tree, s->leave, s->nleave, f->arena);
    return (s->uses_sorted ? f->sorted.n : f->envelope.n) ? SIGNATURE_GOOD : SIGNATURE_BAD;
}

enum signature signer_verify(const struct signer *s, struct facts *f,
                             const struct http_header *headers, size_t nheaders,
                             const struct json *tree, const char **reason)
{
    enum signature rc;

    if (f->account->invented)
        return SIGNATURE_GOOD;
    rc =
        s->member ? read_member(s, f, tree, reason) : read_headers(s, headers, nheaders, f, reason);
    if (rc != SIGNATURE_GOOD)
        return rc;
    *reason = "timestamp is outside of the window";
    if (!s->member && !is_fresh(s, f))
        return SIGNATURE_BAD;
    *reason = "signature is a probe of the channel";
    if (s->probe.n && slice_starts(f->signature, s->probe))
        return SIGNATURE_BAD;
    if ((s->certificate ? verify_certificate(s, f, tree, reason) : verify_keys(s, f, reason)) < 0 &&
        verify_trusted(s, f, reason) < 0)
        return SIGNATURE_BAD;
    *reason = NULL;
    return SIGNATURE_GOOD;
}
