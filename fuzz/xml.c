/* The strict part of XML: whatever it accepts has one meaning, and writing it keeps that. The quick
 * reader accepts nothing that expat refuses, and reads it alike. */
#include "fuzz.h"

#include "core/xml_impl.h"

static void write_tree(struct buf *b, const struct xml *v)
{
    char name[256];

    if (v->child == NULL) {
        xml_member(b, v->name, v->text);
        return;
    }
    if (v->name.n >= sizeof(name)) {
        b->failed = true;
        return;
    }
    memcpy(name, v->name.p, v->name.n);
    name[v->name.n] = 0;
    xml_begin(b, name);
    for (const struct xml *c = v->child; c; c = c->next)
        write_tree(b, c);
    xml_end(b, name);
}

static bool equal(const struct xml *a, const struct xml *b)
{
    if (!slice_eq(a->name, b->name) || a->count != b->count || !slice_eq(a->text, b->text))
        return false;
    for (a = a->child, b = b->child; a && b; a = a->next, b = b->next)
        if (!equal(a, b))
            return false;
    return a == b;
}

static void check_tree(const struct xml *v)
{
    uint32_t count = 0;

    must(v->name.n > 0);
    must(v->child == NULL || v->text.n == 0);
    must(v->text.n == 0 || memchr(v->text.p, 0, v->text.n) == NULL);
    for (const struct xml *c = v->child; c; c = c->next, count++) {
        check_tree(c);
        for (const struct xml *d = c->next; d; d = d->next)
            must(!slice_eq(c->name, d->name));
    }
    must(count == v->count);
}

static void check_quick(struct arena *a, struct slice in, const struct xml *read)
{
    const struct xml_limits limits = {.depth = 4, .elements = 512};
    struct xml_error err = {0};
    const struct xml *quick, *slow;

    if (xml_read_plain(a, in, &limits, &quick)) {
        must(equal(read, quick));
        must(xml_read_expat(a, in, &limits, &slow, &err) == 0);
        must(equal(quick, slow));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct xml_error err = {0};
    const struct xml *v, *again;
    struct arena a;
    struct buf b;

    arena_init(&a, FUZZ_ARENA);
    buf_init(&b, FUZZ_ARENA);
    if (xml_parse(&a, slice_n(data, size), NULL, &v, &err) == 0) {
        check_tree(v);
        check_quick(&a, slice_n(data, size), v);
        write_tree(&b, v);
        if (buf_ok(&b)) {
            must(xml_parse(&a, buf_slice(&b), NULL, &again, &err) == 0);
            must(equal(v, again));
        }
    } else {
        must(err.reason && *err.reason);
        fuzz_touch(err.name);
    }
    buf_release(&b);
    arena_release(&a);
    return 0;
}
