/*
 * Parsing of structured fields. Writing: sf_write.c.
 */
#include "sf.h"

#include "crypto.h"

#define INTEGER_DIGITS  15u
#define DECIMAL_DIGITS  12u /* before the point */
#define FRACTION_DIGITS 3u
#define BYTES_MAX       16384u

struct parser {
    struct arena *a;
    struct slice rest;
    const char *reason;
};

static int refuse(struct parser *p, const char *reason)
{
    p->reason = reason;
    return -1;
}

/* ------------------------------------------------------------------ characters */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_alpha(char c)
{
    return is_lower(c) || (c >= 'A' && c <= 'Z');
}

static bool is_key_char(char c)
{
    return is_lower(c) || is_digit(c) || c == '_' || c == '-' || c == '.' || c == '*';
}

static bool is_token_char(char c)
{
    return is_alpha(c) || is_digit(c) || (c && strchr("!#$%&'*+-.^_`|~:/", c));
}

/* The next character; NUL at the end, which no rule takes. */
static char peek(const struct parser *p)
{
    return p->rest.n ? p->rest.p[0] : '\0';
}

static void skip(struct parser *p, size_t n)
{
    p->rest = slice_n(p->rest.p + n, p->rest.n - n);
}

static bool take(struct parser *p, char c)
{
    if (p->rest.n == 0 || p->rest.p[0] != c)
        return false;
    skip(p, 1);
    return true;
}

static void skip_spaces(struct parser *p)
{
    while (take(p, ' '))
        ;
}

static void skip_blanks(struct parser *p)
{
    while (take(p, ' ') || take(p, '\t'))
        ;
}

/* The longest run of allowed characters. */
static struct slice take_run(struct parser *p, bool (*allowed)(char c))
{
    struct slice run = {p->rest.p, 0};

    while (run.n < p->rest.n && allowed(p->rest.p[run.n]))
        run.n++;
    skip(p, run.n);
    return run;
}

/* ------------------------------------------------------------------ bare items */

static int64_t number_of(struct slice digits)
{
    int64_t v = 0;

    for (size_t i = 0; i < digits.n; i++)
        v = v * 10 + (digits.p[i] - '0');
    return v;
}

static int parse_number(struct parser *p, struct sf_value *v)
{
    bool negative = take(p, '-');
    struct slice whole = take_run(p, is_digit), fraction;

    if (whole.n == 0 || whole.n > INTEGER_DIGITS)
        return refuse(p, "a number has 1 to 15 digits");
    v->type = SF_INTEGER;
    v->integer = number_of(whole);
    if (take(p, '.')) {
        fraction = take_run(p, is_digit);
        if (whole.n > DECIMAL_DIGITS || fraction.n == 0 || fraction.n > FRACTION_DIGITS)
            return refuse(p, "a decimal has at most 12 digits, a point and 1 to 3 digits");
        v->type = SF_DECIMAL;
        v->integer = v->integer * 1000 + number_of(fraction) * (fraction.n == 1   ? 100
                                                                : fraction.n == 2 ? 10
                                                                                  : 1);
    }
    if (negative)
        v->integer = -v->integer;
    return 0;
}

static struct slice without_escapes(struct arena *a, struct slice s)
{
    char *to = arena_alloc(a, s.n);
    size_t n = 0;

    for (size_t i = 0; to && i < s.n; i++) {
        if (s.p[i] == '\\')
            i++;
        to[n++] = s.p[i];
    }
    return slice_n(to, n);
}

static int parse_string(struct parser *p, struct sf_value *v)
{
    bool escaped = false;
    size_t i;

    for (i = 1; i < p->rest.n && p->rest.p[i] != '"'; i++) {
        if (p->rest.p[i] < 0x20 || p->rest.p[i] > 0x7e)
            return refuse(p, "a string is printable ASCII");
        if (p->rest.p[i] != '\\')
            continue;
        i++;
        escaped = true;
        if (i >= p->rest.n || (p->rest.p[i] != '"' && p->rest.p[i] != '\\'))
            return refuse(p, "only \\\" and \\\\ are escapes");
    }
    if (i >= p->rest.n)
        return refuse(p, "a string does not end");
    v->type = SF_STRING;
    v->text = slice_n(p->rest.p + 1, i - 1);
    if (escaped)
        v->text = without_escapes(p->a, v->text);
    skip(p, i + 1);
    return 0;
}

static int parse_bytes(struct parser *p, struct sf_value *v)
{
    struct slice text;
    struct buf raw;
    int rc;

    skip(p, 1);
    text = slice_cut(&p->rest, ':');
    if (!p->rest.p)
        return refuse(p, "a byte sequence does not end");
    buf_init(&raw, BYTES_MAX);
    rc = base64_decode(&raw, text);
    if (rc == 0) {
        v->type = SF_BYTES;
        v->text = arena_copy(p->a, buf_slice(&raw));
    }
    buf_release(&raw);
    return rc == 0 ? 0 : refuse(p, "a byte sequence is not base64");
}

