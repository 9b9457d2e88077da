/*
 * The balancer of the egress's one upstream: the peer is an address of the
 * channel that the request's context names.  It also gives the request the
 * channel's time-outs, and watches two moments that nginx does not report:
 * when the first byte is about to leave, and what the first line of the
 * answer is.
 *
 * Nothing is ever sent again: one try, proxy_next_upstream off, and a kept
 * connection is not marked as cached, which would give it another try.
 */

#include "ngx_http_pay_egress.h"

#include "core/clock.h"


static ngx_int_t ngx_http_pay_balancer_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
static ngx_http_upstream_conf_t *ngx_http_pay_balancer_conf(
    ngx_http_request_t *r, ngx_http_pay_egress_ctx_t *ctx);
static void ngx_http_pay_balancer_set_conf(ngx_http_upstream_conf_t *conf,
    ngx_http_upstream_conf_t *base, ngx_http_pay_channel_t *ch);
static ngx_int_t ngx_http_pay_balancer_get(ngx_peer_connection_t *pc,
    void *data);
static ngx_int_t ngx_http_pay_balancer_bind(ngx_peer_connection_t *pc,
    ngx_http_pay_egress_ctx_t *ctx);
static void ngx_http_pay_balancer_free(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state);
static ngx_int_t ngx_http_pay_balancer_output(void *data, ngx_chain_t *in);
static ngx_int_t ngx_http_pay_balancer_process_header(ngx_http_request_t *r);


ngx_int_t
ngx_http_pay_balancer_init(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us)
{
    ngx_uint_t                         i, k, n;
#if (NGX_HTTP_SSL)
    ngx_pool_cleanup_t                *cln;
#endif
    ngx_http_pay_peers_t              *peers;
    ngx_http_pay_channel_t           **chp;
    ngx_http_pay_channel_main_conf_t  *cmcf;

    us->peer.init = ngx_http_pay_balancer_init_peer;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_pay_channel_module);

    chp = cmcf->channels.elts;

    for (i = 0; i < cmcf->channels.nelts; i++) {

        peers = ngx_pcalloc(cf->pool, sizeof(ngx_http_pay_peers_t));
        if (peers == NULL) {
            return NGX_ERROR;
        }

        chp[i]->peers = peers;
        peers->channel = chp[i];
        ngx_queue_init(&peers->waiting);

#if (NGX_HTTP_SSL)

        cln = ngx_pool_cleanup_add(cf->pool, 0);
        if (cln == NULL) {
            return NGX_ERROR;
        }

        cln->handler = ngx_http_pay_tls_forget_session;
        cln->data = peers;

#endif

        n = chp[i]->by_name ? NGX_HTTP_PAY_ADDRESSES_MAX : chp[i]->url.naddrs;

        peers->addresses = ngx_pcalloc(cf->pool,
                                       n * sizeof(ngx_http_pay_address_t));
        if (peers->addresses == NULL) {
            return NGX_ERROR;
        }

        if (ngx_http_pay_idle_init(cf, peers) != NGX_OK) {
            return NGX_ERROR;
        }

        if (chp[i]->by_name) {
            continue;
        }

        for (k = 0; k < n; k++) {
            peers->addresses[k].socklen = chp[i]->url.addrs[k].socklen;
            peers->addresses[k].name = chp[i]->url.addrs[k].name;
            ngx_memcpy(&peers->addresses[k].sockaddr,
                       chp[i]->url.addrs[k].sockaddr,
                       chp[i]->url.addrs[k].socklen);
        }

        peers->naddresses = n;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_pay_balancer_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_upstream_t        *u;
    ngx_http_upstream_conf_t   *conf;
    ngx_http_pay_egress_ctx_t  *ctx;

    ctx = ngx_http_pay_egress_get_ctx(r);

    if (ctx == NULL || !ctx->held) {

        /* only the egress's own handler lets a request in here */

        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "request reached \"%V\" without pay_egress", &us->host);
        return NGX_ERROR;
    }

    conf = ngx_http_pay_balancer_conf(r, ctx);
    if (conf == NULL) {
        return NGX_ERROR;
    }

    u = r->upstream;
    u->conf = conf;

    ctx->upstream = u;
    ctx->http_version = r->http_version;

    ctx->output = u->output.output_filter;
    ctx->output_ctx = u->output.filter_ctx;
    u->output.output_filter = ngx_http_pay_balancer_output;
    u->output.filter_ctx = ctx;

    ctx->process_header = u->process_header;
    u->process_header = ngx_http_pay_balancer_process_header;

    u->peer.data = ctx;
    u->peer.get = ngx_http_pay_balancer_get;
    u->peer.free = ngx_http_pay_balancer_free;
    u->peer.tries = 1;

