#include "body.h"

#include "core/xml.h"

#include <stdlib.h>

#define MEMBERS_MAX 512u
#define NAME_MAX    128u

static const struct {
    const char *name, *content_type;
} encodings[] = {
    [ENCODING_JSON] = {"json", "application/json"},
    [ENCODING_XML] = {"xml", "text/xml; charset=utf-8"},
    [ENCODING_FORM] = {"form", "application/x-www-form-urlencoded;charset=utf-8"},
    [ENCODING_PAIRS] = {"pairs", "application/x-www-form-urlencoded;charset=utf-8"},
};
#define ENCODINGS (sizeof(encodings) / sizeof(*encodings))

int encoding_parse(struct slice word)
{
    for (size_t i = 0; i < ENCODINGS; i++)
        if (slice_is(word, encodings[i].name))
            return (int)i;
    return -1;
}

const char *encoding_name(enum encoding e)
{
    return e < ENCODINGS ? encodings[e].name : NULL;
}

struct slice encoding_content_type(enum encoding e)
{
    return slice_of(encodings[e].content_type);
}

/* ------------------------------------------------------------------ building */

static bool has_member(const struct json *object, struct slice key)
{
    for (const struct json *m = object->child; m; m = m->next)
        if (slice_eq(m->key, key))
            return true;
    return false;
}

/* A text member behind *last. NULL when it may not be there. */
static struct json *add_text(struct json *object, struct json **last, struct slice key,
                             struct slice text, struct arena *arena)
{
    struct json *v;

    if (key.n == 0 || key.n > NAME_MAX || object->count == MEMBERS_MAX)
        return NULL;
    v = arena_new(arena, struct json);
    if (!v)
        return NULL;
    *v = (struct json){.type = JSON_STRING, .key = key, .text = text};
    if (*last)
        (*last)->next = v;
    else
        object->child = v;
    *last = v;
    object->count++;
    return v;
}

/* No element stands twice: xml_parse refused that. */
static int from_xml(const struct xml *x, struct json *out, struct arena *arena)
{
    struct json *last = NULL;

    out->type = JSON_OBJECT;
    for (const struct xml *c = x->child; c; c = c->next) {
        struct json *v = add_text(out, &last, c->name, c->text, arena);

        if (!v || (c->child && from_xml(c, v, arena) < 0))
            return -1;
    }
    return 0;
}

static int parse_xml(struct slice in, struct arena *arena, struct json *out)
{
    const struct xml *root;
    struct xml_error why;

    return xml_parse(arena, in, NULL, &root, &why) < 0 ? -1 : from_xml(root, out, arena);
}

/* ------------------------------------------------------------------ form, pairs */

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decoded, + is a blank; in place when there is nothing to decode. */
static int form_decode(struct slice in, struct arena *arena, struct slice *out)
{
    char *to;
    size_t n = 0;

    *out = in;
    if (in.n == 0 || (!memchr(in.p, '%', in.n) && !memchr(in.p, '+', in.n)))
        return 0;
    to = arena_alloc(arena, in.n);
    if (!to)
        return -1;
    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];

        if (c == '%') {
            int high = i + 2 < in.n ? digit(in.p[i + 1]) : -1;
            int low = i + 2 < in.n ? digit(in.p[i + 2]) : -1;

            if (high < 0 || low < 0)
                return -1;
            c = (char)(high << 4 | low);
            i += 2;
        }
        to[n++] = c == '+' && in.p[i] == '+' ? ' ' : c;
    }
    *out = slice_n(to, n);
    return 0;
}

/* Where the pair in front of s ends; *closed is false when a { stays open. */
static size_t pair_end(struct slice s, bool braces, bool *closed)
{
    const char *end = memchr(s.p, '&', s.n);
    size_t n = end ? (size_t)(end - s.p) : s.n;
    uint32_t depth = 0;
    size_t i = 0;

    *closed = true;
    if (!braces || !memchr(s.p, '{', n))
        return n;
    for (; i < s.n && (s.p[i] != '&' || depth); i++) {
        if (s.p[i] == '{')
            depth++;
        else if (s.p[i] == '}' && depth)
            depth--;
    }
    *closed = depth == 0;
    return i;
}

/* Takes one k=v off the front. */
static struct slice cut_pair(struct slice *rest, bool braces, bool *closed)
{
    struct slice head = *rest;
    size_t n = head.n ? pair_end(head, braces, closed) : 0;

    *rest = n < head.n ? slice_n(head.p + n + 1, head.n - n - 1) : SLICE_NULL;
    return slice_n(head.p, n);
}

static int parse_pairs(struct slice in, bool form, struct arena *arena, struct json *out)
{
    struct json *last = NULL;
    bool closed = true;

    out->type = JSON_OBJECT;
    for (struct slice rest = in; rest.p;) {
        struct slice value = cut_pair(&rest, !form, &closed);
        bool has_value = value.n && memchr(value.p, '=', value.n);
        struct slice key = slice_cut(&value, '=');

        if (!closed || !has_value ||
            (form && (form_decode(key, arena, &key) < 0 || form_decode(value, arena, &value) < 0)))
            return -1;
        if (!utf8_valid(key) || !utf8_valid(value) || (key.n && memchr(key.p, 0, key.n)) ||
            (value.n && memchr(value.p, 0, value.n)) || has_member(out, key) ||
            !add_text(out, &last, key, value, arena))
            return -1;
    }
    return 0;
}

