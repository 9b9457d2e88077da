/* Strict JSON: whatever it accepts has one meaning, and writing it keeps that. */
#include "fuzz.h"

#include "core/json.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_error err = {0};
    const struct json *v;
    struct arena a;

    arena_init(&a, FUZZ_ARENA);
    if (json_parse(&a, slice_n(data, size), NULL, &v, &err) == 0) {
        check_tree(v);
        check_round_trip(&a, v);
        json_get(v, "amount.total");
    } else {
        must(err.reason && *err.reason);
        must(err.offset <= size);
        fuzz_touch(err.key);
    }
    arena_release(&a);
    return 0;
}