#if (NGX_HTTP_SSL)

    u->peer.set_session = ngx_http_pay_tls_set_session;
    u->peer.save_session = ngx_http_pay_tls_save_session;

    if (conf->ssl_name == NULL) {
        u->ssl_name = ctx->channel->tls_name;
    }

#endif

    return NGX_OK;
}


/*
 * proxy_pass's configuration with what the channel's block says.  Made once in
 * each process for the first egress location; a call through another one, or
 * with little time left, has its own.
 */

static ngx_http_upstream_conf_t *
ngx_http_pay_balancer_conf(ngx_http_request_t *r,
    ngx_http_pay_egress_ctx_t *ctx)
{
    int64_t                    left;
    ngx_pool_t                *pool;
    ngx_http_pay_peers_t      *peers;
    ngx_http_upstream_conf_t  *conf;

    peers = ctx->channel->peers;

    /* what could not be sent in time need not be connected for longer */

    left = (ctx->send_before - clock_read_boot_us()) / USEC_PER_MSEC;
    left = ngx_max(left, 1);
    left = ngx_min(left, (int64_t) ctx->channel->connect_timeout);
    ctx->hurried = (left < (int64_t) ctx->channel->connect_timeout);

    if (peers->base == r->upstream->conf
        && left == (int64_t) ctx->channel->connect_timeout)
    {
        return peers->conf;
    }

    pool = peers->base ? r->pool : ngx_cycle->pool;

    conf = ngx_palloc(pool, sizeof(ngx_http_upstream_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    ngx_http_pay_balancer_set_conf(conf, r->upstream->conf, ctx->channel);

    if (peers->base == NULL) {
        peers->base = r->upstream->conf;
        peers->conf = conf;

    } else {
        conf->connect_timeout = (ngx_msec_t) left;
    }

    return conf;
}


static void
ngx_http_pay_balancer_set_conf(ngx_http_upstream_conf_t *conf,
    ngx_http_upstream_conf_t *base, ngx_http_pay_channel_t *ch)
{
    *conf = *base;

    conf->connect_timeout = ch->connect_timeout;
    conf->send_timeout = ch->send_timeout;
    conf->read_timeout = ch->read_timeout;

    conf->next_upstream = NGX_CONF_BITMASK_SET|NGX_HTTP_UPSTREAM_FT_OFF;
    conf->next_upstream_tries = 1;

    /* a channel's headers do not steer nginx */

    conf->ignore_headers |= NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT
                            |NGX_HTTP_UPSTREAM_IGN_XA_EXPIRES
                            |NGX_HTTP_UPSTREAM_IGN_XA_LIMIT_RATE
                            |NGX_HTTP_UPSTREAM_IGN_XA_BUFFERING
                            |NGX_HTTP_UPSTREAM_IGN_XA_CHARSET;

#if (NGX_HTTP_SSL)
    conf->ssl_server_name = 1;
#endif
}


static ngx_int_t
ngx_http_pay_balancer_get(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_pay_egress_ctx_t  *ctx = data;

    ngx_connection_t        *c;
    ngx_http_pay_peers_t    *peers;
    ngx_http_pay_address_t  *a;

    peers = ctx->channel->peers;

    /* one address until it fails: kept connections and TLS sessions fit it */

    ctx->index = peers->current % peers->naddresses;

    if (ctx->channel->nbinds && ngx_http_pay_balancer_bind(pc, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    /* a copy: the resolver may change the list meanwhile */

    ctx->address = peers->addresses[ctx->index];
    a = &ctx->address;

    if (a->name.data == peers->addresses[ctx->index].text) {
        a->name.data = a->text;
    }

    pc->sockaddr = &a->sockaddr.sockaddr;
    pc->socklen = a->socklen;
    pc->name = &a->name;
    pc->cached = 0;
    pc->connection = NULL;

    c = ngx_http_pay_idle_get(peers, pc);

    if (c == NULL) {
        return NGX_OK;
    }

    c->log = pc->log;
    c->read->log = pc->log;
    c->write->log = pc->log;
    c->pool->log = pc->log;

    pc->connection = c;

    return NGX_DONE;
}


/*
 * Our own address that the call leaves from, and an address of the channel of
 * the same family: a name may have both.
 */

static ngx_int_t
ngx_http_pay_balancer_bind(ngx_peer_connection_t *pc,
    ngx_http_pay_egress_ctx_t *ctx)
{
    ngx_uint_t             n;
    ngx_http_pay_peers_t  *peers;

    peers = ctx->channel->peers;
    pc->local = ngx_http_pay_health_exit(ctx->main->channels, ctx->channel);

    for (n = 0; n < peers->naddresses; n++) {

        if (peers->addresses[ctx->index].sockaddr.sockaddr.sa_family
            == pc->local->sockaddr->sa_family)
        {
            return NGX_OK;
        }

        ctx->index = (ctx->index + 1) % peers->naddresses;
    }

    ngx_log_error(NGX_LOG_ERR, pc->log, 0,
                  "pay_channel \"%V\" has no address of the family of \"%V\"",
                  &ctx->channel->name, &pc->local->name);

    return NGX_ERROR;
}


static void
ngx_http_pay_balancer_free(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_http_pay_egress_ctx_t  *ctx = data;

    ngx_http_upstream_t   *u;
    ngx_http_pay_peers_t  *peers;

    u = ctx->upstream;
    peers = ctx->channel->peers;

    if (u->state && u->state->header_time != (ngx_msec_t) -1) {
        ctx->status = u->headers_in.status_n;
        ctx->latency = u->state->header_time;
    }

    if (u->pipe && !u->pipe->upstream_done
        && (u->pipe->upstream_error
            || (u->pipe->upstream_eof && u->pipe->length > 0)))
    {
        ctx->cut = 1;
    }

    ngx_http_pay_egress_judge(ctx, state & NGX_PEER_FAILED);

    if ((state & NGX_PEER_FAILED) && !ctx->passed && !ctx->late
        && peers->naddresses > 1
        && ctx->index == peers->current % peers->naddresses)
    {
        peers->current++;
    }

    if (!(state & NGX_PEER_FAILED) && u->keepalive && u->request_body_sent) {
        (void) ngx_http_pay_idle_put(peers, pc);
    }

    if (pc->tries) {
        pc->tries--;
    }

    /* the channel is done with this call; the worker may still be reading */

    ngx_http_pay_egress_release(ctx);
}


/* the way of the request's bytes to the connection */

static ngx_int_t
ngx_http_pay_balancer_output(void *data, ngx_chain_t *in)
{
    ngx_http_pay_egress_ctx_t  *ctx = data;

    if (!ctx->passed) {

        /* connecting and shaking hands took its time */

        if (clock_read_boot_us() >= ctx->send_before) {
            ctx->late = 1;
            ngx_http_pay_egress_count_refusal(ctx, NGX_HTTP_PAY_REFUSED_LATE);

            ngx_log_error(NGX_LOG_ERR, ctx->request->connection->log, 0,
                          "pay_channel \"%V\": too late to send attempt %uL",
                          &ctx->channel->name, ctx->attempt);
            return NGX_ERROR;
        }

        ctx->passed = 1;
    }

    return ctx->output(ctx->output_ctx, in);
}


/* called until the status line is there */

static ngx_int_t
ngx_http_pay_balancer_process_header(ngx_http_request_t *r)
{
    ngx_int_t                   rc;
    ngx_http_pay_egress_ctx_t  *ctx;

    ctx = r->upstream->peer.data;

    rc = ctx->process_header(r);

    /*
     * Without a status line nginx takes the bytes for HTTP/0.9 and would hand
     * them on without a header of its own: the channel could then write any
     * header, Pay-Sent too.
     */

    if (r->http_version == NGX_HTTP_VERSION_9
        && ctx->http_version != NGX_HTTP_VERSION_9)
    {
        r->http_version = ctx->http_version;
        return NGX_HTTP_UPSTREAM_INVALID_HEADER;
    }

    return rc;
}
