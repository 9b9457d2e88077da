#include "view.h"

#include "core/ids.h"
#include "core/json.h"

#include <stdio.h>

#define VIEW_MAX (32u << 10)

static void member_time(struct json_writer *w, const char *key, pay_time_t t)
{
    char text[RFC3339_LEN + 1];

    if (t == 0)
        return;
    time_format_rfc3339(text, t);
    json_member_str(w, key, slice_of(text));
}

static void write_payment(struct json_writer *w, const struct payment *p,
                          const struct channel_present *present)
{
    char id[ID_TEXT_LEN + 1];

    id_format(id, 'P', p->id);
    json_begin_object(w);
    json_member_str(w, "id", slice_of(id));
    json_member_str(w, "out_trade_no", p->out_trade_no);
    json_member_str(w, "mchid", p->mchid);
    json_member_str(w, "state", slice_of(payment_shown_state(p)));
    json_member_str(w, "method", slice_of(payment_method_name(p->method)));
    json_member_str(w, "channel", p->channel);
    json_key(w, "amount");
    json_begin_object(w);
    json_member_int64(w, "total", p->amount);
    json_member_str(w, "currency", p->currency);
    json_end_object(w);
    json_member_str(w, "description", p->description);
    json_member_str_opt(w, "attach", p->attach);
    /* a code that can no longer be paid is not shown */
    if (!payment_state_final(p->state) && p->method == METHOD_NATIVE)
        json_member_str_opt(w, "code_url", p->code_url);
    json_member_str_opt(w, "h5_url", present->h5_url);
    json_member_str_opt(w, "pay_params", present->pay_params);
    member_time(w, "created_at", p->created_at);
    member_time(w, "time_expire", p->time_expire);
    member_time(w, "succeeded_at", p->state == PAYMENT_SUCCEEDED ? p->succeeded_at : 0);
    json_member_str_opt(w, "channel_trade_no", p->channel_trade_no);
    if (p->reversal != REVERSAL_NONE)
        json_member_str(w, "reversal", slice_of(reversal_state_name(p->reversal)));
    if (p->state == PAYMENT_FAILED || p->state == PAYMENT_CLOSED)
        json_member_str_opt(w, "fail_code", p->fail_code);
    json_key(w, "refunded");
    json_begin_object(w);
    json_member_int64(w, "total", p->refunded);
    json_end_object(w);
    json_end_object(w);
}

static void write_refund(struct json_writer *w, const struct payment *p, const struct refund *r)
{
    char id[ID_TEXT_LEN + 1], payment[ID_TEXT_LEN + 1];

    id_format(id, 'R', r->id);
    id_format(payment, 'P', p->id);
    json_begin_object(w);
    json_member_str(w, "id", slice_of(id));
    json_member_str(w, "out_refund_no", r->out_refund_no);
    json_member_str(w, "payment_id", slice_of(payment));
    json_member_str(w, "out_trade_no", p->out_trade_no);
    json_member_str(w, "mchid", p->mchid);
    json_member_str(w, "state", slice_of(refund_state_name(r->state)));
    json_member_str(w, "channel", r->command_seq ? r->channel : p->channel);
    json_key(w, "amount");
    json_begin_object(w);
    json_member_int64(w, "refund", r->amount);
    json_member_int64(w, "total", p->amount);
    json_member_str(w, "currency", p->currency);
    json_end_object(w);
    json_member_str_opt(w, "reason", r->reason);
    member_time(w, "created_at", r->created_at);
    member_time(w, "succeeded_at", r->succeeded_at);
    json_member_str_opt(w, "channel_refund_no", r->channel_refund_no);
    json_member_str_opt(w, "fail_code", r->fail_code);
    json_end_object(w);
}

static struct slice take(struct arena *a, struct buf *b)
{
    struct slice out = buf_ok(b) ? arena_copy(a, buf_slice(b)) : SLICE_NULL;

    buf_release(b);
    return out;
}

struct slice view_payment(struct arena *a, const struct payment *p,
                          const struct channel_present *present)
{
    struct json_writer w;
    struct buf b;

    buf_init(&b, VIEW_MAX);
    json_writer_init(&w, &b);
    write_payment(&w, p, present);
    return take(a, &b);
}

struct slice view_refund(struct arena *a, const struct payment *p, const struct refund *r)
{
    struct json_writer w;
    struct buf b;

    buf_init(&b, VIEW_MAX);
    json_writer_init(&w, &b);
    write_refund(&w, p, r);
    return take(a, &b);
}

/* Up to the resource, which the caller writes. sequence: the payment's version, which rises with
 * each of its steps and those of its refunds. */
static void begin_callback(struct json_writer *w, int64_t callback_id, const char *resource,
                           const char *state, uint32_t sequence, pay_time_t now)
{
    char id[ID_TEXT_LEN + 1], type[32];

    id_format(id, 'E', callback_id);
    snprintf(type, sizeof(type), "%s.%s", resource, state);
    json_begin_object(w);
    json_member_str(w, "id", slice_of(id));
    json_member_str(w, "event_type", slice_of(type));
    member_time(w, "create_time", now);
    json_member_int64(w, "sequence", sequence);
    json_member_str(w, "resource_type", slice_of(resource));
    json_key(w, "resource");
}

struct slice view_callback(struct arena *a, int64_t callback_id, const struct payment *p,
                           pay_time_t now)
{
    const struct channel_present nothing = {0}; /* it is final */
    struct json_writer w;
    struct buf b;

    buf_init(&b, VIEW_MAX);
    json_writer_init(&w, &b);
    begin_callback(&w, callback_id, "payment", payment_shown_state(p), p->version, now);
    write_payment(&w, p, &nothing);
    json_end_object(&w);
    return take(a, &b);
}

struct slice view_refund_callback(struct arena *a, int64_t callback_id, const struct payment *p,
                                  const struct refund *r, pay_time_t now)
{
    struct json_writer w;
    struct buf b;

    buf_init(&b, VIEW_MAX);
    json_writer_init(&w, &b);
    begin_callback(&w, callback_id, "refund", refund_state_name(r->state), p->version, now);
    write_refund(&w, p, r);
    json_end_object(&w);
    return take(a, &b);
}
