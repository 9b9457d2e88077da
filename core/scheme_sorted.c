/*
 * Sorted parameters: reading them and the text that is signed. Keys and what goes on to a worker:
 * scheme_sorted_out.c.
 */
#include "scheme_sorted.h"

#include <stdlib.h>

#define NAME_MAX_LEN 128u
#define DEPTH_MAX    8u

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct reader {
    struct arena *a;
    struct sorted_params *out;
    const char *reason;
};

static int refuse(struct reader *r, const char *reason)
{
    r->reason = reason;
    return -1;
}

/* ------------------------------------------------------------------ one parameter */

static bool is_name_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
           c == '-' || c == '.';
}

static bool name_valid(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_name_char(s.p[i]))
            return false;
    return s.n >= 1 && s.n <= NAME_MAX_LEN;
}

/* "&name=" inside a value would read as the next parameter; any other '&' cannot. */
static bool looks_like_two(struct slice value)
{
    struct slice rest = value;

    slice_cut(&rest, '&');
    while (rest.p) {
        size_t n = 0;

        while (n < rest.n && is_name_char(rest.p[n]))
            n++;
        if (n > 0 && n < rest.n && rest.p[n] == '=')
            return true;
        slice_cut(&rest, '&');
    }
    return false;
}

static int add(struct reader *r, struct slice name, struct slice value, enum json_type type,
               struct slice raw)
{
    struct sorted_params *out = r->out;

    if (!name_valid(name))
        return refuse(r, "a parameter's name is not of 0-9 A-Z a-z _ - .");
    if (slice_is(name, "key"))
        return refuse(r, "key is not a parameter");
    if (looks_like_two(value))
        return refuse(r, "a parameter's value looks like another parameter");
    if (out->count == SORTED_MAX)
        return refuse(r, "too many parameters");
    out->list[out->count++] =
        (struct sorted_param){.name = name, .value = value, .raw = raw, .type = type};
    return 0;
}

static int compare(const void *a, const void *b)
{
    struct slice x = ((const struct sorted_param *)a)->name;
    struct slice y = ((const struct sorted_param *)b)->name;
    int c = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);

    return c ? c : (x.n > y.n) - (x.n < y.n);
}

static int start(struct reader *r, struct arena *a, struct sorted_params *out)
{
    *r = (struct reader){.a = a, .out = out};
    *out = (struct sorted_params){.list = arena_array(a, struct sorted_param, SORTED_MAX)};
    return out->list ? 0 : refuse(r, "too long");
}

static int finish(struct reader *r, int rc, const char **reason)
{
    struct sorted_params *out = r->out;

    if (rc == 0) {
        qsort(out->list, out->count, sizeof(out->list[0]), compare);
        for (size_t i = 1; i < out->count && rc == 0; i++)
            if (slice_eq(out->list[i - 1].name, out->list[i].name))
                rc = refuse(r, "a parameter is repeated");
    }
    if (rc == 0 && r->a->failed)
        rc = refuse(r, "too long");
    *reason = r->reason;
    return rc;
}

/* ------------------------------------------------------------------ JSON */

static int add_json(struct reader *r, struct slice name, const struct json *v)
{
    switch (v->type) {
    case JSON_NULL:
        return add(r, name, SLICE_NULL, v->type, SLICE_NULL);
    case JSON_TRUE:
        return add(r, name, SLICE("true"), v->type, SLICE_NULL);
    case JSON_FALSE:
        return add(r, name, SLICE("false"), v->type, SLICE_NULL);
    case JSON_NUMBER:
    case JSON_STRING:
        return add(r, name, v->text, v->type, SLICE_NULL);
    case JSON_ARRAY:
    case JSON_OBJECT:
        break;
    }
    return refuse(r, "an array cannot be signed");
}

/* The depth of recursion is bounded, whatever the parser allowed. */
static int add_members(struct reader *r, struct slice parent, const struct json *object,
                       unsigned depth)
{
    if (depth > DEPTH_MAX)
        return refuse(r, "too deep");
    for (const struct json *v = object->child; v; v = v->next) {
        struct slice name = v->key;

        /* "a.b" and {"a": {"b"}} would be one text */
        if (name.n && memchr(name.p, '.', name.n))
            return refuse(r, "a member's name has a dot");
        if (parent.n)
            name = arena_printf(r->a, "%.*s.%.*s", SLICE_FMT(parent), SLICE_FMT(name));
        if (v->type == JSON_OBJECT) {
            /* checked here for objects without members */
            if (!name_valid(name))
                return refuse(r, "a parameter's name is not of 0-9 A-Z a-z _ - .");
            if (add_members(r, name, v, depth + 1) < 0)
                return -1;
        } else if (add_json(r, name, v) < 0) {
            return -1;
        }
    }
    return 0;
}

int sorted_from_json(struct arena *a, const struct json *doc, struct sorted_params *out,
                     const char **reason)
{
    struct reader r;
    int rc = start(&r, a, out);

    if (rc == 0 && doc->type != JSON_OBJECT)
        rc = refuse(&r, "the body must be an object");
    if (rc == 0)
        rc = add_members(&r, SLICE_NULL, doc, 0);
    return finish(&r, rc, reason);
}

