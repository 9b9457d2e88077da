/* Method and request target: `METHOD TARGET`. */
#include "fuzz.h"

#include "core/api.h"

static void check_match(const struct api_match *m, struct slice target)
{
    must(m->api);
    must(slice_starts(slice_of(m->api->path), SLICE("/v1/")));
    must(fuzz_within(m->id, target));
    must(m->id.n == 0 || memchr(m->id.p, '/', m->id.n) == NULL);
    must(m->id.n == 0 || memchr(m->id.p, '?', m->id.n) == NULL);
    must((m->out_trade_no.n > 0) == (m->api->id == API_PAYMENT_FIND));
    must(m->out_trade_no.n == 0 || (m->out_trade_no.n >= 6 && m->out_trade_no.n <= 32));
    for (size_t i = 0; i < m->out_trade_no.n; i++)
        must(m->out_trade_no.p[i] > ' ' && m->out_trade_no.p[i] < 0x7f);
    fuzz_touch(m->mchid);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice target = slice_n(data, size);
    struct slice method = slice_cut(&target, ' ');
    struct problem problem = {0};
    struct api_match match;
    struct arena a;

    arena_init(&a, FUZZ_ARENA);
    if (api_match(&a, method, target, &match, &problem) == 0) {
        check_match(&match, target);
    } else {
        must(problem.code != PROBLEM_NONE && problem.code < PROBLEM_COUNT);
        fuzz_touch(problem.detail);
    }
    arena_release(&a);
    return 0;
}
