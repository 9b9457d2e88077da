/*
 * The door of Alipay's gateway: query and body merged, system parameters, signature, biz_content;
 * then the method's own file.
 */
#include "alipay.h"

const struct protocol alipay_protocol = {
    .content_type = "text/html;charset=utf-8",
    .fault_answer = alipay_fault_answer,
    .code_answer = alipay_code_answer,
    .finish = alipay_finish,
    .notice = alipay_notice,
    .taken = alipay_taken,
};

struct alipay_route {
    const char *method;
    enum bank_api api;
    alipay_api *handle;
};

static const struct alipay_route routes[] = {
    {"alipay.trade.precreate", BANK_NATIVE, alipay_precreate},
    {"alipay.trade.pay", BANK_BARCODE, alipay_pay},
    {"alipay.trade.create", BANK_JSAPI, alipay_create},
    {"alipay.trade.app.pay", BANK_APP, alipay_app},
    {"alipay.trade.wap.pay", BANK_H5, alipay_wap},
    {"alipay.trade.query", BANK_QUERY, alipay_query},
    {"alipay.trade.close", BANK_CLOSE, alipay_close},
    {"alipay.trade.cancel", BANK_REVERSE, alipay_cancel},
    {"alipay.trade.refund", BANK_REFUND, alipay_refund},
    {"alipay.trade.fastpay.refund.query", BANK_REFUND_QUERY, alipay_refund_query},
    {"alipay.data.dataservice.bill.downloadurl.query", BANK_BILL, alipay_bill},
};

static bool missing(struct alipay *al, const char *sub_code)
{
    return alipay_refuse(al, "40001", "Missing Required Arguments", sub_code, "缺少必选参数");
}

static bool invalid(struct alipay *al, const char *sub_code, const char *sub_msg)
{
    return alipay_refuse(al, "40002", "Invalid Arguments", sub_code, sub_msg);
}

static bool read_forms(struct alipay *al, struct slice query)
{
    struct http_req *req = al->ex->req;
    struct slice type = http_req_header(req, "Content-Type");
    const char *reason;

    if (form_parse(&al->in, query, &reason) < 0)
        return invalid(al, "isv.invalid-parameter", reason);
    if (slice_is(req->method, "GET"))
        return true;
    type = slice_trim(slice_cut(&type, ';'));
    if (!slice_eq_nocase(type, SLICE("application/x-www-form-urlencoded")))
        return invalid(al, "isv.invalid-parameter", "Content-Type");
    return form_parse(&al->in, req->body, &reason) == 0 ||
           invalid(al, "isv.invalid-parameter", reason);
}

static const struct alipay_route *find_route(struct slice method)
{
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        if (slice_is(method, routes[i].method))
            return &routes[i];
    return NULL;
}

static bool check_system(struct alipay *al)
{
    static const struct {
        const char *name, *missing, *value, *invalid;
    } must[] = {
        {"charset", "isv.missing-charset", "utf-8", "isv.invalid-charset"},
        {"sign_type", "isv.missing-signature-type", "RSA2", "isv.invalid-signature-type"},
        {"version", "isv.missing-version", "1.0", "isv.invalid-version"},
        {"sign", "isv.missing-signature", NULL, NULL},
        {"timestamp", "isv.missing-timestamp", NULL, NULL},
        {"biz_content", "isv.missing-biz-content", NULL, NULL},
    };
    struct slice format = form_get(&al->in, "format");
    pay_time_t at;

    for (size_t i = 0; i < sizeof(must) / sizeof(must[0]); i++) {
        struct slice v = form_get(&al->in, must[i].name);

        if (v.n == 0)
            return missing(al, must[i].missing);
        if (must[i].value && !slice_eq_nocase(v, slice_of(must[i].value)))
            return invalid(al, must[i].invalid, "无效的参数");
    }
    if (format.p && !slice_eq_nocase(format, SLICE("JSON")))
        return invalid(al, "isv.invalid-format", "无效的数据格式");
    if (time_parse_wall(form_get(&al->in, "timestamp"), true, &at) < 0)
        return invalid(al, "isv.invalid-timestamp", "非法的时间戳参数");
    return true;
}

static bool read_request(struct alipay *al, struct slice query)
{
    struct exchange *ex = al->ex;
    struct slice app_id;
    struct json_error err;

    if (!read_forms(al, query))
        return false;
    if (form_get(&al->in, "method").n == 0)
        return missing(al, "isv.missing-method");
    al->route = find_route(form_get(&al->in, "method"));
    if (!al->route)
        return invalid(al, "isv.invalid-method", "不存在的方法名");
    ex->api = al->route->api;
    app_id = form_get(&al->in, "app_id");
    if (app_id.n == 0)
        return missing(al, "isv.missing-app-id");
    ex->merchant = bank_conf_merchant(&ex->bank->conf, CHANNEL_ALIPAY, app_id);
    if (!ex->merchant)
        return invalid(al, "isv.invalid-app-id", "无效的AppID参数");
    if (!check_system(al))
        return false;
    if (alipay_verify(&al->in, ex->merchant) < 0)
        return invalid(al, "isv.invalid-signature", "验签出错");
    if (json_parse(&ex->req->arena, form_get(&al->in, "biz_content"), NULL, &al->biz, &err) < 0 ||
        al->biz->type != JSON_OBJECT)
        return invalid(al, "isv.invalid-parameter", "biz_content");
    ex->out_trade_no = alipay_get(al, "out_trade_no");
    return true;
}

bool alipay_find_order(struct alipay *al, struct order **o)
{
    struct books *books = al->ex->bank->books;
    struct slice id = alipay_get(al, "trade_no");

    if (!id.p && !al->ex->out_trade_no.p)
        return alipay_fail(al, "ACQ.INVALID_PARAMETER", "out_trade_no和trade_no不能同时为空");
    if (!id.p) {
        *o = books_find(books, al->ex->merchant, al->ex->out_trade_no);
        return true;
    }
    *o = books_by_transaction_id(books, al->ex->merchant, id);
    if (*o)
        al->ex->out_trade_no = order_no(*o);
    return true;
}

void alipay_handle(struct bank *bank, struct http_req *req)
{
    struct exchange *ex = exchange_new(bank, req, CHANNEL_ALIPAY);
    struct slice query;
    struct slice path = target_path(req->target, &query);
    struct alipay *al;

    if (!ex)
        return;
    al = arena_new(&req->arena, struct alipay);
    if (!al || form_init(&al->in, &req->arena) < 0) {
        http_req_abort(req);
        return;
    }
    al->ex = ex;
    ex->answer = al;
    if (slice_is(path, "/alipay/bill")) {
        ex->api = BANK_BILL;
        alipay_bill_file(ex, query);
    } else if (read_request(al, query)) {
        al->route->handle(al);
    } else {
        exchange_send(ex);
    }
}
