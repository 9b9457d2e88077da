/* From an order to the bytes of a call, or to what its payer is given. */
#include "channel.h"

#include "account.h"
#include "message.h"
#include "set.h"

#define NONCE_LEN   32u
#define HEADERS_MAX (sizeof(((struct channel_request *)NULL)->headers) / sizeof(struct http_header))

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

static int set_timestamp(struct facts *f)
{
    struct buf timestamp = arena_buf(f->arena, 24);

    buf_add_int64(&timestamp, f->now / USEC_PER_SEC);
    f->timestamp = buf_slice(&timestamp);
    return buf_ok(&timestamp) ? 0 : -1;
}

static int write_headers(const struct adapter *ad, const struct adapter_api *api, struct facts *f,
                         struct channel_request *r, const char **reason)
{
    for (uint32_t i = 0; i < ad->nheaders; i++) {
        struct slice value = template_render(&ad->headers[i].value, f, false);

        if (value.n) /* of an optional value of the account: left out */
            add_header(r, ad->headers[i].name, value);
    }
    if (r->body.n)
        add_header(r, SLICE("Content-Type"), encoding_content_type(ad->encode));
    f->method = r->method;
    f->target = r->target;
    f->body = r->body;
    *reason = "cannot sign";
    if (ad->sign.member || api->is_unsigned)
        return 0;
    return signer_headers(&ad->sign, f, r->headers, &r->nheaders, HEADERS_MAX);
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
    switch (kind) {
    case CALL_PREPARE:
    case CALL_CHARGE:
        return SLICE("pay");
    case CALL_REFUND_QUERY:
        return SLICE("query");
    case CALL_BILL:
    case CALL_DOWNLOAD:
        return SLICE("other");
    default:
        return slice_of(call_kind_name(kind));
    }
}

/* What no adapter file can forget. */
static const char *check_order(const struct adapter_api *api, const struct channel_order *o)
{
    if ((api->kind == CALL_PREPARE || api->kind == CALL_CHARGE) && o->amount <= 0)
        return "amount must be positive";
    if (api->kind == CALL_REFUND && (o->refund_amount <= 0 || o->refund_no.n == 0))
        return "a refund needs a number and a positive amount";
    if (api->kind == CALL_REFUND && o->refund_amount > o->amount)
        return "a refund cannot be larger than the payment";
    return NULL;
}

static const char *check_call(const struct channel *c, const struct channel_account *a,
                              const struct adapter_api *api, struct slice nonce)
{
    if (!api)
        return "the adapter has no such call";
    if (a->channel != c)
        return "account belongs to another channel";
    return nonce_valid(nonce) ? NULL : "nonce must be 32 letters and digits";
}

int channel_encode(const struct channel *c, const struct channel_account *a, enum call_kind kind,
                   const struct channel_order *order, pay_time_t now, struct slice nonce,
                   struct arena *arena, struct channel_request *out, const char **reason)
{
    const struct adapter_api *api = adapter_find_api(c->adapter, kind, order->method);
    struct facts f = {
        .channel = c, .account = a, .order = order, .now = now, .nonce = nonce, .arena = arena};

    memset(out, 0, sizeof(*out));
    *reason = check_call(c, a, api, nonce);
    if (!*reason && api->local)
        *reason = "nothing is sent for this method: the payer takes it to the channel";
    if (!*reason)
        *reason = check_order(api, order);
    if (*reason)
        return -1;
    out->method = api->verb;
    out->host = kind == CALL_DOWNLOAD ? order->download.host : api->host;
    out->egress_kind = egress_kind(kind);
    *reason = "out of memory";
    if (set_timestamp(&f) < 0)
        return -1;
    if (write_target(api, &f, &out->target, reason) < 0 ||
        (api->has_body &&
         message_write(&api->message,
                       c->adapter->sign.member && !api->is_unsigned ? &c->adapter->sign : NULL, &f,
                       &out->body, reason) < 0) ||
        write_headers(c->adapter, api, &f, out, reason) < 0)
        return -1;
    *reason = "out of memory";
    if (arena->failed)
        return -1;
    *reason = NULL;
    return 0;
}

int channel_certificates_encode(const struct channel *c, const struct channel_account *a,
                                pay_time_t now, struct slice nonce, struct arena *arena,
                                struct channel_request *out, const char **reason)
{
    struct facts f = {.channel = c, .account = a, .now = now, .nonce = nonce, .arena = arena};
    struct adapter_api get = {.kind = CALL_NONE};

    memset(out, 0, sizeof(*out));
    *reason = check_call(c, a, &get, nonce);
    if (!*reason && !c->adapter->certificates)
        *reason = "the adapter has no certificates";
    if (*reason)
        return -1;
    out->method = SLICE("GET");
    out->target = c->adapter->certificates->target;
    out->egress_kind = SLICE("other");
    *reason = "out of memory";
    if (set_timestamp(&f) < 0 || write_headers(c->adapter, &get, &f, out, reason) < 0)
        return -1;
    *reason = arena->failed ? "out of memory" : NULL;
    return arena->failed ? -1 : 0;
}

/* ------------------------------------------------------------------ for the payer */

static struct slice wrap(const struct adapter_present *p, const struct facts *f, struct slice text)
{
    struct slice prefix = template_render(&p->prefix, f, false);
    struct buf b = arena_buf(f->arena, 6 * prefix.n + text.n + 64);
    struct json_writer w;

    if (p->form == PRESENT_POST) {
        json_writer_init(&w, &b);
        json_begin_object(&w);
        json_member_str(&w, "url", prefix);
        json_key(&w, "fields");
        json_put_raw(&w, text);
        json_end_object(&w);
    } else {
        buf_add_slice(&b, prefix);
        buf_add_slice(&b, text);
    }
    return buf_ok(&b) ? buf_slice(&b) : SLICE_NULL;
}

int channel_present(const struct channel *c, const struct channel_account *a,
                    const struct channel_order *order, pay_time_t now, struct slice nonce,
                    struct arena *arena, struct channel_present *out, const char **reason)
{
    const struct adapter_api *api = adapter_find_api(c->adapter, CALL_PREPARE, order->method);
    struct facts f = {
        .channel = c, .account = a, .order = order, .now = now, .nonce = nonce, .arena = arena};
    const struct adapter_present *p;
    struct slice text;

    *out = (struct channel_present){0};
    *reason = check_call(c, a, api, nonce);
    if (*reason)
        return -1;
    p = &api->present;
    if (!p->present)
        return 0;
    *reason = "out of memory";
    if (set_timestamp(&f) < 0 ||
        message_write(&p->message, p->has_sign ? &p->sign : NULL, &f, &text, reason) < 0)
        return -1;
    text = wrap(p, &f, text);
    *reason = "out of memory";
    if (arena->failed || !text.p)
        return -1;
    if (p->h5_url)
        out->h5_url = text;
    else
        out->pay_params = text;
    *reason = NULL;
    return 0;
}
