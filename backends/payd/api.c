#include "api.h"

#include "core/api.h"
#include "create.h"
#include "flow.h"
#include "flows.h"
#include "refunds.h"
#include "reply.h"
#include "waiting.h"

#define DOC_ARENA (256u << 10)

/* One GET or close. Lives in the request's arena. */
struct ask {
    struct worker *w;
    struct http_req *req;
    struct slice mchid;
    struct slice out_trade_no;
    bool close;
};

static struct ask *ask_new(struct worker *w, struct http_req *req)
{
    struct ask *a = arena_new(&req->arena, struct ask);

    if (!a) {
        reply_problem(req, PROBLEM_OVERLOADED, NULL, NULL);
        return NULL;
    }
    a->w = w;
    a->req = req;
    a->mchid = http_req_header(req, "Pay-Mchid");
    return a;
}

/* ---- close ---- */

static int close_status(const struct payment *p)
{
    return payment_state_final(p->state) ? 200 : 202;
}

static void answer_close(struct http_req *req, const struct flow *f, const void *arg)
{
    const struct payment *p = &f->payment;

    (void)arg;
    if (f->end == FLOW_REFUSED)
        reply_problem(req, f->problem, payment_shown_state(p), NULL);
    else if (f->end == FLOW_NONE)
        reply_problem(req, PROBLEM_ORDER_NOT_FOUND, NULL, NULL);
    else if (f->end == FLOW_SETTLED || (f->end == FLOW_RUNNING && p->version > 0))
        reply_payment(f->w, req, close_status(p), p, false);
    else
        reply_problem(req, PROBLEM_RESULT_UNKNOWN, NULL, NULL);
}

static void close_payment(struct ask *a, int64_t id)
{
    const struct payment_event e = {.kind = PAYMENT_EVENT_CLOSE, .amount = -1};
    struct flow *f = waiting_flow(a->w, a->req, answer_close, NULL);

    if (f)
        flow_start(f, id, &e);
}

/* ---- read ---- */

static void on_read(void *arg, enum store_result r, const struct payment *p)
{
    struct ask *a = arg;
    struct flow *creating;

    if (r == STORE_DONE && slice_eq(p->mchid, a->mchid)) {
        if (a->close)
            close_payment(a, p->id);
        else
            reply_payment(a->w, a->req, 200, p, false);
        return;
    }
    if (r != STORE_DONE && r != STORE_NONE) {
        reply_problem(a->req, PROBLEM_RETRY_SAME_NUMBER, "the order could not be read", NULL);
        return;
    }
    /* a creation whose commit is under way is not "not found" (R2.13) */
    creating = a->out_trade_no.n ? flows_creating(a->w->flows, a->mchid, a->out_trade_no) : NULL;
    if (creating)
        create_join(creating, a->req);
    else
        reply_problem(a->req, PROBLEM_ORDER_NOT_FOUND, NULL, NULL);
}

static void by_id(struct worker *w, struct http_req *req, struct slice text, bool close)
{
    struct ask *a = ask_new(w, req);
    int64_t id;

    if (!a)
        return;
    a->close = close;
    if (id_parse(text, 'P', &id) != 0)
        reply_problem(req, PROBLEM_ORDER_NOT_FOUND, NULL, NULL);
    else
        store_payment_by_id(w->store, id, &req->arena, on_read, a);
}

static void by_number(struct worker *w, struct http_req *req, struct slice out_trade_no)
{
    struct ask *a = ask_new(w, req);
    int64_t slot;

    if (!a)
        return;
    a->out_trade_no = out_trade_no;
    if (reply_slot(req, &slot) == 0)
        store_payment_by_no(w->store, (uint32_t)slot, a->mchid, out_trade_no, &req->arena, on_read,
                            a);
}

/* ---- certificates ---- */

static void member_unix_time(struct json_writer *w, const char *key, int64_t s)
{
    char text[RFC3339_LEN + 1];

    time_format_rfc3339(text, s * USEC_PER_SEC);
    json_member_str(w, key, slice_of(text));
}

/* A public key alone has no times. */
static void certificate(struct json_writer *j, const char *serial, struct slice pem)
{
    int64_t from = 0, to = 0;

    json_begin_object(j);
    json_member_str(j, "serial_no", slice_of(serial));
    json_member_str(j, "algorithm", slice_of(key_alg_name(key_alg_of_public(pem))));
    if (cert_validity(pem, &from, &to) == 0) {
        member_unix_time(j, "effective_time", from);
        member_unix_time(j, "expire_time", to);
        json_member_str(j, "certificate", pem);
    } else {
        json_member_str(j, "public_key", pem);
    }
    json_end_object(j);
}

static void certificates(struct worker *w, struct http_req *req)
{
    const struct options *o = w->options;
    struct json_writer j;
    struct buf b;

    buf_init(&b, 64 << 10);
    json_writer_init(&j, &b);
    json_begin_object(&j);
    json_key(&j, "data");
    json_begin_array(&j);
    certificate(&j, o->platform_serial, w->platform_cert);
    for (size_t i = 0; i < o->certificate_count; i++)
        certificate(&j, o->certificates[i].serial, w->certificates[i]);
    json_end_array(&j);
    json_end_object(&j);
    if (buf_ok(&b))
        reply_json(req, 200, buf_slice(&b));
    else
        reply_problem(req, PROBLEM_INTERNAL, NULL, NULL);
    buf_release(&b);
}

/* ---- dispatch ---- */

/* The document lives only for this call: what the order needs of it is copied. */
static void create(struct worker *w, struct http_req *req, const struct api *api,
                   void (*make)(struct worker *w, struct http_req *req, const struct json *doc))
{
    const struct json *doc;
    struct problem problem;
    struct arena scratch;

    arena_init(&scratch, DOC_ARENA);
    if (api_check(&scratch, api, req->body, &doc, &problem) != 0)
        reply_problem_full(req, &problem);
    else
        make(w, req, doc);
    arena_release(&scratch);
}

void api_handle(void *arg, struct http_req *req)
{
    struct worker *w = arg;
    struct api_match m;
    struct problem problem;

    if (api_match(&req->arena, req->method, req->target, &m, &problem) != 0) {
        reply_problem_full(req, &problem);
        return;
    }
    if (http_req_header(req, "Pay-Mchid").n == 0) {
        reply_problem(req, PROBLEM_AUTHORIZATION_INVALID, "not through the edge", NULL);
        return;
    }
    switch (m.api->id) {
    case API_PAYMENT_CREATE:
        create(w, req, m.api, create_payment);
        return;
    case API_PAYMENT_GET:
        by_id(w, req, m.id, false);
        return;
    case API_PAYMENT_CLOSE:
        by_id(w, req, m.id, true);
        return;
    case API_PAYMENT_FIND:
        by_number(w, req, m.out_trade_no);
        return;
    case API_CERTIFICATES:
        certificates(w, req);
        return;
    case API_REFUND_CREATE:
        create(w, req, m.api, refunds_create);
        return;
    case API_REFUND_GET:
        refunds_get(w, req, m.id);
        return;
    case API_REFUND_FIND:
        refunds_find(w, req, &m);
        return;
    case API_NONE:
        break;
    }
    reply_problem(req, PROBLEM_PATH_UNKNOWN, NULL, NULL);
}
