#include "relay_entry.h"

#include "core/ids.h"

struct out {
    struct arena *a;
    struct slice *args;
    size_t n;
};

static void add(struct out *o, const char *name, struct slice value)
{
    if (value.n == 0)
        return;
    o->args[o->n++] = slice_of(name);
    o->args[o->n++] = value;
}

static void add_id(struct out *o, const char *name, char kind, int64_t id)
{
    char text[ID_TEXT_LEN + 1];

    id_format(text, kind, id);
    add(o, name, arena_copy(o->a, slice_of(text)));
}

static void add_number(struct out *o, const char *name, int64_t v)
{
    add(o, name, arena_int64(o->a, v));
}

static void add_head(struct out *o, const struct relay_event *e)
{
    bool refund = e->refund_id != 0;
    const char *state = refund ? refund_state_name((enum refund_state)e->state)
                               : payment_state_name((enum payment_state)e->state);
    char at[RFC3339_LEN + 1];

    time_format_rfc3339(at, e->at);
    add(o, "event_type", arena_printf(o->a, "%s.%s", refund ? "refund" : "payment", state));
    add(o, "create_time", arena_copy(o->a, slice_of(at)));
    add_id(o, "payment_id", 'P', e->payment_id);
    add_number(o, "sequence", e->version);
}

size_t relay_entry(struct arena *a, const struct relay_event *e, struct slice *args)
{
    struct out o = {.a = a, .args = args, .n = 1};

    add_head(&o, e);
    add(&o, "mchid", e->mchid);
    add(&o, "app_id", e->app_id);
    add(&o, "out_trade_no", e->out_trade_no);
    add(&o, "method", slice_of(payment_method_name((enum payment_method)e->method)));
    add(&o, "channel", e->channel);
    add_number(&o, "amount", e->amount);
    add(&o, "currency", e->currency);
    if (e->refund_id) {
        add_id(&o, "refund_id", 'R', e->refund_id);
        add(&o, "out_refund_no", e->out_refund_no);
        add_number(&o, "refund_amount", e->refund);
    }
    add(&o, "channel_trade_no", e->channel_trade_no);
    add(&o, "scene", e->scene);
    add(&o, "product", e->product);
    add(&o, "store_id", e->store_id);
    add(&o, "cause", e->input);
    add(&o, "code", e->code);
    add(&o, "trace_id", e->trace_id);
    args[0] = arena_printf(a, "%zu", o.n - 1);
    return a->failed ? 0 : o.n;
}
