/*
 * api_check: one walk over a parsed body against the API's table. Every refusal names the field.
 */
#include "core/api.h"

#include "core/api_index.h"
#include "core/clock.h"
#include "core/net.h"

#include <arpa/inet.h>

#define PATH_MAX_LEN 64 /* longest dotted path in the tables */

struct check {
    struct arena *a;
    const struct api_index *index;
    struct problem *problem;
    uint64_t seen; /* fields that are there */
};

/* "amount.total" -> "/amount/total" */
static struct slice pointer_of(struct arena *a, const char *path)
{
    struct slice s = arena_printf(a, "/%s", path);

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '.')
            ((char *)(uintptr_t)s.p)[i] = '/';
    }
    return s;
}

/* Pointer of a member nobody declared: its name is the caller's, so it is escaped and cut. */
static struct slice pointer_unknown(struct arena *a, const char *parent, struct slice key)
{
    char text[PATH_MAX_LEN * 2];
    size_t n = 0;

    if (key.n > PATH_MAX_LEN)
        key.n = PATH_MAX_LEN;
    /* never cut inside a UTF-8 sequence */
    while (key.n && !utf8_valid(key))
        key.n--;
    for (size_t i = 0; i < key.n && n + 2 < sizeof(text); i++) {
        if (key.p[i] == '~' || key.p[i] == '/') {
            text[n++] = '~';
            text[n++] = key.p[i] == '~' ? '0' : '1';
        } else {
            text[n++] = key.p[i];
        }
    }
    if (*parent)
        return arena_printf(a, "/%s/%.*s", parent, (int)n, text);
    return arena_printf(a, "/%.*s", (int)n, text);
}

static int refuse(struct check *c, enum problem_code code, const char *path, struct slice detail)
{
    *c->problem = (struct problem){
        .code = code, .detail = detail, .pointer = path ? pointer_of(c->a, path) : SLICE_NULL};
    return -1;
}

/* Characters from the start that are of the set. */
static size_t charset_span(const struct api_index *index, uint8_t charset, struct slice s)
{
    size_t i = 0;

    while (i < s.n && index->characters[(unsigned char)s.p[i]] & charset)
        i++;
    return i;
}

/* One of "a|b|c". */
static bool in_values(const char *values, struct slice s)
{
    for (;;) {
        size_t n = 0;

        while (n < s.n && values[n] == s.p[n] && values[n] != '|' && values[n])
            n++;
        if (n == s.n && (values[n] == '|' || !values[n]))
            return true;
        while (values[n] != '|' && values[n])
            n++;
        if (!values[n])
            return false;
        values += n + 1;
    }
}

static int check_string(struct check *c, int field, struct slice s)
{
    const struct api_field *f = &c->index->fields[field];
    uint8_t charset = c->index->names[field].charset;
    size_t start = charset ? charset_span(c->index, charset, s) : slice_printable(s);
    int64_t characters = (int64_t)start;

    for (size_t i = start; i < s.n; i++) {
        unsigned char ch = (unsigned char)s.p[i];

        if (ch < 0x20 || ch == 0x7f)
            return refuse(c, PROBLEM_FIELD_INVALID, f->path, SLICE("control character"));
        if (f->charset)
            return refuse(c, PROBLEM_FIELD_INVALID, f->path,
                          arena_printf(c->a, "only characters of %s", f->charset));
        characters += (ch & 0xc0) != 0x80;
    }
    if (f->values && !in_values(f->values, s))
        return refuse(c, PROBLEM_FIELD_INVALID, f->path,
                      arena_printf(c->a, "must be one of %s", f->values));
    if (characters < f->min || characters > f->max)
        return refuse(c, PROBLEM_FIELD_INVALID, f->path,
                      arena_printf(c->a, "must have %lld to %lld characters", (long long)f->min,
                                   (long long)f->max));
    return 0;
}

/* An amount is refused by its own code, so that programs tell it from a typing error. */
static int refuse_integer(struct check *c, const struct api_field *f)
{
    enum problem_code code = slice_starts(slice_of(f->path), SLICE("amount."))
                                 ? PROBLEM_AMOUNT_OUT_OF_RANGE
                                 : PROBLEM_FIELD_INVALID;

    return refuse(c, code, f->path,
                  arena_printf(c->a, "must be %lld to %lld", (long long)f->min, (long long)f->max));
}

static int check_integer(struct check *c, const struct api_field *f, const struct json *v)
{
    int64_t n;

    if (v->type != JSON_NUMBER)
        return refuse(c, PROBLEM_FIELD_TYPE, f->path, SLICE("must be an integer"));
    for (size_t i = 0; i < v->text.n; i++) {
        if ((v->text.p[i] < '0' || v->text.p[i] > '9') && !(i == 0 && v->text.p[i] == '-'))
            return refuse(c, PROBLEM_FIELD_TYPE, f->path, SLICE("must be an integer"));
    }
    if (json_int64(v, &n) != 0 || n < f->min || n > f->max)
        return refuse_integer(c, f);
    return 0;
}

