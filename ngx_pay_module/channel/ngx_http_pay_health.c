/*
 * See ngx_http_pay_health.h.
 *
 * Our own network: when the last healthy channel should open while others are
 * out already, it is kept, since an unlikely disease of everybody is a likely
 * one of ourselves.  "Last" is asked for each of its methods and for all of
 * them together.  The log says so at level crit, calls leave by the next
 * address of "bind".
 */

#include "ngx_http_pay_health.h"


/* what of a breaker is worth a line in the log when it changes */

typedef struct {
    u_char                        state;
    u_char                        step;
    unsigned                      kept:1;
} ngx_http_pay_health_seen_t;


static struct breaker *ngx_http_pay_health_begin(
    ngx_http_pay_channel_main_conf_t *cmcf, ngx_http_pay_channel_t *ch,
    ngx_http_pay_health_seen_t *seen);
static void ngx_http_pay_health_end(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_http_pay_health_seen_t *seen,
    ngx_log_t *log);
static void ngx_http_pay_health_settle(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch);
static void ngx_http_pay_health_act(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, enum breaker_reason reason);
static ngx_uint_t ngx_http_pay_health_last(
    ngx_http_pay_channel_main_conf_t *cmcf, ngx_http_pay_channel_t *ch,
    uint32_t methods);
static void ngx_http_pay_health_log(ngx_http_pay_channel_t *ch,
    ngx_http_pay_health_seen_t *was, struct breaker *b, ngx_log_t *log);


#define ngx_http_pay_health_now()  ((int64_t) ngx_current_msec)


/*
 * What a class says about the channel.  Not about the payment: a card without
 * money is good service.
 */

#define NGX_HTTP_PAY_OUTCOME_NONE  0
#define NGX_HTTP_PAY_OUTCOME_GOOD  1
#define NGX_HTTP_PAY_OUTCOME_BAD   2
#define NGX_HTTP_PAY_OUTCOME_PAY   3    /* bad for new payments only */

static u_char  ngx_http_pay_outcomes[ANSWER_CLASS_COUNT] = {
    [CLASS_UNKNOWN] = NGX_HTTP_PAY_OUTCOME_BAD,
    [CLASS_SUCCESS] = NGX_HTTP_PAY_OUTCOME_GOOD,
    [CLASS_ACCEPTED] = NGX_HTTP_PAY_OUTCOME_GOOD,
    [CLASS_USER_PAYING] = NGX_HTTP_PAY_OUTCOME_GOOD,
    [CLASS_FAILED] = NGX_HTTP_PAY_OUTCOME_GOOD,
    [CLASS_REFUSED] = NGX_HTTP_PAY_OUTCOME_PAY,
    [CLASS_CLOSED] = NGX_HTTP_PAY_OUTCOME_GOOD,
    [CLASS_NOT_FOUND] = NGX_HTTP_PAY_OUTCOME_GOOD,
    [CLASS_TOO_FREQUENT] = NGX_HTTP_PAY_OUTCOME_PAY,
    [CLASS_DUPLICATE] = NGX_HTTP_PAY_OUTCOME_GOOD,
    [CLASS_NOT_SENT] = NGX_HTTP_PAY_OUTCOME_NONE
};


void
ngx_http_pay_health_call(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, struct breaker_call *call, ngx_log_t *log)
{
    struct breaker              *b;
    enum breaker_reason          reason;
    ngx_http_pay_health_seen_t   seen;

    b = ngx_http_pay_health_begin(cmcf, ch, &seen);

    reason = breaker_call(b, &ch->breaker, ngx_http_pay_health_now(), call);
    ngx_http_pay_health_act(cmcf, ch, reason);

    ngx_http_pay_health_end(cmcf, ch, &seen, log);
}


