#include "payer.h"

#include "notify.h"
#include <stdio.h>

static const char *const code_heads[CHANNEL_COUNT] = {"weixin://wxpay/bizpayurl?pr=",
                                                      "bank://pay?o="};

void payer_code_url(const struct order *o, char out[CODE_URL_MAX])
{
    char code[ORDER_CODE_LEN + 1];

    order_code(o, code);
    snprintf(out, CODE_URL_MAX, "%s%s", code_heads[o->merchant->channel], code);
}

struct order *payer_scan(struct bank *bank, struct slice code_url)
{
    for (int c = 0; c < CHANNEL_COUNT; c++) {
        struct slice head = slice_of(code_heads[c]);
        struct order *o;

        if (!slice_starts(code_url, head))
            continue;
        o = books_by_code(bank->books, slice_n(code_url.p + head.n, code_url.n - head.n));
        return o && o->merchant->channel == (enum bank_channel)c ? o : NULL;
    }
    return NULL;
}

enum books_result payer_pay(struct bank *bank, struct order *o, bool refuse)
{
    pay_time_t now = clock_read_wall();
    enum books_result r;

    if (refuse)
        return o->merchant->channel == CHANNEL_BANK_JSON ? books_refuse(bank->books, o, now)
                                                         : BOOKS_BROKEN;
    r = books_pay(bank->books, o, now);
    if (r == BOOKS_DONE)
        notify_paid(bank->notifier, o);
    return r;
}
