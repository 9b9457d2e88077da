/*
 * What the status page says of the edge as a whole and of the channels.
 */

#include "ngx_pay_module/channel/ngx_http_pay_health.h"


static void ngx_http_pay_status_workers(ngx_http_pay_status_text_t *t);
static void ngx_http_pay_status_labelled(ngx_http_pay_status_text_t *t,
    ngx_http_pay_channel_main_conf_t *cmcf, const char *name,
    const char *help, const char *label, ngx_str_t *values, ngx_uint_t n,
    size_t offset);
static void ngx_http_pay_status_gauges(ngx_http_pay_status_text_t *t,
    ngx_http_pay_channel_main_conf_t *cmcf);
static void ngx_http_pay_status_latency(ngx_http_pay_status_text_t *t,
    ngx_http_pay_channel_main_conf_t *cmcf);
static void ngx_http_pay_status_channel_json(ngx_http_pay_status_text_t *t,
    ngx_http_pay_channel_main_conf_t *cmcf, ngx_http_pay_channel_t *ch);
static void ngx_http_pay_status_switch_json(ngx_http_pay_status_text_t *t,
    ngx_http_pay_channel_main_conf_t *cmcf, ngx_http_pay_channel_t *ch);
static void ngx_http_pay_status_counts_json(ngx_http_pay_status_text_t *t,
    const char *name, ngx_str_t *keys, ngx_atomic_t *values, ngx_uint_t n);


