/*
 * One walk over the input builds an arena tree; json_check_input has looked at the bytes before it.
 * Strings without escapes, which is most of them, are looked at eight bytes at a time and may stay
 * where they are. fuzz/json.c holds the walk against yajl, another reader of the same grammar.
 */
#include "json.h"

#include "json_input.h"
#include "json_text.h"

#include <inttypes.h>
#include <stdlib.h>

#define DEPTH_DEFAULT  16u
#define DEPTH_MAX      1024u /* the walk is recursive */
#define VALUES_DEFAULT 1024u
/* objects up to this size compare keys pairwise, larger ones are sorted once, at their end */
#define PAIRWISE_MAX 64u

static const char NO_MEMORY[] = "out of memory";
static const char SYNTAX[] = "syntax";

struct parser {
    struct arena *arena;
    struct json_error *err;
    struct json_limits limits;
    const char *start, *at, *end;
    uint32_t depth; /* arrays and objects that are open */
    uint32_t values;
    struct slice key; /* of the member whose value comes next */
};

/* ------------------------------------------------------------------ the walk */

static int fail(struct parser *ps, const char *reason)
{
    ps->err->reason = reason;
    ps->err->key = ps->key;
    ps->err->offset = (size_t)(ps->at - ps->start);
    return -1;
}

static void skip_blanks(struct parser *ps)
{
    while (ps->at < ps->end &&
           (*ps->at == ' ' || *ps->at == '\n' || *ps->at == '\r' || *ps->at == '\t'))
        ps->at++;
}

/* Whether c comes next; if so it is behind us. */
static inline bool take(struct parser *ps, char c)
{
    if (ps->at < ps->end && (unsigned char)*ps->at <= ' ')
        skip_blanks(ps);
    if (ps->at == ps->end || *ps->at != c)
        return false;
    ps->at++;
    return true;
}

static struct slice keep(struct parser *ps, const char *p, size_t n)
{
    return ps->limits.in_place ? slice_n(p, n) : arena_copy(ps->arena, slice_n(p, n));
}

static char *put_utf8(char *to, unsigned c)
{
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
        *to++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *to++ = (char)(0xe0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    } else {
        *to++ = (char)(0xf0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 0x3f));
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    }
    return to;
}

/* What stands behind a backslash at *p, as bytes at *to; both move on. json_check_input has seen to
 * it that the second half of a pair is there. */
static int unescape(const char **p, const char *end, char **to)
{
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *letter = memchr(letters, **p, sizeof(letters) - 1);
    int unit;

    if (letter) {
        *(*to)++ = meant[letter - letters];
        (*p)++;
        return 0;
    }
    unit = **p == 'u' ? json_code_unit(*p + 1, (size_t)(end - *p - 1)) : -1;
    if (unit < 0)
        return -1;
    *p += 5;
    if (unit >= 0xd800 && unit <= 0xdbff) {
        unit = 0x10000 + ((unit & 0x3ff) << 10) + (json_code_unit(*p + 2, 4) & 0x3ff);
        *p += 6;
    }
    *to = put_utf8(*to, (unsigned)unit);
    return 0;
}

/* A string with escapes, the first of them at p. Decoded it is never longer. */
static int parse_escaped(struct parser *ps, const char *p, struct slice *out)
{
    const char *from = ps->at;
    char *text, *to;

    while (p < ps->end && *p == '\\')
        p = p + 2 < ps->end ? plain_end(p + 2, ps->end) : ps->end;
    if (p == ps->end || *p != '"') {
        ps->at = p;
        return fail(ps, SYNTAX);
    }
    text = to = arena_alloc(ps->arena, (size_t)(p - from));
    if (!text)
        return fail(ps, NO_MEMORY);
    while (from < p) {
        if (*from != '\\') {
            *to++ = *from++;
            continue;
        }
        ps->at = from++;
        if (unescape(&from, p, &to) < 0)
            return fail(ps, SYNTAX);
    }
    ps->at = p + 1;
    *out = slice_n(text, (size_t)(to - text));
    return 0;
}