void
ngx_http_pay_health_report(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_http_pay_outcome_t *outcomes,
    ngx_uint_t n, ngx_log_t *log)
{
    uint32_t                    *counts;
    ngx_uint_t                   i, verdict;
    struct breaker              *b;
    enum breaker_reason          reason;
    struct breaker_answers       answers;
    ngx_http_pay_health_seen_t   seen;
    ngx_http_pay_channel_row_t  *row;

    row = ngx_http_pay_channel_row(cmcf, ch);
    ngx_memzero(&answers, sizeof(struct breaker_answers));

    b = ngx_http_pay_health_begin(cmcf, ch, &seen);

    for (i = 0; i < n; i++) {
        row->outcomes[outcomes[i].class] += outcomes[i].count;
        row->outcome_ms += outcomes[i].ms;

        verdict = ngx_http_pay_outcomes[outcomes[i].class];

        if (verdict == NGX_HTTP_PAY_OUTCOME_PAY) {
            verdict = outcomes[i].kind == NGX_HTTP_PAY_KIND_PAY
                      ? NGX_HTTP_PAY_OUTCOME_BAD : NGX_HTTP_PAY_OUTCOME_NONE;
        }

        if (verdict == NGX_HTTP_PAY_OUTCOME_NONE) {
            continue;
        }

        counts = verdict == NGX_HTTP_PAY_OUTCOME_GOOD ? answers.good
                                                      : answers.bad;
        counts[BREAKER_ALL] += outcomes[i].count;

        if (outcomes[i].kind == NGX_HTTP_PAY_KIND_PAY) {
            counts[BREAKER_PAY] += outcomes[i].count;
        }
    }

    if (answers.good[BREAKER_ALL] || answers.bad[BREAKER_ALL]) {
        reason = breaker_outcomes(b, &ch->breaker, ngx_http_pay_health_now(),
                                  &answers);
        ngx_http_pay_health_act(cmcf, ch, reason);
    }

    ngx_http_pay_health_end(cmcf, ch, &seen, log);
}


ngx_uint_t
ngx_http_pay_health_admit(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_uint_t take, ngx_log_t *log)
{
    ngx_uint_t                   ok;
    struct breaker              *b;
    ngx_http_pay_health_seen_t   seen;

    if (!cmcf->sh->ill[ch->row] || !ch->breaker.enabled) {
        return 1;
    }

    b = ngx_http_pay_health_begin(cmcf, ch, &seen);

    breaker_tick(b, &ch->breaker, ngx_http_pay_health_now());
    ok = take ? breaker_admit(b) : b->state != BREAKER_OPEN;

    ngx_http_pay_health_end(cmcf, ch, &seen, log);

    return ok;
}


void
ngx_http_pay_health_reset(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_log_t *log)
{
    struct breaker              *b;
    ngx_http_pay_health_seen_t   seen;

    b = ngx_http_pay_health_begin(cmcf, ch, &seen);

    breaker_tick(b, &ch->breaker, ngx_http_pay_health_now());
    breaker_reset(b);

    ngx_http_pay_health_end(cmcf, ch, &seen, log);
}


/* one of the ill channels has its next step due, perhaps */

void
ngx_http_pay_health_pass_time(ngx_http_pay_channel_main_conf_t *cmcf)
{
    ngx_uint_t                    i;
    struct breaker               *b;
    ngx_http_pay_channel_t      **chp, *ch;
    ngx_http_pay_health_seen_t    seen;

    if (ngx_http_pay_health_now() < cmcf->sh->due) {
        return;
    }

    /* those that are settled below bring it down again */

    cmcf->sh->due = INT64_MAX;

    chp = cmcf->channels.elts;

    for (i = 0; i < cmcf->channels.nelts; i++) {
        ch = chp[i];

        if (!cmcf->sh->ill[ch->row]) {
            continue;
        }

        b = ngx_http_pay_health_begin(cmcf, ch, &seen);
        breaker_tick(b, &ch->breaker, ngx_http_pay_health_now());
        ngx_http_pay_health_end(cmcf, ch, &seen, ngx_cycle->log);
    }
}


void
ngx_http_pay_health_take_offer(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch)
{
    struct breaker              *b;
    ngx_http_pay_health_seen_t   seen;

    if (!cmcf->sh->ill[ch->row]) {
        return;
    }

    b = ngx_http_pay_health_begin(cmcf, ch, &seen);
    (void) breaker_offer(b);
    ngx_http_pay_health_end(cmcf, ch, &seen, ngx_cycle->log);
}


static struct breaker *
ngx_http_pay_health_begin(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_http_pay_health_seen_t *seen)
{
    struct breaker  *b;

    ngx_shmtx_lock(&cmcf->shpool->mutex);

    b = &ngx_http_pay_channel_row(cmcf, ch)->breaker;

    seen->state = b->state;
    seen->step = b->step;
    seen->kept = b->kept;

    return b;
}


static void
ngx_http_pay_health_end(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_http_pay_health_seen_t *seen,
    ngx_log_t *log)
{
    struct breaker  *b, copy;

    b = &ngx_http_pay_channel_row(cmcf, ch)->breaker;

    ngx_http_pay_health_settle(cmcf, ch);

    if (b->state == seen->state && b->step == seen->step
        && b->kept == seen->kept)
    {
        ngx_shmtx_unlock(&cmcf->shpool->mutex);
        return;
    }

    copy = *b;

    ngx_shmtx_unlock(&cmcf->shpool->mutex);

    ngx_http_pay_health_log(ch, seen, &copy, log);
}


/* with the zone locked: what the choice of a channel looks at */