#define ngx_http_pay_metric(field, help, gauge)                               \
    { #field, help, offsetof(ngx_http_pay_row_t, field), gauge }

ngx_http_pay_status_metric_t  ngx_http_pay_status_metrics[] = {
    ngx_http_pay_metric(requests, "Requests seen by pay_sign.", 0),
    ngx_http_pay_metric(verified, "Requests whose signature is genuine.", 0),
    ngx_http_pay_metric(key_hits, "Keys found parsed in the worker.", 0),
    ngx_http_pay_metric(key_zone_hits, "Keys found in the zone.", 0),
    ngx_http_pay_metric(key_misses, "Keys asked of payd.", 0),
    ngx_http_pay_metric(key_hedges, "And of another payd as well.", 0),
    ngx_http_pay_metric(key_stale, "Keys used without being fresh.", 0),
    ngx_http_pay_metric(key_evicted, "Keys pushed out.", 0),
    ngx_http_pay_metric(redis_ok, "Redis replies in time.", 0),
    ngx_http_pay_metric(redis_errors, "Redis errors.", 0),
    ngx_http_pay_metric(redis_timeouts, "Redis deadlines missed.", 0),
    ngx_http_pay_metric(redis_late, "Redis replies after the deadline.", 0),
    ngx_http_pay_metric(redis_reconnects, "Connections to Redis.", 0),
    ngx_http_pay_metric(redis_masters, "Masters told by sentinels.", 0),
    ngx_http_pay_metric(fallbacks, "Requests guarded without Redis.", 0),
    { "limited_app", "Requests over an app's limit.",
      offsetof(ngx_http_pay_row_t, limited[0]), 0 },
    { "limited_merchant", "Requests over a merchant's limit.",
      offsetof(ngx_http_pay_row_t, limited[1]), 0 },
    { "limited_api", "Requests over an API's limit.",
      offsetof(ngx_http_pay_row_t, limited[2]), 0 },
    { "limited_ip", "Requests over an address' limit.",
      offsetof(ngx_http_pay_row_t, limited[3]), 0 },
    { "limited_value", "Requests over another limit.",
      offsetof(ngx_http_pay_row_t, limited[4]), 0 },
    ngx_http_pay_metric(undone, "Counts taken back after a refusal.", 0),
    ngx_http_pay_metric(unlisted, "Calls from unlisted addresses.", 0),
    { "attack_signatures", "Sources over the threshold of signatures.",
      offsetof(ngx_http_pay_row_t, attacks[0]), 0 },
    { "attack_replays", "Sources over the threshold of replays.",
      offsetof(ngx_http_pay_row_t, attacks[1]), 0 },
    { "attack_serials", "Sources over the threshold of serials.",
      offsetof(ngx_http_pay_row_t, attacks[2]), 0 },
    { "attack_paths", "Sources over the threshold of paths.",
      offsetof(ngx_http_pay_row_t, attacks[3]), 0 },
    ngx_http_pay_metric(attack_refused, "Requests of blocked sources.", 0),
    ngx_http_pay_metric(sign_hmac, "Answers signed with HMAC.", 0),
    ngx_http_pay_metric(sign_rsa, "Answers signed with RSA.", 0),
    ngx_http_pay_metric(sign_ec, "Answers signed with Ed25519 or ECDSA.", 0),
    ngx_http_pay_metric(sign_full, "Requests without a place to sign.", 0),
    ngx_http_pay_metric(redis_inflight, "Redis commands in flight.", 1),
    ngx_http_pay_metric(sign_inflight, "RSA signatures in flight.", 1),
    { NULL, NULL, 0, 0 }
};


static ngx_str_t  ngx_http_pay_status_classes[] = {
    ngx_string("0xx"), ngx_string("1xx"), ngx_string("2xx"),
    ngx_string("3xx"), ngx_string("4xx"), ngx_string("5xx")
};


ngx_atomic_uint_t
ngx_http_pay_status_sum(size_t offset)
{
    ngx_uint_t           i;
    ngx_atomic_uint_t    sum;
    ngx_http_pay_row_t  *rows;

    rows = ngx_http_pay_rows();

    if (rows == NULL) {
        return 0;
    }

    sum = 0;

    for (i = 0; i < NGX_HTTP_PAY_ROWS; i++) {
        sum += *(ngx_atomic_t *) ((u_char *) &rows[i] + offset);
    }

    return sum;
}


void
ngx_http_pay_status_edge(ngx_http_request_t *r, ngx_http_pay_status_text_t *t)
{
    char                           name[64];
    ngx_uint_t                     i;
    ngx_http_pay_status_metric_t  *m;

    ngx_http_pay_status_head(t, "pay_edge_info", "gauge",
                             "1; the label is nginx's version.");
    ngx_http_pay_status_printf(t, "pay_edge_info{nginx=\"%s\"} 1\n",
                               NGINX_VERSION);

    for (m = ngx_http_pay_status_metrics; m->name; m++) {
        (void) ngx_snprintf((u_char *) name, sizeof(name), "pay_edge_%s%s%Z",
                            m->name, m->gauge ? "" : "_total");

        ngx_http_pay_status_head(t, name, m->gauge ? "gauge" : "counter",
                                 m->help);
        ngx_http_pay_status_printf(t, "%s %uA\n", name,
                                   ngx_http_pay_status_sum(m->offset));
    }

    ngx_http_pay_status_head(t, "pay_edge_refused_total", "counter",
                             "Requests refused, by code.");

    for (i = 1; i < PROBLEM_COUNT; i++) {
        ngx_http_pay_status_printf(t, "pay_edge_refused_total"
                                   "{code=\"%s\"} %uA\n", problem_name(i),
                                   ngx_http_pay_status_sum(
                                       offsetof(ngx_http_pay_row_t, refused)
                                       + i * sizeof(ngx_atomic_t)));
    }

    ngx_http_pay_status_workers(t);
}


/* process slots are used again, so they make a bounded label; pids do not */

static void
ngx_http_pay_status_workers(ngx_http_pay_status_text_t *t)
{
    ngx_uint_t           i, k;
    ngx_http_pay_row_t  *rows;

    static const struct {
        const char  *name;
        const char  *help;
        size_t       offset;
    } metrics[] = {
        { "pay_edge_redis_state", "0 none, 1 ok, 2 down, 3 paused.",
          offsetof(ngx_http_pay_row_t, redis_state) },
        { "pay_edge_feed_alive", "1 when the change feed of keys is alive.",
          offsetof(ngx_http_pay_row_t, feed_alive) }
    };

    rows = ngx_http_pay_rows();

    if (rows == NULL) {
        return;
    }

    for (k = 0; k < sizeof(metrics) / sizeof(metrics[0]); k++) {
        ngx_http_pay_status_head(t, metrics[k].name, "gauge",
                                 metrics[k].help);

        for (i = 0; i < NGX_HTTP_PAY_ROWS; i++) {
            if (rows[i].pid) {
                ngx_http_pay_status_printf(t, "%s{worker=\"%ui\"} %uA\n",
                    metrics[k].name, i,
                    *(ngx_atomic_t *) ((u_char *) &rows[i]
                                       + metrics[k].offset));
            }
        }
    }
}


void
ngx_http_pay_status_channels(ngx_http_request_t *r,
    ngx_http_pay_status_text_t *t)
{
    ngx_uint_t                         i;
    ngx_http_pay_channel_main_conf_t  *cmcf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_pay_channel_module);

    if (cmcf->sh == NULL) {
        return;
    }

    ngx_http_pay_status_gauges(t, cmcf);

    ngx_http_pay_status_labelled(t, cmcf, "pay_channel_calls_total",
                                 "Calls passed on, by kind.", "kind",
                                 ngx_http_pay_kind_names, NGX_HTTP_PAY_KINDS,
                                 offsetof(ngx_http_pay_channel_row_t, calls));

    ngx_http_pay_status_labelled(t, cmcf, "pay_channel_sent_total",
                                 "Calls passed on, by what became of them.",
                                 "sent",
                                 ngx_http_pay_sent_names, NGX_HTTP_PAY_SENTS,
                                 offsetof(ngx_http_pay_channel_row_t, sent));

    ngx_http_pay_status_labelled(t, cmcf, "pay_channel_answers_total",
                                 "Answers of the channel, by status.",
                                 "status", ngx_http_pay_status_classes, 6,
                                 offsetof(ngx_http_pay_channel_row_t, answers));

    ngx_http_pay_status_labelled(t, cmcf, "pay_channel_tls_alerts_total",
                                 "Connections whose TLS the channel broke.",
                                 "alert",
                                 ngx_http_pay_alert_names,
                                 NGX_HTTP_PAY_ALERTS,
                                 offsetof(ngx_http_pay_channel_row_t, alerts));

    ngx_http_pay_status_labelled(t, cmcf, "pay_channel_refused_total",
                                 "Calls that were not passed on, by code.",
                                 "code", ngx_http_pay_refusal_names,
                                 NGX_HTTP_PAY_REFUSALS,
                                 offsetof(ngx_http_pay_channel_row_t, refused));

    ngx_http_pay_status_latency(t, cmcf);
    ngx_http_pay_health_prometheus(t, cmcf);

    ngx_http_pay_status_head(t, "pay_egress_refused_total", "counter",
                             "Calls refused that concern no channel.");

    for (i = 0; i < NGX_HTTP_PAY_REFUSALS; i++) {
        ngx_http_pay_status_printf(t, "pay_egress_refused_total"
                                   "{code=\"%V\"} %uA\n",
                                   &ngx_http_pay_refusal_names[i],
                                   cmcf->sh->refused[i]);
    }
}


