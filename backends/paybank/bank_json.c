/*
 * The invented bank of docs/bank_json.md from its own side. This is the path of the benchmarks: one
 * HMAC in, one out, one parse, one line of journal.
 */
#include "check.h"
#include "exchange.h"
#include "payer.h"

#include "core/net.h"
#include <stdio.h>

#define ORDERS        "/bank/v1/orders"
#define WINDOW_S      300
#define NONCE_LEN     32
#define AMOUNT_TOP    100000000000LL
#define ORDER_NO_ALSO "_-"
#define SEAL_MAX      160

static const struct check_field native_fields[] = {
    {"mch_id", CHECK_STRING, true, 1, 32, ""},
    {"order_no", CHECK_STRING, true, 6, 32, ORDER_NO_ALSO},
    {"amount", CHECK_INTEGER, true, 1, AMOUNT_TOP, NULL},
    {"currency", CHECK_STRING, true, 3, 3, ""},
    {"subject", CHECK_STRING, true, 1, 127, NULL},
    {"notify_url", CHECK_STRING, true, 1, 255, NULL},
    {"expire_at", CHECK_STRING, true, 1, 40, NULL},
    {NULL, CHECK_STRING, false, 0, 0, NULL},
};

static const struct check_field close_fields[] = {
    {"mch_id", CHECK_STRING, true, 1, 32, ""},
    {NULL, CHECK_STRING, false, 0, 0, NULL},
};

static bool refuse(struct exchange *ex, int status, const char *code, const char *message)
{
    struct json_writer w;

    ex->status = status;
    buf_clear(&ex->body);
    json_writer_init(&w, &ex->body);
    json_begin_object(&w);
    json_member_str(&w, "code", slice_of(code));
    json_member_str(&w, "message", slice_of(message));
    json_end_object(&w);
    return false;
}

static bool refuse_field(struct exchange *ex, const struct check_error *bad)
{
    char text[sizeof(bad->field) + 64];

    snprintf(text, sizeof(text), "%s: %s", bad->field, bad->issue);
    return refuse(ex, 400, "BAD_REQUEST", text);
}

static bool refuse_books(struct exchange *ex, enum books_result r)
{
    switch (r) {
    case BOOKS_OTHER_CONTENT:
        return refuse(ex, 409, "ORDER_NO_USED", "number used with other content");
    case BOOKS_IS_PAID:
        return refuse(ex, 409, "ORDER_PAID", "paid");
    case BOOKS_IS_CLOSED:
        return refuse(ex, 409, "ORDER_CLOSED", "number is dead");
    default:
        return refuse(ex, 503, "SYSTEM_BUSY", "try again");
    }
}

/* ---- signatures ---- */

static const char *state_name(enum order_state s)
{
    static const char *const names[] = {
        [ORDER_NOTPAY] = "WAITING",
        [ORDER_SUCCESS] = "PAID",
        [ORDER_CLOSED] = "CLOSED",
        [ORDER_FAILED] = "FAILED",
    };

    return names[s];
}

/* "t=..,n=..,s=.." of an answer or a notification. */
static int make_seal(const struct merchant *m, struct slice body, pay_time_t now, bool spoil,
                     char out[SEAL_MAX])
{
    char t[24], nonce[NONCE_LEN + 1];
    uint8_t mac[SHA256_LEN];
    struct slice parts[5];
    size_t n;

    random_token(nonce, NONCE_LEN);
    nonce[NONCE_LEN] = '\0';
    snprintf(t, sizeof(t), "%lld", (long long)(now / USEC_PER_SEC));
    parts[0] = slice_of(t);
    parts[1] = parts[3] = SLICE("\n");
    parts[2] = slice_of(nonce);
    parts[4] = spoil ? SLICE("something else") : body;
    if (hmac_sign(m->shared_key, parts, 5, mac) < 0)
        return -1;
    n = (size_t)snprintf(out, SEAL_MAX, "t=%s,n=%s,s=", t, nonce);
    for (size_t i = 0; i < SHA256_LEN; i++)
        n += (size_t)snprintf(out + n, SEAL_MAX - n, "%02x", mac[i]);
    return 0;
}

static void sign(struct exchange *ex, bool spoil)
{
    char seal[SEAL_MAX];

    if (make_seal(ex->merchant, buf_slice(&ex->body), clock_read_wall(), spoil, seal) == 0)
        exchange_header(ex, "Bank-Signature", slice_of(seal));
}

struct seal {
    struct slice t, n, s;
};

