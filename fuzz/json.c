/*
 * Strict JSON: whatever it accepts has one meaning, and writing it keeps that. And yajl, which
 * knows nothing of us, reads the same: the same values in the same order, and what one calls wrong
 * the other does not accept.
 */
#include "fuzz.h"

#include "core/json.h"

#include <yajl/yajl_parse.h>

/* ------------------------------------------------------------------ what yajl reads */

/* Both readings as a text: a letter for the kind, the length, the bytes. */
static void note(struct buf *b, char kind, struct slice s)
{
    buf_addf(b, "%c%zu:", kind, s.n);
    buf_add_slice(b, s);
}

static int on_null(void *b)
{
    note(b, 'n', SLICE_NULL);
    return 1;
}

static int on_boolean(void *b, int value)
{
    note(b, value ? 't' : 'f', SLICE_NULL);
    return 1;
}

static int on_number(void *b, const char *p, size_t n)
{
    note(b, '#', slice_n(p, n));
    return 1;
}

static int on_string(void *b, const unsigned char *p, size_t n)
{
    note(b, '"', slice_n(p, n));
    return 1;
}

static int on_key(void *b, const unsigned char *p, size_t n)
{
    note(b, 'k', slice_n(p, n));
    return 1;
}

static int on_start_object(void *b)
{
    note(b, '{', SLICE_NULL);
    return 1;
}

static int on_start_array(void *b)
{
    note(b, '[', SLICE_NULL);
    return 1;
}

static int on_end(void *b)
{
    note(b, 'e', SLICE_NULL);
    return 1;
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_start_object,
    .yajl_map_key = on_key,
    .yajl_end_map = on_end,
    .yajl_start_array = on_start_array,
    .yajl_end_array = on_end,
};

static bool yajl_reads(struct slice in, struct buf *out)
{
    yajl_handle yajl;
    bool ok;

    buf_clear(out);
    yajl = yajl_alloc(&callbacks, NULL, out);
    yajl_config(yajl, yajl_dont_validate_strings, 1);
    ok = yajl_parse(yajl, (const unsigned char *)in.p, in.n) == yajl_status_ok &&
         yajl_complete_parse(yajl) == yajl_status_ok;
    yajl_free(yajl);
    return ok && out->n > 0;
}

/* Behind a whole value yajl overlooks the beginning of another: {}"a. In an array it does not. */
static bool yajl_accepts(struct slice in, struct buf *out)
{
    struct buf array;
    bool ok;

    buf_init(&array, FUZZ_ARENA);
    buf_addf(&array, "[%.*s]", SLICE_FMT(in));
    ok = yajl_reads(in, out) && yajl_reads(buf_slice(&array), out);
    buf_release(&array);
    return ok;
}

static void note_tree(struct buf *b, const struct json *v, bool member)
{
    static const char kinds[] = {
        [JSON_NULL] = 'n',   [JSON_FALSE] = 'f', [JSON_TRUE] = 't',  [JSON_NUMBER] = '#',
        [JSON_STRING] = '"', [JSON_ARRAY] = '[', [JSON_OBJECT] = '{'};

    if (member)
        note(b, 'k', v->key);
    note(b, kinds[v->type], v->text);
    for (const struct json *c = v->child; c; c = c->next)
        note_tree(b, c, v->type == JSON_OBJECT);
    if (v->type == JSON_ARRAY || v->type == JSON_OBJECT)
        note(b, 'e', SLICE_NULL);
}

static void check_against_yajl(struct slice in, const struct json *v, const char *reason)
{
    struct buf theirs, ours;

    /* these two are blanks for yajl, and for nobody else */
    if (in.n && (memchr(in.p, '\v', in.n) || memchr(in.p, '\f', in.n)))
        return;
    buf_init(&theirs, 64 * FUZZ_ARENA);
    buf_init(&ours, 64 * FUZZ_ARENA);
    if (v) {
        note_tree(&ours, v, false);
        must(yajl_reads(in, &theirs));
        must(slice_eq(buf_slice(&ours), buf_slice(&theirs)));
    } else if (strcmp(reason, "syntax") == 0) {
        must(!yajl_accepts(in, &theirs));
    }
    buf_release(&theirs);
    buf_release(&ours);
}

/* ------------------------------------------------------------------ what must hold */

static void check_text(struct slice s)
{
    must(utf8_valid(s));
    must(s.n == 0 || memchr(s.p, 0, s.n) == NULL);
}

static void check_number(const struct json *v)
{
    struct buf b;
    int64_t n;

    must(v->text.n > 0);
    if (json_int64(v, &n) != 0)
        return;
    buf_init(&b, 64);
    buf_add_int64(&b, n);
    must(slice_eq(buf_slice(&b), v->text) || slice_is(v->text, "-0"));
    buf_release(&b);
}

static void check_tree(const struct json *v)
{
    uint32_t count = 0;

    check_text(v->key);
    if (v->type == JSON_STRING)
        check_text(v->text);
    else if (v->type == JSON_NUMBER)
        check_number(v);
    else if (v->type != JSON_ARRAY && v->type != JSON_OBJECT)
        must(v->child == NULL);
    for (const struct json *c = v->child; c; c = c->next, count++) {
        check_tree(c);
        for (const struct json *d = c->next; d && v->type == JSON_OBJECT; d = d->next)
            must(!slice_eq(c->key, d->key));
    }
    must(count == v->count);
}

static bool equal(const struct json *a, const struct json *b)
{
    if (a->type != b->type || !slice_eq(a->key, b->key) || !slice_eq(a->text, b->text) ||
        a->count != b->count)
        return false;
    for (a = a->child, b = b->child; a && b; a = a->next, b = b->next)
        if (!equal(a, b))
            return false;
    return a == b;
}

static void check_round_trip(struct arena *a, const struct json *v)
{
    struct json_writer w;
    struct json_error err;
    const struct json *again;
    struct buf b;

    buf_init(&b, FUZZ_ARENA);
    json_writer_init(&w, &b);
    json_put_value(&w, v);
    must(buf_ok(&b));
    must(json_parse(a, buf_slice(&b), NULL, &again, &err) == 0);
    must(equal(v, again));
    buf_release(&b);
}

/* A tree that points into the input says the same as one that is a copy. */
static void check_in_place(struct arena *a, struct slice in, const struct json *v)
{
    static const struct json_limits limits = {.in_place = true};
    struct json_error err;
    const struct json *w;

    must(json_parse(a, in, &limits, &w, &err) == 0);
    must(equal(v, w));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_error err = {0};
    const struct json *v;
    struct arena a;

    arena_init(&a, FUZZ_ARENA);
    if (json_parse(&a, slice_n(data, size), NULL, &v, &err) == 0) {
        check_tree(v);
        check_round_trip(&a, v);
        check_in_place(&a, slice_n(data, size), v);
        check_against_yajl(slice_n(data, size), v, NULL);
        json_get(v, "amount.total");
    } else {
        check_against_yajl(slice_n(data, size), NULL, err.reason);
        must(err.reason && *err.reason);
        must(err.offset <= size);
        fuzz_touch(err.key);
    }
    arena_release(&a);
    return 0;
}
