/*
 * Addresses of channels whose endpoint is a name.  Resolved at run time, so
 * that a name that does not resolve stops its own channel only.
 *
 * One query per channel and worker at a time.  Calls wait only when there is
 * no address at all; expired ones are used while they are asked for again.
 */

#include "ngx_http_pay_egress.h"


#define NGX_HTTP_PAY_RESOLVE_RETRY  10      /* seconds with old addresses */


static void ngx_http_pay_resolve_handler(ngx_resolver_ctx_t *rctx);
static void ngx_http_pay_resolve_set(ngx_http_pay_peers_t *peers,
    ngx_resolver_ctx_t *rctx);
static ngx_int_t ngx_http_pay_resolve_ask(ngx_http_request_t *r,
    ngx_http_pay_peers_t *peers);


ngx_int_t
ngx_http_pay_resolve(ngx_http_request_t *r, ngx_http_pay_egress_ctx_t *ctx)
{
    ngx_http_pay_peers_t  *peers;

    peers = ctx->channel->peers;

    if (!ctx->channel->by_name || peers->valid > ngx_time()) {
        return NGX_OK;
    }

    if (ctx->asked) {
        return peers->naddresses ? NGX_OK : NGX_ERROR;
    }

    if (ctx->queued) {
        return NGX_AGAIN;
    }

    if (peers->query == NULL
        && ngx_http_pay_resolve_ask(r, peers) != NGX_OK)
    {
        return peers->naddresses ? NGX_OK : NGX_ERROR;
    }

    if (peers->naddresses) {
        return NGX_OK;
    }

    if (peers->query == NULL) {

        /* answered at once, and not with addresses */

        return NGX_ERROR;
    }

    ngx_queue_insert_tail(&peers->waiting, &ctx->waiting);
    ctx->queued = 1;

    return NGX_AGAIN;
}


void
ngx_http_pay_resolve_cancel(ngx_http_pay_egress_ctx_t *ctx)
{
    if (ctx->queued) {
        ngx_queue_remove(&ctx->waiting);
        ctx->queued = 0;
    }
}


static ngx_int_t
ngx_http_pay_resolve_ask(ngx_http_request_t *r, ngx_http_pay_peers_t *peers)
{
    ngx_resolver_ctx_t        *rctx, temp;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    temp.name = peers->channel->url.host;

    rctx = ngx_resolve_start(clcf->resolver, &temp);

    if (rctx == NULL || rctx == NGX_NO_RESOLVER) {
        return NGX_ERROR;
    }

    rctx->name = peers->channel->url.host;
    rctx->handler = ngx_http_pay_resolve_handler;
    rctx->data = peers;
    rctx->timeout = ngx_min(clcf->resolver_timeout,
                            peers->channel->connect_timeout);

    peers->query = rctx;

    if (ngx_resolve_name(rctx) != NGX_OK) {
        peers->query = NULL;
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_pay_resolve_handler(ngx_resolver_ctx_t *rctx)
{
    ngx_queue_t                *q;
    ngx_connection_t           *c;
    ngx_http_request_t         *r;
    ngx_http_pay_peers_t       *peers;
    ngx_http_pay_egress_ctx_t  *ctx;

    peers = rctx->data;

    if (rctx->state) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "pay_channel \"%V\": %V could not be resolved (%i: %s)",
                      &peers->channel->name, &rctx->name, rctx->state,
                      ngx_resolver_strerror(rctx->state));

        if (peers->naddresses) {
            peers->valid = ngx_time() + NGX_HTTP_PAY_RESOLVE_RETRY;
        }

    } else {
        ngx_http_pay_resolve_set(peers, rctx);
    }

    ngx_resolve_name_done(rctx);
    peers->query = NULL;

    /* none is queued when this is called from inside ngx_resolve_name() */

    while (!ngx_queue_empty(&peers->waiting)) {
        q = ngx_queue_head(&peers->waiting);
        ctx = ngx_queue_data(q, ngx_http_pay_egress_ctx_t, waiting);

        ngx_http_pay_resolve_cancel(ctx);
        ctx->asked = 1;

        r = ctx->request;
        c = r->connection;

        ngx_http_set_log_request(c->log, r);

        ngx_http_core_run_phases(r);
        ngx_http_run_posted_requests(c);
    }
}


static void
ngx_http_pay_resolve_set(ngx_http_pay_peers_t *peers,
    ngx_resolver_ctx_t *rctx)
{
    ngx_uint_t               i, n;
    ngx_http_pay_address_t  *a;

    n = ngx_min(rctx->naddrs, NGX_HTTP_PAY_ADDRESSES_MAX);

    for (i = 0; i < n; i++) {
        a = &peers->addresses[i];

        a->socklen = rctx->addrs[i].socklen;
        ngx_memcpy(&a->sockaddr, rctx->addrs[i].sockaddr, a->socklen);
        ngx_inet_set_port(&a->sockaddr.sockaddr, peers->channel->url.port);

        a->name.data = a->text;
        a->name.len = ngx_sock_ntop(&a->sockaddr.sockaddr, a->socklen,
                                    a->text, NGX_SOCKADDR_STRLEN, 1);
    }

    peers->naddresses = n;
    peers->valid = ngx_max(rctx->valid, ngx_time() + 1);
}