int body_parse(enum encoding e, struct slice in, struct arena *arena, const struct json **out)
{
    struct json_error why;
    struct json *v;
    int rc = -1;

    if (in.n == 0)
        return -1;
    if (e == ENCODING_JSON) {
        rc = json_parse(arena, in, NULL, out, &why);
        return rc < 0 || (*out)->type != JSON_OBJECT ? -1 : 0;
    }
    v = arena_new(arena, struct json);
    if (!v)
        return -1;
    *out = v;
    return e == ENCODING_XML ? parse_xml(in, arena, v)
                             : parse_pairs(in, e == ENCODING_FORM, arena, v);
}

/* ------------------------------------------------------------------ raw bytes of a member */

/* Behind the string that begins at p: its quote is the first with an even number of \\ before it.
 */
static const char *skip_string(const char *p, const char *end)
{
    const char *from = p + 1;

    while ((p = from < end ? memchr(from, '"', (size_t)(end - from)) : NULL) != NULL) {
        const char *q = p;

        while (q[-1] == '\\')
            q--;
        if ((p - q) % 2 == 0)
            return p + 1;
        from = p + 1;
    }
    return end;
}

/* Behind the value that begins at p. */
static const char *skip_value(const char *p, const char *end)
{
    uint32_t depth = 0;

    while (p < end) {
        if (*p == '"') {
            p = skip_string(p, end);
            if (!depth)
                return p;
            continue;
        }
        if (*p == '{' || *p == '[') {
            depth++;
        } else if (*p == '}' || *p == ']') {
            if (!depth) /* the end of the object around a bare value */
                return p;
            if (--depth == 0)
                return p + 1;
        } else if (!depth && (*p == ',' || *p == ' ' || *p == '\t' || *p == '\r' || *p == '\n')) {
            return p;
        }
        p++;
    }
    return p;
}

static const char *skip_blanks(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
        p++;
    return p;
}

struct slice body_raw_member(struct slice in, const char *key)
{
    const char *end = in.p + in.n;
    const char *p = skip_blanks(in.p, end) + 1; /* behind { */

    while (p < end) {
        const char *name, *value;
        struct slice found;

        p = skip_blanks(p, end);
        if (p >= end || *p != '"')
            break;
        name = p;
        p = skip_string(p, end);
        found = slice_n(name + 1, (size_t)(p - name) - 2);
        p = skip_blanks(p, end);
        value = skip_blanks(p + 1, end); /* behind : */
        p = value < end ? skip_value(value, end) : end;
        if (slice_is(found, key))
            return slice_n(value, (size_t)(p - value));
        p = skip_blanks(p, end) + 1; /* behind , */
    }
    return SLICE_NULL;
}

/* ------------------------------------------------------------------ sorted */

static int compare_keys(const void *a, const void *b)
{
    struct slice x = (*(const struct json *const *)a)->key;
    struct slice y = (*(const struct json *const *)b)->key;
    int c = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);

    return c ? c : (x.n > y.n) - (x.n < y.n);
}

static bool is_left_out(const struct json *v, const struct slice *leave, size_t n)
{
    if (v->text.n == 0)
        return true;
    for (size_t i = 0; i < n; i++)
        if (slice_eq(v->key, leave[i]))
            return true;
    return false;
}

/* Most messages come sorted already, or nearly so. */
static void sort_members(const struct json **v, size_t n)
{
    if (n > 64) {
        qsort(v, n, sizeof(*v), compare_keys);
        return;
    }
    for (size_t i = 1; i < n; i++) {
        const struct json *moving = v[i];
        size_t k = i;

        for (; k > 0 && compare_keys(&v[k - 1], &moving) > 0; k--)
            v[k] = v[k - 1];
        v[k] = moving;
    }
}

struct slice body_sorted(const struct json *body, const struct slice *leave, size_t n,
                         struct arena *arena)
{
    const struct json **members = arena_array(arena, const struct json *, body->count);
    size_t count = 0, size = 0;
    char *text, *to;

    if (!members)
        return SLICE_NULL;
    for (const struct json *v = body->child; v; v = v->next) {
        if (v->type != JSON_STRING && v->type != JSON_NUMBER)
            return SLICE_NULL;
        if (is_left_out(v, leave, n))
            continue;
        if (memchr(v->key.p, '=', v->key.n) || memchr(v->key.p, '&', v->key.n))
            return SLICE_NULL;
        members[count++] = v;
        size += v->key.n + v->text.n + 2;
    }
    sort_members(members, count);
    text = to = arena_alloc(arena, size + 1);
    if (!text || count == 0)
        return SLICE_NULL;
    for (size_t i = 0; i < count; i++) {
        memcpy(to, members[i]->key.p, members[i]->key.n);
        to += members[i]->key.n;
        *to++ = '=';
        memcpy(to, members[i]->text.p, members[i]->text.n);
        to += members[i]->text.n;
        *to++ = '&';
    }
    return slice_n(text, (size_t)(to - text) - 1);
}
