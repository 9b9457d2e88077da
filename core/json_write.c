/*
 * The writer of json.h. `comma` has one bit per open array or object: a value was written there. A
 * key clears the bit of its object, so that its value puts no second comma, and the value sets it.
 */
#include "json.h"

#include "json_text.h"

#define DEPTH_MAX 32u

void json_writer_init(struct json_writer *w, struct buf *b)
{
    *w = (struct json_writer){.b = b};
}

static uint32_t depth_bit(const struct json_writer *w)
{
    return w->depth ? 1u << (w->depth - 1) : 0;
}

/* Before every value (and key): the comma, where one is due. */
static void separate(struct json_writer *w)
{
    uint32_t bit = depth_bit(w);

    if (w->comma & bit)
        buf_add_char(w->b, ',');
    w->comma |= bit;
}

static void begin(struct json_writer *w, char c)
{
    separate(w);
    if (w->depth == DEPTH_MAX) {
        w->b->failed = true;
        return;
    }
    w->depth++;
    w->comma &= ~depth_bit(w);
    buf_add_char(w->b, c);
}

static void end(struct json_writer *w, char c)
{
    if (w->depth == 0) {
        w->b->failed = true; /* an end too many: what was written is no JSON */
        return;
    }
    w->depth--;
    buf_add_char(w->b, c);
}

void json_begin_object(struct json_writer *w)
{
    begin(w, '{');
}

void json_end_object(struct json_writer *w)
{
    end(w, '}');
}

void json_begin_array(struct json_writer *w)
{
    begin(w, '[');
}

void json_end_array(struct json_writer *w)
{
    end(w, ']');
}

static void add_escape(struct buf *b, char c)
{
    static const char hex[] = "0123456789abcdef";
    const char *named = c == '"'    ? "\\\""
                        : c == '\\' ? "\\\\"
                        : c == '\n' ? "\\n"
                        : c == '\r' ? "\\r"
                        : c == '\t' ? "\\t"
                                    : NULL;

    if (named) {
        buf_add_str(b, named);
        return;
    }
    buf_add_str(b, "\\u00");
    buf_add_char(b, hex[(unsigned char)c >> 4]);
    buf_add_char(b, hex[(unsigned char)c & 15]);
}

/* s is valid UTF-8. */
static void add_escaped(struct buf *b, struct slice s)
{
    const char *p = s.p, *end = s.p + s.n;

    while (p < end) {
        const char *plain = plain_end(p, end);

        buf_add(b, p, (size_t)(plain - p));
        if (plain < end)
            add_escape(b, *plain++);
        p = plain;
    }
}

/* The usual string, in one piece. */
static void add_plain(struct buf *b, struct slice s)
{
    char *to = buf_reserve(b, s.n + 2);

    if (!to)
        return;
    *to++ = '"';
    if (s.n)
        memcpy(to, s.p, s.n);
    to[s.n] = '"';
    b->n += s.n + 2;
}

static void add_quoted(struct buf *b, struct slice s)
{
    if (is_plain_ascii(s.p, s.n)) {
        add_plain(b, s);
        return;
    }
    buf_add_char(b, '"');
    while (s.n) {
        size_t valid = utf8_prefix(s);

        add_escaped(b, slice_n(s.p, valid));
        if (valid < s.n) {
            buf_add_str(b, "\xef\xbf\xbd");
            valid++;
        }
        s = slice_n(s.p + valid, s.n - valid);
    }
    buf_add_char(b, '"');
}

void json_key_slice(struct json_writer *w, struct slice key)
{
    separate(w);
    w->comma &= ~depth_bit(w);
    add_quoted(w->b, key);
    buf_add_char(w->b, ':');
}

void json_key(struct json_writer *w, const char *key)
{
    separate(w);
    w->comma &= ~depth_bit(w);
    buf_add_char(w->b, '"');
    buf_add_str(w->b, key);
    buf_add_str(w->b, "\":");
}

void json_put_str(struct json_writer *w, struct slice s)
{
    separate(w);
    add_quoted(w->b, s);
}

void json_put_int64(struct json_writer *w, int64_t v)
{
    separate(w);
    buf_add_int64(w->b, v);
}

void json_put_raw(struct json_writer *w, struct slice raw)
{
    separate(w);
    buf_add_slice(w->b, raw);
}

void json_put_bool(struct json_writer *w, bool v)
{
    json_put_raw(w, v ? SLICE("true") : SLICE("false"));
}

void json_put_null(struct json_writer *w)
{
    json_put_raw(w, SLICE("null"));
}

void json_member_str(struct json_writer *w, const char *key, struct slice s)
{
    json_key(w, key);
    json_put_str(w, s);
}

void json_member_str_opt(struct json_writer *w, const char *key, struct slice s)
{
    if (s.n)
        json_member_str(w, key, s);
}

void json_member_int64(struct json_writer *w, const char *key, int64_t v)
{
    json_key(w, key);
    json_put_int64(w, v);
}

static void put_members(struct json_writer *w, const struct json *v)
{
    for (const struct json *m = v->child; m && buf_ok(w->b); m = m->next) {
        if (v->type == JSON_OBJECT)
            json_key_slice(w, m->key);
        json_put_value(w, m);
    }
}

void json_put_value(struct json_writer *w, const struct json *v)
{
    switch (v->type) {
    case JSON_NULL:
        json_put_null(w);
        break;
    case JSON_FALSE:
    case JSON_TRUE:
        json_put_bool(w, v->type == JSON_TRUE);
        break;
    case JSON_NUMBER:
        json_put_raw(w, v->text);
        break;
    case JSON_STRING:
        json_put_str(w, v->text);
        break;
    case JSON_ARRAY:
        json_begin_array(w);
        put_members(w, v);
        json_end_array(w);
        break;
    case JSON_OBJECT:
        json_begin_object(w);
        put_members(w, v);
        json_end_object(w);
        break;
    }
}
