/*
 * The parser is yajl's callback parser building an arena tree; this file adds what yajl lets pass.
 * Three passes over the input, each simple:
 *   1. utf8_valid: yajl's own check accepts surrogates and overlong forms;
 *   2. scan_escapes: yajl silently turns a lone \uD800 into '?' and hands \u0000 through;
 *   3. yajl itself, with callbacks that count depth and values and look for duplicate keys.
 *
 * yajl does not check its allocations. It therefore gets one block, sized from the input, in
 * which allocating is moving a mark; if that ever ends, a longjmp leaves yajl, which owns nothing
 * but that block.
 */
#include "json.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdlib.h>
#include <yajl/yajl_parse.h>

#define DEPTH_DEFAULT  16u
#define DEPTH_MAX      1024u
#define VALUES_DEFAULT 1024u
/* yajl's buffers grow twofold in size_t without a check: keep far away from the border */
#define INPUT_MAX (64u * 1024 * 1024)
/* objects up to this size compare keys pairwise, larger ones are sorted once, at their end */
#define PAIRWISE_MAX     64u
#define SCRATCH_ON_STACK 16384u

static const char NO_MEMORY[] = "out of memory";
static const char SYNTAX[] = "syntax";

/* An array or object that is still open. */
struct frame {
    struct json *value;
    struct json *last; /* newest member */
};

struct parser {
    struct arena *arena;
    struct json_error *err;
    struct json_limits limits;
    struct json *root;
    struct frame *frames; /* limits.depth of them */
    uint32_t depth;
    uint32_t values;
    struct slice key; /* of the member whose value comes next */
    struct slice in;
    yajl_handle yajl;
    char *scratch; /* yajl's memory */
    size_t scratch_size;
    size_t scratch_used;
    jmp_buf no_scratch;
};

/* ------------------------------------------------------------------ yajl's memory */

/* Each block is preceded by its size, for realloc. */
#define SCRATCH_ALIGN 16u

static void *scratch_malloc(void *ctx, size_t n)
{
    struct parser *ps = ctx;
    char *p;

    n = (n + SCRATCH_ALIGN - 1) & ~(size_t)(SCRATCH_ALIGN - 1);
    if (n + SCRATCH_ALIGN > ps->scratch_size - ps->scratch_used)
        longjmp(ps->no_scratch, 1);
    p = ps->scratch + ps->scratch_used;
    memcpy(p, &n, sizeof(n));
    ps->scratch_used += n + SCRATCH_ALIGN;
    return p + SCRATCH_ALIGN;
}

static void *scratch_realloc(void *ctx, void *old, size_t n)
{
    struct parser *ps = ctx;
    size_t old_n;
    void *p;

    if (!old)
        return scratch_malloc(ctx, n);
    memcpy(&old_n, (char *)old - SCRATCH_ALIGN, sizeof(old_n));
    if ((char *)old + old_n == ps->scratch + ps->scratch_used) /* the newest grows in its place */
        ps->scratch_used -= old_n + SCRATCH_ALIGN;
    p = scratch_malloc(ctx, n);
    if (p != old)
        memcpy(p, old, old_n < n ? old_n : n);
    return p;
}

static void scratch_free(void *ctx, void *p)
{
    (void)ctx;
    (void)p;
}

/* ------------------------------------------------------------------ building the tree */

static int fail(struct parser *ps, const char *reason)
{
    ps->err->reason = reason;
    ps->err->key = ps->key;
    return 0; /* what a callback returns to stop yajl */
}

static bool has_key(const struct json *object, struct slice key)
{
    for (const struct json *m = object->child; m; m = m->next)
        if (slice_eq(m->key, key))
            return true;
    return false;
}

/* A new value at the place where the parser stands. NULL after fail(). */
static struct json *add_value(struct parser *ps, enum json_type type)
{
    struct frame *top = ps->depth ? &ps->frames[ps->depth - 1] : NULL;
    struct json *v;

    if (++ps->values > ps->limits.values) {
        fail(ps, "too many values");
        return NULL;
    }
    v = arena_new(ps->arena, struct json);
    if (!v) {
        fail(ps, NO_MEMORY);
        return NULL;
    }
    v->type = type;
    if (!top) {
        ps->root = v;
        return v;
    }
    v->key = ps->key;
    if (top->last)
        top->last->next = v;
    else
        top->value->child = v;
    top->last = v;
    top->value->count++;
    ps->key = SLICE_NULL;
    return v;
}

