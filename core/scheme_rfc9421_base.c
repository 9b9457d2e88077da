/*
 * The signature base of RFC 9421 (2.5): one line per covered component, then the parameters.
 */
#include "scheme_rfc9421.h"

struct base {
    struct arena *a;
    const struct http_message *m;
    struct buf *out;
    const char *reason;
};

static int refuse(struct base *b, const char *reason)
{
    b->reason = reason;
    return -1;
}

/* ------------------------------------------------------------------ fields */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Without outer blanks; an obsolete line folding becomes one blank. */
static struct slice field_text(struct arena *a, struct slice v)
{
    char *to;
    size_t n = 0;

    while (v.n && is_space(v.p[0]))
        v = slice_n(v.p + 1, v.n - 1);
    while (v.n && is_space(v.p[v.n - 1]))
        v.n--;
    if (v.n == 0 || !memchr(v.p, '\n', v.n))
        return v;
    to = arena_alloc(a, v.n);
    for (size_t i = 0; to && i < v.n; i++) {
        size_t end = i;

        while (end < v.n && is_space(v.p[end]))
            end++;
        if (end > i && memchr(v.p + i, '\n', end - i)) {
            to[n++] = ' ';
            i = end - 1;
        } else {
            to[n++] = v.p[i];
        }
    }
    return slice_n(to, n);
}

static struct slice join(struct arena *a, struct slice first, struct slice second)
{
    char *to = arena_alloc(a, first.n + second.n + 2);

    if (!to)
        return SLICE_NULL;
    if (first.n)
        memcpy(to, first.p, first.n);
    memcpy(to + first.n, ", ", 2);
    if (second.n)
        memcpy(to + first.n + 2, second.p, second.n);
    return slice_n(to, first.n + 2 + second.n);
}

struct slice http_field_value(struct arena *a, const struct http_message *m, struct slice name,
                              size_t *count)
{
    struct slice value = SLICE_NULL;

    *count = 0;
    for (size_t i = 0; i < m->field_count; i++) {
        if (!slice_eq_nocase(m->fields[i].name, name))
            continue;
        struct slice text = field_text(a, m->fields[i].value);

        value = *count ? join(a, value, text) : text;
        ++*count;
    }
    if (*count && !value.p)
        value = SLICE("");
    return *count ? value : SLICE_NULL;
}

static int write_binary(struct base *b, const struct http_message *m, struct slice name)
{
    size_t n = 0;

    for (size_t i = 0; i < m->field_count; i++) {
        if (!slice_eq_nocase(m->fields[i].name, name))
            continue;
        if (n++)
            buf_add_str(b->out, ", ");
        sf_write_bytes(b->out, field_text(b->a, m->fields[i].value));
    }
    return n ? 0 : refuse(b, "a covered component is not in the message");
}

static int write_structured(struct base *b, struct slice value, const struct sf_param *key)
{
    const struct sf_member *m;
    struct sf_member *first;

    if (sf_parse_dictionary(b->a, value, &first, &b->reason) < 0)
        return -1;
    if (!key) {
        sf_write_dictionary(b->out, first);
        return 0;
    }
    m = sf_find_slice(first, key->value.text);
    if (!m)
        return refuse(b, "a covered member is not in the dictionary");
    sf_write(b->out, m);
    return 0;
}

static int write_field(struct base *b, const struct http_message *m, const struct sf_member *c)
{
    const struct sf_param *key = sf_param(c, "key");
    struct slice value;
    size_t count;

    if (sf_param(c, "bs"))
        return write_binary(b, m, c->value.text);
    value = http_field_value(b->a, m, c->value.text, &count);
    if (count == 0)
        return refuse(b, "a covered component is not in the message");
    if (key || sf_param(c, "sf"))
        return write_structured(b, value, key);
    buf_add_slice(b->out, value);
    return 0;
}

