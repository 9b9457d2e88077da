/*
 * Health of the channels on the status page.
 *
 * A reader sees a copy, in which time went on: the window forgets also what
 * nobody asked about.
 */

#include "ngx_http_pay_health.h"


static void ngx_http_pay_health_copy(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, struct breaker *copy);
static ngx_uint_t ngx_http_pay_health_value(
    ngx_http_pay_channel_main_conf_t *cmcf, ngx_http_pay_channel_t *ch,
    ngx_uint_t metric);
static void ngx_http_pay_health_json_levels(ngx_http_pay_status_text_t *t,
    ngx_http_pay_channel_t *ch, struct breaker *b);
static void ngx_http_pay_health_json_outcomes(ngx_http_pay_status_text_t *t,
    ngx_http_pay_channel_row_t *row);


#define NGX_HTTP_PAY_HEALTH_STATE   0
#define NGX_HTTP_PAY_HEALTH_LEVEL   1
#define NGX_HTTP_PAY_HEALTH_SHARE   2
#define NGX_HTTP_PAY_HEALTH_KEPT    3
#define NGX_HTTP_PAY_HEALTH_OPENED  4

static struct {
    const char  *name;
    const char  *type;
    const char  *help;
} ngx_http_pay_health_metrics[] = {
    { "pay_channel_breaker_state", "gauge",
      "0 closed, 1 open, 2 probing, 3 recovering." },
    { "pay_channel_level", "gauge",
      "0 out, 1 reachable, 2 available, 3 in time, 4 SLA kept." },
    { "pay_channel_share", "gauge",
      "Percent of new payments that may choose the channel." },
    { "pay_channel_kept", "gauge",
      "1: should be out, but is the last (our own network?)." },
    { "pay_channel_breaker_opened_total", "counter", "Times it opened." },
    { NULL, NULL, NULL }
};


static void
ngx_http_pay_health_copy(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, struct breaker *copy)
{
    ngx_shmtx_lock(&cmcf->shpool->mutex);

    *copy = ngx_http_pay_channel_row(cmcf, ch)->breaker;

    ngx_shmtx_unlock(&cmcf->shpool->mutex);

    breaker_tick(copy, &ch->breaker, ngx_current_msec);
}


void
ngx_http_pay_health_prometheus(ngx_http_pay_status_text_t *t,
    ngx_http_pay_channel_main_conf_t *cmcf)
{
    ngx_uint_t                    i, m, k;
    ngx_http_pay_channel_t      **chp;
    ngx_http_pay_channel_row_t   *row;

    ngx_http_pay_health_refresh(cmcf);

    chp = cmcf->channels.elts;

    for (m = 0; ngx_http_pay_health_metrics[m].name; m++) {
        ngx_http_pay_status_printf(t, "# HELP %s %s\n# TYPE %s %s\n",
                                   ngx_http_pay_health_metrics[m].name,
                                   ngx_http_pay_health_metrics[m].help,
                                   ngx_http_pay_health_metrics[m].name,
                                   ngx_http_pay_health_metrics[m].type);

        for (i = 0; i < cmcf->channels.nelts; i++) {
            ngx_http_pay_status_printf(t, "%s{channel=\"%V\"} %ui\n",
                                       ngx_http_pay_health_metrics[m].name,
                                       &chp[i]->name,
                                       ngx_http_pay_health_value(cmcf, chp[i],
                                                                 m));
        }
    }

    ngx_http_pay_status_printf(t, "# HELP pay_channel_outcomes_total "
                               "Answers as workers read them, by class.\n"
                               "# TYPE pay_channel_outcomes_total counter\n");

    for (i = 0; i < cmcf->channels.nelts; i++) {
        row = ngx_http_pay_channel_row(cmcf, chp[i]);

        for (k = 0; k < ANSWER_CLASS_COUNT; k++) {
            ngx_http_pay_status_printf(t, "pay_channel_outcomes_total"
                                       "{channel=\"%V\",class=\"%s\"} %uA\n",
                                       &chp[i]->name, answer_class_name(k),
                                       row->outcomes[k]);
        }
    }

    ngx_http_pay_status_printf(t, "# HELP pay_egress_suspected_total "
                               "Times the last channel was kept.\n"
                               "# TYPE pay_egress_suspected_total counter\n"
                               "pay_egress_suspected_total %uA\n",
                               cmcf->sh->suspected);
}