/* yajl points into the input wherever nothing had to be decoded. */
static struct slice keep(struct parser *ps, const void *p, size_t n)
{
    uintptr_t at = (uintptr_t)p, start = (uintptr_t)ps->in.p;

    if (ps->limits.in_place && n && at >= start && at - start < ps->in.n)
        return slice_n(p, n);
    return arena_copy(ps->arena, slice_n(p, n));
}

static int add_text(struct parser *ps, enum json_type type, const void *p, size_t n)
{
    struct json *v = add_value(ps, type);

    if (!v)
        return 0;
    v->text = keep(ps, p, n);
    return v->text.p ? 1 : fail(ps, NO_MEMORY);
}

static int open_frame(struct parser *ps, enum json_type type)
{
    struct json *v;

    if (ps->depth == ps->limits.depth)
        return fail(ps, "too deep");
    v = add_value(ps, type);
    if (!v)
        return 0;
    ps->frames[ps->depth++] = (struct frame){.value = v};
    return 1;
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
    return 1;
}

static int on_null(void *ctx)
{
    return add_value(ctx, JSON_NULL) != NULL;
}

static int on_boolean(void *ctx, int value)
{
    return add_value(ctx, value ? JSON_TRUE : JSON_FALSE) != NULL;
}

static int on_number(void *ctx, const char *p, size_t n)
{
    return add_text(ctx, JSON_NUMBER, p, n);
}

static int on_string(void *ctx, const unsigned char *p, size_t n)
{
    return add_text(ctx, JSON_STRING, p, n);
}

static int on_key(void *ctx, const unsigned char *p, size_t n)
{
    struct parser *ps = ctx;
    const struct json *object = ps->frames[ps->depth - 1].value;

    ps->key = keep(ps, p, n);
    if (!ps->key.p)
        return fail(ps, NO_MEMORY);
    if (object->count < PAIRWISE_MAX && has_key(object, ps->key))
        return fail(ps, "duplicate key");
    return 1;
}

static int on_start_object(void *ctx)
{
    return open_frame(ctx, JSON_OBJECT);
}

static int on_start_array(void *ctx)
{
    return open_frame(ctx, JSON_ARRAY);
}

static int on_end_object(void *ctx)
{
    struct parser *ps = ctx;
    const struct json *object = ps->frames[--ps->depth].value;

    return object->count <= PAIRWISE_MAX ? 1 : check_large_object(ps, object);
}

static int on_end_array(void *ctx)
{
    struct parser *ps = ctx;

    ps->depth--;
    return 1;
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number, /* raw text: yajl's own integers saturate silently */
    .yajl_string = on_string,
    .yajl_start_map = on_start_object,
    .yajl_map_key = on_key,
    .yajl_end_map = on_end_object,
    .yajl_start_array = on_start_array,
    .yajl_end_array = on_end_array,
};

/* ------------------------------------------------------------------ checks before yajl */

/* Length of the UTF-8 sequence at p (RFC 3629: shortest form, no surrogates), 0 when invalid. */
static size_t utf8_len(const unsigned char *p, size_t n)
{
    unsigned c = p[0];
    size_t len = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;

    if (len == 0 || len > n)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f) || (c == 0xf0 && p[1] < 0x90) ||
        (c == 0xf4 && p[1] > 0x8f))
        return 0;
    return len;
}

size_t utf8_prefix(struct slice s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t i = slice_ascii(s);

    while (i < s.n) {
        size_t len = utf8_len(p + i, s.n - i);

        if (len == 0)
            break;
        i += len;
    }
    return i;
}

bool utf8_valid(struct slice s)
{
    return utf8_prefix(s) == s.n;
}

/* Four hex digits as a code unit, or -1 (left for yajl to report). */
static int code_unit(const char *p, size_t n)
{
    int v = 0;

    if (n < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        v = v * 16 + digit;
    }
    return v;
}

/*
 * Backslashes are legal inside strings only, so the escapes can be read without knowing where
 * strings are: outside, yajl refuses them. 0 or -1 with *at and *reason.
 */
