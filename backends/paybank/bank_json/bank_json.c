#include "bank_json.h"

#include <stdio.h>

bool bank_refuse(struct exchange *ex, int status, const char *code, const char *message)
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
    return bank_refuse(ex, 400, "BAD_REQUEST", text);
}

bool bank_refuse_books(struct exchange *ex, enum books_result r)
{
    switch (r) {
    case BOOKS_OTHER_CONTENT:
        return bank_refuse(ex, 409, "ORDER_NO_USED", "number used with other content");
    case BOOKS_IS_PAID:
        return bank_refuse(ex, 409, "ORDER_PAID", "paid");
    case BOOKS_IS_CLOSED:
        return bank_refuse(ex, 409, "ORDER_CLOSED", "number is dead");
    case BOOKS_OTHER_PAYER:
        return bank_refuse(ex, 409, "ORDER_NO_USED", "number used with another code");
    case BOOKS_IS_REVOKED:
        return bank_refuse(ex, 409, "ORDER_REVERSED", "number is dead, reversed");
    case BOOKS_REFUNDED:
        return bank_refuse(ex, 409, "ORDER_REFUNDED", "money went back already");
    case BOOKS_NOT_PAID:
        return bank_refuse(ex, 409, "ORDER_NOT_PAID", "nothing to refund");
    case BOOKS_TOO_MUCH:
    case BOOKS_TOO_MANY:
        return bank_refuse(ex, 409, "REFUND_TOO_MUCH", "more than is left, or too many refunds");
    default:
        return bank_refuse(ex, 503, "SYSTEM_BUSY", "try again");
    }
}

void bank_begin_ok(struct exchange *ex, struct json_writer *w)
{
    ex->status = 200;
    json_writer_init(w, &ex->body);
    json_begin_object(w);
    json_member_str(w, "code", SLICE("OK"));
}

/* ---- reading ---- */

/* The key comes with the merchant; without one the answer cannot be signed. */
static bool find_merchant(struct exchange *ex, struct slice id)
{
    if (id.n == 0)
        return bank_refuse(ex, 400, "BAD_REQUEST", "mch_id is missing");
    ex->merchant = bank_conf_merchant(&ex->bank->conf, CHANNEL_BANK_JSON, id);
    return ex->merchant || bank_refuse(ex, 401, "BAD_SIGNATURE", "mch_id unknown");
}

static bool is_json_type(struct slice value)
{
    struct slice type = slice_trim(slice_cut(&value, ';'));

    return slice_eq_nocase(type, SLICE("application/json"));
}

bool bank_read_body(struct exchange *ex, const struct check_field *fields, const struct json **doc)
{
    struct check_error bad;
    struct json_error err;

    if (json_parse(&ex->req->arena, ex->req->body, NULL, doc, &err) < 0)
        return bank_refuse(ex, 400, "BAD_REQUEST", "body is not JSON");
    if (json_str(*doc, "order_no").p)
        ex->out_trade_no = json_str(*doc, "order_no");
    if (!find_merchant(ex, json_str(*doc, "mch_id")) || !bank_seal_check(ex))
        return false;
    if (!is_json_type(exchange_one_header(ex, "Content-Type")))
        return bank_refuse(ex, 400, "BAD_REQUEST", "Content-Type is not application/json");
    if (check_fields(*doc, fields, &bad) < 0)
        return refuse_field(ex, &bad);
    return true;
}

/* ---- faults ---- */

static void fault_answer(struct exchange *ex, enum fault_kind kind)
{
    bool of_refund = ex->api == BANK_REFUND_QUERY;

    switch (kind) {
    case FAULT_TOO_FREQUENT:
        bank_refuse(ex, 429, "TOO_FREQUENT", "ask later");
        break;
    case FAULT_NOT_FOUND:
        bank_refuse(ex, 404, of_refund ? "REFUND_NOT_FOUND" : "ORDER_NOT_FOUND", "not found");
        break;
    case FAULT_ERROR_500: /* not on the sheet: some box in front of the bank broke */
        bank_refuse(ex, 500, "INTERNAL", "internal error");
        break;
    default:
        bank_refuse(ex, 503, "SYSTEM_BUSY", "busy");
        break;
    }
}