/* Exactly `t=..,n=..,s=..`. */
static int parse_seal(struct slice header, struct seal *out)
{
    struct slice *members[3] = {&out->t, &out->n, &out->s};
    static const char names[3] = {'t', 'n', 's'};

    for (int i = 0; i < 3; i++) {
        struct slice one = slice_cut(&header, ',');

        if (one.n < 3 || one.p[0] != names[i] || one.p[1] != '=')
            return -1;
        *members[i] = slice_n(one.p + 2, one.n - 2);
    }
    return header.p ? -1 : 0;
}

static bool mac_fits(struct exchange *ex, const struct seal *s)
{
    struct slice nl = SLICE("\n");
    struct slice parts[9] = {s->t, nl,           s->n, nl, ex->req->method, nl, ex->req->target,
                             nl,   ex->req->body};
    struct buf mac;
    bool fits;

    buf_init(&mac, SHA256_LEN);
    fits = hex_decode(&mac, s->s) == 0 && mac.n == SHA256_LEN &&
           hmac_verify(ex->merchant->shared_key, parts, 9, buf_slice(&mac)) == 0;
    buf_release(&mac);
    return fits;
}

static bool lower_hex(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] >= 'A' && s.p[i] <= 'F')
            return false;
    return true;
}

static bool check_signature(struct exchange *ex)
{
    struct slice header = exchange_one_header(ex, "Bank-Signature");
    int64_t now_s = ex->now / USEC_PER_SEC;
    struct seal s;
    int64_t t;

    if (!header.p || parse_seal(header, &s) < 0 || s.s.n != 64 || !lower_hex(s.s))
        return refuse(ex, 401, "BAD_SIGNATURE", "Bank-Signature is not t=..,n=..,s=..");
    if (s.n.n < 16 || s.n.n > 64 || !check_charset(s.n, ""))
        return refuse(ex, 401, "BAD_SIGNATURE", "n is not 16 to 64 letters and digits");
    if (slice_int64(s.t, &t) < 0 || t < now_s - WINDOW_S || t > now_s + WINDOW_S)
        return refuse(ex, 401, "BAD_SIGNATURE", "t is more than 300 s away");
    if (!mac_fits(ex, &s))
        return refuse(ex, 401, "BAD_SIGNATURE", "s does not fit");
    if (nonces_use(ex->bank->nonces, ex->merchant->id, s.n, ex->now) < 0)
        return refuse(ex, 401, "BAD_SIGNATURE", "n was used before");
    return true;
}

/* The key comes with the merchant; without one the answer cannot be signed. */
static bool find_merchant(struct exchange *ex, struct slice id)
{
    if (id.n == 0)
        return refuse(ex, 400, "BAD_REQUEST", "mch_id is missing");
    ex->merchant = bank_conf_merchant(&ex->bank->conf, CHANNEL_BANK_JSON, id);
    return ex->merchant || refuse(ex, 401, "BAD_SIGNATURE", "mch_id unknown");
}

/* ---- reading ---- */

static bool is_json_type(struct slice value)
{
    struct slice type = slice_trim(slice_cut(&value, ';'));

    return slice_eq_nocase(type, SLICE("application/json"));
}

static bool read_body(struct exchange *ex, const struct check_field *fields,
                      const struct json **doc)
{
    struct check_error bad;
    struct json_error err;

    if (json_parse(&ex->req->arena, ex->req->body, NULL, doc, &err) < 0)
        return refuse(ex, 400, "BAD_REQUEST", "body is not JSON");
    if (json_str(*doc, "order_no").p)
        ex->out_trade_no = json_str(*doc, "order_no");
    if (!find_merchant(ex, json_str(*doc, "mch_id")) || !check_signature(ex))
        return false;
    if (!is_json_type(exchange_one_header(ex, "Content-Type")))
        return refuse(ex, 400, "BAD_REQUEST", "Content-Type is not application/json");
    if (check_fields(*doc, fields, &bad) < 0)
        return refuse_field(ex, &bad);
    return true;
}

static void digest_content(const struct order_terms *t, uint8_t out[CONTENT_DIGEST_LEN])
{
    uint8_t whole[SHA256_LEN];
    char text[96];
    int n = snprintf(text, sizeof(text), "%.*s\n%lld\n%.*s", SLICE_FMT(t->merchant->id),
                     (long long)t->amount, SLICE_FMT(t->currency));

    sha256(slice_n(text, (size_t)n), whole);
    memcpy(out, whole, CONTENT_DIGEST_LEN);
}

