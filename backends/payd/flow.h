/*
 * flow - event ▸ decide ▸ commit ▸ act, for one order, until nothing of it is in flight here.
 *
 * A flow takes one event to its end: it loads the order if need be, decides, commits, sends the
 * command of the step and takes the channel's answer as the next event, and so on, until a step has
 * no command. A commit that lost against another process is decided again on the new image. The
 * owner hears once (done) and may look at the image at any time. Every role uses this one path.
 *
 *   f = flow_new(w, done, arg); fill f->payment; flow_create(f);        a new order
 *   f = flow_new(w, done, arg); flow_start(f, id, &event);              an event of a known order
 *   f = flow_new(w, done, arg); fill f->payment, f->refund; flow_refund(f);     a new refund
 *   f = flow_new(w, done, arg); flow_start_refund(f, refund_id, &event);        an event of a
 * refund
 *
 * The flow is freed at the end of the turn in which `done` was called.
 */
#ifndef PAYD_FLOW_H
#define PAYD_FLOW_H

#include "backends/domain/refund.h"
#include "backends/store/store.h"
#include "core/crypto.h"
#include "payer.h"
#include "worker.h"

enum flow_end {
    FLOW_RUNNING,
    FLOW_SETTLED, /* `payment` is the image after all that was to be done now */
    FLOW_REFUSED, /* `problem` says why; `payment` is the image */
    FLOW_EXISTS,  /* create, refund: the number is taken; `refund` is the one that has it */
    FLOW_NONE,    /* no such order */
    FLOW_BUSY,    /* nothing happened: no database, queues full, no process number */
    FLOW_UNKNOWN  /* create: committed or not is not known */
};

struct flow;
typedef void flow_cb(void *arg, struct flow *f);

struct flow {
    struct arena arena;
    struct payment payment; /* version 0 until created or loaded */
    enum flow_end end;
    enum problem_code problem;
    /* new orders: channels that may take it should this one refuse, comma separated */
    struct slice candidates;
    struct auth_code auth_code; /* of a charge, until it was answered */
    bool of_refund;             /* about `refund` of `payment` */
    struct refund refund;       /* its image; NONE until created or loaded */
    struct payment_step step;   /* the latest decision */
    /* a notification is only about the order if it came from the account that carries it; empty =
     * any */
    struct slice only_channel, only_account;
    uint32_t only_seq;
    bool give_back; /* two persons decided that late money goes back, whatever the policy */
    /* private */
    struct worker *w;
    flow_cb *done;
    void *arg;
    struct payment_event event;
    struct refund refund_after;
    struct payment_policy policy;
    struct store_job job;
    int64_t send_before_boot_us;
    int64_t attempt_id;
    uint8_t request_digest[SHA256_LEN], answer_digest[SHA256_LEN]; /* of the latest call */
    int64_t sent_us; /* loop time of the call under way */
    struct payment_attempt attempt;
    unsigned conflicts, retries;
    struct loop_timer *retry;
    struct flow *by_id, *by_number; /* chains of flows.c */
    bool has_id, has_number;
};

struct flow *flow_new(struct worker *w, flow_cb *done, void *arg);
/* Of a flow that was never started. */
void flow_drop(struct flow *f);
/* f->payment is complete but for id, created_at; version is 0. */
void flow_create(struct flow *f);
/* Loads the order, then takes the event; event->id is made here. Slices in *event must live in
 * f->arena. */
void flow_start(struct flow *f, int64_t payment_id, const struct payment_event *event);

/* f->payment names slot, mchid and out_trade_no; f->refund is complete but for id, created_at.
 * total: what the merchant believes was paid, -1 = unsaid. */
void flow_refund(struct flow *f, int64_t total);
void flow_start_refund(struct flow *f, int64_t refund_id, const struct payment_event *event);

/* Whom the flow talks to: the order's channel, or the one whose money the refund gives back. */
static inline struct slice flow_channel(const struct flow *f)
{
    return f->of_refund && f->refund.command_seq ? f->refund.channel : f->payment.channel;
}
static inline struct slice flow_account(const struct flow *f)
{
    return f->of_refund && f->refund.command_seq ? f->refund.account : f->payment.account;
}

#endif