static void code_answer(struct exchange *ex, const char *code, int status)
{
    static const struct {
        const char *code;
        int status;
    } table[] = {
        {"BAD_REQUEST", 400},       {"AUTH_CODE_INVALID", 400}, {"BAD_SIGNATURE", 401},
        {"MERCHANT_DISABLED", 403}, {"NOT_ENOUGH", 403},        {"ORDER_NOT_FOUND", 404},
        {"REFUND_NOT_FOUND", 404},  {"BILL_NOT_FOUND", 404},    {"TOO_FREQUENT", 429},
        {"SYSTEM_BUSY", 503},
    };
    size_t i = 0;

    while (i < sizeof(table) / sizeof(table[0]) && strcmp(code, table[i].code) != 0)
        i++;
    if (!status)
        status = i < sizeof(table) / sizeof(table[0]) ? table[i].status : 409;
    bank_refuse(ex, status, code, "as was asked for");
}

const struct protocol bank_json_protocol = {
    .content_type = "application/json",
    .fault_answer = fault_answer,
    .code_answer = code_answer,
    .finish = bank_sign_answer,
    .notice = bank_notice,
    .taken = bank_taken,
};

/* ---- the door ---- */

static const struct route {
    const char *method, *folder, *tail;
    enum bank_api api;
    size_t min, max; /* of the item; 0: there is none */
    bank_api_fn *handle;
} routes[] = {
    {"POST", "/bank/v1/orders", "", BANK_NATIVE, 0, 0, bank_native},
    {"POST", "/bank/v1/payments", "", BANK_BARCODE, 0, 0, bank_barcode},
    {"GET", "/bank/v1/orders/", "", BANK_QUERY, 6, 32, bank_query},
    {"POST", "/bank/v1/orders/", "/close", BANK_CLOSE, 6, 32, bank_close},
    {"POST", "/bank/v1/orders/", "/reverse", BANK_REVERSE, 6, 32, bank_reverse},
    {"POST", "/bank/v1/refunds", "", BANK_REFUND, 0, 0, bank_refund},
    {"GET", "/bank/v1/refunds/", "", BANK_REFUND_QUERY, 6, 32, bank_refund_query},
    {"GET", "/bank/v1/bills/", "", BANK_BILL, 8, 8, bank_bill},
};

static bool fits(const struct route *r, struct slice path, struct slice *item)
{
    struct slice folder = slice_of(r->folder), tail = slice_of(r->tail);

    *item = SLICE_NULL;
    if (r->max == 0)
        return slice_eq(path, folder);
    if (!slice_starts(path, folder) || path.n < folder.n + r->min + tail.n ||
        path.n > folder.n + r->max + tail.n ||
        memcmp(path.p + path.n - tail.n, tail.p, tail.n) != 0)
        return false;
    *item = slice_n(path.p + folder.n, path.n - folder.n - tail.n);
    return check_charset(*item, BANK_NO_ALSO);
}

static const struct route *find_route(const struct http_req *req, struct slice path,
                                      struct slice *item)
{
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        if (slice_is(req->method, routes[i].method) && fits(&routes[i], path, item))
            return &routes[i];
    return NULL;
}

/* A GET names its merchant in the only parameter of its query. */
static bool read_query(struct exchange *ex, struct slice query)
{
    struct slice name = slice_cut(&query, '=');

    if (!slice_is(name, "mch_id"))
        return bank_refuse(ex, 400, "BAD_REQUEST", "the only parameter is mch_id");
    return find_merchant(ex, query) && bank_seal_check(ex);
}

void bank_json_handle(struct bank *bank, struct http_req *req)
{
    struct exchange *ex = exchange_new(bank, req, CHANNEL_BANK_JSON);
    struct slice query, item;
    struct slice path = target_path(req->target, &query);
    const struct route *r;
    bool good;

    if (!ex)
        return;
    r = find_route(req, path, &item);
    if (!r) {
        bank_refuse(ex, 400, "BAD_REQUEST", "no such path or method");
        exchange_send(ex);
        return;
    }
    ex->api = r->api;
    if (r->max == 32 && r->api != BANK_REFUND_QUERY)
        ex->out_trade_no = item;
    good = !slice_is(req->method, "GET") || read_query(ex, query);
    if (good)
        r->handle(ex, item);
    else
        exchange_send(ex);
}
