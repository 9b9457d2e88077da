/*
 * api_check: one walk over a parsed body against the API's table. Every refusal names the field.
 */
#include "core/api.h"

#include "core/clock.h"
#include "core/net.h"

#include <arpa/inet.h>

#define PATH_MAX_LEN 64 /* longest dotted path in the tables */

struct check {
    struct arena *a;
    const struct api_field *fields;
    struct problem *problem;
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

/* A bit for each ASCII character. */
struct charset {
    uint64_t bits[2];
};

/* Ranges are recognised only between two digits or two letters of one case: "_-|" are three
 * characters. */
static struct charset charset_of(const char *text)
{
    struct charset set = {{0, 0}};

    for (const char *p = text; *p; p++) {
        bool range = p[1] == '-' && ((p[0] == '0' && p[2] == '9') || (p[0] == 'A' && p[2] == 'Z') ||
                                     (p[0] == 'a' && p[2] == 'z'));
        unsigned from = (unsigned char)p[0] & 127, to = range ? (unsigned char)p[2] & 127 : from;

        /* no range has an end in each word */
        set.bits[from / 64] |= (~0ULL << from % 64) & (~0ULL >> (63 - to % 64));
        p += range ? 2 : 0;
    }
    return set;
}

/* Characters from the start that are of the set. */
static size_t charset_span(const char *text, struct slice s)
{
    struct charset set = charset_of(text);
    size_t i = 0;

    while (i < s.n && (unsigned char)s.p[i] < 128 &&
           (set.bits[(unsigned char)s.p[i] / 64] >> ((unsigned char)s.p[i] % 64) & 1))
        i++;
    return i;
}

/* One of "a|b|c". */
static bool in_values(const char *values, struct slice s)
{
    while (*values) {
        size_t n = strcspn(values, "|");

        if (slice_eq(slice_n(values, n), s))
            return true;
        values += values[n] ? n + 1 : n;
    }
    return false;
}

static int check_string(struct check *c, const struct api_field *f, struct slice s)
{
    size_t start = f->charset ? charset_span(f->charset, s) : slice_printable(s);
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

static int check_integer(struct check *c, const struct api_field *f, const struct json *v)
{
    /* an amount is refused by its own code, so that programs tell it from a typing error */
    enum problem_code code = slice_starts(slice_of(f->path), SLICE("amount."))
                                 ? PROBLEM_AMOUNT_OUT_OF_RANGE
                                 : PROBLEM_FIELD_INVALID;
    int64_t n;

    if (v->type != JSON_NUMBER)
        return refuse(c, PROBLEM_FIELD_TYPE, f->path, SLICE("must be an integer"));
    for (size_t i = 0; i < v->text.n; i++) {
        if ((v->text.p[i] < '0' || v->text.p[i] > '9') && !(i == 0 && v->text.p[i] == '-'))
            return refuse(c, PROBLEM_FIELD_TYPE, f->path, SLICE("must be an integer"));
    }
    if (json_int64(v, &n) != 0 || n < f->min || n > f->max)
        return refuse(
            c, code, f->path,
            arena_printf(c->a, "must be %lld to %lld", (long long)f->min, (long long)f->max));
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

static int check_value(struct check *c, const struct api_field *f, const struct json *v)
{
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
    if (check_string(c, f, v->text) != 0)
        return -1;
    if (f->type == FIELD_ADDRESS && !is_address(v->text))
        return refuse(c, PROBLEM_FIELD_INVALID, f->path, SLICE("must be an IP address"));
    if (f->type == FIELD_URL && url_parse(v->text, &url, &reason) != 0)
        return refuse(c, PROBLEM_FIELD_INVALID, f->path, slice_of(reason));
    return 0;
}

/* Index of the field called parent.key, -1 if there is none. */
static int find_field(const struct api_field *fields, const char *parent, struct slice key)
{
    size_t skip = strlen(parent);

    for (int i = 0; fields[i].path; i++) {
        const char *path = fields[i].path;

        if (skip) {
            if (strncmp(path, parent, skip) != 0 || path[skip] != '.')
                continue;
            path += skip + 1;
        }
        /* most differ in the first character; a key with a dot must not be taken for a nested field
         */
        if (key.n && key.p[0] == path[0] && strncmp(path, key.p, key.n) == 0 &&
            path[key.n] == '\0' && memchr(key.p, '.', key.n) == NULL)
            return i;
    }
    return -1;
}

/* Objects nest two levels deep in the tables, so the recursion is bounded by them. */
static int check_object(struct check *c, const char *parent, const struct json *object,
                        uint64_t *seen)
{
    for (const struct json *v = object->child; v; v = v->next) {
        int i = find_field(c->fields, parent, v->key);

        if (i < 0) {
            refuse(c, PROBLEM_FIELD_UNKNOWN, NULL, SLICE_NULL);
            c->problem->pointer = pointer_unknown(c->a, parent, v->key);
            return -1;
        }
        *seen |= 1ULL << i;
        if (check_value(c, &c->fields[i], v) != 0)
            return -1;
        if (c->fields[i].type == FIELD_OBJECT && check_object(c, c->fields[i].path, v, seen) != 0)
            return -1;
    }
    return 0;
}

static int check_required(struct check *c, uint64_t seen)
{
    for (int i = 0; c->fields[i].path; i++) {
        if (c->fields[i].required && !(seen & 1ULL << i))
            return refuse(c, PROBLEM_FIELD_MISSING, c->fields[i].path, SLICE_NULL);
    }
    return 0;
}

/* What belongs to some payment methods only. */
static int check_methods(struct check *c, const struct json *doc)
{
    struct slice method = json_str(doc, "method");

    for (const struct api_method_field *f = api_method_fields(); f->path; f++) {
        bool there = json_get(doc, f->path) != NULL;

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
    struct check c = {a, api->fields, problem};
    struct json_error err = {0};
    uint64_t seen = 0;

    *doc = NULL;
    *problem = (struct problem){0};

    if (api->fields == NULL) {
        if (body.n)
            return refuse(&c, PROBLEM_JSON_INVALID, NULL, SLICE("this request takes no body"));
        return 0;
    }
    if (body.n == 0)
        return check_required(&c, 0) == 0
                   ? 0
                   : refuse(&c, PROBLEM_JSON_INVALID, NULL, SLICE("the body is empty"));
    if (json_parse(a, body, &limits, doc, &err) != 0) {
        *doc = NULL;
        return refuse_json(&c, &err);
    }
    if ((*doc)->type != JSON_OBJECT)
        return refuse(&c, PROBLEM_JSON_INVALID, NULL, SLICE("the body must be an object"));
    if (check_object(&c, "", *doc, &seen) != 0)
        return -1;
    if (check_required(&c, seen) != 0)
        return -1;
    return api->id == API_PAYMENT_CREATE ? check_methods(&c, *doc) : 0;
}