static ngx_uint_t
ngx_http_pay_health_value(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_uint_t metric)
{
    struct breaker  b;

    if (metric == NGX_HTTP_PAY_HEALTH_SHARE) {
        return cmcf->sh->shares[ch->row];
    }

    if (metric == NGX_HTTP_PAY_HEALTH_OPENED) {
        return ngx_http_pay_channel_row(cmcf, ch)->opened;
    }

    ngx_http_pay_health_copy(cmcf, ch, &b);

    switch (metric) {

    case NGX_HTTP_PAY_HEALTH_STATE:
        return b.state;

    case NGX_HTTP_PAY_HEALTH_LEVEL:
        return breaker_level(&b, &ch->breaker);

    default: /* NGX_HTTP_PAY_HEALTH_KEPT */
        return b.kept;
    }
}


/* "changed" is the time of day, 0: never */

void
ngx_http_pay_health_json(ngx_http_pay_status_text_t *t,
    ngx_http_pay_channel_main_conf_t *cmcf, ngx_http_pay_channel_t *ch)
{
    time_t                       changed;
    struct breaker               b;
    ngx_http_pay_channel_row_t  *row;

    ngx_http_pay_health_refresh(cmcf);
    ngx_http_pay_health_copy(cmcf, ch, &b);

    row = ngx_http_pay_channel_row(cmcf, ch);
    changed = 0;

    if (b.changed_ms) {
        changed = ngx_time() - (b.now_ms - b.changed_ms) / 1000;
    }

    ngx_http_pay_status_printf(t, ",\"health\":{\"breaker\":\"%s\","
                               "\"state\":\"%s\",\"level\":\"%s\","
                               "\"share\":%ui,\"reason\":\"%s\",\"kept\":%s,"
                               "\"changed\":%T,\"opened\":%uA,\"calls\":%uD",
                               ch->breaker.enabled ? "on" : "off",
                               breaker_state_name(b.state),
                               breaker_level_name(breaker_level(&b,
                                                              &ch->breaker)),
                               (ngx_uint_t) cmcf->sh->shares[ch->row],
                               breaker_reason_name(b.reason),
                               b.kept ? "true" : "false", changed,
                               row->opened, b.sum.views[BREAKER_ALL].calls);

    ngx_http_pay_health_json_levels(t, ch, &b);

    ngx_http_pay_status_printf(t, "}");

    ngx_http_pay_health_json_outcomes(t, row);
}


/* the table of levels: what each takes, and how far from it the channel is */

static void
ngx_http_pay_health_json_levels(ngx_http_pay_status_text_t *t,
    ngx_http_pay_channel_t *ch, struct breaker *b)
{
    ngx_uint_t             i;
    struct breaker_limit  *limit;

    ngx_http_pay_status_printf(t, ",\"levels\":{");

    for (i = BREAKER_REACHABLE; i < BREAKER_LEVELS; i++) {
        limit = &ch->breaker.limits[i];

        ngx_http_pay_status_printf(t, "%s\"%s\":{\"in_a_row\":%uD,"
                                   "\"in_a_row_limit\":%uD,\"percent\":%uD,"
                                   "\"percent_limit\":%uD,\"opens\":%s}",
                                   i > BREAKER_REACHABLE ? "," : "",
                                   breaker_level_name(i),
                                   breaker_in_a_row(b, i),
                                   limit->in_a_row,
                                   breaker_missed_percent(b, &ch->breaker, i),
                                   limit->percent,
                                   i == BREAKER_SLA || !ch->breaker.enabled
                                   ? "false" : "true");
    }

    ngx_http_pay_status_printf(t, "},\"calls_limit\":%uD,\"over_ms\":%L",
                               ch->breaker.calls,
                               (int64_t) ch->breaker.slow_ms);
}


static void
ngx_http_pay_health_json_outcomes(ngx_http_pay_status_text_t *t,
    ngx_http_pay_channel_row_t *row)
{
    ngx_uint_t  i;

    ngx_http_pay_status_printf(t, ",\"outcome_ms\":%uA,\"outcomes\":{",
                               row->outcome_ms);

    for (i = 0; i < ANSWER_CLASS_COUNT; i++) {
        ngx_http_pay_status_printf(t, "%s\"%s\":%uA", i ? "," : "",
                                   answer_class_name(i), row->outcomes[i]);
    }

    ngx_http_pay_status_printf(t, "}");
}


void
ngx_http_pay_health_member(struct json_writer *w,
    ngx_http_pay_channel_main_conf_t *cmcf, ngx_http_pay_channel_t *ch)
{
    struct breaker  b;

    ngx_http_pay_health_refresh(cmcf);
    ngx_http_pay_health_copy(cmcf, ch, &b);

    json_key(w, "health");
    json_begin_object(w);
    json_member_str(w, "state", slice_of(breaker_state_name(b.state)));
    json_member_str(w, "level",
                    slice_of(breaker_level_name(breaker_level(&b,
                                                              &ch->breaker))));
    json_member_int64(w, "share", cmcf->sh->shares[ch->row]);
    json_member_str(w, "reason", slice_of(breaker_reason_name(b.reason)));
    json_end_object(w);
}