/* Behind its first quote. */
static int parse_string(struct parser *ps, struct slice *out)
{
    const char *p = plain_end(ps->at, ps->end);

    if (p < ps->end && *p == '\\')
        return parse_escaped(ps, p, out);
    if (p == ps->end || *p != '"') {
        ps->at = p;
        return fail(ps, SYNTAX);
    }
    *out = keep(ps, ps->at, (size_t)(p - ps->at));
    ps->at = p + 1;
    return out->p ? 0 : fail(ps, NO_MEMORY);
}

/* Moves over at least one digit. */
static bool take_digits(struct parser *ps)
{
    const char *from = ps->at;

    while (ps->at < ps->end && *ps->at >= '0' && *ps->at <= '9')
        ps->at++;
    return ps->at > from;
}

/* The text stays as it is: what it is worth is for those who know what it counts. */
static int parse_number(struct parser *ps, struct slice *out)
{
    const char *from = ps->at;

    ps->at += *ps->at == '-';
    if (ps->at < ps->end && *ps->at == '0')
        ps->at++;
    else if (!take_digits(ps))
        return fail(ps, SYNTAX);
    if (ps->at < ps->end && *ps->at == '.') {
        ps->at++;
        if (!take_digits(ps))
            return fail(ps, SYNTAX);
    }
    if (ps->at < ps->end && (*ps->at == 'e' || *ps->at == 'E')) {
        ps->at++;
        if (ps->at < ps->end && (*ps->at == '+' || *ps->at == '-'))
            ps->at++;
        if (!take_digits(ps))
            return fail(ps, SYNTAX);
    }
    *out = keep(ps, from, (size_t)(ps->at - from));
    return out->p ? 0 : fail(ps, NO_MEMORY);
}

static int parse_word(struct parser *ps, struct slice word)
{
    if (!slice_starts(slice_n(ps->at, (size_t)(ps->end - ps->at)), word))
        return fail(ps, SYNTAX);
    ps->at += word.n;
    return 0;
}

static int compare_keys(const void *a, const void *b)
{
    struct slice x = (*(struct json *const *)a)->key;
    struct slice y = (*(struct json *const *)b)->key;
    int order = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);

    return order ? order : (x.n > y.n) - (x.n < y.n);
}

/* Sorting costs n log n whatever the keys are; a hash table could be attacked with chosen keys. */
static int check_large_object(struct parser *ps, const struct json *object)
{
    struct json **sorted = arena_array(ps->arena, struct json *, object->count);
    size_t n = 0;

    if (!sorted)
        return fail(ps, NO_MEMORY);
    for (struct json *m = object->child; m; m = m->next)
        sorted[n++] = m;
    qsort(sorted, n, sizeof(*sorted), compare_keys);
    for (size_t i = 1; i < n; i++) {
        if (slice_eq(sorted[i - 1]->key, sorted[i]->key)) {
            ps->key = sorted[i]->key;
            return fail(ps, "duplicate key");
        }
    }
    return 0;
}

static bool has_key(const struct json *object, struct slice key)
{
    for (const struct json *m = object->child; m; m = m->next)
        if (slice_eq(m->key, key))
            return true;
    return false;
}

/* One of 64 kinds of keys: those of two kinds differ. */
static uint64_t kind_of(struct slice key)
{
    unsigned n = (unsigned)key.n;

    return 1ULL << ((n ? n + (unsigned char)key.p[0] * 5u + (unsigned char)key.p[n - 1] * 11u : 0) &
                    63);
}

/* "key": ; kinds: of the keys before it */
static int parse_key(struct parser *ps, const struct json *object, uint64_t *kinds)
{
    uint64_t kind;

    if (!take(ps, '"'))
        return fail(ps, SYNTAX);
    if (parse_string(ps, &ps->key) < 0)
        return -1;
    kind = kind_of(ps->key);
    if (*kinds & kind && object->count < PAIRWISE_MAX && has_key(object, ps->key))
        return fail(ps, "duplicate key");
    *kinds |= kind;
    return take(ps, ':') ? 0 : fail(ps, SYNTAX);
}

static int parse_value(struct parser *ps, struct json **out);

