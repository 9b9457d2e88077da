/* bank_json: orders from their making to their end. */
#include "backends/paybank/desk/payer.h"
#include "core/net.h"
#include "bank_json.h"
#include <stdio.h>

#define AMOUNT_TOP        100000000000LL
#define REVERSE_WINDOW_US (86400 * USEC_PER_SEC)

#define ORDER_FIELDS                                                                               \
    {"mch_id", CHECK_STRING, true, 1, 32, ""},                                                     \
        {"order_no", CHECK_STRING, true, 6, 32, BANK_NO_ALSO},                                     \
        {"amount", CHECK_INTEGER, true, 1, AMOUNT_TOP, NULL},                                      \
        {"currency", CHECK_STRING, true, 3, 3, ""}, {"subject", CHECK_STRING, true, 1, 127, NULL}, \
        {"notify_url", CHECK_STRING, true, 1, 255, NULL},                                          \
    {                                                                                              \
        "expire_at", CHECK_STRING, true, 1, 40, NULL                                               \
    }

static const struct check_field native_fields[] = {
    ORDER_FIELDS,
    {NULL, CHECK_STRING, false, 0, 0, NULL},
};

static const struct check_field barcode_fields[] = {
    ORDER_FIELDS,
    {"auth_code", CHECK_STRING, true, 1, 32, ""},
    {NULL, CHECK_STRING, false, 0, 0, NULL},
};

static const struct check_field mch_fields[] = {
    {"mch_id", CHECK_STRING, true, 1, 32, ""},
    {NULL, CHECK_STRING, false, 0, 0, NULL},
};

/* ---- making ---- */

static void digest_content(const struct order_terms *t, uint8_t out[CONTENT_DIGEST_LEN])
{
    char text[96];
    int n = snprintf(text, sizeof(text), "%.*s\n%lld\n%.*s", SLICE_FMT(t->merchant->id),
                     (long long)t->amount, SLICE_FMT(t->currency));

    exchange_digest(slice_n(text, (size_t)n), out);
}

static bool read_terms(struct exchange *ex, const struct json *doc, enum pay_method method,
                       struct order_terms *t)
{
    const char *reason;
    struct url url;

    *t = (struct order_terms){
        .merchant = ex->merchant,
        .out_trade_no = json_str(doc, "order_no"),
        .notify_url = json_str(doc, "notify_url"),
        .subject = json_str(doc, "subject"),
        .currency = json_str(doc, "currency"),
        .method = method,
    };
    json_int64(json_get(doc, "amount"), &t->amount);
    if (!slice_is(t->currency, "CNY"))
        return bank_refuse(ex, 400, "BAD_REQUEST", "/currency: only CNY");
    if (url_parse(t->notify_url, &url, &reason) < 0)
        return bank_refuse(ex, 400, "BAD_REQUEST", "/notify_url: not a http or https address");
    if (time_parse_rfc3339(json_str(doc, "expire_at"), &t->expire_at) < 0)
        return bank_refuse(ex, 400, "BAD_REQUEST", "/expire_at: not a time of RFC 3339");
    if (ex->merchant->disabled)
        return bank_refuse(ex, 403, "MERCHANT_DISABLED", "merchant may not take payments");
    digest_content(t, t->digest);
    return true;
}

/* A new order that is over before it begins. */
static bool check_future(struct exchange *ex, const struct order_terms *t)
{
    return t->expire_at > ex->now || books_find(ex->bank->books, t->merchant, t->out_trade_no) ||
           bank_refuse(ex, 400, "BAD_REQUEST", "/expire_at: in the past");
}

static void put_code(struct exchange *ex, const struct order *o)
{
    char code_url[CODE_URL_MAX];
    struct json_writer w;

    payer_code_url(o, code_url);
    bank_begin_ok(ex, &w);
    json_member_str(&w, "qr", slice_of(code_url));
    json_end_object(&w);
}

void bank_native(struct exchange *ex, struct slice item)
{
    const struct json *doc;
    struct order_terms terms;
    struct order *o;
    enum books_result r;

    (void)item;
    if (!bank_read_body(ex, native_fields, &doc) || !read_terms(ex, doc, METHOD_NATIVE, &terms)) {
        exchange_send(ex);
        return;
    }
    if (exchange_strike(ex))
        return;
    if (check_future(ex, &terms)) {
        r = books_prepare(ex->bank->books, &terms, ex->now, &o);
        if (r == BOOKS_DONE)
            put_code(ex, o);
        else
            bank_refuse_books(ex, r);
    }
    exchange_send(ex);
}

static const char *state_name(enum order_state s)
{
    static const char *const names[ORDER_STATE_COUNT] = {
        [ORDER_NOTPAY] = "WAITING", [ORDER_USERPAYING] = "USER_PAYING",
        [ORDER_SUCCESS] = "PAID",   [ORDER_CLOSED] = "CLOSED",
        [ORDER_FAILED] = "FAILED",  [ORDER_REVOKED] = "REVERSED",
    };

    return names[s];
}

