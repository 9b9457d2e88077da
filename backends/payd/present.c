#include "present.h"

#include "accounts.h"
#include "backends/io/log.h"

#define NONCE_LEN 32

void present_order(struct arena *a, const struct payment *p, uint32_t seq, struct channel_order *o)
{
    char no[REQUEST_NO_LEN + 1];

    request_no_format(no, p->id, seq);
    *o = (struct channel_order){.request_no = arena_copy(a, slice_of(no)),
                                .channel_trade_no = p->channel_trade_no,
                                .method = p->method,
                                .amount = p->amount,
                                .currency = p->currency,
                                .description = p->description,
                                .attach = p->attach,
                                .store_id = p->store_id,
                                .prepay = p->code_url,
                                .created_at = p->created_at,
                                .time_expire = p->time_expire};
    payer_read(a, p->payer, o);
}

void present_payment(const struct worker *w, struct arena *a, const struct payment *p,
                     struct channel_present *out)
{
    const struct channel *c = channel_find(w->channels, p->channel);
    const struct channel_account *acc = accounts_get(w->accounts, p->channel, p->account);
    struct channel_order order;
    const char *reason;
    char nonce[NONCE_LEN];

    *out = (struct channel_present){0};
    if (p->state != PAYMENT_PENDING || p->method == METHOD_NATIVE || payment_is_charge(p) || !c ||
        !acc)
        return;
    present_order(a, p, p->command_seq, &order);
    random_token(nonce, sizeof(nonce));
    if (channel_present(c, acc, &order, worker_now(w), slice_n(nonce, sizeof(nonce)), a, out,
                        &reason) != 0) {
        log_event(LOG_ERROR, "present_failed", LOG_S("channel", p->channel),
                  LOG_S("reason", slice_of(reason)), LOG_S("trace", p->trace_id));
        *out = (struct channel_present){0};
    }
    if (p->method == METHOD_H5 && !out->h5_url.n && !out->pay_params.n)
        out->h5_url = p->code_url;
}