static int scan_escapes(struct slice in, size_t *at, const char **reason)
{
    const char *end = in.p + in.n;
    const char *p = in.p;

    while ((p = memchr(p, '\\', (size_t)(end - p))) != NULL) {
        int unit;

        *at = (size_t)(p - in.p);
        if (end - p < 2)
            return 0;
        if (p[1] != 'u') {
            p += 2;
            continue;
        }
        unit = code_unit(p + 2, (size_t)(end - p - 2));
        *reason = "NUL in string";
        if (unit == 0)
            return -1;
        *reason = "lone surrogate";
        if (unit >= 0xdc00 && unit <= 0xdfff)
            return -1;
        if (unit >= 0xd800 && unit <= 0xdbff) {
            p += 6;
            unit = end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? code_unit(p + 2, 4) : -1;
            if (unit < 0xdc00 || unit > 0xdfff)
                return -1;
        }
        p += unit < 0 ? 2 : 6;
    }
    return 0;
}

static int check_input(struct slice in, struct json_error *err)
{
    if (in.n > INPUT_MAX) {
        err->reason = "too long";
        return -1;
    }
    err->offset = utf8_prefix(in);
    if (err->offset != in.n) {
        err->reason = "not UTF-8";
        return -1;
    }
    err->offset = 0;
    if (in.n && scan_escapes(in, &err->offset, &err->reason) < 0)
        return -1;
    err->reason = SYNTAX;
    err->offset = 0;
    return 0;
}

/* ------------------------------------------------------------------ parsing */

/* Its own function, without locals that change, because of the longjmp. */
static void run_yajl(struct parser *ps, struct slice in)
{
    yajl_alloc_funcs memory = {scratch_malloc, scratch_realloc, scratch_free, ps};
    yajl_status status;

    if (setjmp(ps->no_scratch)) {
        ps->err->reason = NO_MEMORY;
        return;
    }
    ps->yajl = yajl_alloc(&callbacks, &memory, ps);
    yajl_config(ps->yajl, yajl_dont_validate_strings, 1); /* done already, and better */
    status = yajl_parse(ps->yajl, (const unsigned char *)in.p, in.n);
    ps->err->offset = yajl_get_bytes_consumed(ps->yajl);
    if (status == yajl_status_ok)
        status = yajl_complete_parse(ps->yajl);
    if (status == yajl_status_ok && ps->root && ps->depth == 0)
        ps->err->reason = NULL;
}

/*
 * Room for yajl: its decode buffer and its token buffer each grow up to twice the input, and
 * growing that has to move keeps the old block: 4 n each. The constant holds their first 2 KB and
 * the lexer; the state stack, a byte per level, grows in steps of 128.
 */
static size_t scratch_need(size_t input, uint32_t depth)
{
    return 8 * input + 12288 + 16 * (size_t)depth;
}

static int parse_with(struct parser *ps, struct slice in)
{
    char stack[SCRATCH_ON_STACK] __attribute__((aligned(SCRATCH_ALIGN)));

    ps->frames = arena_array(ps->arena, struct frame, ps->limits.depth);
    if (!ps->frames) {
        ps->err->reason = NO_MEMORY;
        return -1;
    }
    ps->scratch_size = scratch_need(in.n, ps->limits.depth);
    ps->scratch = ps->scratch_size > sizeof(stack) ? malloc(ps->scratch_size) : stack;
    if (!ps->scratch) {
        ps->err->reason = NO_MEMORY;
        return -1;
    }
    run_yajl(ps, in);
    if (ps->scratch != stack)
        free(ps->scratch);
    return ps->err->reason ? -1 : 0;
}

int json_parse(struct arena *a, struct slice in, const struct json_limits *limits,
               const struct json **out, struct json_error *err)
{
    struct parser ps = {
        .arena = a, .err = err, .limits = {DEPTH_DEFAULT, VALUES_DEFAULT, false}, .in = in};

    *err = (struct json_error){0};
    if (check_input(in, err) < 0)
        return -1;
    if (limits && limits->depth)
        ps.limits.depth = limits->depth < DEPTH_MAX ? limits->depth : DEPTH_MAX;
    if (limits && limits->values)
        ps.limits.values = limits->values;
    ps.limits.in_place = limits && limits->in_place;
    if (parse_with(&ps, in) < 0)
        return -1;
    *out = ps.root;
    *err = (struct json_error){0};
    return 0;
}

/* ------------------------------------------------------------------ reading */

const struct json *json_get(const struct json *v, const char *path)
{
    struct slice rest = slice_of(path);

    while (v && rest.p) {
        struct slice key = slice_cut(&rest, '.');
        const struct json *m = v->type == JSON_OBJECT ? v->child : NULL;

        while (m && !slice_eq(m->key, key))
            m = m->next;
        v = m;
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