/* samples of one metric stand together, as the format demands */

static void
ngx_http_pay_status_gauges(ngx_http_pay_status_text_t *t,
    ngx_http_pay_channel_main_conf_t *cmcf)
{
    ngx_uint_t                    i, k;
    ngx_atomic_uint_t             value;
    ngx_http_pay_channel_t      **chp, *ch;
    ngx_http_pay_channel_row_t   *row;

    static const char *names[][2] = {
        { "pay_channel_state", "0 on, 1 off, 2 drain, 3 block." },
        { "pay_channel_switched", "1 while switched at run time." },
        { "pay_channel_in_flight", "Calls at the channel now." },
        { "pay_channel_in_pay", "New payments at the channel now." },
        { "pay_channel_waiting", "Calls that wait for a place now." },
        { "pay_channel_limit", "Calls this node may have there at once now." },
        { "pay_channel_cap", "Calls the channel may have at once." },
        { "pay_channel_pay_cap", "New payments it may have at once." }
    };

    chp = cmcf->channels.elts;

    for (k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
        ngx_http_pay_status_head(t, names[k][0], "gauge", names[k][1]);

        for (i = 0; i < cmcf->channels.nelts; i++) {
            ch = chp[i];
            row = ngx_http_pay_channel_row(cmcf, ch);

            value = k == 0 ? ngx_http_pay_channel_state(cmcf, ch)
                    : k == 1 ? (cmcf->sh->states[ch->row] != 0)
                    : k == 2 ? row->count->in_flight
                    : k == 3 ? row->count->in_pay
                    : k == 4 ? row->count->waiting[0] + row->count->waiting[1]
                    : k == 5 ? (ch->shared ? row->count->limit : ch->cap)
                    : k == 6 ? ch->cap : ch->pay_cap;

            ngx_http_pay_status_printf(t, "%s{channel=\"%V\"} %uA\n",
                                       names[k][0], &ch->name, value);
        }
    }
}


