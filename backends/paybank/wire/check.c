#include "check.h"

#include <stdio.h>

#define PATH_MAX_LEN 120

static int wrong(struct check_error *err, const char *path, const char *issue)
{
    size_t n = 0;

    err->field[n++] = '/';
    for (; *path && n + 1 < sizeof(err->field); path++)
        err->field[n++] = *path == '.' ? '/' : *path;
    err->field[n] = '\0';
    err->issue = issue;
    return -1;
}

bool check_charset(struct slice s, const char *also)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');

        if (!alnum && (c == '\0' || !strchr(also, c)))
            return false;
    }
    return true;
}

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

int check_unescape(struct arena *a, struct slice s, struct slice *out)
{
    char *p = arena_alloc(a, s.n + 1);
    size_t n = 0;

    if (!p)
        return -1;
    for (size_t i = 0; i < s.n; i++) {
        int hi, lo;

        if (s.p[i] != '%') {
            p[n++] = s.p[i];
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

/* Characters of valid UTF-8; -1 when one needs four bytes, which these banks do not take. */
static int64_t characters(struct slice s)
{
    int64_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c >= 0xF0)
            return -1;
        if ((c & 0xC0) != 0x80)
            n++;
    }
    return n;
}

static int check_string(const struct json *v, const struct check_field *f, struct check_error *err)
{
    int64_t n;

    if (v->type != JSON_STRING)
        return wrong(err, f->path, "not a string");
    n = characters(v->text);
    if (n < 0)
        return wrong(err, f->path, "character of four UTF-8 bytes");
    if (n < f->min)
        return wrong(err, f->path, "too short");
    if (n > f->max)
        return wrong(err, f->path, "too long");
    if (f->also && !check_charset(v->text, f->also))
        return wrong(err, f->path, "character not allowed");
    return 0;
}

static int check_value(const struct json *v, const struct check_field *f, struct check_error *err)
{
    int64_t number;

    switch (f->type) {
    case CHECK_STRING:
        return check_string(v, f, err);
    case CHECK_INTEGER:
        if (v->type != JSON_NUMBER || json_int64(v, &number) < 0)
            return wrong(err, f->path, "not an integer");
        if (number < f->min || number > f->max)
            return wrong(err, f->path, "out of range");
        return 0;
    case CHECK_BOOL:
        if (v->type != JSON_TRUE && v->type != JSON_FALSE)
            return wrong(err, f->path, "not a boolean");
        return 0;
    default:
        return v->type == JSON_OBJECT ? 0 : wrong(err, f->path, "not an object");
    }
}

static const struct check_field *find(const struct check_field *table, const char *path)
{
    while (table->path && strcmp(table->path, path) != 0)
        table++;
    return table->path ? table : NULL;
}

/* Depth is bounded by the table: only what stands there as OBJECT is entered. */
static int check_members(const struct json *object, const char *prefix,
                         const struct check_field *table, struct check_error *err)
{
    for (const struct json *m = object->child; m; m = m->next) {
        char path[PATH_MAX_LEN];
        const struct check_field *f;
        int n =
            snprintf(path, sizeof(path), "%s%s%.*s", prefix, *prefix ? "." : "", SLICE_FMT(m->key));

        if (n >= (int)sizeof(path)) /* cut, perhaps inside a character: not to be shown */
            return wrong(err, prefix, "member not in the documentation");
        f = find(table, path);
        if (!f)
            return wrong(err, path, "member not in the documentation");
        if (m->type == JSON_NULL)
            continue;
        if (check_value(m, f, err) < 0)
            return -1;
        if (f->type == CHECK_OBJECT && check_members(m, f->path, table, err) < 0)
            return -1;
    }
    return 0;
}

/* A member is only missed when the object around it is there (or must be, then that is missed). */
static bool parent_present(const struct json *doc, const char *path)
{
    const char *dot = strrchr(path, '.');
    char parent[PATH_MAX_LEN];
    const struct json *v;

    if (!dot)
        return true;
    snprintf(parent, sizeof(parent), "%.*s", (int)(dot - path), path);
    v = json_get(doc, parent);
    return v && v->type != JSON_NULL;
}

int check_fields(const struct json *doc, const struct check_field *table, struct check_error *err)
{
    if (doc->type != JSON_OBJECT)
        return wrong(err, "", "not an object");
    if (check_members(doc, "", table, err) < 0)
        return -1;
    for (const struct check_field *f = table; f->path; f++) {
        const struct json *v = json_get(doc, f->path);

        if (f->must && (!v || v->type == JSON_NULL) && parent_present(doc, f->path))
            return wrong(err, f->path, "missing");
    }
    return 0;
}
