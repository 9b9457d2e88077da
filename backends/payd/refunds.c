#include "refunds.h"

#include "core/ids.h"
#include "digest.h"
#include "reply.h"
#include "waiting.h"

/* ---- create ---- */

static void answer_refusal(struct http_req *req, const struct flow *f)
{
    const struct payment *p = &f->payment;
    struct problem problem = {.code = f->problem};

    if (f->problem == PROBLEM_REFUND_EXCEEDS_PAID) {
        problem.detail =
            arena_printf(&req->arena, "%lld of %lld can still be refunded",
                         (long long)(p->amount - p->refund_reserved), (long long)p->amount);
        problem.pointer = SLICE("/amount/refund");
    } else if (f->problem == PROBLEM_FIELD_INVALID) {
        problem.detail = SLICE("is not what was paid");
        problem.pointer = SLICE("/amount/total");
    } else if (f->problem == PROBLEM_PAYMENT_NOT_PAID) {
        problem.detail = slice_of(payment_shown_state(p));
    }
    reply_problem_full(req, &problem);
}

/* arg: digest of the wish. */
static void answer_create(struct http_req *req, const struct flow *f, const void *arg)
{
    const struct slice *digest = arg;

    switch (f->end) {
    case FLOW_REFUSED:
        answer_refusal(req, f);
        return;
    case FLOW_EXISTS:
        if (slice_eq(f->refund.digest, *digest))
            reply_refund(req, 200, &f->payment, &f->refund, true);
        else
            reply_problem(req, PROBLEM_OUT_REFUND_NO_CONFLICT, NULL, NULL);
        return;
    case FLOW_NONE:
        reply_problem(req, PROBLEM_ORDER_NOT_FOUND, NULL, "/out_trade_no");
        return;
    default:
        /* stored, with the channel's answer or without it */
        if (f->refund.state != REFUND_NONE)
            reply_refund(req, 201, &f->payment, &f->refund, false);
        else if (f->end == FLOW_BUSY)
            reply_problem(req, PROBLEM_RETRY_SAME_NUMBER, "nothing was stored", NULL);
        else
            reply_problem(req, PROBLEM_RESULT_UNKNOWN, NULL, NULL);
        return;
    }
}

static struct slice digest_of(struct http_req *req, const struct json *doc)
{
    static const char *const paths[] = {"out_trade_no", "out_refund_no", "amount.currency",
                                        "reason",       "notify_url",    NULL};

    return content_digest(&req->arena, doc, http_req_header(req, "Pay-App"), "amount.refund", paths,
                          SLICE(""));
}

/* All slices in the flow's arena: the request may be answered before it ends. */
static void fill(struct flow *f, struct http_req *req, const struct json *doc, struct slice digest)
{
    struct arena *a = &f->arena;
    struct refund *r = &f->refund;

    f->payment.mchid = arena_copy(a, http_req_header(req, "Pay-Mchid"));
    f->payment.out_trade_no = arena_copy(a, json_str(doc, "out_trade_no"));
    r->out_refund_no = arena_copy(a, json_str(doc, "out_refund_no"));
    r->digest = arena_copy(a, digest);
    json_int64(json_get(doc, "amount.refund"), &r->amount);
    r->reason = arena_copy(a, json_str(doc, "reason"));
    r->notify_url = arena_copy(a, json_str(doc, "notify_url"));
    r->trace_id = arena_copy(a, http_req_header(req, "Pay-Trace"));
}

void refunds_create(struct worker *w, struct http_req *req, const struct json *doc)
{
    struct slice *digest = arena_new(&req->arena, struct slice);
    const struct json *total = json_get(doc, "amount.total");
    int64_t slot, paid = -1;
    struct flow *f;

    if (digest)
        *digest = digest_of(req, doc);
    if (!digest || !digest->p) {
        reply_problem(req, PROBLEM_OVERLOADED, NULL, NULL);
        return;
    }
    if (reply_slot(req, &slot) != 0 || !(f = waiting_flow(w, req, answer_create, digest)))
        return;
    f->payment.slot = (uint32_t)slot;
    fill(f, req, doc, *digest);
    if (total)
        json_int64(total, &paid);
    flow_refund(f, paid);
}

/* ---- read ---- */

static void on_read(void *arg, enum store_result r, const struct payment *p,
                    const struct refund *refund)
{
    struct http_req *req = arg;

    if (r != STORE_DONE && r != STORE_NONE)
        reply_problem(req, PROBLEM_RETRY_SAME_NUMBER, "the refund could not be read", NULL);
    else if (r == STORE_NONE || refund->id == 0 ||
             !slice_eq(p->mchid, http_req_header(req, "Pay-Mchid")))
        reply_problem(req, PROBLEM_REFUND_NOT_FOUND, NULL, NULL);
    else
        reply_refund(req, 200, p, refund, false);
}

void refunds_get(struct worker *w, struct http_req *req, struct slice text)
{
    int64_t id;

    if (id_parse(text, 'R', &id) != 0)
        reply_problem(req, PROBLEM_REFUND_NOT_FOUND, NULL, NULL);
    else
        store_refund_by_id(w->store, id, &req->arena, on_read, req);
}

void refunds_find(struct worker *w, struct http_req *req, const struct api_match *m)
{
    int64_t slot;

    if (reply_slot(req, &slot) == 0)
        store_refund_by_no(w->store, (uint32_t)slot, http_req_header(req, "Pay-Mchid"),
                           m->out_trade_no, m->out_refund_no, &req->arena, on_read, req);
}
