#include "signer.h"

#include "account.h"
#include "compile.h"

#define SIGNATURE_TEXT_MAX 2048u /* base64 of RSA-8192 and room */
#define SIGNATURE_RAW_MAX  1024u
#define TIMESTAMP_MAX      99999999999LL
#define DIGITS_MAX         24u

/* ------------------------------------------------------------------ compiling */

const struct conf_directive signer_sign_table[] = {
    {"algorithm", 1, 1, CONF_NEED, "rsa_sha256 | hmac_sha256", "", "How the text is signed."},
    {"key", 1, 1, CONF_NEED, "SECRET", "", "The account's secret that signs."},
    {"message", 2, 24, CONF_NEED, "lines | joined PART ...", "",
     "The signed text: parts each ended by a newline (lines) or with one between them (joined)."},
    {"signature", 1, 1, CONF_NEED, "base64 | hex", "", "How the signature is written."},
    {"header", 2, 2, CONF_NEED | CONF_REPEAT, "NAME TEMPLATE", "", "A header of the request."},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

const struct conf_directive signer_verify_table[] = {
    {"algorithm", 1, 1, CONF_NEED, "rsa_sha256 | hmac_sha256", "", "How the text is signed."},
    {"key", 1, SIGNER_KEYS_MAX, CONF_NEED, "SECRET ...", "",
     "The account's secrets that may have signed; $serial chooses, else each is tried."},
    {"message", 2, 24, CONF_NEED, "lines | joined PART ...", "", "The signed text, as in sign."},
    {"signature", 1, 1, CONF_NEED, "base64 | hex", "", "How the signature is written."},
    {"header", 2, 3, CONF_NEED | CONF_REPEAT, "NAME TEMPLATE [optional]", "",
     "A header to be read; each must be there exactly once and fit its template."},
    {"window", 1, 1, 0, "TIME", "300s", "How far $timestamp may be from now."},
    {"probe", 1, 1, 0, "TEXT", "",
     "A signature that begins so never verifies: the channel tests whether we look."},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

static const char *const algorithms[] = {
    [ALGORITHM_RSA_SHA256] = "rsa_sha256",
    [ALGORITHM_HMAC_SHA256] = "hmac_sha256",
};
static const char *const texts[] = {[SIGN_BASE64] = "base64", [SIGN_HEX] = "hex"};
static const char *const forms[] = {"lines", "joined"};

const char *signer_word(size_t i)
{
    static const char *const *const lists[] = {algorithms, texts, forms};

    return i < 6 ? lists[i / 2][i % 2] : NULL;
}

/* Word of a list of two: its index or -1. */
static int choose(const char *const *list, struct slice word)
{
    return slice_is(word, list[0]) ? 0 : slice_is(word, list[1]) ? 1 : -1;
}

static int compile_keys(struct compiler *cp, const struct conf_node *at, bool verify,
                        struct signer *s)
{
    static const enum secret_type wanted[2][2] = {
        [ALGORITHM_RSA_SHA256] = {SECRET_RSA_PRIVATE, SECRET_RSA_PUBLIC},
        [ALGORITHM_HMAC_SHA256] = {SECRET_HMAC_SHA256, SECRET_HMAC_SHA256},
    };
    enum secret_type type = wanted[s->algorithm][verify];

    for (uint32_t i = 0; i < at->nargs; i++) {
        int k = adapter_secret_index(cp->adapter, at->args[i]);

        if (k < 0)
            return conf_fail(cp->err, at, "\"%.*s\": no such secret in the account block",
                             SLICE_FMT(at->args[i]));
        if (cp->adapter->secrets[k].type != type)
            return conf_fail(cp->err, at, "secret \"%.*s\" must be of type %s here",
                             SLICE_FMT(at->args[i]), secret_type_name(type));
        if (s->by_serial && cp->adapter->secrets[k].serial < 0)
            return conf_fail(cp->err, at, "$serial is read, so secret \"%.*s\" needs serial=VALUE",
                             SLICE_FMT(at->args[i]));
        s->keys[s->nkeys++] = (uint32_t)k;
    }
    return 0;
}

/* All lines become one template whose newlines are literals. */
static int compile_message(struct compiler *cp, const struct conf_node *at, unsigned scope,
                           struct signer *s)
{
    struct source *parts = arena_array(cp->arena, struct source, TEMPLATE_PARTS_MAX);
    int form = choose(forms, at->args[0]);
    uint32_t n = 0;

    if (!parts)
        return adapter_no_memory(cp);
    if (form < 0)
        return conf_fail(cp->err, at, "expected lines or joined, not \"%.*s\"",
                         SLICE_FMT(at->args[0]));
    for (uint32_t i = 1; i < at->nargs; i++) {
        struct text_template line;

        if (template_compile(cp, at, at->args[i], scope, &line) < 0)
            return -1;
        if (n + line.n + 1 > TEMPLATE_PARTS_MAX)
            return conf_fail(cp->err, at, "more than %u parts", TEMPLATE_PARTS_MAX);
        memcpy(parts + n, line.parts, line.n * sizeof(*parts));
        n += line.n;
        if (form == 0 || i + 1 < at->nargs)
            parts[n++] = (struct source){.id = SOURCE_LITERAL, .literal = SLICE("\n")};
    }
    s->message = (struct text_template){parts, n};
    return 0;
}

/* A template that is read needs a fixed text between two variables. */
static int check_pattern(struct compiler *cp, const struct conf_node *at,
                         const struct text_template *t)
{
    for (uint32_t i = 0; i < t->n; i++) {
        enum source_id id = (enum source_id)t->parts[i].id;

        if (id == SOURCE_BODY || id == SOURCE_ACCOUNT)
            return conf_fail(cp->err, at,
                             "only $timestamp, $nonce, $serial and $signature can be "
                             "read from a header");
        if (id != SOURCE_LITERAL && i > 0 && t->parts[i - 1].id != SOURCE_LITERAL)
            return conf_fail(cp->err, at, "two sources need a text between them");
    }
    return 0;
}

static uint32_t count_source(const struct signer *s, enum source_id id)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < s->nheaders; i++)
        for (uint32_t k = 0; k < s->headers[i].value.n; k++)
            n += s->headers[i].value.parts[k].id == id;
    return n;
}