static bool is_address(struct slice s)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char address[16];

    if (s.n >= sizeof(text))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return strlen(text) == s.n &&
           (inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1);
}

static int check_value(struct check *c, int field, const struct json *v)
{
    const struct api_field *f = &c->index->fields[field];
    const char *reason;
    struct url url;
    pay_time_t t;

    if (f->type == FIELD_INTEGER)
        return check_integer(c, f, v);
    if (f->type == FIELD_OBJECT) {
        if (v->type != JSON_OBJECT)
            return refuse(c, PROBLEM_FIELD_TYPE, f->path, SLICE("must be an object"));
        return 0;
    }
    if (v->type != JSON_STRING)
        return refuse(c, PROBLEM_FIELD_TYPE, f->path, SLICE("must be a string"));
    if (f->type == FIELD_TIME) {
        if (time_parse_rfc3339(v->text, &t) != 0)
            return refuse(c, PROBLEM_FIELD_INVALID, f->path, SLICE("must be an RFC 3339 time"));
        return 0;
    }
    if (check_string(c, field, v->text) != 0)
        return -1;
    if (f->type == FIELD_ADDRESS && !is_address(v->text))
        return refuse(c, PROBLEM_FIELD_INVALID, f->path, SLICE("must be an IP address"));
    if (f->type == FIELD_URL && url_parse(v->text, &url, &reason) != 0)
        return refuse(c, PROBLEM_FIELD_INVALID, f->path, slice_of(reason));
    return 0;
}

/* parent: the object's field, -1 for the body. Objects nest two levels deep in the tables, so the
 * recursion is bounded by them. */
static int check_object(struct check *c, int parent, const struct json *object)
{
    const struct api_field *fields = c->index->fields;

    for (const struct json *v = object->child; v; v = v->next) {
        int i = api_index_find(c->index, parent, v->key);

        if (i < 0) {
            refuse(c, PROBLEM_FIELD_UNKNOWN, NULL, SLICE_NULL);
            c->problem->pointer =
                pointer_unknown(c->a, parent < 0 ? "" : fields[parent].path, v->key);
            return -1;
        }
        c->seen |= 1ULL << i;
        if (check_value(c, i, v) != 0)
            return -1;
        if (fields[i].type == FIELD_OBJECT && check_object(c, i, v) != 0)
            return -1;
    }
    return 0;
}

static int check_required(struct check *c)
{
    uint64_t missing = c->index->required & ~c->seen;

    if (missing)
        return refuse(c, PROBLEM_FIELD_MISSING, c->index->fields[__builtin_ctzll(missing)].path,
                      SLICE_NULL);
    return 0;
}

/* What belongs to some payment methods only. */
static int check_methods(struct check *c, const struct json *doc)
{
    const struct api_method_field *rows = api_method_fields();
    struct slice method = json_str(doc, "method");

    for (size_t i = 0; rows[i].path; i++) {
        const struct api_method_field *f = &rows[i];
        bool there = c->seen >> c->index->by_method[i] & 1;

        if (!there && f->required && in_values(f->required, method))
            return refuse(c, PROBLEM_FIELD_MISSING, f->path,
                          arena_printf(c->a, "needed for method %.*s", SLICE_FMT(method)));
        if (there && f->allowed && !in_values(f->allowed, method))
            return refuse(c, PROBLEM_FIELD_INVALID, f->path,
                          arena_printf(c->a, "not for method %.*s", SLICE_FMT(method)));
    }
    return 0;
}

static int refuse_json(struct check *c, const struct json_error *err)
{
    c->problem->code = PROBLEM_JSON_INVALID;
    c->problem->pointer = err->key.n ? pointer_unknown(c->a, "", err->key) : SLICE_NULL;
    c->problem->detail = arena_printf(c->a, "%s at byte %zu", err->reason, err->offset);
    return -1;
}

int api_check(struct arena *a, const struct api *api, struct slice body, const struct json **doc,
              struct problem *problem)
{
    static const struct json_limits limits = {.depth = 8, .values = 256, .in_place = true};
    struct check c = {a, api_index_of(api), problem, 0};
    struct json_error err = {0};

    *doc = NULL;
    *problem = (struct problem){0};

    if (api->fields == NULL) {
        if (body.n)
            return refuse(&c, PROBLEM_JSON_INVALID, NULL, SLICE("this request takes no body"));
        return 0;
    }
    if (body.n == 0)
        return check_required(&c) == 0
                   ? 0
                   : refuse(&c, PROBLEM_JSON_INVALID, NULL, SLICE("the body is empty"));
    if (json_parse(a, body, &limits, doc, &err) != 0) {
        *doc = NULL;
        return refuse_json(&c, &err);
    }
    if ((*doc)->type != JSON_OBJECT)
        return refuse(&c, PROBLEM_JSON_INVALID, NULL, SLICE("the body must be an object"));
    if (check_object(&c, -1, *doc) != 0)
        return -1;
    if (check_required(&c) != 0)
        return -1;
    return api->id == API_PAYMENT_CREATE ? check_methods(&c, *doc) : 0;
}
