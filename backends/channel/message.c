#include "message.h"

#include "core/xml.h"

struct writer {
    const struct adapter_message *m;
    struct facts *f;
    struct value *values; /* of the fields */
    struct slice *texts;  /* of the members; NULL text: left out */
};

/* ------------------------------------------------------------------ values */

/* What a parser would read back as something else. */
static bool xml_changes(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' && s.p[i] != '\n' && s.p[i] != '\t')
            return true;
    return false;
}

/* The values of all fields, filtered and checked, so that writing cannot fail any more. */
static int read_values(const struct writer *w, const char **reason)
{
    for (uint32_t i = 0; i < w->m->nfields; i++) {
        const struct adapter_field *field = &w->m->fields[i];
        struct value *v = &w->values[i];

        source_read(&field->expr.source, w->f, v);
        *reason = field->refused;
        if (filters_apply(&field->expr.filters, w->f->arena, v) < 0)
            return -1;
        if (v->type == VALUE_NONE && !field->expr.optional) {
            *reason = field->missing;
            return -1;
        }
        if (v->type == VALUE_TEXT &&
            (!utf8_valid(v->text) || (w->m->encoding == ENCODING_XML && xml_changes(v->text))))
            return -1;
    }
    return 0;
}

/* Upper bound of a JSON text of these values: a byte becomes at most six. */
static size_t json_size(const struct writer *w, uint32_t first, uint32_t n)
{
    size_t size = w->m->fixed_size;

    for (uint32_t i = first; i < first + n; i++)
        size += 6 * w->values[i].text.n;
    return size;
}

/* ------------------------------------------------------------------ JSON */

/* depth: how many of the outer objects are open already and not to be written. */
static void write_field(struct json_writer *w, const struct adapter_field *field,
                        const struct value *v, bool first, uint32_t depth)
{
    for (uint32_t i = 0; i < field->nclose && !(first && depth); i++)
        json_end_object(w);
    for (uint32_t i = first ? depth : 0; i < field->nopen; i++) {
        json_key_slice(w, field->open[i]);
        json_begin_object(w);
    }
    if (v->type == VALUE_NONE)
        return;
    json_key_slice(w, field->key);
    if (v->type == VALUE_INT)
        json_put_int64(w, v->num);
    else
        json_put_str(w, v->text);
}

static struct slice finish(const struct buf *b)
{
    return buf_ok(b) ? buf_slice(b) : SLICE_NULL;
}

static struct slice write_json(const struct writer *w, const struct signer *sign)
{
    struct buf b = arena_buf(w->f->arena, json_size(w, 0, w->m->nfields) +
                                              (sign ? 6 * w->f->signature.n + 128 : 0));
    struct json_writer j;

    json_writer_init(&j, &b);
    json_begin_object(&j);
    for (uint32_t i = 0; i < w->m->nfields; i++)
        write_field(&j, &w->m->fields[i], &w->values[i], false, 0);
    for (uint32_t i = 0; i < w->m->nclose; i++)
        json_end_object(&j);
    if (sign)
        json_member_str(&j, sign->member, w->f->signature);
    json_end_object(&j);
    return finish(&b);
}

/* ------------------------------------------------------------------ flat bodies */

/* The JSON text of a member's fields. */
static struct slice object_text(const struct writer *w, const struct adapter_member *member)
{
    struct buf b = arena_buf(w->f->arena, json_size(w, member->first, member->n));
    struct json_writer j;
    bool any = false;

    json_writer_init(&j, &b);
    json_begin_object(&j);
    for (uint32_t i = member->first; i < member->first + member->n; i++) {
        write_field(&j, &w->m->fields[i], &w->values[i], i == member->first, 1);
        any |= w->values[i].type != VALUE_NONE;
    }
    while (j.depth > 0)
        json_end_object(&j);
    return any ? finish(&b) : SLICE_NULL;
}

