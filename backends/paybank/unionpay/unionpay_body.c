#include "backends/paybank/wire/digest.h"
#include "unionpay.h"
#include <stdlib.h>

#define TEXT_CAP (1 << 20)

struct slice up_get(const struct up *u, const char *name)
{
    struct slice s = form_get(&u->in, name);

    return s.n ? s : SLICE_NULL;
}

/* ---- signatures ---- */

/* The text is hashed to hex, and the hex is what is signed. */
static int hex_of(const struct form *f, char out[DIGEST_HEX_MAX])
{
    static const char *const but[] = {"signature", NULL};
    struct buf text;
    int rc;

    buf_init(&text, TEXT_CAP);
    form_signed_text(f, but, &text);
    rc = buf_ok(&text) ? sha256_hex(buf_slice(&text), out) : -1;
    buf_release(&text);
    return rc;
}

int up_verify(const struct form *in, const struct merchant *m)
{
    char hex[DIGEST_HEX_MAX];
    struct slice text;
    struct buf raw;
    int rc = -1;

    if (!slice_is(form_get(in, "certId"), m->merchant_serial) || hex_of(in, hex) < 0)
        return -1;
    buf_init(&raw, 2048);
    text = slice_of(hex);
    if (base64_decode(&raw, form_get(in, "signature")) == 0)
        rc = pkey_verify_sha256(m->merchant_key, &text, 1, buf_slice(&raw));
    buf_release(&raw);
    return rc;
}

static int add_signature(struct form *f, const struct merchant *m, enum sign_how how)
{
    uint8_t sig[1024];
    size_t n = sizeof(sig);
    char hex[DIGEST_HEX_MAX];
    struct slice text;
    struct buf out;

    if (how == SIGN_NOT)
        return 0;
    form_add(f, "signPubKeyCert", m->platform_cert);
    if (hex_of(f, hex) < 0)
        return -1;
    if (how == SIGN_WRONG)
        hex[0] = hex[0] == '0' ? '1' : '0';
    text = slice_of(hex);
    if (pkey_sign_sha256(m->platform_key, &text, 1, sig, &n) < 0)
        return -1;
    buf_init(&out, 2048);
    base64_encode(&out, slice_n(sig, n));
    form_add(f, "signature", buf_slice(&out));
    buf_release(&out);
    return 0;
}

/* ---- answers ---- */

static void put_message(struct form *f, const char *code, const char *message, int status)
{
    form_add_str(f, "respCode", code);
    form_add(f, "respMsg", arena_printf(f->arena, "%s[%07d]", message, status));
}

bool up_answer(struct up *u, const char *code, const char *message)
{
    static const char *const echoed[] = {
        "version", "encoding", "signMethod", "txnType", "txnSubType",   "bizType",    "accessType",
        "merId",   "orderId",  "txnTime",    "txnAmt",  "currencyCode", "reqReserved"};
    bool good = strcmp(code, "00") == 0;

    u->out.n = 0;
    for (size_t i = 0; i < sizeof(echoed) / sizeof(echoed[0]); i++)
        form_add_opt(&u->out, echoed[i], up_get(u, echoed[i]));
    put_message(&u->out, code, message, good ? 0 : 6100000);
    return good;
}

void up_put_settled(struct form *f, const char *query_id, uint32_t seq, int64_t amount,
                    pay_time_t at)
{
    char wall[TIME_WALL_LEN + 1];

    time_format_wall(wall, at, false);
    form_add_str(f, "queryId", query_id);
    form_add_int64(f, "settleAmt", amount);
    form_add_str(f, "settleCurrencyCode", "156");
    form_add(f, "settleDate", slice_n(wall + 4, 4));
    form_add(f, "traceNo", arena_printf(f->arena, "%06u", seq % 1000000));
    form_add(f, "traceTime", slice_n(wall + 4, 10));
    form_add_str(f, "accNo", "6216***********0018");
    form_add_str(f, "payCardType", "01");
}

const char *up_order_code(const struct order *o)
{
    static const char *const codes[ORDER_STATE_COUNT] = {
        [ORDER_NOTPAY] = "05", [ORDER_USERPAYING] = "05", [ORDER_SUCCESS] = "00",
        [ORDER_CLOSED] = "39", [ORDER_FAILED] = "65",     [ORDER_REVOKED] = "01",
    };

    return codes[o->state];
}

const char *up_refund_code(const struct refund *r)
{
    static const char *const codes[REFUND_STATE_COUNT] = {
        [REFUND_PROCESSING] = "05",
        [REFUND_DONE] = "00",
        [REFUND_CLOSED] = "01",
        [REFUND_ABNORMAL] = "63",
    };

    return codes[r->state];
}

