/* Structured fields: whatever it accepts has one serialised form, which means the same. */
#include "fuzz.h"

#include "core/sf.h"

static void check_members(const struct sf_member *m)
{
    for (; m; m = m->next) {
        must(m->value.type == SF_INNER_LIST || m->items == NULL);
        fuzz_touch(m->key);
        fuzz_touch(m->value.text);
        check_members(m->items);
        for (const struct sf_param *p = m->params; p; p = p->next) {
            must(p->key.n > 0 && p->value.type != SF_INNER_LIST);
            for (const struct sf_param *q = p->next; q; q = q->next)
                must(!slice_eq(p->key, q->key));
        }
        if (m->key.n)
            for (const struct sf_member *n = m->next; n; n = n->next)
                must(!slice_eq(m->key, n->key));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sf_member *first = NULL, *again = NULL;
    const char *reason = NULL;
    struct buf once, twice;
    struct arena a;

    arena_init(&a, FUZZ_ARENA);
    buf_init(&once, FUZZ_ARENA);
    buf_init(&twice, FUZZ_ARENA);
    if (sf_parse_dictionary(&a, slice_n(data, size), &first, &reason) != 0) {
        must(reason && *reason);
    } else {
        check_members(first);
        sf_write_dictionary(&once, first);
        must(buf_ok(&once));
        must(sf_parse_dictionary(&a, buf_slice(&once), &again, &reason) == 0);
        sf_write_dictionary(&twice, again);
        must(slice_eq(buf_slice(&once), buf_slice(&twice)));
    }
    buf_release(&once);
    buf_release(&twice);
    arena_release(&a);
    return 0;
}
