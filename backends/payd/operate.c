#include "operate.h"

#include "backends/io/log.h"
#include "backends/store/cases.h"
#include "core/ids.h"
#include "core/json.h"
#include "reply.h"
#include "worker.h"

#include <pwd.h>
#include <stdlib.h>

#define REASON_MAX 500 /* characters; the database counts them */
#define NAME_MAX   256

struct word {
    struct worker *w;
    struct http_req *req;
    struct store_case_word word;
};

static void refuse(struct http_req *req, int status, const char *code, struct slice detail)
{
    const struct http_header type = {SLICE("Content-Type"), SLICE("application/problem+json")};
    struct json_writer w;
    struct buf b;

    buf_init(&b, 4096);
    json_writer_init(&w, &b);
    json_begin_object(&w);
    json_member_str(&w, "title", slice_of(code));
    json_member_int64(&w, "status", status);
    json_member_str(&w, "code", slice_of(code));
    json_member_str(&w, "detail", detail);
    json_end_object(&w);
    http_req_reply(req, status, &type, 1, buf_slice(&b));
    buf_release(&b);
}

static void said(struct word *x, struct slice outcome, struct slice decision, struct slice by)
{
    struct json_writer w;
    struct buf b;

    log_event(LOG_NOTICE, "case_decision", LOG_I("case", x->word.case_id),
              LOG_S("outcome", outcome), LOG_S("decision", decision), LOG_S("by", x->word.name),
              LOG_I("uid", x->word.uid));
    buf_init(&b, 4096);
    json_writer_init(&w, &b);
    json_begin_object(&w);
    json_member_str(&w, "outcome", outcome);
    json_member_str(&w, "decision", decision);
    json_member_str(&w, "by", x->word.name);
    if (!slice_eq(by, x->word.name))
        json_member_str(&w, "proposed_by", by);
    json_end_object(&w);
    reply_json(x->req, 200, buf_slice(&b));
    buf_release(&b);
}

static void on_said(void *arg, enum store_result r, struct slice outcome, struct slice decision,
                    struct slice by)
{
    struct word *x = arg;
    struct arena *a = &x->req->arena;

    if (r == STORE_UNKNOWN)
        refuse(x->req, 502, "RESULT_UNKNOWN", SLICE("look at the case before you say it again"));
    else if (r != STORE_DONE)
        refuse(x->req, 503, "BUSY", SLICE("the database did not take it; nothing happened"));
    else if (slice_is(outcome, "none"))
        refuse(x->req, 404, "CASE_UNKNOWN", SLICE("no such case"));
    else if (slice_is(outcome, "closed"))
        refuse(
            x->req, 409, "CASE_CLOSED",
            arena_printf(a, "it was closed as %.*s by %.*s", SLICE_FMT(decision), SLICE_FMT(by)));
    else if (slice_is(outcome, "same_person"))
        refuse(x->req, 409, "SECOND_PERSON",
               arena_printf(a, "%.*s proposed it; somebody else has to confirm", SLICE_FMT(by)));
    else if (slice_is(outcome, "differs"))
        refuse(x->req, 409, "DECISION_DIFFERS",
               arena_printf(a, "%.*s proposed %.*s: confirm that or reject it", SLICE_FMT(by),
                            SLICE_FMT(decision)));
    else if (slice_is(outcome, "impossible"))
        refuse(
            x->req, 409, "DECISION_IMPOSSIBLE",
            SLICE("only late money of the order's amount is given back from here; give it back at "
                  "the channel, then say refunded"));
    else if (slice_is(outcome, "nothing"))
        refuse(x->req, 409, "NOTHING_PROPOSED", SLICE("nothing waits to be rejected"));
    else
        said(x, outcome, decision, by);
    free(x);
}

/* The number where this machine knows no name. */
static struct slice name_of(struct arena *a, uint32_t uid)
{
    struct passwd *pw = getpwuid((uid_t)uid);

    return pw ? arena_copy(a, slice_of(pw->pw_name)) : arena_printf(a, "uid %u", uid);
}

static bool known(struct slice decision)
{
    return slice_is(decision, "refund") || slice_is(decision, "refunded") ||
           slice_is(decision, "accepted") || slice_is(decision, "dismissed") ||
           slice_is(decision, "reject");
}

/* 0, or -1 with the request refused. */
static int read_word(struct http_req *req, struct slice id, struct store_case_word *word)
{
    const struct json *doc;
    struct json_error err;
    uint32_t uid;

    if (slice_int64(id, &word->case_id) != 0 || word->case_id <= 0) {
        refuse(req, 404, "CASE_UNKNOWN", SLICE("no such case"));
        return -1;
    }
    if (http_req_peer_uid(req, &uid) != 0) {
        refuse(req, 403, "FORBIDDEN", SLICE("the kernel does not say who asks"));
        return -1;
    }
    if (json_parse(&req->arena, req->body, NULL, &doc, &err) != 0) {
        refuse(req, 400, "JSON_INVALID", slice_of("the body is no JSON"));
        return -1;
    }
    word->decision = json_str(doc, "decision");
    word->reason = slice_trim(json_str(doc, "reason"));
    word->uid = uid;
    word->name = name_of(&req->arena, uid);
    if (!known(word->decision)) {
        refuse(req, 400, "FIELD_INVALID",
               SLICE("decision: not refund, refunded, accepted, dismissed or reject"));
        return -1;
    }
    if (word->reason.n == 0 || word->reason.n > REASON_MAX) {
        refuse(req, 400, "FIELD_INVALID", SLICE("reason: not 1 to 500 bytes"));
        return -1;
    }
    return 0;
}

void operate_handle(void *arg, struct http_req *req)
{
    struct worker *w = arg;
    const struct slice prefix = SLICE("/cases/");
    struct word *x;

    if (!slice_starts(req->target, prefix) || !slice_is(req->method, "POST")) {
        refuse(req, 404, "PATH_UNKNOWN", SLICE("POST /cases/{id}"));
        return;
    }
    x = calloc(1, sizeof(*x));
    if (!x) {
        refuse(req, 503, "BUSY", SLICE("out of memory"));
        return;
    }
    x->w = w;
    x->req = req;
    x->word.at = worker_now(w);
    if (read_word(req, slice_n(req->target.p + prefix.n, req->target.n - prefix.n), &x->word) !=
        0) {
        free(x);
        return;
    }
    if (worker_id(w, id_slot(x->word.case_id), &x->word.id) != 0) {
        refuse(req, 503, "BUSY", SLICE("no process number"));
        free(x);
        return;
    }
    store_case_say(w->store, &x->word, on_said, x);
}