/* counters of a row that stand in an array, with a label for the index */

static void
ngx_http_pay_status_labelled(ngx_http_pay_status_text_t *t,
    ngx_http_pay_channel_main_conf_t *cmcf, const char *name,
    const char *help, const char *label, ngx_str_t *values, ngx_uint_t n,
    size_t offset)
{
    u_char                   *row;
    ngx_uint_t                i, k;
    ngx_http_pay_channel_t  **chp;

    ngx_http_pay_status_head(t, name, "counter", help);

    chp = cmcf->channels.elts;

    for (i = 0; i < cmcf->channels.nelts; i++) {
        row = (u_char *) ngx_http_pay_channel_row(cmcf, chp[i]);

        for (k = 0; k < n; k++) {
            ngx_http_pay_status_printf(t,
                                       "%s{channel=\"%V\",%s=\"%V\"} %uA\n",
                                       name, &chp[i]->name, label, &values[k],
                                       ((ngx_atomic_t *) (row + offset))[k]);
        }
    }
}


static void
ngx_http_pay_status_latency(ngx_http_pay_status_text_t *t,
    ngx_http_pay_channel_main_conf_t *cmcf)
{
    ngx_uint_t                    i;
    ngx_http_pay_channel_t      **chp;
    ngx_http_pay_channel_row_t   *row;

    static ngx_str_t  label = ngx_string("channel");

    ngx_http_pay_status_head(t, "pay_channel_latency_seconds", "histogram",
                             "Until the header of the channel's answer.");

    chp = cmcf->channels.elts;

    for (i = 0; i < cmcf->channels.nelts; i++) {
        row = ngx_http_pay_channel_row(cmcf, chp[i]);

        ngx_http_pay_status_histogram(t, "pay_channel_latency_seconds", &label,
                                      &chp[i]->name,
                                      ngx_http_pay_bucket_bounds,
                                      row->buckets, NGX_HTTP_PAY_BUCKETS,
                                      row->latency);
    }
}


void
ngx_http_pay_status_edge_json(ngx_http_request_t *r,
    ngx_http_pay_status_text_t *t)
{
    ngx_uint_t                     i;
    ngx_http_pay_status_metric_t  *m;

    ngx_http_pay_status_printf(t, "{\"nginx\":\"%s\",", NGINX_VERSION);

    for (m = ngx_http_pay_status_metrics; m->name; m++) {
        ngx_http_pay_status_printf(t, "\"%s\":%uA,", m->name,
                                   ngx_http_pay_status_sum(m->offset));
    }

    ngx_http_pay_status_printf(t, "\"refused\":{");

    for (i = 1; i < PROBLEM_COUNT; i++) {
        ngx_http_pay_status_printf(t, "%s\"%s\":%uA", i > 1 ? "," : "",
                                   problem_name(i),
                                   ngx_http_pay_status_sum(
                                       offsetof(ngx_http_pay_row_t, refused)
                                       + i * sizeof(ngx_atomic_t)));
    }

    ngx_http_pay_status_printf(t, "}}");
}


void
ngx_http_pay_status_channels_json(ngx_http_request_t *r,
    ngx_http_pay_status_text_t *t)
{
    ngx_uint_t                          i;
    ngx_http_pay_channel_t            **chp;
    ngx_http_pay_channel_main_conf_t   *cmcf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_pay_channel_module);

    ngx_http_pay_status_printf(t, "[");

    chp = cmcf->channels.elts;

    for (i = 0; cmcf->sh && i < cmcf->channels.nelts; i++) {
        ngx_http_pay_status_printf(t, i ? "," : "");
        ngx_http_pay_status_channel_json(t, cmcf, chp[i]);
    }

    ngx_http_pay_status_printf(t, "]");
}


