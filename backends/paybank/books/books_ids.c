/*
 * Numbers and codes that name an order or a refund: made of seq, so that it can be read back.
 */
#include "books_impl.h"

#include <stdio.h>

#define CODE_MASK   ((UINT64_C(1) << 48) - 1)
#define CODE_FACTOR UINT64_C(0x9E3779B97F4B)

static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* What stands in front of the day and behind it. UnionPay's refunds have numbers of the same kind
 * as its payments; the 9 keeps them apart. */
static const struct {
    const char *head, *middle, *refund_head, *refund_middle;
} id_parts[CHANNEL_COUNT] = {
    [CHANNEL_WECHAT_V2] = {"4200000002", "", "5000000002", "0"},
    [CHANNEL_WECHAT_V3] = {"4200000001", "", "5000000001", "0"},
    [CHANNEL_ALIPAY] = {"", "2200140000", "", "2200149000"},
    [CHANNEL_UNIONPAY] = {"", "000", "", "900"},
    [CHANNEL_BANK_JSON] = {"B", "", "R", ""},
};

/* A bijection of 48-bit numbers, so that neighbouring orders do not have neighbouring codes. */
void order_code(const struct order *o, char out[ORDER_CODE_LEN + 1])
{
    uint64_t v = (o->seq * CODE_FACTOR) & CODE_MASK;

    for (int i = ORDER_CODE_LEN - 1; i >= 0; i--) {
        out[i] = base62[v % 62];
        v /= 62;
    }
    out[ORDER_CODE_LEN] = '\0';
}

/* Newton's iteration: each step doubles the bits that are right. */
static uint64_t code_factor_inverse(void)
{
    uint64_t x = CODE_FACTOR;

    for (int i = 0; i < 6; i++)
        x *= 2 - CODE_FACTOR * x;
    return x & CODE_MASK;
}

struct order *books_by_code(struct books *b, struct slice code)
{
    uint64_t v = 0;
    uint64_t seq;

    if (code.n != ORDER_CODE_LEN)
        return NULL;
    for (size_t i = 0; i < code.n; i++) {
        const char *digit = code.p[i] ? strchr(base62, code.p[i]) : NULL;

        if (!digit)
            return NULL;
        v = v * 62 + (uint64_t)(digit - base62);
    }
    seq = v <= CODE_MASK ? (v * code_factor_inverse()) & CODE_MASK : 0;
    return seq <= UINT32_MAX ? books_at(b, (uint32_t)seq) : NULL;
}

void order_transaction_id(const struct order *o, char out[TRANSACTION_ID_MAX])
{
    char day[9];
    bool from_start = o->merchant->channel == CHANNEL_ALIPAY ||
                      (o->merchant->channel == CHANNEL_UNIONPAY && o->method == METHOD_BARCODE);

    out[0] = '\0';
    if (from_start ? !o->scanned : !o->paid_at)
        return;
    time_format_day(day, from_start ? o->created_at : o->paid_at);
    snprintf(out, TRANSACTION_ID_MAX, "%s%s%s%010u", id_parts[o->merchant->channel].head, day,
             id_parts[o->merchant->channel].middle, o->seq);
}

/* The last ten digits; 0 when there are none. */
static uint32_t seq_of(struct slice id)
{
    uint64_t seq = 0;

    if (id.n < 10)
        return 0;
    for (size_t i = id.n - 10; i < id.n; i++) {
        if (id.p[i] < '0' || id.p[i] > '9')
            return 0;
        seq = seq * 10 + (uint64_t)(id.p[i] - '0');
    }
    return seq <= UINT32_MAX ? (uint32_t)seq : 0;
}

struct order *books_by_transaction_id(struct books *b, const struct merchant *m, struct slice id)
{
    char whole[TRANSACTION_ID_MAX];
    struct order *o;

    o = books_at(b, seq_of(id));
    if (!o || o->merchant != m)
        return NULL;
    order_transaction_id(o, whole);
    return slice_is(id, whole) ? o : NULL;
}

void refund_id(const struct refund *r, char out[TRANSACTION_ID_MAX])
{
    enum bank_channel c = r->order->merchant->channel;
    char day[9];

    time_format_day(day, r->created_at);
    snprintf(out, TRANSACTION_ID_MAX, "%s%s%s%010u", id_parts[c].refund_head, day,
             id_parts[c].refund_middle, r->seq);
}

struct refund *refunds_by_id(struct books *b, const struct merchant *m, struct slice id)
{
    char whole[TRANSACTION_ID_MAX];
    struct refund *r;

    r = refunds_at(b, seq_of(id));
    if (!r || r->order->merchant != m)
        return NULL;
    refund_id(r, whole);
    return slice_is(id, whole) ? r : NULL;
}
