/* The check of bodies: first byte chooses the API, the rest is the body. */
#include "fuzz.h"

#include "core/api.h"
#include "core/money.h"
#include "core/net.h"

/* A refusal is one that can be shown: its text is JSON again. */
static void check_problem(struct arena *a, const struct problem *p)
{
    struct json_error err;
    const struct json *doc;
    struct buf b;

    must(p->code != PROBLEM_NONE && p->code < PROBLEM_COUNT);
    must(p->pointer.n == 0 || p->pointer.p[0] == '/');
    buf_init(&b, FUZZ_ARENA);
    problem_write(&b, p, SLICE("0123456789abcdef0123456789abcdef"));
    must(buf_ok(&b));
    must(json_parse(a, buf_slice(&b), NULL, &doc, &err) == 0);
    must(slice_is(json_str(doc, "code"), problem_name(p->code)));
    buf_release(&b);
}

/* What was accepted keeps the table's promises, whatever its checks look like. */
static void check_accepted(const struct api *api, const struct json *doc)
{
    const struct json *v;
    struct url url;
    const char *reason;
    int64_t n;

    must(doc->type == JSON_OBJECT);
    for (const struct api_field *f = api->fields; f->path; f++) {
        v = json_get(doc, f->path);
        must(v || !f->required);
        if (v == NULL)
            continue;
        must(f->type != FIELD_INTEGER || (json_int64(v, &n) == 0 && n >= f->min && n <= f->max));
        must(f->type != FIELD_URL || url_parse(v->text, &url, &reason) == 0);
        must(f->type == FIELD_INTEGER || f->type == FIELD_OBJECT || v->type == JSON_STRING);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct problem problem;
    const struct json *doc;
    const struct api *apis;
    const struct api *api;
    struct slice body;
    struct arena a;
    size_t count;

    if (size == 0)
        return 0;
    apis = api_table(&count);
    api = &apis[data[0] % count];
    body = slice_n(data + 1, size - 1);

    arena_init(&a, FUZZ_ARENA);
    if (api_check(&a, api, body, &doc, &problem) != 0)
        check_problem(&a, &problem);
    else if (doc)
        check_accepted(api, doc);
    else
        must(body.n == 0);
    arena_release(&a);
    return 0;
}