static struct slice member_text(const struct writer *w, const struct adapter_member *member)
{
    const struct value *v = &w->values[member->first];
    struct buf b;

    if (member->object)
        return object_text(w, member);
    if (v->type != VALUE_INT)
        return v->type == VALUE_TEXT ? v->text : SLICE_NULL;
    b = arena_buf(w->f->arena, 24);
    buf_add_int64(&b, v->num);
    return finish(&b);
}

static int read_texts(struct writer *w)
{
    w->texts = arena_array(w->f->arena, struct slice, w->m->nmembers);
    for (uint32_t i = 0; w->texts && i < w->m->nmembers; i++)
        w->texts[i] = member_text(w, &w->m->members[i]);
    return w->f->arena->failed ? -1 : 0;
}

/* Bytes of all members, each byte becoming at most `factor`. */
static size_t flat_size(const struct writer *w, size_t factor)
{
    size_t n = 64 + factor * (w->f->signature.n + 64);

    for (uint32_t i = 0; i < w->m->nmembers; i++)
        n += 2 * w->m->members[i].key.n + factor * w->texts[i].n + 32;
    return n;
}

static struct slice write_form(const struct writer *w, const struct signer *sign)
{
    struct buf b = arena_buf(w->f->arena, flat_size(w, 3));

    for (uint32_t i = 0; i < w->m->nmembers; i++) {
        if (w->texts[i].n == 0)
            continue;
        if (b.n)
            buf_add_char(&b, '&');
        buf_add_slice(&b, w->m->members[i].key);
        buf_add_char(&b, '=');
        percent_encode(&b, w->texts[i]);
    }
    if (sign) {
        buf_add_char(&b, '&');
        buf_add_str(&b, sign->member);
        buf_add_char(&b, '=');
        percent_encode(&b, w->f->signature);
    }
    return finish(&b);
}

static struct slice write_xml(const struct writer *w, const struct signer *sign)
{
    struct buf b = arena_buf(w->f->arena, flat_size(w, 6));

    xml_begin(&b, "xml");
    for (uint32_t i = 0; i < w->m->nmembers; i++)
        if (w->texts[i].n)
            xml_member_cdata(&b, w->m->members[i].key, w->texts[i]);
    if (sign)
        xml_member_cdata(&b, slice_of(sign->member), w->f->signature);
    xml_end(&b, "xml");
    return finish(&b);
}

/* Members by name, without empty ones: the order was found when the file was loaded. */
static struct slice sorted_text(const struct writer *w)
{
    struct buf b = arena_buf(w->f->arena, flat_size(w, 1));

    for (uint32_t i = 0; i < w->m->nmembers; i++) {
        uint32_t k = w->m->sorted[i];

        if (w->texts[k].n == 0)
            continue;
        if (b.n)
            buf_add_char(&b, '&');
        buf_add_slice(&b, w->m->members[k].key);
        buf_add_char(&b, '=');
        buf_add_slice(&b, w->texts[k]);
    }
    return finish(&b);
}

/* ------------------------------------------------------------------ the message */

int message_write(const struct adapter_message *m, const struct signer *sign, struct facts *f,
                  struct slice *out, const char **reason)
{
    struct writer w = {.m = m, .f = f};

    *reason = "out of memory";
    w.values = arena_array(f->arena, struct value, m->nfields);
    if (!w.values)
        return -1;
    if (read_values(&w, reason) < 0)
        return -1;
    *reason = "out of memory";
    if (read_texts(&w) < 0)
        return -1;
    if (sign) {
        f->sorted = sorted_text(&w);
        *reason = "cannot sign";
        if (signer_make(sign, f) < 0)
            return -1;
    }
    *reason = "body is too large";
    *out = m->encoding == ENCODING_JSON  ? write_json(&w, sign)
           : m->encoding == ENCODING_XML ? write_xml(&w, sign)
                                         : write_form(&w, sign);
    return out->p ? 0 : -1;
}