static int parse_boolean(struct parser *p, struct sf_value *v)
{
    skip(p, 1);
    v->type = SF_BOOLEAN;
    v->integer = peek(p) == '1';
    return take(p, '0') || take(p, '1') ? 0 : refuse(p, "a boolean is ?0 or ?1");
}

static int parse_bare(struct parser *p, struct sf_value *v)
{
    char c = peek(p);

    *v = (struct sf_value){0};
    if (c == '-' || is_digit(c))
        return parse_number(p, v);
    if (c == '"')
        return parse_string(p, v);
    if (c == ':')
        return parse_bytes(p, v);
    if (c == '?')
        return parse_boolean(p, v);
    if (c == '*' || is_alpha(c)) {
        v->type = SF_TOKEN;
        v->text = take_run(p, is_token_char);
        return 0;
    }
    return refuse(p, "a value is malformed");
}

static int parse_key(struct parser *p, struct slice *key)
{
    char c = peek(p);

    if (c != '*' && !is_lower(c))
        return refuse(p, "a key is malformed");
    *key = take_run(p, is_key_char);
    return 0;
}

/* ------------------------------------------------------------------ parameters, lists */

static int parse_params(struct parser *p, struct sf_member *m)
{
    struct sf_param **end = &m->params, *param;

    while (take(p, ';')) {
        skip_spaces(p);
        param = arena_new(p->a, struct sf_param);
        if (!param)
            return refuse(p, "too long");
        if (parse_key(p, &param->key) < 0)
            return -1;
        for (const struct sf_param *other = m->params; other; other = other->next)
            if (slice_eq(other->key, param->key))
                return refuse(p, "a parameter is repeated");
        param->value = (struct sf_value){.type = SF_BOOLEAN, .integer = 1};
        if (take(p, '=') && parse_bare(p, &param->value) < 0)
            return -1;
        *end = param;
        end = &param->next;
    }
    return 0;
}

static int parse_inner_list(struct parser *p, struct sf_member *m)
{
    struct sf_member **end = &m->items, *item;

    skip(p, 1);
    m->value.type = SF_INNER_LIST;
    for (;;) {
        skip_spaces(p);
        if (take(p, ')'))
            return parse_params(p, m);
        item = arena_new(p->a, struct sf_member);
        if (!item)
            return refuse(p, "too long");
        if (parse_bare(p, &item->value) < 0 || parse_params(p, item) < 0)
            return -1;
        if (peek(p) != ' ' && peek(p) != ')')
            return refuse(p, "an inner list is malformed");
        *end = item;
        end = &item->next;
    }
}

static int parse_member(struct parser *p, struct sf_member *m)
{
    if (parse_key(p, &m->key) < 0)
        return -1;
    if (!take(p, '=')) {
        m->value = (struct sf_value){.type = SF_BOOLEAN, .integer = 1};
        return parse_params(p, m);
    }
    if (peek(p) == '(')
        return parse_inner_list(p, m);
    return parse_bare(p, &m->value) < 0 ? -1 : parse_params(p, m);
}

static int parse_dictionary(struct parser *p, struct sf_member **first)
{
    struct sf_member **end = first, *m;

    *first = NULL;
    skip_spaces(p);
    if (p->rest.n == 0)
        return 0;
    for (;;) {
        m = arena_new(p->a, struct sf_member);
        if (!m)
            return refuse(p, "too long");
        if (parse_member(p, m) < 0)
            return -1;
        if (sf_find_slice(*first, m->key))
            return refuse(p, "a key is repeated");
        *end = m;
        end = &m->next;
        skip_blanks(p);
        if (p->rest.n == 0)
            return 0;
        if (!take(p, ','))
            return refuse(p, "a comma is missing");
        skip_blanks(p);
        if (p->rest.n == 0)
            return refuse(p, "a comma stands at the end");
    }
}

int sf_parse_dictionary(struct arena *a, struct slice in, struct sf_member **out,
                        const char **reason)
{
    struct parser p = {.a = a, .rest = in, .reason = NULL};
    int rc = parse_dictionary(&p, out);

    if (rc == 0 && a->failed)
        rc = refuse(&p, "too long");
    if (rc < 0)
        *out = NULL;
    *reason = p.reason;
    return rc;
}

/* ------------------------------------------------------------------ looking up */

const struct sf_member *sf_find_slice(const struct sf_member *first, struct slice key)
{
    for (const struct sf_member *m = first; m; m = m->next)
        if (slice_eq(m->key, key))
            return m;
    return NULL;
}

const struct sf_member *sf_find(const struct sf_member *first, const char *key)
{
    return sf_find_slice(first, slice_of(key));
}

const struct sf_param *sf_param(const struct sf_member *m, const char *key)
{
    for (const struct sf_param *p = m->params; p; p = p->next)
        if (slice_is(p->key, key))
            return p;
    return NULL;
}