void up_fault_answer(struct exchange *ex, enum fault_kind kind)
{
    struct up *u = ex->answer;

    switch (kind) {
    case FAULT_TOO_FREQUENT:
        up_answer(u, "37", "查询次数过多");
        break;
    case FAULT_NOT_FOUND:
        up_answer(u, "34", "查无此交易");
        break;
    default: /* the protocol knows no status: some box in front of it broke */
        ex->status = kind == FAULT_ERROR_500 ? 500 : 503;
        ex->bare = true;
        ex->content_type = "text/html";
        buf_add_str(&ex->body, "<html><body>Service unavailable</body></html>");
        break;
    }
}

void up_code_answer(struct exchange *ex, const char *code, int status)
{
    if (status)
        ex->status = status;
    up_answer(ex->answer, code, "应要求");
}

static int by_name(const void *a, const void *b)
{
    const struct form_field *x = a, *y = b;
    size_t n = x->name.n < y->name.n ? x->name.n : y->name.n;
    int d = memcmp(x->name.p, y->name.p, n);

    return d ? d : (x->name.n > y->name.n) - (x->name.n < y->name.n);
}

/* Pairs as they are: nothing is encoded. */
void up_finish(struct exchange *ex, enum sign_how how)
{
    struct up *u = ex->answer;

    if (ex->merchant && how != SIGN_NOT) {
        form_add_str(&u->out, "certId", ex->merchant->platform_cert_id);
        if (add_signature(&u->out, ex->merchant, how) < 0)
            u->out.arena->failed = true;
    }
    qsort(u->out.v, u->out.n, sizeof(*u->out.v), by_name);
    for (size_t i = 0; i < u->out.n; i++) {
        if (i)
            buf_add_char(&ex->body, '&');
        buf_add_slice(&ex->body, u->out.v[i].name);
        buf_add_char(&ex->body, '=');
        buf_add_slice(&ex->body, u->out.v[i].value);
    }
    if (u->out.arena->failed)
        ex->body.failed = true;
}

/* ---- notification ---- */

static void put_transaction(struct form *f, const struct event *ev, int64_t amount)
{
    const struct order *o = ev->order;
    const struct refund *r = ev->refund;

    form_add_str(f, "version", "5.1.0");
    form_add_str(f, "encoding", "UTF-8");
    form_add_str(f, "certId", o->merchant->platform_cert_id);
    form_add_str(f, "signMethod", "01");
    form_add_str(f, "txnType", r ? (r->undo ? "31" : "04") : "01");
    form_add_str(f, "txnSubType", r ? "00" : o->method == METHOD_BARCODE ? "06" : "07");
    form_add_str(f, "bizType", "000000");
    form_add_str(f, "accessType", "0");
    form_add(f, "merId", o->merchant->id);
    form_add(f, "orderId", r ? refund_no(r) : order_no(o));
    form_add_str(f, "txnTime", r ? r->stamp : o->stamp);
    form_add_int64(f, "txnAmt", amount);
    form_add_str(f, "currencyCode", "156");
    form_add_opt(f, "reqReserved", r ? SLICE_NULL : order_attach(o));
}

int up_notice(struct bank *bank, const struct event *ev, enum fault_kind fault, enum sign_how how,
              struct arena *a, struct notice *out)
{
    struct refund *r = ev->refund;
    int64_t amount = (r ? r->amount : ev->order->amount) + (fault == FAULT_WRONG_AMOUNT);
    char id[TRANSACTION_ID_MAX];
    const char *code = "00";
    struct buf body;
    struct form f;
    int rc;

    if (form_init(&f, a) < 0)
        return -1;
    if (r) {
        refund_settle(r, bank_now(bank));
        code = up_refund_code(r);
        refund_id(r, id);
    } else {
        order_transaction_id(ev->order, id);
    }
    if (fault == FAULT_CONTRADICTORY)
        code = "01";
    put_transaction(&f, ev, amount);
    put_message(&f, code, strcmp(code, "00") == 0 ? "成功" : "失败", 0);
    up_put_settled(&f, id, r ? r->seq : ev->order->seq, amount, r ? r->due_at : ev->order->paid_at);
    rc = add_signature(&f, ev->order->merchant, how);
    buf_init(&body, TEXT_CAP);
    form_encode(&f, &body);
    out->headers[0] = (struct http_header){
        SLICE("Content-Type"), SLICE("application/x-www-form-urlencoded; charset=utf-8")};
    out->nheaders = 1;
    out->body = arena_copy(a, buf_slice(&body));
    if (!buf_ok(&body))
        rc = -1;
    buf_release(&body);
    return rc;
}

bool up_taken(int status, struct slice body)
{
    (void)body;
    return status == 200 || status == 302;
}
