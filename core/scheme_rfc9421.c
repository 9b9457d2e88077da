/*
 * RFC 9421: reading of the two headers, our rules, digests. The signature base is built in
 * scheme_rfc9421_base.c.
 */
#include "scheme_rfc9421.h"

#define COMPONENTS_MAX 64u
#define NONCE_MIN      16u
#define NONCE_MAX      64u
#define KEYID_MAX      64u

static int refuse(const char **reason, const char *text)
{
    *reason = text;
    return -1;
}

/* ------------------------------------------------------------------ components */

static const char *const derived[] = {"@method", "@target-uri",     "@authority",
                                      "@scheme", "@request-target", "@path",
                                      "@query",  "@query-param",    "@status"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool is_derived(struct slice name)
{
    for (size_t i = 0; i < COUNT(derived); i++)
        if (slice_is(name, derived[i]))
            return true;
    return false;
}

/* A field name (RFC 9110 token), in lower case. */
static bool is_field_name(struct slice name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
              (c && strchr("!#$%&'*+-.^_`|~", c))))
            return false;
    }
    return name.n > 0;
}

static int check_params(const struct sf_member *c, const char **reason)
{
    bool is_derived_one = c->value.text.n && c->value.text.p[0] == '@';
    bool sf = false, key = false, bs = false, name = false;

    for (const struct sf_param *p = c->params; p; p = p->next) {
        bool flag = p->value.type == SF_BOOLEAN && p->value.integer == 1;
        bool text = p->value.type == SF_STRING;

        if (slice_is(p->key, "req") && flag)
            continue;
        if (slice_is(p->key, "sf") && flag && !is_derived_one)
            sf = true;
        else if (slice_is(p->key, "bs") && flag && !is_derived_one)
            bs = true;
        else if (slice_is(p->key, "key") && text && !is_derived_one)
            key = true;
        else if (slice_is(p->key, "name") && text && slice_is(c->value.text, "@query-param"))
            name = true;
        else
            return refuse(reason, "a component has an unknown parameter");
    }
    if (bs && (sf || key))
        return refuse(reason, "a component has parameters that exclude each other");
    if (slice_is(c->value.text, "@query-param") && !name)
        return refuse(reason, "@query-param needs a name");
    return 0;
}

static bool same_value(const struct sf_value *a, const struct sf_value *b)
{
    return a->type == b->type && a->integer == b->integer && slice_eq(a->text, b->text);
}

static bool has_param(const struct sf_member *c, const struct sf_param *wanted)
{
    for (const struct sf_param *p = c->params; p; p = p->next)
        if (slice_eq(p->key, wanted->key))
            return same_value(&p->value, &wanted->value);
    return false;
}

/* Parameters are compared as a set: RFC 9421 compares the texts, and order would hide a double. */
static bool same_component(const struct sf_member *a, const struct sf_member *b)
{
    size_t in_a = 0, in_b = 0;

    if (!slice_eq(a->value.text, b->value.text))
        return false;
    for (const struct sf_param *p = a->params; p; p = p->next, in_a++)
        if (!has_param(b, p))
            return false;
    for (const struct sf_param *p = b->params; p; p = p->next)
        in_b++;
    return in_a == in_b;
}

static int check_component(const struct sf_member *c, const char **reason)
{
    if (c->value.type != SF_STRING)
        return refuse(reason, "a component is not a string");
    if (c->value.text.n && c->value.text.p[0] == '@' ? !is_derived(c->value.text)
                                                     : !is_field_name(c->value.text))
        return refuse(reason, "a component has an unknown name");
    return check_params(c, reason);
}

static int check_components(const struct sf_member *input, const char **reason)
{
    size_t n = 0;

    for (const struct sf_member *c = input->items; c; c = c->next) {
        if (++n > COMPONENTS_MAX)
            return refuse(reason, "too many components");
        if (check_component(c, reason) < 0)
            return -1;
        for (const struct sf_member *other = input->items; other != c; other = other->next)
            if (same_component(c, other))
                return refuse(reason, "a component is repeated");
    }
    return 0;
}

/* ------------------------------------------------------------------ parameters of the signature */

static int take_params(const struct sf_member *input, struct httpsig *out, const char **reason)
{
    for (const struct sf_param *p = input->params; p; p = p->next) {
        const struct {
            const char *name;
            enum sf_type type;
            int64_t *integer;
            struct slice *text;
        } known[] = {
            {"created", SF_INTEGER, &out->created, NULL},
            {"expires", SF_INTEGER, &out->expires, NULL},
            {"keyid", SF_STRING, NULL, &out->keyid},
            {"nonce", SF_STRING, NULL, &out->nonce},
            {"alg", SF_STRING, NULL, &out->alg},
            {"tag", SF_STRING, NULL, &out->tag},
        };
        bool found = false;

        for (size_t i = 0; i < COUNT(known); i++) {
            if (!slice_is(p->key, known[i].name))
                continue;
            if (p->value.type != known[i].type)
                return refuse(reason, "a signature parameter has the wrong type");
            if (known[i].integer)
                *known[i].integer = p->value.integer;
            else
                *known[i].text = p->value.text;
            found = true;
        }
        if (!found)
            return refuse(reason, "unknown signature parameter");
    }
    return 0;
}

