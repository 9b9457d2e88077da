/*
 * POST /-/outcomes: workers tell what they read in the channels' answers.  And
 * the operator's word about a channel's health.
 *
 * The entries of one channel come together and are judged together, so that
 * the order within a batch means nothing.  What is not known here (a newer
 * payd, a channel that nginx does not have) is counted and left out.
 */

#include "ngx_http_pay_health.h"

#include "ngx_pay_module/control/ngx_http_pay_control.h"


#define NGX_HTTP_PAY_OUTCOMES       64          /* of one channel at once */
#define NGX_HTTP_PAY_OUTCOMES_MAX   1000000000


typedef struct {
    ngx_http_pay_channel_t   *channel;
    ngx_uint_t                n;
    ngx_http_pay_outcome_t    outcomes[NGX_HTTP_PAY_OUTCOMES];
} ngx_http_pay_batch_t;


static void ngx_http_pay_outcomes_flush(ngx_http_pay_control_call_t *call,
    ngx_http_pay_batch_t *batch);
static ngx_int_t ngx_http_pay_outcomes_read(const struct json *v,
    ngx_http_pay_outcome_t *outcome, struct slice *channel);


ngx_int_t
ngx_http_pay_control_outcomes(ngx_http_pay_control_call_t *call)
{
    ngx_int_t                rc;
    ngx_str_t                name;
    ngx_uint_t               taken, unknown;
    struct slice             s;
    const struct json       *v;
    ngx_http_pay_batch_t     batch;
    ngx_http_pay_outcome_t   outcome;
    ngx_http_pay_channel_t  *ch;

    v = json_get(call->body, "outcomes");

    if (v == NULL || v->type != JSON_ARRAY) {
        return ngx_http_pay_control_refuse(call,
                                           NGX_HTTP_PAY_CONTROL_FIELD_INVALID,
                                           "an array", "/outcomes");
    }

    batch.channel = NULL;
    batch.n = 0;
    taken = 0;
    unknown = 0;

    for (v = v->child; v; v = v->next) {
        rc = ngx_http_pay_outcomes_read(v, &outcome, &s);

        if (rc == NGX_ERROR) {
            ngx_http_pay_outcomes_flush(call, &batch);

            return ngx_http_pay_control_refuse(call,
                                           NGX_HTTP_PAY_CONTROL_FIELD_INVALID,
                                           "channel, kind, class: text; count, "
                                           "ms: 0 to 1000000000", "/outcomes");
        }

        name = ngx_pay_str(s);
        ch = ngx_http_pay_channel_find(call->channels, &name);

        if (rc == NGX_DECLINED || ch == NULL) {
            unknown += outcome.count;
            continue;
        }

        if (ch != batch.channel || batch.n == NGX_HTTP_PAY_OUTCOMES) {
            ngx_http_pay_outcomes_flush(call, &batch);
            batch.channel = ch;
        }

        batch.outcomes[batch.n++] = outcome;
        taken += outcome.count;
    }

    ngx_http_pay_outcomes_flush(call, &batch);

    json_begin_object(&call->w);
    json_member_int64(&call->w, "taken", taken);
    json_member_int64(&call->w, "unknown", unknown);
    json_end_object(&call->w);

    return NGX_OK;
}


static void
ngx_http_pay_outcomes_flush(ngx_http_pay_control_call_t *call,
    ngx_http_pay_batch_t *batch)
{
    if (batch->n) {
        ngx_http_pay_health_report(call->channels, batch->channel,
                                   batch->outcomes, batch->n,
                                   call->request->connection->log);
        batch->n = 0;
    }
}


/* NGX_DECLINED: well formed, but a kind or class that is not known here */

static ngx_int_t
ngx_http_pay_outcomes_read(const struct json *v,
    ngx_http_pay_outcome_t *outcome, struct slice *channel)
{
    int64_t       count, ms;
    ngx_int_t     kind, class;
    ngx_str_t     name;

    if (v->type != JSON_OBJECT
        || json_int64(json_get(v, "count"), &count) != 0
        || json_int64(json_get(v, "ms"), &ms) != 0
        || count < 0 || count > NGX_HTTP_PAY_OUTCOMES_MAX
        || ms < 0 || ms > NGX_HTTP_PAY_OUTCOMES_MAX)
    {
        return NGX_ERROR;
    }

    *channel = json_str(v, "channel");

    if (channel->n == 0 || json_str(v, "kind").n == 0
        || json_str(v, "class").n == 0)
    {
        return NGX_ERROR;
    }

    name = ngx_pay_str(json_str(v, "kind"));
    kind = ngx_http_pay_name_index(ngx_http_pay_kind_names, NGX_HTTP_PAY_KINDS,
                                   &name);
    class = answer_class_parse(json_str(v, "class"));

    outcome->count = count;
    outcome->ms = ms;

    if (kind == NGX_ERROR || class < 0) {
        return NGX_DECLINED;
    }

    outcome->kind = kind;
    outcome->class = class;

    return NGX_OK;
}


/* {"state": "closed"} */

ngx_int_t
ngx_http_pay_control_set_health(ngx_http_pay_control_call_t *call)
{
    ngx_http_pay_channel_t  *ch;

    ch = ngx_http_pay_channel_find(call->channels, &call->name);

    if (ch == NULL) {
        return ngx_http_pay_control_refuse(call,
                                          NGX_HTTP_PAY_CONTROL_CHANNEL_UNKNOWN,
                                          NULL, NULL);
    }

    if (!slice_is(json_str(call->body, "state"), "closed")) {
        return ngx_http_pay_control_refuse(call,
                                           NGX_HTTP_PAY_CONTROL_FIELD_INVALID,
                                           "a breaker can be closed only",
                                           "/state");
    }

    ngx_log_error(NGX_LOG_NOTICE, call->request->connection->log, 0,
                  "pay: control: uid %ui closes the breaker of "
                  "pay_channel \"%V\"", (ngx_uint_t) call->uid, &ch->name);

    ngx_http_pay_health_reset(call->channels, ch,
                              call->request->connection->log);

    return ngx_http_pay_control_channel(call);
}
