#include "payer.h"

#include "backends/paybank/notify.h"
#include <stdio.h>
#include <stdlib.h>

static const char *const code_heads[CHANNEL_COUNT] = {
    [CHANNEL_WECHAT_V2] = "weixin://wxpay/bizpayurl?pr=",
    [CHANNEL_WECHAT_V3] = "weixin://wxpay/bizpayurl?pr=",
    [CHANNEL_ALIPAY] = "https://qr.alipay.com/",
    [CHANNEL_UNIONPAY] = "https://qr.95516.com/00010000/",
    [CHANNEL_BANK_JSON] = "bank://pay?o=",
};

/* A payer who types the password by himself after a while. */
struct typing {
    struct typing *prev, *next;
    struct bank *bank;
    struct order *order;
    struct loop_timer *timer;
};

void payer_code_url(const struct order *o, char out[CODE_URL_MAX])
{
    char code[ORDER_CODE_LEN + 1];

    order_code(o, code);
    snprintf(out, CODE_URL_MAX, "%s%s", code_heads[o->merchant->channel], code);
}

void payer_prepay_id(const struct order *o, char out[PREPAY_ID_MAX])
{
    char code[ORDER_CODE_LEN + 1], day[9];

    order_code(o, code);
    time_format_day(day, o->created_at);
    snprintf(out, PREPAY_ID_MAX, "wx%sPB%s", day, code);
}

/* The code is the tail of both; what stands in front must be this order's, too. */
struct order *payer_scan(struct bank *bank, struct slice code)
{
    char code_url[CODE_URL_MAX], prepay_id[PREPAY_ID_MAX];
    struct order *o;

    if (code.n < ORDER_CODE_LEN)
        return NULL;
    o = books_by_code(bank->books, slice_n(code.p + code.n - ORDER_CODE_LEN, ORDER_CODE_LEN));
    if (!o)
        return NULL;
    payer_code_url(o, code_url);
    payer_prepay_id(o, prepay_id);
    return slice_is(code, code_url) || slice_is(code, prepay_id) ? o : NULL;
}

static enum books_result refuse(struct bank *bank, struct order *o, pay_time_t now)
{
    bool fails = o->merchant->channel == CHANNEL_BANK_JSON || o->state == ORDER_USERPAYING;

    return fails ? books_refuse(bank->books, o, now) : BOOKS_BROKEN;
}

enum books_result payer_acts(struct bank *bank, struct order *o, enum payer_act act)
{
    pay_time_t now = bank_now(bank);
    enum books_result r;

    order_settle(o, now);
    if (act == PAYER_REFUSES)
        return refuse(bank, o, now);
    if (act == PAYER_LOOKS)
        return books_scan(bank->books, o, now) < 0 ? BOOKS_BROKEN : BOOKS_DONE;
    r = books_pay(bank->books, o, now);
    if (r == BOOKS_DONE)
        notify_paid(bank->notifier, o);
    return r;
}

/* ---- barcodes ---- */

static void forget(struct typing *t)
{
    if (t->prev)
        t->prev->next = t->next;
    else
        t->bank->typing = t->next;
    if (t->next)
        t->next->prev = t->prev;
    loop_timer_free(t->timer);
    free(t);
}

static void on_typed(void *arg)
{
    struct typing *t = arg;

    if (t->order->state == ORDER_USERPAYING)
        payer_acts(t->bank, t->order, PAYER_PAYS);
    forget(t);
}

static void type_later(struct bank *bank, struct order *o, int64_t delay_us)
{
    struct typing *t = calloc(1, sizeof(*t));

    if (!t)
        return; /* a payer who forgot his password */
    t->bank = bank;
    t->order = o;
    t->next = bank->typing;
    if (t->next)
        t->next->prev = t;
    bank->typing = t;
    t->timer = loop_timer_new(bank->loop, on_typed, t);
    if (t->timer)
        loop_timer_set(t->timer, delay_us);
    else
        forget(t);
}

void payer_forget_all(struct bank *bank)
{
    while (bank->typing)
        forget(bank->typing);
}

enum books_result payer_charge(struct bank *bank, struct order *o, const struct fault_draw *fault,
                               pay_time_t now)
{
    bool asks = fault->kind == FAULT_USER_PAYING || o->amount > bank->conf.password_above;
    enum books_result r;

    if (order_settle(o, now) == ORDER_USERPAYING) /* asked before */
        return BOOKS_IS_PAYING;
    if (asks) {
        r = books_await(bank->books, o, now);
        if (r != BOOKS_DONE)
            return r;
        if (fault->kind == FAULT_USER_PAYING && fault->delay_us > 0)
            type_later(bank, o, fault->delay_us);
        return BOOKS_IS_PAYING;
    }
    r = books_pay(bank->books, o, now);
    if (r == BOOKS_DONE)
        notify_paid(bank->notifier, o);
    return r;
}

int payer_barcode_use(struct bank *bank, enum bank_channel channel, struct slice code)
{
    return nonces_use(bank->nonces, slice_of(bank_channel_name(channel)), code, clock_read_wall());
}

uint64_t payer_barcode_hash(struct slice code)
{
    return slice_hash(code) >> 1; /* fits the journal's int64 */
}

bool payer_barcode_valid(struct slice code, size_t min, size_t max, int low, int high)
{
    int head;

    if (code.n < min || code.n > max)
        return false;
    for (size_t i = 0; i < code.n; i++)
        if (code.p[i] < '0' || code.p[i] > '9')
            return false;
    head = (code.p[0] - '0') * 10 + code.p[1] - '0';
    return head >= low && head <= high;
}
