/*
 * The serialised form of structured fields (RFC 8941, 4.1): one text per value.
 */
#include "sf.h"

#include "crypto.h"

void sf_write_string(struct buf *b, struct slice text)
{
    buf_add_char(b, '"');
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '"' || text.p[i] == '\\')
            buf_add_char(b, '\\');
        buf_add_char(b, text.p[i]);
    }
    buf_add_char(b, '"');
}

void sf_write_bytes(struct buf *b, struct slice bytes)
{
    buf_add_char(b, ':');
    base64_encode(b, bytes);
    buf_add_char(b, ':');
}

/* At least one digit behind the point, no zeros at the end. */
static void write_decimal(struct buf *b, int64_t thousandths)
{
    int64_t v = thousandths < 0 ? -thousandths : thousandths, fraction = v % 1000;
    int digits = 3;

    while (digits > 1 && fraction % 10 == 0) {
        fraction /= 10;
        digits--;
    }
    buf_addf(b, "%s%lld.%0*lld", thousandths < 0 ? "-" : "", (long long)(v / 1000), digits,
             (long long)fraction);
}

static void write_value(struct buf *b, const struct sf_value *v)
{
    switch (v->type) {
    case SF_INTEGER:
        buf_add_int64(b, v->integer);
        break;
    case SF_DECIMAL:
        write_decimal(b, v->integer);
        break;
    case SF_STRING:
        sf_write_string(b, v->text);
        break;
    case SF_TOKEN:
        buf_add_slice(b, v->text);
        break;
    case SF_BYTES:
        sf_write_bytes(b, v->text);
        break;
    case SF_BOOLEAN:
        buf_add_str(b, v->integer ? "?1" : "?0");
        break;
    case SF_INNER_LIST:
        break;
    }
}

static void write_params(struct buf *b, const struct sf_param *params)
{
    for (const struct sf_param *p = params; p; p = p->next) {
        buf_add_char(b, ';');
        buf_add_slice(b, p->key);
        if (p->value.type == SF_BOOLEAN && p->value.integer)
            continue;
        buf_add_char(b, '=');
        write_value(b, &p->value);
    }
}

void sf_write(struct buf *b, const struct sf_member *m)
{
    if (m->value.type == SF_INNER_LIST) {
        buf_add_char(b, '(');
        for (const struct sf_member *item = m->items; item; item = item->next) {
            if (item != m->items)
                buf_add_char(b, ' ');
            write_value(b, &item->value);
            write_params(b, item->params);
        }
        buf_add_char(b, ')');
    } else {
        write_value(b, &m->value);
    }
    write_params(b, m->params);
}

void sf_write_dictionary(struct buf *b, const struct sf_member *first)
{
    for (const struct sf_member *m = first; m; m = m->next) {
        if (m != first)
            buf_add_str(b, ", ");
        buf_add_slice(b, m->key);
        if (m->value.type == SF_BOOLEAN && m->value.integer) {
            write_params(b, m->params);
            continue;
        }
        buf_add_char(b, '=');
        sf_write(b, m);
    }
}
