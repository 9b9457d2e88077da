/* The sorted-parameter scheme: `{...}` is a JSON body, anything else a form or a query. */
#include "fuzz.h"

#include "core/scheme_sorted.h"

static bool name_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
           c == '-' || c == '.';
}

/* How many parameters a reader could see in the text: one more than there are "&name=". */
static size_t readable(struct slice s)
{
    size_t count = s.n > 0;

    for (size_t i = 0; i < s.n; i++) {
        size_t k = i + 1;

        if (s.p[i] != '&')
            continue;
        while (k < s.n && name_char(s.p[k]))
            k++;
        count += k > i + 1 && k < s.n && s.p[k] == '=';
    }
    return count;
}

static void check_params(const struct sorted_params *p)
{
    size_t signed_ones = 0;
    struct buf text;

    must(p->count <= SORTED_MAX);
    for (size_t i = 0; i < p->count; i++) {
        const struct sorted_param *q = &p->list[i];

        must(q->name.n > 0 && !slice_is(q->name, "key"));
        for (size_t k = 0; k < q->name.n; k++)
            must(name_char(q->name.p[k]));
        must(q->value.n == 0 || memchr(q->value.p, 0, q->value.n) == NULL);
        must(i == 0 ||
             memcmp(p->list[i - 1].name.p, q->name.p,
                    p->list[i - 1].name.n < q->name.n ? p->list[i - 1].name.n : q->name.n) <= 0);
        must(i == 0 || !slice_eq(p->list[i - 1].name, q->name));
        signed_ones += q->value.n > 0 && !slice_is(q->name, "sign");
    }
    buf_init(&text, FUZZ_ARENA);
    sorted_string(&text, p->list, p->count);
    must(buf_ok(&text) && readable(buf_slice(&text)) == signed_ones);
    buf_release(&text);
}

/* What goes on to the worker: JSON, without anything of the scheme's. */
static void check_body(struct arena *a, const struct sorted_params *p, bool is_form)
{
    const struct json *doc;
    struct json_error err;
    struct buf body;

    buf_init(&body, FUZZ_ARENA);
    sorted_body(&body, p, api_of(API_PAYMENT_CREATE)->fields, is_form);
    must(buf_ok(&body));
    /* not always JSON: "a=1" beside "a.b=2" is a name twice, which the API refuses */
    if (json_parse(a, buf_slice(&body), NULL, &doc, &err) == 0) {
        must(doc->type == JSON_OBJECT);
        /* "sign.x" was signed, and is an object that no API knows */
        for (const struct json *v = doc->child; v; v = v->next)
            must(v->type == JSON_OBJECT || !sorted_is_own(v->key));
    }
    buf_clear(&body);
    sorted_query(&body, p);
    must(buf_ok(&body));
    buf_release(&body);
}

static void check_forged(const struct sorted_params *p, const struct sorted_request *r)
{
    static struct verify_key key;
    struct buf text;

    if (key.alg == KEY_ALG_NONE)
        must(verify_key_load(&key, KEY_HMAC_SHA256, SLICE("0123456789abcdef0123456789abcdef")) ==
             0);
    buf_init(&text, FUZZ_ARENA);
    sorted_string(&text, p->list, p->count);
    must(sorted_verify(&key, buf_slice(&text), r->sign) != 0);
    buf_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_n(data, size);
    bool is_form = size == 0 || data[0] != '{';
    struct sorted_params params;
    struct sorted_request request;
    const char *reason = NULL;
    const struct json *doc;
    struct json_error err;
    struct arena a;
    int rc = -1;

    arena_init(&a, FUZZ_ARENA);
    if (is_form)
        rc = sorted_from_form(&a, in, &params, &reason);
    else if (json_parse(&a, in, NULL, &doc, &err) == 0)
        rc = sorted_from_json(&a, doc, &params, &reason);
    else
        reason = "not JSON";
    if (rc != 0) {
        must(reason && *reason);
    } else {
        check_params(&params);
        check_body(&a, &params, is_form);
        if (sorted_take(&params, &request, &reason) == 0)
            check_forged(&params, &request);
        else
            must(reason && *reason);
    }
    arena_release(&a);
    return 0;
}
