/*
 * Health of channels: core/breaker.h in the zone's rows, fed with what becomes
 * of the egress's calls and with what workers read in the answers.
 *
 * Everything that changes a breaker happens under the zone's mutex.  What the
 * choice of a channel needs of it stands beside the rows, densely:
 * sh->shares[row], percent of new payments that may go there.  It is 100 for
 * a healthy channel, 0 for one that is out.  How a choice asks:
 *
 *     ngx_http_pay_health_refresh(cmcf);      once, before: time goes on
 *     sh->shares[row]                         of each candidate, see
 *                                             core/route.h
 *     ngx_http_pay_health_chosen(cmcf, ch);   for the first of the chosen
 *
 * A channel that is probed has a share of 100 as long as it has offers left;
 * chosen takes one.  While one comes back its share is a stable part of the
 * orders, by their hash; it counts only where there is another channel.
 */

#ifndef _NGX_HTTP_PAY_HEALTH_H_INCLUDED_
#define _NGX_HTTP_PAY_HEALTH_H_INCLUDED_

#include "ngx_http_pay_channel.h"

#include "ngx_pay_module/status/ngx_http_pay_status.h"

#include "core/json.h"


#define NGX_HTTP_PAY_SHARE_ALL  100


/* a row that becomes another channel's: healthy */
void ngx_http_pay_health_new(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_row_t *row);
/* after a reload: a channel whose breaker was switched off is healthy */
void ngx_http_pay_health_configured(ngx_http_pay_channel_main_conf_t *cmcf);

/* a call of the egress ended, or could not even be made */
void ngx_http_pay_health_call(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, struct breaker_call *call, ngx_log_t *log);

/*
 * Workers read answers of one channel: how many of each class, whose sum took
 * so many ms.  kind: NGX_HTTP_PAY_KIND_...
 */
typedef struct {
    ngx_uint_t  kind;
    ngx_uint_t  class;      /* enum answer_class */
    ngx_uint_t  count;
    ngx_uint_t  ms;
} ngx_http_pay_outcome_t;

void ngx_http_pay_health_report(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_http_pay_outcome_t *outcomes,
    ngx_uint_t n, ngx_log_t *log);

/*
 * 1: a new payment may be sent to the channel now.  take: it is sent now, and
 * counts as one of the few that probe; else only whether the channel is out.
 */
ngx_uint_t ngx_http_pay_health_admit(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_uint_t take, ngx_log_t *log);

/* which of the channel's exits is used now */
#define ngx_http_pay_health_exit(cmcf, ch)                                    \
    (&(ch)->binds[(cmcf)->sh->suspected % (ch)->nbinds])

/* an operator says that the channel is well */
void ngx_http_pay_health_reset(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_log_t *log);


/* for the choice of a channel */

void ngx_http_pay_health_pass_time(ngx_http_pay_channel_main_conf_t *cmcf);
void ngx_http_pay_health_take_offer(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch);

static ngx_inline void
ngx_http_pay_health_refresh(ngx_http_pay_channel_main_conf_t *cmcf)
{
    if (cmcf->sh->nill) {
        ngx_http_pay_health_pass_time(cmcf);
    }
}


static ngx_inline void
ngx_http_pay_health_chosen(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch)
{
    if (cmcf->sh->nill) {
        ngx_http_pay_health_take_offer(cmcf, ch);
    }
}


/* the status page */

void ngx_http_pay_health_prometheus(ngx_http_pay_status_text_t *t,
    ngx_http_pay_channel_main_conf_t *cmcf);
/* members of the channel's object */
void ngx_http_pay_health_json(ngx_http_pay_status_text_t *t,
    ngx_http_pay_channel_main_conf_t *cmcf, ngx_http_pay_channel_t *ch);

/* the control socket: "health":{"state","level","share","reason"} */
void ngx_http_pay_health_member(struct json_writer *w,
    ngx_http_pay_channel_main_conf_t *cmcf, ngx_http_pay_channel_t *ch);


#endif /* _NGX_HTTP_PAY_HEALTH_H_INCLUDED_ */