static bool read_terms(struct exchange *ex, const struct json *doc, struct order_terms *t)
{
    const char *reason;
    struct url url;

    *t = (struct order_terms){
        .merchant = ex->merchant,
        .out_trade_no = json_str(doc, "order_no"),
        .notify_url = json_str(doc, "notify_url"),
        .currency = json_str(doc, "currency"),
    };
    json_int64(json_get(doc, "amount"), &t->amount);
    if (!slice_is(t->currency, "CNY"))
        return refuse(ex, 400, "BAD_REQUEST", "/currency: only CNY");
    if (url_parse(t->notify_url, &url, &reason) < 0)
        return refuse(ex, 400, "BAD_REQUEST", "/notify_url: not a http or https address");
    if (time_parse_rfc3339(json_str(doc, "expire_at"), &t->expire_at) < 0)
        return refuse(ex, 400, "BAD_REQUEST", "/expire_at: not a time of RFC 3339");
    if (ex->merchant->disabled)
        return refuse(ex, 403, "MERCHANT_DISABLED", "merchant may not take payments");
    digest_content(t, t->digest);
    return true;
}

/* ---- apis ---- */

static void begin_ok(struct exchange *ex, struct json_writer *w)
{
    ex->status = 200;
    json_writer_init(w, &ex->body);
    json_begin_object(w);
    json_member_str(w, "code", SLICE("OK"));
}

static void native(struct exchange *ex)
{
    char code_url[CODE_URL_MAX];
    const struct json *doc;
    struct order_terms terms;
    struct json_writer w;
    struct order *o;
    enum books_result r;

    if (!read_body(ex, native_fields, &doc) || !read_terms(ex, doc, &terms)) {
        exchange_send(ex);
        return;
    }
    if (exchange_strike(ex))
        return;
    o = books_find(ex->bank->books, ex->merchant, terms.out_trade_no);
    if (!o && terms.expire_at <= ex->now) {
        refuse(ex, 400, "BAD_REQUEST", "/expire_at: in the past");
        exchange_send(ex);
        return;
    }
    r = books_prepare(ex->bank->books, &terms, ex->now, &o);
    if (r == BOOKS_DONE) {
        payer_code_url(o, code_url);
        begin_ok(ex, &w);
        json_member_str(&w, "qr", slice_of(code_url));
        json_end_object(&w);
    } else {
        refuse_books(ex, r);
    }
    exchange_send(ex);
}

static bool read_query(struct exchange *ex, struct slice query)
{
    struct slice name = slice_cut(&query, '=');

    if (!slice_is(name, "mch_id"))
        return refuse(ex, 400, "BAD_REQUEST", "the only parameter is mch_id");
    return find_merchant(ex, query) && check_signature(ex);
}

static void put_order(struct exchange *ex, const struct order *o)
{
    char id[TRANSACTION_ID_MAX], at[RFC3339_LEN + 1];
    struct json_writer w;

    begin_ok(ex, &w);
    json_member_str(&w, "status", slice_of(state_name(o->state)));
    json_member_str(&w, "order_no", order_no(o));
    json_member_int64(&w, "amount", o->amount);
    json_member_str(&w, "currency", slice_of(o->currency));
    if (o->state == ORDER_SUCCESS) {
        order_transaction_id(o, id);
        time_format_rfc3339(at, o->ended_at);
        json_member_str(&w, "bank_no", slice_of(id));
        json_member_str(&w, "paid_at", slice_of(at));
    }
    json_end_object(&w);
}

static void query_order(struct exchange *ex, struct slice query)
{
    struct order *o;

    if (!read_query(ex, query)) {
        exchange_send(ex);
        return;
    }
    if (exchange_strike(ex))
        return;
    o = books_find(ex->bank->books, ex->merchant, ex->out_trade_no);
    if (o) {
        order_settle(o, ex->now);
        put_order(ex, o);
    } else {
        refuse(ex, 404, "ORDER_NOT_FOUND", "no such order");
    }
    exchange_send(ex);
}

static void close_order(struct exchange *ex)
{
    const struct json *doc;
    enum books_result r;
    struct json_writer w;
    struct order *o;

    if (!read_body(ex, close_fields, &doc)) {
        exchange_send(ex);
        return;
    }
    if (exchange_strike(ex))
        return;
    o = books_find(ex->bank->books, ex->merchant, ex->out_trade_no);
    if (!o) {
        refuse(ex, 404, "ORDER_NOT_FOUND", "no such order");
        exchange_send(ex);
        return;
    }
    r = books_close(ex->bank->books, o, ex->now);
    if (r == BOOKS_DONE || o->state == ORDER_CLOSED) {
        begin_ok(ex, &w);
        json_member_str(&w, "status", SLICE("CLOSED"));
        json_end_object(&w);
    } else {
        refuse_books(ex, r);
    }
    exchange_send(ex);
}

/* ---- faults and notifications ---- */

