/*
 * The door of UnionPay: form, merchant, certId and signature, fields, then what txnType and
 * txnSubType ask for at this address.
 */
#include "unionpay.h"

#include "backends/paybank/wire/check.h"

#define TIME_WINDOW_US (15 * 60 * USEC_PER_SEC)
#define AMOUNT_DIGITS  12

const struct protocol unionpay_protocol = {
    .content_type = "text/html;charset=UTF-8",
    .fault_answer = up_fault_answer,
    .code_answer = up_code_answer,
    .finish = up_finish,
    .notice = up_notice,
    .taken = up_taken,
};

#define AMOUNT   1u
#define BACK_URL 2u
#define QR_NO    4u
#define ORIG     8u
#define MOBILE   16u /* channelType 08 */

static const struct route {
    const char *path, *type, *subtype, *biz;
    enum bank_api api;
    unsigned must;
    up_api *handle;
} routes[] = {
    {"/gateway/api/backTransReq.do", "01", "06", "000000", BANK_BARCODE,
     AMOUNT | BACK_URL | QR_NO | MOBILE, up_barcode},
    {"/gateway/api/backTransReq.do", "01", "07", "000000", BANK_NATIVE, AMOUNT | BACK_URL | MOBILE,
     up_qr},
    {"/gateway/api/frontTransReq.do", "01", "01", "000201", BANK_H5, AMOUNT | BACK_URL, up_front},
    {"/gateway/api/appTransReq.do", "01", "01", "000201", BANK_APP, AMOUNT | BACK_URL, up_app},
    {"/gateway/api/backTransReq.do", "31", "00", NULL, BANK_REVERSE, AMOUNT | BACK_URL | ORIG,
     up_undo},
    {"/gateway/api/backTransReq.do", "04", "00", NULL, BANK_REFUND, AMOUNT | BACK_URL | ORIG,
     up_refund},
    {"/gateway/api/backTransReq.do", "99", "01", "000000", BANK_REVERSE, MOBILE, up_reversal},
    {"/gateway/api/queryTrans.do", "00", "00", NULL, BANK_QUERY, 0, up_query},
    {"/", "76", "01", "000000", BANK_BILL, 0, up_file},
};

static bool digits(struct slice s, size_t min, size_t max)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.n >= min && s.n <= max;
}

/* ---- fields ---- */

static bool check_head(struct up *u)
{
    static const char *const must[] = {"version",    "encoding", "certId",     "signMethod",
                                       "signature",  "txnType",  "txnSubType", "bizType",
                                       "accessType", "merId"};

    for (size_t i = 0; i < sizeof(must) / sizeof(must[0]); i++)
        if (!up_get(u, must[i]).p)
            return up_answer(u, "13", "报文交易要素缺失");
    if (!slice_is(up_get(u, "version"), "5.1.0") || !slice_is(up_get(u, "signMethod"), "01") ||
        !slice_eq_nocase(up_get(u, "encoding"), SLICE("UTF-8")))
        return up_answer(u, "10", "报文格式错误");
    return true;
}

static bool check_transaction(struct up *u, const struct route *r)
{
    pay_time_t at;
    struct slice no = up_get(u, "orderId");

    if (r->api == BANK_BILL)
        return digits(up_get(u, "settleDate"), 4, 4) || up_answer(u, "10", "报文格式错误");
    if (!no.p || !up_get(u, "txnTime").p)
        return up_answer(u, "13", "报文交易要素缺失");
    if (no.n < 8 || no.n > 40 || !check_charset(no, "") ||
        time_parse_wall(up_get(u, "txnTime"), false, &at) < 0)
        return up_answer(u, "10", "报文格式错误");
    u->ex->out_trade_no = no;
    return true;
}

static bool check_own(struct up *u, const struct route *r)
{
    static const struct {
        unsigned bit;
        const char *name;
        size_t min, max; /* digits; 0: any text */
    } fields[] = {
        {AMOUNT, "txnAmt", 1, AMOUNT_DIGITS},
        {BACK_URL, "backUrl", 0, 256},
        {QR_NO, "qrNo", 1, 20},
        {ORIG, "origQryId", 21, 21},
    };

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        struct slice v = up_get(u, fields[i].name);

        if (!(r->must & fields[i].bit))
            continue;
        if (!v.p)
            return up_answer(u, "13", "报文交易要素缺失");
        if (fields[i].min ? !digits(v, fields[i].min, fields[i].max) : v.n > fields[i].max)
            return up_answer(u, "10", "报文格式错误");
    }
    if ((r->must & AMOUNT) && !slice_is(up_get(u, "currencyCode"), "156"))
        return up_answer(u, "13", "报文交易要素缺失");
    if ((r->must & MOBILE) && !slice_is(up_get(u, "channelType"), "08"))
        return up_answer(u, "10", "报文格式错误");
    return true;
}

