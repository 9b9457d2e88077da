#include "case_refunds.h"

#include "backends/io/log.h"
#include "backends/store/cases.h"
#include "flow.h"
#include "flows.h"

#include <stdlib.h>

#define LOOK_US (1 * USEC_PER_SEC)

struct case_refunds {
    struct worker *w;
    struct loop_timer *look;
    bool asking, stopped;
};

struct give_back {
    struct case_refunds *c;
    int64_t case_id;
};

static void on_noted(void *arg, enum store_result r)
{
    (void)arg;
    if (r != STORE_DONE) /* taken up again; what was given back is not given back twice */
        log_event(LOG_WARN, "case_refund_not_noted", LOG_I("result", r));
}

/* Busy: it is still open and looked at again. */
static void on_flow(void *arg, struct flow *f)
{
    struct give_back *g = arg;
    struct case_refunds *c = g->c;
    const char *outcome = f->end == FLOW_SETTLED ? f->step.input_name
                          : f->end == FLOW_NONE  ? "NO_ORDER"
                                                 : "REFUSED";

    if (f->end == FLOW_SETTLED || f->end == FLOW_NONE || f->end == FLOW_REFUSED) {
        log_event(f->end == FLOW_SETTLED ? LOG_NOTICE : LOG_ALERT, "case_refund",
                  LOG_I("case", g->case_id), LOG_S("outcome", slice_of(outcome)));
        store_case_refunded(c->w->store, g->case_id, slice_of(outcome), worker_now(c->w), on_noted,
                            c);
    }
    free(g);
}

/* Told as the channel told it: its late success, which now goes back. */
static void give_back(struct case_refunds *c, const struct store_case_refund *r)
{
    struct give_back *g = calloc(1, sizeof(*g));
    struct flow *f;

    if (!g || flows_by_id(c->w->flows, r->payment_id) || !(f = flow_new(c->w, on_flow, g))) {
        free(g);
        return;
    }
    *g = (struct give_back){c, r->case_id};
    f->give_back = true;
    f->job.refund_reason = arena_copy(&f->arena, r->reason);
    flow_start(
        f, r->payment_id,
        &(struct payment_event){.kind = PAYMENT_EVENT_NOTIFY,
                                .cls = CLASS_SUCCESS,
                                .code = arena_printf(&f->arena, "case %lld", (long long)r->case_id),
                                .amount = r->amount,
                                .currency = arena_copy(&f->arena, r->currency),
                                .channel_trade_no = arena_copy(&f->arena, r->channel_trade_no)});
}

static void on_open(void *arg, enum store_result r, const struct store_case_refund *refunds,
                    size_t n)
{
    struct case_refunds *c = arg;

    c->asking = false;
    for (size_t i = 0; r == STORE_DONE && i < n && !c->stopped; i++)
        give_back(c, &refunds[i]);
}

static void on_look(void *arg)
{
    struct case_refunds *c = arg;
    const struct process_options *p = c->w->process;

    loop_timer_set(c->look, LOOK_US);
    if (c->asking || !worker_clock_steady(c->w))
        return;
    c->asking = true;
    store_case_refunds(c->w->store, p->slot_from, p->slot_to, on_open, c);
}

struct case_refunds *case_refunds_new(struct worker *w)
{
    struct case_refunds *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->w = w;
    c->look = loop_timer_new(w->loop, on_look, c);
    if (!c->look) {
        free(c);
        return NULL;
    }
    return c;
}

void case_refunds_start(struct case_refunds *c)
{
    loop_timer_set(c->look, 0);
}

void case_refunds_stop(struct case_refunds *c)
{
    c->stopped = true;
    loop_timer_clear(c->look);
}

void case_refunds_free(struct case_refunds *c)
{
    if (!c)
        return;
    loop_timer_free(c->look);
    free(c);
}
