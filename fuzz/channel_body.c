/* Bodies in the four encodings: the first byte chooses. What is read is one object of clean
 * members, and reading it again from what it means gives the same. */
#include "fuzz.h"

#include "backends/channel/body.h"
#include "backends/channel/source.h"

static void check_object(const struct json *v, bool flat)
{
    uint32_t count = 0;

    must(v->type == JSON_OBJECT);
    for (const struct json *m = v->child; m; m = m->next, count++) {
        must(m->key.n > 0 || !flat);
        must(utf8_valid(m->key) && utf8_valid(m->text));
        must(m->text.n == 0 || memchr(m->text.p, 0, m->text.n) == NULL);
        for (const struct json *o = m->next; o; o = o->next)
            must(!slice_eq(o->key, m->key));
        fuzz_touch(m->text);
    }
    must(count == v->count);
}

/* A form written from its members is the same form. */
static void check_form(const struct json *v, struct arena *a)
{
    const struct json *again, *m, *n;
    struct buf b;

    buf_init(&b, FUZZ_ARENA);
    for (m = v->child; m; m = m->next) {
        if (b.n)
            buf_add_char(&b, '&');
        percent_encode(&b, m->key);
        buf_add_char(&b, '=');
        percent_encode(&b, m->text);
    }
    if (buf_ok(&b) && b.n && body_parse(ENCODING_FORM, buf_slice(&b), a, &again) == 0) {
        for (m = v->child, n = again->child; m && n; m = m->next, n = n->next)
            must(slice_eq(m->key, n->key) && slice_eq(m->text, n->text));
        must(!m && !n);
    } else {
        must(!buf_ok(&b) || a->failed);
    }
    buf_release(&b);
}

/* Sorted means sorted, whatever the order was. */
static void check_sorted(const struct json *v, struct arena *a)
{
    struct slice leave = SLICE("sign");
    struct slice s = body_sorted(v, &leave, 1, a);

    fuzz_touch(s);
    must(!slice_starts(s, SLICE("sign=")));
}

static void check_raw(const struct json *v, struct slice in, struct arena *a)
{
    for (const struct json *m = v->child; m; m = m->next) {
        char *name = arena_cstr(a, m->key);
        struct slice raw = name ? body_raw_member(in, name) : SLICE_NULL;

        must(fuzz_within(raw, in));
        if (raw.n && (m->type == JSON_NUMBER))
            must(slice_eq(raw, m->text));
        if (raw.n && m->type == JSON_OBJECT)
            must(raw.p[0] == '{' && raw.p[raw.n - 1] == '}');
        if (raw.n && m->type == JSON_STRING)
            must(raw.p[0] == '"' && raw.p[raw.n - 1] == '"');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct json *v;
    struct arena a;
    enum encoding e;
    struct slice in;

    if (size < 2)
        return 0;
    e = (enum encoding)(data[0] & 3);
    in = slice_n(data + 1, size - 1);
    arena_init(&a, 8 * FUZZ_ARENA);
    if (body_parse(e, in, &a, &v) == 0) {
        check_object(v, e != ENCODING_JSON);
        check_sorted(v, &a);
        if (e == ENCODING_FORM)
            check_form(v, &a);
        if (e == ENCODING_JSON)
            check_raw(v, in, &a);
    }
    arena_release(&a);
    return 0;
}