/* ------------------------------------------------------------------ forms and queries */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

static int form_decode(struct reader *r, struct slice in, struct slice *out)
{
    char *to = arena_alloc(r->a, in.n + 1);
    size_t n = 0;

    if (!to)
        return refuse(r, "too long");
    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];

        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            if (i + 2 >= in.n || hex_digit(in.p[i + 1]) < 0 || hex_digit(in.p[i + 2]) < 0)
                return refuse(r, "a percent sign without two digits");
            c = (char)(hex_digit(in.p[i + 1]) * 16 + hex_digit(in.p[i + 2]));
            i += 2;
        }
        if (c == '\0')
            return refuse(r, "a NUL");
        to[n++] = c;
    }
    *out = slice_n(to, n);
    return utf8_valid(*out) ? 0 : refuse(r, "not UTF-8");
}

static int add_form(struct reader *r, struct slice raw)
{
    struct slice rest = raw, name, value;

    if (form_decode(r, slice_cut(&rest, '='), &name) < 0 || form_decode(r, rest, &value) < 0)
        return -1;
    return add(r, name, value, JSON_STRING, raw);
}

int sorted_from_form(struct arena *a, struct slice form, struct sorted_params *out,
                     const char **reason)
{
    struct reader r;
    int rc = start(&r, a, out);

    while (rc == 0 && form.n)
        rc = add_form(&r, slice_cut(&form, '&'));
    return finish(&r, rc, reason);
}

/* ------------------------------------------------------------------ the scheme's own parameters */

static bool is_digits(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return true;
}

static bool is_token(struct slice s)
{
    return name_valid(s) && !memchr(s.p, '.', s.n);
}

static bool is_any(struct slice s)
{
    (void)s;
    return true;
}

static const struct own {
    const char *name;
    size_t offset; /* of the slice in struct sorted_request */
    size_t min, max;
    bool (*valid)(struct slice s);
    const char *bad;
} own[] = {
#define OWN(name, min, max, valid)                                                                 \
    {                                                                                              \
#name, offsetof(struct sorted_request, name), min, max, valid,                             \
            #name " is missing or malformed"                                                       \
    }
    OWN(service, 1, 256, is_any),
    OWN(serial_no, 1, 64, is_token),
    OWN(nonce_str, 16, 64, is_token),
    OWN(timestamp, 1, 12, is_digits),
    OWN(sign, 4, (SIGNATURE_MAX + 2) / 3 * 4, is_any),
    OWN(sign_type, 0, 32, is_any),
};

static const struct own *own_of(struct slice name)
{
    for (size_t i = 0; i < COUNT(own); i++)
        if (slice_is(name, own[i].name))
            return &own[i];
    return NULL;
}

bool sorted_is_own(struct slice name)
{
    return own_of(name) != NULL;
}

int sorted_take(const struct sorted_params *p, struct sorted_request *out, const char **reason)
{
    *out = (struct sorted_request){0};
    for (size_t i = 0; i < p->count; i++) {
        const struct own *o = own_of(p->list[i].name);

        if (o)
            *(struct slice *)((char *)out + o->offset) = p->list[i].value;
    }
    for (size_t i = 0; i < COUNT(own); i++) {
        struct slice v = *(struct slice *)((char *)out + own[i].offset);

        *reason = own[i].bad;
        if (v.n < own[i].min || v.n > own[i].max || (v.n && !own[i].valid(v)))
            return -1;
    }
    *reason = "timestamp is missing or malformed";
    if (slice_int64(out->timestamp, &out->timestamp_s) < 0)
        return -1;
    *reason = NULL;
    return 0;
}

/* ------------------------------------------------------------------ the text */

void sorted_string(struct buf *b, const struct sorted_param *list, size_t count)
{
    size_t from = b->n;

    for (size_t i = 0; i < count; i++) {
        if (list[i].value.n == 0 || slice_is(list[i].name, "sign"))
            continue;
        if (b->n > from)
            buf_add_char(b, '&');
        buf_add_slice(b, list[i].name);
        buf_add_char(b, '=');
        buf_add_slice(b, list[i].value);
    }
}

void sorted_answer_string(struct buf *b, const struct sorted_answer *answer)
{
    uint8_t digest[SHA256_LEN];

    if (sha256(answer->body, digest) < 0) {
        b->failed = true;
        return;
    }
    buf_add_str(b, "body_sha256=");
    hex_encode(b, slice_n(digest, sizeof(digest)), false);
    buf_addf(b, "&nonce_str=%.*s&request_nonce=%.*s&serial_no=%.*s&status=%d&timestamp=%.*s",
             SLICE_FMT(answer->nonce_str), SLICE_FMT(answer->request_nonce),
             SLICE_FMT(answer->serial_no), answer->status, SLICE_FMT(answer->timestamp));
}
