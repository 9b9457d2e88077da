/*
 * A call's place at its channel: getting it, at once or after waiting, and
 * giving it back.
 */

#include "ngx_http_pay_egress.h"

#include "ngx_pay_module/cap/ngx_http_pay_lease.h"
#include "ngx_pay_module/channel/ngx_http_pay_health.h"
#include "ngx_pay_module/channel/ngx_http_pay_rate.h"

#include "core/clock.h"


static ngx_int_t ngx_http_pay_egress_wait(ngx_http_request_t *r,
    ngx_http_pay_egress_ctx_t *ctx);
static ngx_msec_t ngx_http_pay_egress_patience(ngx_http_pay_egress_ctx_t *ctx,
    ngx_msec_t most);
static ngx_int_t ngx_http_pay_egress_watch(ngx_http_request_t *r);
static void ngx_http_pay_egress_waited(ngx_http_pay_wait_t *wait,
    ngx_int_t rc);
static ngx_int_t ngx_http_pay_egress_turn(ngx_http_request_t *r,
    ngx_http_pay_egress_ctx_t *ctx);
static void ngx_http_pay_egress_paused(ngx_event_t *ev);
static void ngx_http_pay_egress_go_on(ngx_http_request_t *r);
static ngx_event_t *ngx_http_pay_egress_event(ngx_http_request_t *r,
    ngx_http_pay_egress_ctx_t *ctx, ngx_event_handler_pt handler);
static ngx_int_t ngx_http_pay_egress_bound(ngx_http_request_t *r,
    ngx_http_pay_egress_ctx_t *ctx);
static void ngx_http_pay_egress_cut(ngx_event_t *ev);


ngx_int_t
ngx_http_pay_egress_place(ngx_http_request_t *r,
    ngx_http_pay_egress_ctx_t *ctx, ngx_uint_t *reason)
{
    ngx_int_t                          rc;
    ngx_http_pay_channel_main_conf_t  *cmcf;

    cmcf = ctx->main->channels;

    if (ctx->kind == NGX_HTTP_PAY_KIND_PAY
        && !ngx_http_pay_health_admit(cmcf, ctx->channel, 0,
                                      r->connection->log))
    {
        *reason = NGX_HTTP_PAY_REFUSED_OUT;
        return NGX_BUSY;
    }

    if (!ctx->held) {

        /* the context's clean-up, which gives the place back, exists already */

        rc = ngx_http_pay_channel_acquire(cmcf, ctx->channel, ctx->kind);

        /* one that was refused before always waits, and not behind new ones */

        if (rc != NGX_OK && (ctx->channel->queue || ctx->again)) {
            rc = ngx_http_pay_egress_wait(r, ctx);
        }

        if (rc != NGX_OK) {
            *reason = NGX_HTTP_PAY_REFUSED_BUSY;
            return rc;
        }

        ctx->held = 1;
    }

    if (!ctx->rated) {
        rc = ngx_http_pay_egress_turn(r, ctx);

        if (rc != NGX_OK) {
            *reason = NGX_HTTP_PAY_REFUSED_RATE;
            return rc;
        }
    }

    if (ctx->channel->shared && ngx_http_pay_egress_bound(r, ctx) != NGX_OK) {
        *reason = NGX_HTTP_PAY_REFUSED_BUSY;
        return NGX_BUSY;
    }

    /* at last: who takes one of the few places to probe also goes */

    if (ctx->kind == NGX_HTTP_PAY_KIND_PAY
        && !ngx_http_pay_health_admit(cmcf, ctx->channel, 1,
                                      r->connection->log))
    {
        *reason = NGX_HTTP_PAY_REFUSED_OUT;
        return NGX_BUSY;
    }

    return NGX_OK;
}


/*
 * A place that several nodes share may be another one's later: a call that a
 * channel keeps open byte by byte is cut off.
 */

static ngx_int_t
ngx_http_pay_egress_bound(ngx_http_request_t *r, ngx_http_pay_egress_ctx_t *ctx)
{
    ctx->bound = ngx_http_pay_egress_event(r, ctx, ngx_http_pay_egress_cut);
    if (ctx->bound == NULL) {
        return NGX_ERROR;
    }

    ngx_add_timer(ctx->bound, ngx_http_pay_lease_call(ctx->channel));

    return NGX_OK;
}


/* data is the connection, for the debug log; the context stands behind */

static ngx_event_t *
ngx_http_pay_egress_event(ngx_http_request_t *r, ngx_http_pay_egress_ctx_t *ctx,
    ngx_event_handler_pt handler)
{
    ngx_event_t  *ev;

    ev = ngx_pcalloc(r->pool, sizeof(ngx_event_t) + sizeof(void *));
    if (ev == NULL) {
        return NULL;
    }

    *(ngx_http_pay_egress_ctx_t **) (ev + 1) = ctx;

    ev->handler = handler;
    ev->data = r->connection;
    ev->log = r->connection->log;

    return ev;
}


static void
ngx_http_pay_egress_cut(ngx_event_t *ev)
{
    ngx_connection_t           *c;
    ngx_http_pay_egress_ctx_t  *ctx;

    ctx = *(ngx_http_pay_egress_ctx_t **) (ev + 1);
    c = ctx->upstream ? ctx->upstream->peer.connection : NULL;

    if (ctx->held && c) {
        ngx_log_error(NGX_LOG_ERR, ev->log, 0,
                      "pay_channel \"%V\": attempt %uL lasts longer than all "
                      "time-outs, cut off", &ctx->channel->name, ctx->attempt);

        /* the upstream module finds it closed and ends the call as any other */

        (void) shutdown(c->fd, SHUT_RDWR);
    }
}


