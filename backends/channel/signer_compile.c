/* From the blocks `sign` and `verify` of an adapter file to a struct signer. */
#include "signer.h"

#include "account.h"
#include "compile.h"

const struct conf_directive signer_sign_table[] = {
    {"algorithm", 1, 1, CONF_NEED, "rsa_sha256 | hmac_sha256 | md5", "", "How the text is signed."},
    {"digest", 1, 1, 0, "sha256", "", "Signed is the lower-case hex of the text's SHA-256."},
    {"key", 1, 1, CONF_NEED, "SECRET", "", "The account's secret that signs."},
    {"message", 2, 24, CONF_NEED, "lines | joined | text PART ...", "",
     "The signed text: parts each ended by a newline (lines), with one between them (joined), or "
     "one "
     "behind the other (text)."},
    {"leave_out", 1, 7, 0, "MEMBER ...", "", "Members that are not in $sorted."},
    {"signature", 1, 1, CONF_NEED, "base64 | hex | hex_upper", "", "How the signature is written."},
    {"header", 2, 2, CONF_REPEAT, "NAME TEMPLATE", "", "A header of the request."},
    {"member", 1, 1, 0, "NAME", "",
     "Instead of headers: the member of the body that is the signature."},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

const struct conf_directive signer_verify_table[] = {
    {"algorithm", 1, 1, CONF_NEED, "rsa_sha256 | hmac_sha256 | md5", "", "How the text is signed."},
    {"digest", 1, 1, 0, "sha256", "", "As in sign."},
    {"key", 1, SIGNER_KEYS_MAX, CONF_NEED, "SECRET ...", "",
     "The account's secrets that may have signed; $serial chooses, else each is tried."},
    {"certificate", 2, 2, 0, "MEMBER name=TEXT", "",
     "The member that holds the certificate that signed: it chains to the secret (x509_roots), is "
     "in "
     "date, and one part of its common name, cut at @, is TEXT."},
    {"message", 2, 24, CONF_NEED, "lines | joined | text PART ...", "",
     "The signed text, as in sign."},
    {"leave_out", 1, 7, 0, "MEMBER ...", "", "As in sign."},
    {"signature", 1, 1, CONF_NEED, "base64 | hex | hex_upper", "", "How the signature is written."},
    {"header", 2, 3, CONF_REPEAT, "NAME TEMPLATE [optional]", "",
     "A header to be read; each must be there exactly once and fit its template."},
    {"member", 1, 1, 0, "NAME", "",
     "Instead of headers: the member of the body that is the signature."},
    {"window", 1, 1, 0, "TIME", "300s", "How far $timestamp may be from now."},
    {"probe", 1, 1, 0, "TEXT", "",
     "A signature that begins so never verifies: the channel tests whether we look."},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

static const char *const algorithms[] = {
    [ALGORITHM_RSA_SHA256] = "rsa_sha256",
    [ALGORITHM_HMAC_SHA256] = "hmac_sha256",
    [ALGORITHM_MD5] = "md5",
};
static const char *const texts[] = {
    [SIGN_BASE64] = "base64", [SIGN_HEX] = "hex", [SIGN_HEX_UPPER] = "hex_upper"};
enum form { FORM_LINES, FORM_JOINED, FORM_TEXT };
static const char *const forms[] = {"lines", "joined", "text"};

const char *signer_word(size_t i)
{
    static const char *const *const lists[] = {algorithms, texts, forms};

    return i < 9 ? lists[i / 3][i % 3] : NULL;
}

/* Word of a list of three: its index or -1. */
static int choose(const char *const *list, struct slice word)
{
    for (int i = 0; i < 3; i++)
        if (slice_is(word, list[i]))
            return i;
    return -1;
}

static enum secret_type wanted_secret(const struct signer *s, bool verify)
{
    if (s->algorithm != ALGORITHM_RSA_SHA256)
        return SECRET_HMAC_SHA256;
    return !verify ? SECRET_RSA_PRIVATE : s->certificate ? SECRET_X509_ROOTS : SECRET_RSA_PUBLIC;
}

static int compile_keys(struct compiler *cp, const struct conf_node *at, bool verify,
                        struct signer *s)
{
    enum secret_type type = wanted_secret(s, verify);

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
    if (s->certificate && s->nkeys > 1)
        return conf_fail(cp->err, at, "a certificate is checked against one secret");
    return 0;
}

/* All parts become one template whose newlines are literals. */
static int compile_message(struct compiler *cp, const struct conf_node *at, unsigned scope,
                           struct signer *s)
{
    struct source *parts = arena_array(cp->arena, struct source, TEMPLATE_PARTS_MAX);
    int form = choose(forms, at->args[0]);
    uint32_t n = 0;

    if (!parts)
        return adapter_no_memory(cp);
    if (form < 0)
        return conf_fail(cp->err, at, "expected lines, joined or text, not \"%.*s\"",
                         SLICE_FMT(at->args[0]));
    for (uint32_t i = 1; i < at->nargs; i++) {
        struct text_template part;

        if (template_compile(cp, at, at->args[i], scope | IN_TEXT, &part) < 0)
            return -1;
        if (n + part.n + 1 > TEMPLATE_PARTS_MAX)
            return conf_fail(cp->err, at, "more than %u parts", TEMPLATE_PARTS_MAX);
        memcpy(parts + n, part.parts, part.n * sizeof(*parts));
        n += part.n;
        if (form == FORM_LINES || (form == FORM_JOINED && i + 1 < at->nargs))
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
    return 0;
}

/* Where the signature stands, and what else the headers say. */
static int check_place(struct compiler *cp, const struct conf_node *block, bool verify,
                       struct signer *s)
{
    if (count_source(s, SOURCE_SIGNATURE) != (s->member ? 0 : 1))
        return conf_fail(cp->err, block,
                         s->member ? "expected either member or header"
                                   : "$signature must stand in exactly one header");
    if (verify && !s->member &&
        (count_source(s, SOURCE_TIMESTAMP) != 1 || count_source(s, SOURCE_NONCE) > 1 ||
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

static int compile_member(struct compiler *cp, const struct conf_node *block, struct signer *s)
{
    const struct conf_node *member = conf_find(block->child, "member");
    const struct conf_node *leave = conf_find(block->child, "leave_out");

    if (member) {
        s->member = compile_path(cp, member, member->args[0]);
        if (!s->member)
            return -1;
        s->leave[s->nleave++] = slice_of(s->member);
    }
    for (uint32_t i = 0; leave && i < leave->nargs; i++)
        s->leave[s->nleave++] = leave->args[i];
    return 0;
}

static int compile_certificate(struct compiler *cp, const struct conf_node *at, struct signer *s)
{
    struct slice name;

    if (!at)
        return 0;
    name = at->args[1];
    if (!slice_is(slice_cut(&name, '='), "name") || name.n == 0)
        return conf_fail(cp->err, at, "expected name=TEXT, not \"%.*s\"", SLICE_FMT(at->args[1]));
    s->certificate = compile_path(cp, at, at->args[0]);
    return s->certificate ? source_compile(cp, at, name, IN_VERIFY, &s->cert_name) : -1;
}

static int compile_options(struct compiler *cp, const struct conf_node *block, struct signer *s)
{
    const struct conf_node *window = conf_find(block->child, "window");
    const struct conf_node *probe = conf_find(block->child, "probe");
    const struct conf_node *digest = conf_find(block->child, "digest");
    int64_t ms;

    s->window_s = 300;
    if (probe)
        s->probe = probe->args[0];
    if (digest && !slice_is(digest->args[0], "sha256"))
        return conf_fail(cp->err, digest, "expected sha256, not \"%.*s\"",
                         SLICE_FMT(digest->args[0]));
    s->digest = digest != NULL;
    if (!window)
        return 0;
    if (conf_duration_ms(window->args[0], &ms) < 0 || ms < 1000 || ms > 3600 * 1000)
        return conf_fail(cp->err, window, "expected a time of 1s..1h, not \"%.*s\"",
                         SLICE_FMT(window->args[0]));
    s->window_s = ms / 1000;
    return 0;
}

/* A signature over too little could be moved to another message. */
static int check_message(struct compiler *cp, const struct conf_node *at, enum signer_use use,
                         struct signer *s)
{
    bool verify = use == SIGNER_VERIFY;

    s->uses_sorted = message_has(s, SOURCE_SORTED);
    s->uses_key = message_has(s, SOURCE_KEY);
    if (use == SIGNER_PRESENT) {
        if (!s->member)
            return conf_fail(cp->err, at, "this signature is a member");
    } else if (s->member) {
        if (s->uses_sorted == message_has(s, SOURCE_ENVELOPE) || message_has(s, SOURCE_BODY) ||
            (!verify && !s->uses_sorted))
            return conf_fail(cp->err, at,
                             verify ? "a signature inside the body is over $sorted or $envelope"
                                    : "a signature inside the body is over $sorted");
    } else if (!message_has(s, SOURCE_BODY) || !message_has(s, SOURCE_TIMESTAMP)) {
        return conf_fail(cp->err, at, "$body and $timestamp must be signed");
    }
    if (s->algorithm == ALGORITHM_MD5 && !s->uses_key)
        return conf_fail(cp->err, at, "MD5 needs $key in the text");
    if (s->uses_key && s->algorithm == ALGORITHM_RSA_SHA256)
        return conf_fail(cp->err, at, "$key is a shared secret: not with rsa_sha256");
    return 0;
}

static int compile_words(struct compiler *cp, const struct conf_node *block, struct signer *out)
{
    const struct conf_node *algorithm = conf_find(block->child, "algorithm");
    const struct conf_node *text = conf_find(block->child, "signature");
    int a = choose(algorithms, algorithm->args[0]);
    int t = choose(texts, text->args[0]);

    if (a < 0)
        return conf_fail(cp->err, algorithm,
                         "expected rsa_sha256, hmac_sha256 or md5, not \"%.*s\"",
                         SLICE_FMT(algorithm->args[0]));
    if (t < 0)
        return conf_fail(cp->err, text, "expected base64, hex or hex_upper, not \"%.*s\"",
                         SLICE_FMT(text->args[0]));
    out->algorithm = (enum sign_algorithm)a;
    out->text = (enum sign_text)t;
    return 0;
}

int signer_compile(struct compiler *cp, struct conf_node *block, enum signer_use use,
                   struct signer *out)
{
    bool verify = use == SIGNER_VERIFY;
    unsigned scope = verify ? IN_VERIFY : IN_SIGN;
    const struct conf_node *message;
    uint32_t before = cp->mistakes;
    bool stop;

    if (compile_table(cp, block, verify ? signer_verify_table : signer_sign_table) < 0)
        return -1;
    message = conf_find(block->child, "message");
    stop =
        compile_failed(cp, compile_words(cp, block, out)) ||
        compile_failed(cp, compile_member(cp, block, out)) ||
        compile_failed(cp, compile_certificate(cp, conf_find(block->child, "certificate"), out)) ||
        compile_failed(cp, compile_headers(cp, block, verify, out)) ||
        compile_failed(cp, check_place(cp, block, verify, out)) ||
        compile_failed(cp, compile_keys(cp, conf_find(block->child, "key"), verify, out)) ||
        compile_failed(cp, compile_message(cp, message, scope, out)) ||
        compile_failed(cp, compile_options(cp, block, out));
    if (stop)
        return -1;
    /* what is missing in the text may stand in a part that was not understood */
    return cp->mistakes != before ? 0 : check_message(cp, message, use, out);
}