static void
ngx_http_pay_status_channel_json(ngx_http_pay_status_text_t *t,
    ngx_http_pay_channel_main_conf_t *cmcf, ngx_http_pay_channel_t *ch)
{
    ngx_uint_t                   state;
    ngx_http_pay_channel_row_t  *row;

    row = ngx_http_pay_channel_row(cmcf, ch);
    state = ngx_http_pay_channel_state(cmcf, ch);

    ngx_http_pay_status_printf(t, "{\"name\":\"%V\",\"state\":\"%V\","
                               "\"configured\":\"%V\",\"in_flight\":%uA,"
                               "\"in_pay\":%uA,\"waiting\":%uA,"
                               "\"limit\":%uA,\"cap\":%ui,\"pay_cap\":%ui,"
                               "\"latency_ms\":%uA",
                               &ch->name, &ngx_http_pay_state_names[state],
                               &ngx_http_pay_state_names[ch->state],
                               row->count->in_flight, row->count->in_pay,
                               row->count->waiting[0] + row->count->waiting[1],
                               ch->shared ? row->count->limit : ch->cap,
                               ch->cap, ch->pay_cap, row->latency);

    ngx_http_pay_status_switch_json(t, cmcf, ch);

    ngx_http_pay_status_counts_json(t, "calls", ngx_http_pay_kind_names,
                                    row->calls, NGX_HTTP_PAY_KINDS);
    ngx_http_pay_status_counts_json(t, "sent", ngx_http_pay_sent_names,
                                    row->sent, NGX_HTTP_PAY_SENTS);
    ngx_http_pay_status_counts_json(t, "answers", ngx_http_pay_status_classes,
                                    row->answers, 6);
    ngx_http_pay_status_counts_json(t, "refused", ngx_http_pay_refusal_names,
                                    row->refused, NGX_HTTP_PAY_REFUSALS);
    ngx_http_pay_health_json(t, cmcf, ch);

    ngx_http_pay_status_printf(t, "}");
}


/* who switched it at run time, when and why; nothing if nobody did */

static void
ngx_http_pay_status_switch_json(ngx_http_pay_status_text_t *t,
    ngx_http_pay_channel_main_conf_t *cmcf, ngx_http_pay_channel_t *ch)
{
    u_char                 *p, reason[6 * NGX_HTTP_PAY_REASON_MAX];
    size_t                  len, n;
    ngx_uint_t              switched;
    ngx_http_pay_switch_t   sw;

    ngx_http_pay_ledger_lock(cmcf->ledger);

    switched = cmcf->ledger->states[ch->row];
    sw = cmcf->ledger->rows[ch->row].sw;

    ngx_http_pay_ledger_unlock(cmcf->ledger);

    if (!switched) {
        return;
    }

    len = (u_char *) ngx_escape_json(reason, sw.reason, sw.len) - reason;

    ngx_http_pay_status_printf(t, ",\"switch\":{\"at\":%T,", sw.at);

    if (sw.uid != NGX_HTTP_PAY_UID_NOBODY) {
        ngx_http_pay_status_printf(t, "\"uid\":%uD,", (uint32_t) sw.uid);
    }

    ngx_http_pay_status_printf(t, "\"reason\":\"");

    for (p = reason; p < reason + len; p += n) {
        n = ngx_min((size_t) (reason + len - p), NGX_HTTP_PAY_STATUS_LINE / 2);
        ngx_http_pay_status_printf(t, "%*s", n, p);
    }

    ngx_http_pay_status_printf(t, "\"}");
}


static void
ngx_http_pay_status_counts_json(ngx_http_pay_status_text_t *t,
    const char *name, ngx_str_t *keys, ngx_atomic_t *values, ngx_uint_t n)
{
    ngx_uint_t  i;

    ngx_http_pay_status_printf(t, ",\"%s\":{", name);

    for (i = 0; i < n; i++) {
        ngx_http_pay_status_printf(t, "%s\"%V\":%uA", i ? "," : "", &keys[i],
                                   values[i]);
    }

    ngx_http_pay_status_printf(t, "}");
}
