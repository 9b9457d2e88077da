#include "reply.h"

#include "core/ids.h"
#include "present.h"
#include "view.h"

#define RETRY_AFTER SLICE("1")

void reply_json(struct http_req *req, int status, struct slice body)
{
    const struct http_header type = {SLICE("Content-Type"), SLICE("application/json")};

    http_req_reply(req, status, &type, 1, body);
}

void reply_problem_full(struct http_req *req, const struct problem *problem)
{
    struct http_header headers[2] = {{SLICE("Content-Type"), SLICE(PROBLEM_CONTENT_TYPE)},
                                     {SLICE("Retry-After"), RETRY_AFTER}};
    int status = problem_status(problem->code);
    struct buf b;

    buf_init(&b, 8192);
    problem_write(&b, problem, http_req_header(req, "Pay-Trace"));
    http_req_reply(req, status, headers, status == 503 || status == 429 ? 2 : 1, buf_slice(&b));
    buf_release(&b);
}

void reply_problem(struct http_req *req, enum problem_code code, const char *detail,
                   const char *pointer)
{
    struct problem p = {.code = code, .detail = slice_of(detail), .pointer = slice_of(pointer)};

    reply_problem_full(req, &p);
}

/* kind and id: of the Location of what was created. */
static void reply_resource(struct http_req *req, int status, struct slice body, const char *path,
                           char kind, int64_t resource_id, bool replayed)
{
    struct http_header headers[3] = {{SLICE("Content-Type"), SLICE("application/json")}};
    char id[ID_TEXT_LEN + 1];
    size_t n = 1;

    if (!body.p) {
        reply_problem(req, PROBLEM_INTERNAL, "the order could not be written", NULL);
        return;
    }
    if (replayed)
        headers[n++] = (struct http_header){SLICE("Idempotency-Replayed"), SLICE("true")};
    if (status == 201) {
        id_format(id, kind, resource_id);
        headers[n++] = (struct http_header){
            SLICE("Location"),
            arena_join(&req->arena, (struct slice[]){slice_of(path), slice_of(id)}, 2)};
    }
    http_req_reply(req, status, headers, n, body);
}

void reply_payment(const struct worker *w, struct http_req *req, int status,
                   const struct payment *p, bool replayed)
{
    struct channel_present present;

    present_payment(w, &req->arena, p, &present);
    reply_resource(req, status, view_payment(&req->arena, p, &present), "/v1/payments/", 'P', p->id,
                   replayed);
}

void reply_refund(struct http_req *req, int status, const struct payment *p, const struct refund *r,
                  bool replayed)
{
    reply_resource(req, status, view_refund(&req->arena, p, r), "/v1/refunds/", 'R', r->id,
                   replayed);
}

int reply_slot(struct http_req *req, int64_t *slot)
{
    if (slice_int64(http_req_header(req, "Pay-Slot"), slot) == 0 && *slot >= 0 &&
        *slot < SLOT_COUNT)
        return 0;
    reply_problem(req, PROBLEM_INTERNAL, "no slot", NULL);
    return -1;
}