static void put_order(struct exchange *ex, struct order *o)
{
    char id[TRANSACTION_ID_MAX], at[RFC3339_LEN + 1];
    struct json_writer w;

    order_settle(o, ex->now);
    bank_begin_ok(ex, &w);
    json_member_str(&w, "status", slice_of(state_name(o->state)));
    json_member_str(&w, "order_no", order_no(o));
    json_member_int64(&w, "amount", exchange_amount(ex, o->amount));
    json_member_str(&w, "currency", slice_of(o->currency));
    if (o->state == ORDER_SUCCESS) {
        order_transaction_id(o, id);
        time_format_rfc3339(at, o->paid_at);
        json_member_str(&w, "bank_no", slice_of(id));
        json_member_str(&w, "paid_at", slice_of(at));
        if (o->refunds)
            json_member_int64(&w, "refunded", order_refunded(o, ex->now));
    }
    json_end_object(&w);
}

static bool check_barcode(struct exchange *ex, const struct order_terms *t, struct slice code)
{
    if (books_find(ex->bank->books, t->merchant, t->out_trade_no))
        return true; /* what is known about the number comes first */
    if (!payer_barcode_valid(code, 18, 18, 99, 99))
        return bank_refuse(ex, 400, "AUTH_CODE_INVALID", "not a code of this bank");
    if (payer_barcode_use(ex->bank, CHANNEL_BANK_JSON, code) < 0)
        return bank_refuse(ex, 400, "AUTH_CODE_INVALID", "used before");
    return true;
}

/* The same number, content and code: the same order, as it is now. */
static void charge(struct exchange *ex, const struct order_terms *t)
{
    struct order *o;
    enum books_result r = books_prepare(ex->bank->books, t, ex->now, &o);

    if (r == BOOKS_DONE)
        r = payer_charge(ex->bank, o, &ex->fault, ex->now);
    if (r == BOOKS_DONE || r == BOOKS_IS_PAYING || r == BOOKS_IS_PAID)
        put_order(ex, o);
    else
        bank_refuse_books(ex, r);
}

void bank_barcode(struct exchange *ex, struct slice item)
{
    const struct json *doc;
    struct order_terms terms;
    struct slice code;

    (void)item;
    if (!bank_read_body(ex, barcode_fields, &doc) || !read_terms(ex, doc, METHOD_BARCODE, &terms)) {
        exchange_send(ex);
        return;
    }
    if (exchange_strike(ex))
        return;
    code = json_str(doc, "auth_code");
    terms.payer = payer_barcode_hash(code);
    if (check_future(ex, &terms) && check_barcode(ex, &terms, code))
        charge(ex, &terms);
    exchange_send(ex);
}

/* ---- query, close, reverse ---- */

void bank_query(struct exchange *ex, struct slice item)
{
    struct order *o;

    if (exchange_strike(ex))
        return;
    o = books_find(ex->bank->books, ex->merchant, item);
    if (o)
        put_order(ex, o);
    else
        bank_refuse(ex, 404, "ORDER_NOT_FOUND", "no such order");
    exchange_send(ex);
}

static void put_status(struct exchange *ex, const char *status)
{
    struct json_writer w;

    bank_begin_ok(ex, &w);
    json_member_str(&w, "status", slice_of(status));
    json_end_object(&w);
}

static void close_order(struct exchange *ex, struct order *o)
{
    enum books_result r;

    if (o->method == METHOD_BARCODE) {
        bank_refuse(ex, 400, "BAD_REQUEST", "a barcode payment is reversed, not closed");
        return;
    }
    r = books_close(ex->bank->books, o, ex->now);
    if (r == BOOKS_DONE || o->state == ORDER_CLOSED)
        put_status(ex, "CLOSED");
    else
        bank_refuse_books(ex, r);
}

static void reverse_order(struct exchange *ex, struct order *o)
{
    enum books_result r;

    if (o->method != METHOD_BARCODE) {
        bank_refuse(ex, 400, "BAD_REQUEST", "only barcode payments are reversed");
        return;
    }
    if (ex->now - o->created_at > REVERSE_WINDOW_US) {
        bank_refuse(ex, 409, "REVERSE_EXPIRED", "older than 24 hours: refund");
        return;
    }
    r = books_reverse(ex->bank->books, o, true, ex->now);
    if (r == BOOKS_DONE || r == BOOKS_IS_REVOKED)
        put_status(ex, "REVERSED");
    else
        bank_refuse_books(ex, r);
}

static void end_order(struct exchange *ex, struct slice no,
                      void (*end)(struct exchange *ex, struct order *o))
{
    const struct json *doc;
    struct order *o;

    if (!bank_read_body(ex, mch_fields, &doc)) {
        exchange_send(ex);
        return;
    }
    if (exchange_strike(ex))
        return;
    o = books_find(ex->bank->books, ex->merchant, no);
    if (ex->fault.kind == FAULT_RECALL)
        bank_refuse(ex, 503, "SYSTEM_BUSY", "not reversed, try again");
    else if (!o)
        bank_refuse(ex, 404, "ORDER_NOT_FOUND", "no such order");
    else
        end(ex, o);
    exchange_send(ex);
}

void bank_close(struct exchange *ex, struct slice item)
{
    end_order(ex, item, close_order);
}

void bank_reverse(struct exchange *ex, struct slice item)
{
    end_order(ex, item, reverse_order);
}