/* Behind the first bracket. */
static int parse_members(struct parser *ps, struct json *v, char close)
{
    struct json **place = &v->child;
    uint64_t kinds = 0;

    if (ps->depth == ps->limits.depth)
        return fail(ps, "too deep");
    ps->key = SLICE_NULL;
    if (take(ps, close))
        return 0;
    ps->depth++;
    do {
        struct slice key = SLICE_NULL;

        if (v->type == JSON_OBJECT) {
            if (parse_key(ps, v, &kinds) < 0)
                return -1;
            key = ps->key;
        }
        if (parse_value(ps, place) < 0)
            return -1;
        (*place)->key = key;
        place = &(*place)->next;
        v->count++;
        ps->key = SLICE_NULL;
    } while (take(ps, ','));
    ps->depth--;
    if (!take(ps, close))
        return fail(ps, SYNTAX);
    return v->type == JSON_OBJECT && v->count > PAIRWISE_MAX ? check_large_object(ps, v) : 0;
}

static int parse_typed(struct parser *ps, struct json *v, char first)
{
    switch (first) {
    case '{':
        v->type = JSON_OBJECT;
        ps->at++;
        return parse_members(ps, v, '}');
    case '[':
        v->type = JSON_ARRAY;
        ps->at++;
        return parse_members(ps, v, ']');
    case '"':
        v->type = JSON_STRING;
        ps->at++;
        return parse_string(ps, &v->text);
    case 't':
        v->type = JSON_TRUE;
        return parse_word(ps, SLICE("true"));
    case 'f':
        v->type = JSON_FALSE;
        return parse_word(ps, SLICE("false"));
    case 'n':
        v->type = JSON_NULL;
        return parse_word(ps, SLICE("null"));
    default:
        v->type = JSON_NUMBER;
        return parse_number(ps, &v->text);
    }
}

static int parse_value(struct parser *ps, struct json **out)
{
    skip_blanks(ps);
    if (ps->at == ps->end)
        return fail(ps, SYNTAX);
    if (++ps->values > ps->limits.values)
        return fail(ps, "too many values");
    *out = arena_new(ps->arena, struct json);
    return *out ? parse_typed(ps, *out, *ps->at) : fail(ps, NO_MEMORY);
}

int json_parse(struct arena *a, struct slice in, const struct json_limits *limits,
               const struct json **out, struct json_error *err)
{
    struct parser ps = {.arena = a, .err = err, .limits = {DEPTH_DEFAULT, VALUES_DEFAULT, false}};
    struct json *root = NULL;

    *err = (struct json_error){0};
    if (json_check_input(in, err) < 0)
        return -1;
    if (limits && limits->depth)
        ps.limits.depth = limits->depth < DEPTH_MAX ? limits->depth : DEPTH_MAX;
    if (limits && limits->values)
        ps.limits.values = limits->values;
    ps.limits.in_place = limits && limits->in_place;
    ps.start = ps.at = in.n ? in.p : "";
    ps.end = ps.start + in.n;
    if (parse_value(&ps, &root) < 0)
        return -1;
    skip_blanks(&ps);
    if (ps.at != ps.end)
        return fail(&ps, SYNTAX);
    *out = root;
    *err = (struct json_error){0};
    return 0;
}

/* ------------------------------------------------------------------ reading */

const struct json *json_get(const struct json *v, const char *path)
{
    while (v && path) {
        const char *dot = strchr(path, '.');
        struct slice key = dot ? slice_n(path, (size_t)(dot - path)) : slice_of(path);
        const struct json *m = v->type == JSON_OBJECT ? v->child : NULL;

        while (m && !slice_eq(m->key, key))
            m = m->next;
        v = m;
        path = dot ? dot + 1 : NULL;
    }
    return v;
}

struct slice json_str(const struct json *v, const char *path)
{
    const struct json *found = json_get(v, path);

    return found && found->type == JSON_STRING ? found->text : SLICE_NULL;
}

int json_int64(const struct json *v, int64_t *out)
{
    return v && v->type == JSON_NUMBER ? slice_int64(v->text, out) : -1;
}
