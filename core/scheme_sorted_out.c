/*
 * Sorted parameters: signatures over the text, and the request as it goes on to a worker.
 */
#include "json.h"
#include "scheme_sorted.h"

/* ------------------------------------------------------------------ signatures */

const char *sorted_sign_type(enum key_alg alg)
{
    return alg == KEY_MD5           ? "MD5"
           : alg == KEY_HMAC_SHA256 ? "HMAC-SHA256"
           : alg == KEY_RSA_SHA256  ? "RSA-SHA256"
                                    : "none";
}

/* The shared secret stands behind the text; a public key has none. */
static size_t message(const struct verify_key *k, struct slice string, struct slice parts[3])
{
    parts[0] = string;
    if (!key_alg_is_shared(k->alg))
        return 1;
    parts[1] = SLICE("&key=");
    parts[2] = slice_n(k->secret.p, k->secret.n);
    return 3;
}

int sorted_verify(const struct verify_key *k, struct slice string, struct slice sign)
{
    struct slice parts[3];
    size_t n = message(k, string, parts);
    struct buf raw;
    int rc;

    buf_init(&raw, SIGNATURE_MAX);
    rc = key_alg_is_shared(k->alg) ? hex_decode(&raw, sign) : base64_decode(&raw, sign);
    if (rc == 0)
        rc = key_verify(k, parts, n, buf_slice(&raw));
    buf_release(&raw);
    return rc;
}

int sorted_sign(const struct verify_key *k, struct slice string, struct buf *out)
{
    struct slice parts[3];
    size_t n = message(k, string, parts), len;
    uint8_t sig[SIGNATURE_MAX];

    if (key_sign(k, parts, n, sig, &len) < 0)
        return -1;
    if (key_alg_is_shared(k->alg))
        hex_encode(out, slice_n(sig, len), true);
    else
        base64_encode(out, slice_n(sig, len));
    return buf_ok(out) ? 0 : -1;
}

/* ------------------------------------------------------------------ what goes on */

static bool goes_on(const struct sorted_param *p)
{
    return p->value.n && !sorted_is_own(p->name);
}

static bool is_integer(const struct api_field *fields, struct slice name)
{
    for (const struct api_field *f = fields; f && f->path; f++)
        if (slice_is(name, f->path))
            return f->type == FIELD_INTEGER;
    return false;
}

/* A form has no types: a number is one where the API wants one and the text is one. */
static bool is_number(struct slice s)
{
    int64_t v;

    return slice_int64(s, &v) == 0;
}

static void put_value(struct json_writer *w, const struct sorted_param *p,
                      const struct api_field *fields, bool is_form)
{
    if (is_form ? is_integer(fields, p->name) && is_number(p->value) : p->type == JSON_NUMBER)
        json_put_raw(w, p->value);
    else if (p->type == JSON_TRUE || p->type == JSON_FALSE)
        json_put_bool(w, p->type == JSON_TRUE);
    else
        json_put_str(w, p->value);
}

#define DEPTH_MAX 16u

/* Names are sorted, so an object's members stand together. `open` are the objects we are in. */
void sorted_body(struct buf *b, const struct sorted_params *p, const struct api_field *fields,
                 bool is_form)
{
    struct slice open[DEPTH_MAX];
    struct json_writer w;
    size_t depth = 0;

    json_writer_init(&w, b);
    json_begin_object(&w);
    for (size_t i = 0; i < p->count; i++) {
        struct slice rest = p->list[i].name, part;
        size_t at = 0;

        if (!goes_on(&p->list[i]))
            continue;
        part = slice_cut(&rest, '.');
        while (at < depth && rest.p && slice_eq(open[at], part)) {
            at++;
            part = slice_cut(&rest, '.');
        }
        for (; depth > at; depth--)
            json_end_object(&w);
        for (; rest.p && depth < DEPTH_MAX; depth++) {
            open[depth] = part;
            json_key_slice(&w, part);
            json_begin_object(&w);
            part = slice_cut(&rest, '.');
        }
        json_key_slice(&w, rest.p ? p->list[i].name : part);
        put_value(&w, &p->list[i], fields, is_form);
    }
    for (; depth; depth--)
        json_end_object(&w);
    json_end_object(&w);
}

void sorted_query(struct buf *b, const struct sorted_params *p)
{
    size_t from = b->n;

    for (size_t i = 0; i < p->count; i++) {
        if (!goes_on(&p->list[i]))
            continue;
        if (b->n > from)
            buf_add_char(b, '&');
        buf_add_slice(b, p->list[i].raw);
    }
}