/* the cap is full: waits until it is not, but not until it is too late */

static ngx_int_t
ngx_http_pay_egress_wait(ngx_http_request_t *r, ngx_http_pay_egress_ctx_t *ctx)
{
    ngx_int_t             rc;
    ngx_http_pay_wait_t  *wait;

    wait = ngx_pcalloc(r->pool, sizeof(ngx_http_pay_wait_t));
    if (wait == NULL) {
        return NGX_BUSY;
    }

    wait->handler = ngx_http_pay_egress_waited;
    wait->data = ctx;
    wait->connection = r->connection;
    wait->again = ctx->again;

    rc = ngx_http_pay_queue_enter(ctx->main->channels, ctx->channel, ctx->kind,
                                  ngx_http_pay_egress_patience(ctx,
                                                 ctx->channel->queue_timeout),
                                  wait);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    ctx->wait = wait;

    if (ngx_http_pay_egress_watch(r) != NGX_OK) {
        ngx_http_pay_queue_cancel(ctx->main->channels, wait);
        return NGX_BUSY;
    }

    return NGX_AGAIN;
}


/*
 * How long it may wait, in ms, of most.  Who waits until send_before is told
 * that it is late, though the timer counts from a time read earlier.
 */

static ngx_msec_t
ngx_http_pay_egress_patience(ngx_http_pay_egress_ctx_t *ctx, ngx_msec_t most)
{
    int64_t  left;

    left = (ctx->send_before - clock_read_boot_us()) / USEC_PER_MSEC + 1;
    ctx->pressed = left < (int64_t) most;

    return ctx->pressed ? (ngx_msec_t) ngx_max(left, 1) : most;
}


/* a worker that goes away waits no more */

static ngx_int_t
ngx_http_pay_egress_watch(ngx_http_request_t *r)
{
    ngx_event_t  *rev;

    r->read_event_handler = ngx_http_test_reading;
    rev = r->connection->read;

    if (rev->ready) {
        ngx_post_event(rev, &ngx_posted_events);
        return NGX_OK;
    }

    return ngx_handle_read_event(rev, 0);
}


/* its turn in the rate, now or after a pause that is not too long for it */

static ngx_int_t
ngx_http_pay_egress_turn(ngx_http_request_t *r, ngx_http_pay_egress_ctx_t *ctx)
{
    ngx_msec_t  patience, wait;

    patience = ngx_http_pay_egress_patience(ctx,
                            (ctx->again ? 2 : 1) * ctx->channel->queue_timeout);

    if (ngx_http_pay_rate_take(ctx->main->channels, ctx->channel, ctx->kind,
                               patience, &wait)
        != NGX_OK)
    {
        return NGX_BUSY;
    }

    ctx->rated = 1;

    if (wait == 0) {
        return NGX_OK;
    }

    ctx->pause = ngx_http_pay_egress_event(r, ctx, ngx_http_pay_egress_paused);

    if (ctx->pause == NULL || ngx_http_pay_egress_watch(r) != NGX_OK) {
        return NGX_BUSY;
    }

    ngx_add_timer(ctx->pause, wait);

    return NGX_AGAIN;
}


static void
ngx_http_pay_egress_paused(ngx_event_t *ev)
{
    ngx_http_pay_egress_ctx_t  *ctx;

    ctx = *(ngx_http_pay_egress_ctx_t **) (ev + 1);

    ngx_http_pay_egress_go_on(ctx->request);
}


static void
ngx_http_pay_egress_waited(ngx_http_pay_wait_t *wait, ngx_int_t rc)
{
    ngx_http_pay_egress_ctx_t  *ctx = wait->data;

    if (rc == NGX_OK) {
        ctx->held = 1;

    } else {
        ctx->gave_up = 1;
    }

    ngx_http_pay_egress_go_on(ctx->request);
}


static void
ngx_http_pay_egress_go_on(ngx_http_request_t *r)
{
    ngx_connection_t  *c;

    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    r->read_event_handler = ngx_http_block_reading;

    ngx_http_core_run_phases(r);
    ngx_http_run_posted_requests(c);
}


void
ngx_http_pay_egress_release(ngx_http_pay_egress_ctx_t *ctx)
{
    if (ctx->held) {
        ctx->held = 0;

        if (ctx->bound && ctx->bound->timer_set) {
            ngx_del_timer(ctx->bound);
        }

        ngx_http_pay_channel_release(ctx->main->channels, ctx->channel,
                                     ctx->kind);
    }
}


/* it was not passed on and will not be */

void
ngx_http_pay_egress_leave(ngx_http_pay_egress_ctx_t *ctx)
{
    if (ctx->wait) {
        ngx_http_pay_queue_cancel(ctx->main->channels, ctx->wait);
    }

    if (ctx->pause && ctx->pause->timer_set) {
        ngx_del_timer(ctx->pause);
    }

    ngx_http_pay_egress_release(ctx);

    if (ctx->recorded) {
        ctx->recorded = 0;
        ngx_http_pay_attempts_forget(ctx->main->attempts, ctx->attempt);
    }
}
