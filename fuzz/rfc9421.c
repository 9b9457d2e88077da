/*
 * HTTP Message Signatures. The input's lines: Signature-Input, Signature, Content-Digest, then
 * METHOD TARGET, Host, one more field's value (X-Field), and the rest is the body.
 */
#include "fuzz.h"

#include "core/scheme_rfc9421.h"

/* A component is a line: none can smuggle in another one. */
static void check_base(struct slice base, const struct httpsig *sig)
{
    size_t items = 0, lines = 0;

    for (const struct sf_member *m = sig->input->items; m; m = m->next)
        items++;
    for (size_t i = 0; i < base.n; i++)
        lines += base.p[i] == '\n';
    must(lines == items);
}

static void check_signature(struct arena *a, const struct http_message *m, struct slice input,
                            struct slice signature, struct slice body)
{
    const char *reason = NULL;
    struct httpsig sig;
    struct buf base;

    if (httpsig_parse(a, input, signature, SLICE_NULL, &sig, &reason) != 0) {
        must(reason && *reason);
        return;
    }
    must(sig.label.n > 0 && sig.input && sig.input->value.type == SF_INNER_LIST);
    if (httpsig_check(&sig, m, body.n > 0, &reason) == 0)
        must(sig.keyid.n > 0 && sig.nonce.n >= 16 && sig.nonce.n <= 64 && sig.created > 0);
    else
        must(reason && *reason);
    buf_init(&base, FUZZ_ARENA);
    if (httpsig_base(a, m, sig.input, &base, &reason) == 0)
        check_base(buf_slice(&base), &sig);
    buf_release(&base);
}

/* What we write ourselves is genuine, and of one byte more it is not. */
static void check_digest(struct arena *a, struct slice value, struct slice body)
{
    struct slice longer = arena_printf(a, "%.*s.", SLICE_FMT(body));
    const char *reason;
    struct buf own;

    content_digest_check(a, value, body, &reason);
    buf_init(&own, 256);
    content_digest_write(&own, body);
    must(content_digest_check(a, buf_slice(&own), body, &reason) == 0);
    must(longer.n <= body.n || content_digest_check(a, buf_slice(&own), longer, &reason) != 0);
    buf_release(&own);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = slice_n(data, size);
    struct slice input = fuzz_line(&rest), signature = fuzz_line(&rest), digest = fuzz_line(&rest);
    struct slice target = fuzz_line(&rest);
    struct slice method = slice_cut(&target, ' ');
    struct slice host = fuzz_line(&rest), field = fuzz_line(&rest);
    const struct http_field fields[] = {
        {SLICE("Host"), host},
        {SLICE("Content-Digest"), digest},
        {SLICE("Signature-Input"), input},
        {SLICE("X-Field"), field},
        {SLICE("Signature"), signature},
    };
    const struct http_message m = {.fields = fields,
                                   .field_count = sizeof(fields) / sizeof(fields[0]),
                                   .method = method,
                                   .scheme = SLICE("https"),
                                   .authority = host,
                                   .target = target};
    struct arena a;

    arena_init(&a, FUZZ_ARENA);
    check_signature(&a, &m, input, signature, rest);
    check_digest(&a, digest, rest);
    arena_release(&a);
    return 0;
}
