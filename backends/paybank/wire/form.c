#include "form.h"

#include "core/json.h"
#include <stdlib.h>

int form_init(struct form *f, struct arena *a)
{
    *f = (struct form){.arena = a, .v = arena_array(a, struct form_field, FORM_MAX)};
    return f->v ? 0 : -1;
}

static void put(struct form *f, struct slice name, struct slice value)
{
    if (f->n == FORM_MAX) {
        f->arena->failed = true;
        return;
    }
    f->v[f->n++] = (struct form_field){name, value};
}

void form_add(struct form *f, const char *name, struct slice value)
{
    put(f, slice_of(name), arena_copy(f->arena, value));
}

void form_add_str(struct form *f, const char *name, const char *value)
{
    form_add(f, name, slice_of(value));
}

void form_add_int64(struct form *f, const char *name, int64_t value)
{
    put(f, slice_of(name), arena_int64(f->arena, value));
}

void form_add_opt(struct form *f, const char *name, struct slice value)
{
    if (value.n)
        form_add(f, name, value);
}

static const struct form_field *find(const struct form *f, struct slice name)
{
    for (size_t i = 0; i < f->n; i++)
        if (slice_eq(f->v[i].name, name))
            return &f->v[i];
    return NULL;
}

struct slice form_get(const struct form *f, const char *name)
{
    const struct form_field *found = find(f, slice_of(name));

    return found ? found->value : SLICE_NULL;
}

/* ---- urlencoded ---- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

static int unescape(struct arena *a, struct slice s, struct slice *out)
{
    char *p = arena_alloc(a, s.n + 1);
    size_t n = 0;

    if (!p)
        return -1;
    for (size_t i = 0; i < s.n; i++) {
        int hi, lo;

        if (s.p[i] != '%') {
            p[n++] = s.p[i] == '+' ? ' ' : s.p[i];
            continue;
        }
        if (i + 2 >= s.n)
            return -1;
        hi = hex_value(s.p[i + 1]);
        lo = hex_value(s.p[i + 2]);
        if (hi < 0 || lo < 0)
            return -1;
        p[n++] = (char)(hi * 16 + lo);
        i += 2;
    }
    *out = slice_n(p, n);
    return 0;
}

static int refuse(const char **reason, const char *why)
{
    *reason = why;
    return -1;
}

int form_parse(struct form *f, struct slice text, const char **reason)
{
    while (text.n) {
        struct slice value = slice_cut(&text, '&');
        struct slice name = slice_cut(&value, '=');

        if (unescape(f->arena, name, &name) < 0 || unescape(f->arena, value, &value) < 0)
            return refuse(reason, "broken %XX");
        if (name.n == 0)
            return refuse(reason, "no name");
        if (!utf8_valid(name) || !utf8_valid(value) || memchr(value.p, '\0', value.n))
            return refuse(reason, "not UTF-8");
        if (find(f, name))
            return refuse(reason, "a name twice");
        if (f->n == FORM_MAX)
            return refuse(reason, "too many names");
        put(f, name, value);
    }
    return 0;
}

static void encode(struct buf *out, struct slice s)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                     c == '-' || c == '_' || c == '.' || c == '~';

        if (plain) {
            buf_add_char(out, (char)c);
        } else {
            buf_add_char(out, '%');
            buf_add_char(out, hex[c >> 4]);
            buf_add_char(out, hex[c & 15]);
        }
    }
}

void form_encode(const struct form *f, struct buf *out)
{
    for (size_t i = 0; i < f->n; i++) {
        if (i)
            buf_add_char(out, '&');
        encode(out, f->v[i].name);
        buf_add_char(out, '=');
        encode(out, f->v[i].value);
    }
}

/* ---- the signed text ---- */

static bool left_out(struct slice name, const char *const *but)
{
    while (*but && !slice_is(name, *but))
        but++;
    return *but != NULL;
}

static int by_name(const void *a, const void *b)
{
    const struct form_field *x = *(const struct form_field *const *)a;
    const struct form_field *y = *(const struct form_field *const *)b;
    size_t n = x->name.n < y->name.n ? x->name.n : y->name.n;
    int d = memcmp(x->name.p, y->name.p, n);

    return d ? d : (x->name.n > y->name.n) - (x->name.n < y->name.n);
}

void form_signed_text(const struct form *f, const char *const *but, struct buf *out)
{
    const struct form_field *sorted[FORM_MAX];
    size_t n = 0;

    for (size_t i = 0; i < f->n; i++)
        if (f->v[i].value.n && !left_out(f->v[i].name, but))
            sorted[n++] = &f->v[i];
    qsort(sorted, n, sizeof(*sorted), by_name);
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_add_char(out, '&');
        buf_add_slice(out, sorted[i]->name);
        buf_add_char(out, '=');
        buf_add_slice(out, sorted[i]->value);
    }
}
