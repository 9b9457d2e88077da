#include "channel.h"

#include "account.h"
#include "core/json.h"
#include "set.h"

#define NONCE_LEN   32u
#define HEADERS_MAX (sizeof(((struct channel_request *)NULL)->headers) / sizeof(struct http_header))

/* ------------------------------------------------------------------ body */

/* Upper bound of the body: a byte of text becomes at most six. */
static size_t body_size(const struct adapter_api *api, const struct value *values)
{
    size_t n = api->fixed_size;

    for (uint32_t i = 0; i < api->nfields; i++)
        n += 6 * values[i].text.n;
    return n;
}

/* The values of all fields, filtered and checked, so that writing cannot fail any more. */
static int read_values(const struct adapter_api *api, const struct facts *f, struct value *values,
                       const char **reason)
{
    for (uint32_t i = 0; i < api->nfields; i++) {
        const struct adapter_field *field = &api->fields[i];
        struct value *v = &values[i];

        source_read(&field->expr.source, f, v);
        *reason = field->refused;
        if (filters_apply(&field->expr.filters, f->arena, v) < 0)
            return -1;
        if (v->type == VALUE_NONE && !field->expr.optional) {
            *reason = field->missing;
            return -1;
        }
        if (v->type == VALUE_TEXT && !utf8_valid(v->text))
            return -1;
    }
    return 0;
}

static void write_field(struct json_writer *w, const struct adapter_field *field,
                        const struct value *v)
{
    for (uint32_t i = 0; i < field->nclose; i++)
        json_end_object(w);
    for (uint32_t i = 0; i < field->nopen; i++) {
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

static int write_body(const struct adapter_api *api, const struct facts *f, struct slice *out,
                      const char **reason)
{
    struct value *values = arena_array(f->arena, struct value, api->nfields);
    struct json_writer w;
    struct buf b;

    *reason = "out of memory";
    if (!values)
        return -1;
    if (read_values(api, f, values, reason) < 0)
        return -1;
    b = arena_buf(f->arena, body_size(api, values));
    json_writer_init(&w, &b);
    json_begin_object(&w);
    for (uint32_t i = 0; i < api->nfields; i++)
        write_field(&w, &api->fields[i], &values[i]);
    for (uint32_t i = 0; i < api->nclose; i++)
        json_end_object(&w);
    json_end_object(&w);
    *reason = "body is too large";
    if (!buf_ok(&b))
        return -1;
    *out = buf_slice(&b);
    return 0;
}

/* ------------------------------------------------------------------ target, headers */

/* Every value in a target must be there: an empty one would name another resource. */
static int write_target(const struct adapter_api *api, const struct facts *f, struct slice *out,
                        const char **reason)
{
    *reason = "a value of the request's path is missing";
    for (uint32_t i = 0; i < api->target.n; i++)
        if (source_text(&api->target.parts[i], f).n == 0)
            return -1;
    *out = template_render(&api->target, f, true);
    *reason = "out of memory";
    return out->p ? 0 : -1;
}

static void add_header(struct channel_request *r, struct slice name, struct slice value)
{
    r->headers[r->nheaders].name = name;
    r->headers[r->nheaders].value = value;
    r->nheaders++;
}

_Static_assert(ADAPTER_HEADERS_MAX + 1 + SIGNER_HEADERS_MAX <= HEADERS_MAX,
               "a request has room for all headers");

static int write_headers(const struct adapter *ad, struct facts *f, struct channel_request *r,
                         const char **reason)
{
    struct buf timestamp = arena_buf(f->arena, 24);

    for (uint32_t i = 0; i < ad->nheaders; i++)
        add_header(r, ad->headers[i].name, template_render(&ad->headers[i].value, f, false));
    if (r->body.n)
        add_header(r, SLICE("Content-Type"), ad->content_type);
    buf_add_int64(&timestamp, f->now / USEC_PER_SEC);
    f->timestamp = buf_slice(&timestamp);
    f->method = r->method;
    f->target = r->target;
    f->body = r->body;
    *reason = "cannot sign";
    return signer_sign(&ad->sign, f, r->headers, &r->nheaders, HEADERS_MAX);
}

/* ------------------------------------------------------------------ request */

static bool nonce_valid(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')))
            return false;
    }
    return s.n == NONCE_LEN;
}

static struct slice egress_kind(enum call_kind kind)
{
    return kind == CALL_PREPARE ? SLICE("pay") : slice_of(call_kind_name(kind));
}

int channel_encode(const struct channel *c, const struct channel_account *a, enum call_kind kind,
                   const struct channel_order *order, pay_time_t now, struct slice nonce,
                   struct arena *arena, struct channel_request *out, const char **reason)
{
    const struct adapter_api *api = adapter_find_api(c->adapter, kind, order->method);
    struct facts f = {
        .channel = c, .account = a, .order = order, .now = now, .nonce = nonce, .arena = arena};

    memset(out, 0, sizeof(*out));
    *reason = "the adapter has no such call";
    if (!api)
        return -1;
    *reason = "account belongs to another channel";
    if (a->channel != c)
        return -1;
    *reason = "nonce must be 32 letters and digits";
    if (!nonce_valid(nonce))
        return -1;
    *reason = "amount must be positive";
    if (kind == CALL_PREPARE && order->amount <= 0)
        return -1;
    out->method = api->verb;
    out->egress_kind = egress_kind(kind);
    if (write_target(api, &f, &out->target, reason) < 0 ||
        (api->has_body && write_body(api, &f, &out->body, reason) < 0) ||
        write_headers(c->adapter, &f, out, reason) < 0)
        return -1;
    *reason = "out of memory";
    if (arena->failed)
        return -1;
    *reason = NULL;
    return 0;
}