static void
ngx_http_pay_health_settle(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch)
{
    u_char                      ill;
    ngx_uint_t                  share;
    struct breaker             *b;
    ngx_http_pay_channel_sh_t  *sh;

    sh = cmcf->sh;
    b = &sh->rows[ch->row].breaker;

    ill = (b->state != BREAKER_CLOSED);
    share = breaker_share(b);

    if ((b->state == BREAKER_PROBING && b->offers) || !ch->breaker.enabled) {
        share = NGX_HTTP_PAY_SHARE_ALL;
    }

    sh->shares[ch->row] = share;
    sh->nill += ill - sh->ill[ch->row];
    sh->ill[ch->row] = ill;

    if (ill && b->until_ms < sh->due) {
        sh->due = b->until_ms;
    }
}


static void
ngx_http_pay_health_act(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, enum breaker_reason reason)
{
    uint32_t                     m;
    ngx_uint_t                   keep;
    struct breaker              *b;
    ngx_http_pay_channel_row_t  *row;

    row = ngx_http_pay_channel_row(cmcf, ch);
    b = &row->breaker;

    if (reason == BREAKER_FINE || !ch->breaker.enabled) {
        return;
    }

    keep = 0;

    if (b->state != BREAKER_PROBING) {
        keep = ngx_http_pay_health_last(cmcf, ch, 0);

        for (m = 1; m && !keep; m <<= 1) {
            keep = (ch->methods & m) && ngx_http_pay_health_last(cmcf, ch, m);
        }
    }

    if (keep) {
        cmcf->sh->suspected += !b->kept;
        breaker_keep(b, reason);
        return;
    }

    row->opened++;
    breaker_open(b, &ch->breaker, ngx_http_pay_health_now(), reason);
}


/* others with these methods are ill, and none is well; 0: any method */

static ngx_uint_t
ngx_http_pay_health_last(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, uint32_t methods)
{
    ngx_uint_t                    i, ill;
    ngx_http_pay_channel_t      **chp, *other;

    chp = cmcf->channels.elts;
    ill = 0;

    for (i = 0; i < cmcf->channels.nelts; i++) {
        other = chp[i];

        if (other == ch
            || (methods && !(other->methods & methods))
            || ngx_http_pay_channel_state(cmcf, other)
               != NGX_HTTP_PAY_STATE_ON)
        {
            continue;
        }

        if (!cmcf->sh->ill[other->row] || !other->breaker.enabled) {
            return 0;
        }

        ill++;
    }

    return ill > 0;
}


static void
ngx_http_pay_health_log(ngx_http_pay_channel_t *ch,
    ngx_http_pay_health_seen_t *was, struct breaker *b, ngx_log_t *log)
{
    ngx_uint_t  level;

    if (b->kept && !was->kept) {
        ngx_log_error(NGX_LOG_CRIT, log, 0,
                      "pay_channel \"%V\" should open (%s), but others are out "
                      "already and it is the last: kept, is our own network "
                      "sick?", &ch->name, breaker_reason_name(b->reason));
        return;
    }

    if (!ch->breaker.enabled) {
        return;
    }

    level = NGX_LOG_NOTICE;

    if (b->state == BREAKER_OPEN) {
        level = was->state == BREAKER_CLOSED ? NGX_LOG_ERR : NGX_LOG_WARN;
    }

    ngx_log_error(level, log, 0,
                  "pay_channel \"%V\" is %s: level %s, reason %s, "
                  "%uD%% of new payments",
                  &ch->name, breaker_state_name(b->state),
                  breaker_level_name(breaker_level(b, &ch->breaker)),
                  breaker_reason_name(b->reason), breaker_share(b));
}


/* called by the master, before there are processes or with those of before */

void
ngx_http_pay_health_new(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_row_t *row)
{
    ngx_uint_t                  i;
    ngx_http_pay_channel_sh_t  *sh;

    sh = cmcf->sh;
    i = row - sh->rows;

    sh->nill -= sh->ill[i];
    sh->ill[i] = 0;
    sh->shares[i] = NGX_HTTP_PAY_SHARE_ALL;
}


void
ngx_http_pay_health_configured(ngx_http_pay_channel_main_conf_t *cmcf)
{
    ngx_uint_t                i;
    ngx_http_pay_channel_t  **chp;

    chp = cmcf->channels.elts;

    for (i = 0; i < cmcf->channels.nelts; i++) {
        ngx_shmtx_lock(&cmcf->shpool->mutex);

        if (!chp[i]->breaker.enabled) {
            breaker_reset(&ngx_http_pay_channel_row(cmcf, chp[i])->breaker);
        }

        ngx_http_pay_health_settle(cmcf, chp[i]);

        ngx_shmtx_unlock(&cmcf->shpool->mutex);
    }
}