static int compile_headers(struct compiler *cp, const struct conf_node *block, bool verify,
                           struct signer *s)
{
    unsigned scope = verify ? IN_VERIFY : IN_SIGN;

    for (const struct conf_node *d = block->child; d; d = d->next) {
        struct signer_header *h = &s->headers[s->nheaders];

        if (!slice_is(d->name, "header"))
            continue;
        if (s->nheaders == SIGNER_HEADERS_MAX)
            return conf_fail(cp->err, d, "more than %u headers", SIGNER_HEADERS_MAX);
        if (d->nargs == 3 && !slice_is(d->args[2], "optional"))
            return conf_fail(cp->err, d, "expected optional, not \"%.*s\"", SLICE_FMT(d->args[2]));
        if (compile_printable(cp, d, d->args[0], '!') < 0 ||
            compile_printable(cp, d, d->args[1], ' ') < 0)
            return -1;
        h->name = adapter_cstr(cp, d->args[0]);
        h->optional = d->nargs == 3;
        if (!h->name)
            return adapter_no_memory(cp);
        if (template_compile(cp, d, d->args[1], scope, &h->value) < 0 ||
            (verify && check_pattern(cp, d, &h->value) < 0))
            return -1;
        s->nheaders++;
    }
    if (count_source(s, SOURCE_SIGNATURE) != 1)
        return conf_fail(cp->err, block, "$signature must stand in exactly one header");
    if (verify && (count_source(s, SOURCE_TIMESTAMP) != 1 || count_source(s, SOURCE_NONCE) > 1 ||
                   count_source(s, SOURCE_SERIAL) > 1))
        return conf_fail(cp->err, block,
                         "$timestamp must be read exactly once, $nonce and $serial "
                         "at most once");
    s->by_serial = count_source(s, SOURCE_SERIAL) == 1;
    return 0;
}

static bool message_has(const struct signer *s, enum source_id id)
{
    for (uint32_t i = 0; i < s->message.n; i++)
        if (s->message.parts[i].id == id)
            return true;
    return false;
}

static int compile_options(struct compiler *cp, const struct conf_node *block, struct signer *s)
{
    const struct conf_node *window = conf_find(block->child, "window");
    const struct conf_node *probe = conf_find(block->child, "probe");
    int64_t ms;

    s->window_s = 300;
    if (probe)
        s->probe = probe->args[0];
    if (!window)
        return 0;
    if (conf_duration_ms(window->args[0], &ms) < 0 || ms < 1000 || ms > 3600 * 1000)
        return conf_fail(cp->err, window, "expected a time of 1s..1h, not \"%.*s\"",
                         SLICE_FMT(window->args[0]));
    s->window_s = ms / 1000;
    return 0;
}