/* "reqReserved" and the like may not break the answer, which is not encoded. */
static bool check_texts(struct up *u)
{
    struct slice s = up_get(u, "reqReserved");

    for (size_t i = 0; i < s.n; i++)
        if (strchr("&={}[]", s.p[i]))
            return up_answer(u, "10", "报文格式错误");
    return s.n <= 1024 || up_answer(u, "10", "报文格式错误");
}

static const struct route *find_route(const struct up *u, struct slice path)
{
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        const struct route *r = &routes[i];

        if (slice_is(path, r->path) && slice_is(up_get(u, "txnType"), r->type) &&
            slice_is(up_get(u, "txnSubType"), r->subtype) &&
            (!r->biz || slice_is(up_get(u, "bizType"), r->biz)))
            return r;
    }
    return NULL;
}

static const struct route *read_request(struct up *u, struct slice path)
{
    struct exchange *ex = u->ex;
    const struct route *r;
    const char *reason;

    if (!slice_is(ex->req->method, "POST") || form_parse(&u->in, ex->req->body, &reason) < 0) {
        up_answer(u, "10", "报文格式错误");
        return NULL;
    }
    r = find_route(u, path);
    ex->api = r ? r->api : BANK_NONE;
    if (!check_head(u))
        return NULL;
    ex->merchant = bank_conf_merchant(&ex->bank->conf, CHANNEL_UNIONPAY, up_get(u, "merId"));
    if (!ex->merchant) {
        up_answer(u, "31", "商户状态不正确");
        return NULL;
    }
    if (up_verify(&u->in, ex->merchant) < 0) {
        up_answer(u, "11", "验证签名失败");
        return NULL;
    }
    if (!r) {
        up_answer(u, "32", "无此交易权限");
        return NULL;
    }
    return check_transaction(u, r) && check_own(u, r) && check_texts(u) ? r : NULL;
}

/* ---- what names a transaction ---- */

struct order *up_find_order(struct up *u)
{
    return books_find_stamped(u->ex->bank->books, u->ex->merchant, u->ex->out_trade_no,
                              up_get(u, "txnTime"));
}

/* A number is used once a day, whatever the time in it. */
static bool used_today(struct up *u)
{
    struct books *books = u->ex->bank->books;
    struct slice day = slice_n(up_get(u, "txnTime").p, 8);
    struct order *o = NULL;

    while ((o = books_next(books, u->ex->out_trade_no, o)))
        if (o->merchant == u->ex->merchant && slice_starts(slice_of(o->stamp), day))
            return true;
    return refunds_stamped(books, u->ex->merchant, u->ex->out_trade_no, day);
}

bool up_check_fresh(struct up *u)
{
    pay_time_t at, wall = u->ex->wall;

    if (used_today(u))
        return up_answer(u, "12", "重复交易");
    if (time_parse_wall(up_get(u, "txnTime"), false, &at) < 0 || at > wall + TIME_WINDOW_US ||
        at < wall - TIME_WINDOW_US)
        return up_answer(u, "39", "交易不在受理时间范围内");
    if (u->ex->merchant->disabled)
        return up_answer(u, "31", "商户状态不正确");
    return true;
}

void unionpay_handle(struct bank *bank, struct http_req *req)
{
    struct exchange *ex = exchange_new(bank, req, CHANNEL_UNIONPAY);
    struct slice query;
    struct slice path = target_path(req->target, &query);
    const struct route *r;
    struct up *u;

    if (!ex)
        return;
    u = arena_new(&req->arena, struct up);
    if (!u || form_init(&u->in, &req->arena) < 0 || form_init(&u->out, &req->arena) < 0) {
        http_req_abort(req);
        return;
    }
    u->ex = ex;
    ex->answer = u;
    ex->status = 200;
    r = read_request(u, path);
    if (r)
        r->handle(u);
    else
        exchange_send(ex);
}