/* ------------------------------------------------------------------ derived components */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* In lower case, without the scheme's own port. */
static void write_authority(struct buf *b, const struct http_message *m)
{
    struct slice s = m->authority;
    struct slice port = slice_is(m->scheme, "https") ? SLICE(":443") : SLICE(":80");

    if (s.n > port.n && slice_eq(slice_n(s.p + s.n - port.n, port.n), port))
        s.n -= port.n;
    for (size_t i = 0; i < s.n; i++)
        buf_add_char(b, lower(s.p[i]));
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* A query's name or value decoded as a form's and encoded again (RFC 9421, 2.2.8): one text for all
 * its spellings. */
static struct slice form_text(struct arena *a, struct slice in)
{
    static const char hex[] = "0123456789ABCDEF";
    char *to = arena_alloc(a, in.n * 3 + 1);
    size_t n = 0;

    for (size_t i = 0; to && i < in.n; i++) {
        unsigned char c = (unsigned char)in.p[i];

        if (c == '+') {
            c = ' ';
        } else if (c == '%' && i + 2 < in.n && hex_value(in.p[i + 1]) >= 0 &&
                   hex_value(in.p[i + 2]) >= 0) {
            c = (unsigned char)(hex_value(in.p[i + 1]) * 16 + hex_value(in.p[i + 2]));
            i += 2;
        }
        if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
            (c && strchr("*-._", c))) {
            to[n++] = (char)c;
        } else {
            to[n++] = '%';
            to[n++] = hex[c >> 4];
            to[n++] = hex[c & 15];
        }
    }
    return slice_n(to, n);
}

static int write_query_param(struct base *b, struct slice query, struct slice wanted)
{
    struct slice found = SLICE_NULL, value, name;
    size_t n = 0;

    while (query.n) {
        value = slice_cut(&query, '&');
        name = form_text(b->a, slice_cut(&value, '='));
        if (!slice_eq(name, wanted))
            continue;
        found = form_text(b->a, value);
        n++;
    }
    if (n != 1)
        return refuse(b, n ? "a covered query parameter is repeated"
                           : "a covered query parameter is not in the message");
    buf_add_slice(b->out, found);
    return 0;
}

static int write_derived(struct base *b, const struct http_message *m, const struct sf_member *c)
{
    struct slice name = c->value.text, query = m->target, path = slice_cut(&query, '?');

    if (slice_is(name, "@status")) {
        if (m->status == 0)
            return refuse(b, "@status is not of a request");
        buf_addf(b->out, "%d", m->status);
        return 0;
    }
    if (m->status != 0)
        return refuse(b, "a covered component is of a request only");
    if (slice_is(name, "@method")) {
        buf_add_slice(b->out, m->method);
    } else if (slice_is(name, "@authority")) {
        write_authority(b->out, m);
    } else if (slice_is(name, "@scheme")) {
        buf_add_slice(b->out, m->scheme);
    } else if (slice_is(name, "@request-target")) {
        buf_add_slice(b->out, m->target);
    } else if (slice_is(name, "@target-uri")) {
        buf_add_slice(b->out, m->scheme);
        buf_add_str(b->out, "://");
        write_authority(b->out, m);
        buf_add_slice(b->out, m->target);
    } else if (slice_is(name, "@path")) {
        buf_add_slice(b->out, path.n ? path : SLICE("/"));
    } else if (slice_is(name, "@query")) {
        buf_add_char(b->out, '?');
        buf_add_slice(b->out, query);
    } else if (slice_is(name, "@query-param")) {
        return write_query_param(b, query, sf_param(c, "name")->value.text);
    } else {
        return refuse(b, "a covered component is unknown");
    }
    return 0;
}

/* ------------------------------------------------------------------ the base */

static int write_line(struct base *b, const struct sf_member *c)
{
    const struct http_message *m = b->m;
    size_t from;
    int rc;

    if (sf_param(c, "req")) {
        if (m->status == 0)
            return refuse(b, "req is not for requests");
        if (!m->request)
            return refuse(b, "the request is not known");
        m = m->request;
    }
    sf_write(b->out, c);
    buf_add_str(b->out, ": ");
    from = b->out->n;
    rc = c->value.text.p[0] == '@' ? write_derived(b, m, c) : write_field(b, m, c);
    /* a line of its own would be a component that nobody covered */
    if (rc == 0 && buf_ok(b->out) && b->out->n > from &&
        memchr(b->out->p + from, '\n', b->out->n - from))
        return refuse(b, "a covered component has a line break");
    buf_add_char(b->out, '\n');
    return rc;
}

int httpsig_base(struct arena *a, const struct http_message *m, const struct sf_member *input,
                 struct buf *out, const char **reason)
{
    struct base b = {.a = a, .m = m, .out = out, .reason = NULL};
    int rc = 0;

    for (const struct sf_member *c = input->items; c && rc == 0; c = c->next)
        rc = write_line(&b, c);
    if (rc == 0) {
        buf_add_str(out, "\"@signature-params\": ");
        sf_write(out, input);
        if (!buf_ok(out) || a->failed)
            rc = refuse(&b, "too long");
    }
    *reason = b.reason;
    return rc;
}