static const struct sf_member *choose(const struct sf_member *inputs, struct slice label,
                                      const char **reason)
{
    const struct sf_member *m = label.n ? sf_find_slice(inputs, label) : inputs;

    *reason = NULL;
    if (!m)
        *reason = "no signature";
    else if (label.n == 0 && m->next)
        *reason = "exactly one signature is needed";
    else if (m->value.type != SF_INNER_LIST)
        *reason = "Signature-Input is not an inner list";
    return *reason ? NULL : m;
}

int httpsig_parse(struct arena *a, struct slice signature_input, struct slice signature,
                  struct slice label, struct httpsig *out, const char **reason)
{
    struct sf_member *inputs, *signatures;
    const struct sf_member *sig;

    *out = (struct httpsig){0};
    if (sf_parse_dictionary(a, signature_input, &inputs, reason) < 0 ||
        sf_parse_dictionary(a, signature, &signatures, reason) < 0)
        return -1;
    out->input = choose(inputs, label, reason);
    if (!out->input)
        return -1;
    out->label = out->input->key;
    sig = sf_find_slice(signatures, out->label);
    if (!sig || (label.n == 0 && signatures->next))
        return refuse(reason, "Signature and Signature-Input differ in their labels");
    if (sig->value.type != SF_BYTES)
        return refuse(reason, "Signature is not a byte sequence");
    out->signature = sig->value.text;
    if (take_params(out->input, out, reason) < 0)
        return -1;
    return check_components(out->input, reason);
}

/* ------------------------------------------------------------------ what must be covered */

static bool covers(const struct httpsig *s, const char *name)
{
    for (const struct sf_member *c = s->input->items; c; c = c->next)
        if (slice_is(c->value.text, name) && !c->params)
            return true;
    return false;
}

static bool text_valid(struct slice s, const char *more)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
              (c && strchr(more, c))))
            return false;
    }
    return true;
}

int httpsig_check(const struct httpsig *s, const struct http_message *m, bool has_body,
                  const char **reason)
{
    bool has_query = m->target.n && memchr(m->target.p, '?', m->target.n);

    if (!covers(s, "@method"))
        return refuse(reason, "@method is not covered");
    if (!covers(s, "@target-uri") && !covers(s, "@request-target") && !covers(s, "@path"))
        return refuse(reason, "@path or @target-uri is not covered");
    if (has_query && !covers(s, "@target-uri") && !covers(s, "@request-target") &&
        !covers(s, "@query"))
        return refuse(reason, "@query is not covered");
    if (has_body && !covers(s, "content-digest"))
        return refuse(reason, "content-digest is not covered");
    if (s->created <= 0)
        return refuse(reason, "created is missing");
    if (s->nonce.n < NONCE_MIN || s->nonce.n > NONCE_MAX || !text_valid(s->nonce, "_-+/=."))
        return refuse(reason, "nonce is missing or malformed");
    if (s->keyid.n == 0 || s->keyid.n > KEYID_MAX || !text_valid(s->keyid, "_-"))
        return refuse(reason, "keyid is missing or malformed");
    return 0;
}

const char *httpsig_alg_name(enum key_alg alg)
{
    return alg == KEY_RSA_SHA256 ? "rsa-v1_5-sha256" : key_alg_name(alg);
}

/* ------------------------------------------------------------------ Content-Digest (RFC 9530) */

int content_digest_check(struct arena *a, struct slice value, struct slice body,
                         const char **reason)
{
    uint8_t digest[SHA512_LEN];
    struct sf_member *first;
    size_t known = 0;

    if (sf_parse_dictionary(a, value, &first, reason) < 0)
        return -1;
    for (const struct sf_member *m = first; m; m = m->next) {
        size_t n = slice_is(m->key, "sha-256")   ? SHA256_LEN
                   : slice_is(m->key, "sha-512") ? SHA512_LEN
                                                 : 0;

        if (n == 0)
            continue;
        known++;
        if ((n == SHA256_LEN ? sha256(body, digest) : sha512_parts(&body, 1, digest)) < 0)
            return refuse(reason, "no digest");
        if (m->value.type != SF_BYTES || !equal_ct(m->value.text, slice_n(digest, n)))
            return refuse(reason, "Content-Digest is not the body's");
    }
    return known ? 0 : refuse(reason, "Content-Digest has no sha-256 or sha-512");
}

void content_digest_write(struct buf *b, struct slice body)
{
    uint8_t digest[SHA256_LEN];

    if (sha256(body, digest) < 0) {
        b->failed = true;
        return;
    }
    buf_add_str(b, "sha-256=");
    sf_write_bytes(b, slice_n(digest, sizeof(digest)));
}