int signer_compile(struct compiler *cp, const struct conf_node *block, bool verify,
                   struct signer *out)
{
    const struct conf_node *algorithm, *text;
    int a, t;

    if (conf_check(block, NULL, verify ? signer_verify_table : signer_sign_table, cp->err) < 0)
        return -1;
    algorithm = conf_find(block->child, "algorithm");
    text = conf_find(block->child, "signature");
    a = choose(algorithms, algorithm->args[0]);
    t = choose(texts, text->args[0]);
    if (a < 0)
        return conf_fail(cp->err, algorithm, "expected rsa_sha256 or hmac_sha256, not \"%.*s\"",
                         SLICE_FMT(algorithm->args[0]));
    if (t < 0)
        return conf_fail(cp->err, text, "expected base64 or hex, not \"%.*s\"",
                         SLICE_FMT(text->args[0]));
    out->algorithm = (enum sign_algorithm)a;
    out->text = (enum sign_text)t;
    if (compile_headers(cp, block, verify, out) < 0 ||
        compile_keys(cp, conf_find(block->child, "key"), verify, out) < 0 ||
        compile_message(cp, conf_find(block->child, "message"), verify ? IN_VERIFY : IN_SIGN, out) <
            0 ||
        compile_options(cp, block, out) < 0)
        return -1;
    if (!message_has(out, SOURCE_BODY) || !message_has(out, SOURCE_TIMESTAMP))
        return conf_fail(cp->err, conf_find(block->child, "message"),
                         "$body and $timestamp must be signed");
    return 0;
}

/* ------------------------------------------------------------------ signing */

static size_t message_parts(const struct signer *s, const struct facts *f, struct slice *parts)
{
    for (uint32_t i = 0; i < s->message.n; i++)
        parts[i] = source_text(&s->message.parts[i], f);
    return s->message.n;
}

static int make_signature(const struct signer *s, const struct verify_key *k, const struct facts *f,
                          struct buf *out)
{
    struct slice parts[TEMPLATE_PARTS_MAX];
    size_t count = message_parts(s, f, parts);
    uint8_t raw[SIGNATURE_RAW_MAX];
    size_t n = sizeof(raw);
    int rc;

    if (s->text == SIGN_BASE64)
        return scheme_sign(k, parts, count, out);
    if (k->alg == KEY_HMAC_SHA256) {
        rc = hmac_sign(k->hmac, parts, count, raw);
        n = SHA256_LEN;
    } else {
        rc = pkey_sign_sha256(k->pkey, parts, count, raw, &n);
    }
    if (rc < 0)
        return -1;
    hex_encode(out, slice_n(raw, n), false);
    return buf_ok(out) ? 0 : -1;
}

int signer_sign(const struct signer *s, struct facts *f, struct http_header *headers,
                size_t *nheaders, size_t max)
{
    struct buf text = arena_buf(f->arena, SIGNATURE_TEXT_MAX);

    if (make_signature(s, &f->account->keys[s->keys[0]].key, f, &text) < 0)
        return -1;
    f->signature = buf_slice(&text);
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

static int verify_with(const struct signer *s, const struct verify_key *k, struct facts *f)
{
    struct slice parts[TEMPLATE_PARTS_MAX];
    size_t count = message_parts(s, f, parts);
    struct buf raw;

    if (s->text == SIGN_BASE64)
        return scheme_verify(k, parts, count, f->signature);
    raw = arena_buf(f->arena, SIGNATURE_RAW_MAX);
    if (hex_decode(&raw, f->signature) < 0)
        return -1;
    return k->alg == KEY_HMAC_SHA256 ? hmac_verify(k->hmac, parts, count, buf_slice(&raw))
                                     : pkey_verify_sha256(k->pkey, parts, count, buf_slice(&raw));
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
        if (verify_with(s, &k->key, f) == 0)
            return 0;
    }
    return -1;
}

enum signature signer_verify(const struct signer *s, struct facts *f,
                             const struct http_header *headers, size_t nheaders,
                             const char **reason)
{
    enum signature rc = read_headers(s, headers, nheaders, f, reason);

    if (rc != SIGNATURE_GOOD)
        return rc;
    *reason = "timestamp is outside of the window";
    if (!is_fresh(s, f))
        return SIGNATURE_BAD;
    *reason = "signature is a probe of the channel";
    if (s->probe.n && slice_starts(f->signature, s->probe))
        return SIGNATURE_BAD;
    if (verify_keys(s, f, reason) < 0)
        return SIGNATURE_BAD;
    *reason = NULL;
    return SIGNATURE_GOOD;
}