static void fault_answer(struct exchange *ex, enum fault_kind kind)
{
    switch (kind) {
    case FAULT_TOO_FREQUENT:
        refuse(ex, 429, "TOO_FREQUENT", "ask later");
        break;
    case FAULT_NOT_FOUND:
        refuse(ex, 404, "ORDER_NOT_FOUND", "no such order");
        break;
    case FAULT_ERROR_500: /* not on the sheet: some box in front of the bank broke */
        refuse(ex, 500, "INTERNAL", "internal error");
        break;
    default:
        refuse(ex, 503, "SYSTEM_BUSY", "busy");
        break;
    }
}

static void put_notice(struct buf *b, const struct order *o, int64_t amount)
{
    char id[TRANSACTION_ID_MAX], at[RFC3339_LEN + 1];
    struct json_writer w;

    order_transaction_id(o, id);
    time_format_rfc3339(at, o->ended_at);
    json_writer_init(&w, b);
    json_begin_object(&w);
    json_member_str(&w, "event", SLICE("ORDER_PAID"));
    json_member_str(&w, "mch_id", o->merchant->id);
    json_member_str(&w, "order_no", order_no(o));
    json_member_str(&w, "bank_no", slice_of(id));
    json_member_int64(&w, "amount", amount);
    json_member_str(&w, "currency", slice_of(o->currency));
    json_member_str(&w, "paid_at", slice_of(at));
    json_end_object(&w);
}

static int notice(struct bank *bank, const struct order *o, enum fault_kind fault, pay_time_t now,
                  struct arena *a, struct notice *out)
{
    char seal[SEAL_MAX];
    struct buf body;
    int rc;

    (void)bank;
    buf_init(&body, 4096);
    put_notice(&body, o, o->amount + (fault == FAULT_WRONG_AMOUNT));
    rc = make_seal(o->merchant, buf_slice(&body), now, fault == FAULT_BAD_SIGNATURE, seal);
    out->body = arena_copy(a, buf_slice(&body));
    out->headers[0] = (struct http_header){SLICE("Content-Type"), SLICE("application/json")};
    out->headers[1] = (struct http_header){SLICE("Bank-Signature"), SLICE_NULL};
    if (rc == 0)
        out->headers[1].value = arena_copy(a, slice_of(seal));
    out->nheaders = 2;
    if (!buf_ok(&body))
        rc = -1;
    buf_release(&body);
    return rc == 0 && !a->failed ? 0 : -1;
}

/* 200 with {"code":"OK"}, nothing else. */
static bool taken(int status, struct slice body)
{
    const struct json *doc;
    struct json_error err;
    struct arena a;
    bool ok;

    arena_init(&a, 65536);
    ok = status == 200 && json_parse(&a, body, NULL, &doc, &err) == 0 &&
         slice_is(json_str(doc, "code"), "OK");
    arena_release(&a);
    return ok;
}

const struct protocol bank_json_protocol = {
    .channel = CHANNEL_BANK_JSON,
    .fault_answer = fault_answer,
    .sign = sign,
    .notice = notice,
    .taken = taken,
};

/* ---- the door ---- */

/* Sets api and, from the path, the order's number. */
static bool find_route(struct exchange *ex, struct slice path)
{
    bool get = slice_is(ex->req->method, "GET");
    bool post = slice_is(ex->req->method, "POST");
    struct slice rest, item;

    if (slice_is(path, ORDERS)) {
        ex->api = post ? BANK_NATIVE : BANK_NONE;
    } else if (slice_starts(path, SLICE(ORDERS "/"))) {
        rest = slice_n(path.p + sizeof(ORDERS), path.n - sizeof(ORDERS));
        item = slice_cut(&rest, '/');
        if (!rest.p && get)
            ex->api = BANK_QUERY;
        else if (slice_is(rest, "close") && post)
            ex->api = BANK_CLOSE;
        ex->out_trade_no = item;
        if (item.n < 6 || item.n > 32 || !check_charset(item, ORDER_NO_ALSO))
            ex->api = BANK_NONE;
    }
    return ex->api != BANK_NONE || refuse(ex, 400, "BAD_REQUEST", "no such path or method");
}

void bank_json_handle(struct bank *bank, struct http_req *req)
{
    struct exchange *ex = exchange_new(bank, req, &bank_json_protocol);
    struct slice query;
    struct slice path = target_path(req->target, &query);

    if (!ex)
        return;
    if (!find_route(ex, path))
        exchange_send(ex);
    else if (ex->api == BANK_NATIVE)
        native(ex);
    else if (ex->api == BANK_QUERY)
        query_order(ex, query);
    else
        close_order(ex);
}
