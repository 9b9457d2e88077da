/*
 * The egress: calls of workers to channels.
 *
 * Life of a call: the module's PRECONTENT handler reads the body, resolves the
 * endpoint, checks, counts the call and remembers its attempt; proxy_pass
 * takes it through the balancer; the header filter adds Pay-Sent.  The context
 * lives in a clean-up of r->pool, so that internal redirects do not lose it.
 */

#ifndef _NGX_HTTP_PAY_EGRESS_H_INCLUDED_
#define _NGX_HTTP_PAY_EGRESS_H_INCLUDED_

#include "ngx_http_pay_attempts.h"

#include "ngx_pay_module/cap/ngx_http_pay_queue.h"
#include "ngx_pay_module/channel/ngx_http_pay_channel.h"
#include "ngx_pay_module/channel/ngx_http_pay_health.h"
#include "ngx_pay_module/channel/ngx_http_pay_rate.h"
#include "ngx_pay_module/request/ngx_http_pay_core.h"


/* the one upstream of all channels; its balancer asks the request's context */
#define NGX_HTTP_PAY_EGRESS_UPSTREAM  "pay-egress.internal"


/* a channel's addresses and connections in one worker */

#define NGX_HTTP_PAY_ADDRESSES_MAX  16

typedef struct {
    ngx_sockaddr_t                     sockaddr;
    socklen_t                          socklen;
    ngx_str_t                          name;
    u_char                             text[NGX_SOCKADDR_STRLEN];
} ngx_http_pay_address_t;


struct ngx_http_pay_peers_s {
    ngx_http_pay_channel_t            *channel;

    ngx_http_pay_address_t            *addresses;
    ngx_uint_t                         naddresses;
    ngx_uint_t                         current;     /* until it fails */

    /* names only */
    time_t                             valid;       /* addresses, until */
    ngx_resolver_ctx_t                *query;       /* in progress */
    ngx_queue_t                        waiting;     /* calls */

    ngx_queue_t                        idle;        /* connections */
    ngx_queue_t                        free;        /* places for them */

    void                              *session;     /* TLS */

    ngx_http_upstream_conf_t          *base;        /* proxy_pass's */
    ngx_http_upstream_conf_t          *conf;        /* this channel's of it */
};


typedef struct {
    ngx_http_pay_channel_main_conf_t  *channels;
    ngx_http_pay_attempts_t           *attempts;
    ngx_uint_t                         count;       /* of attempts */
    ngx_http_upstream_srv_conf_t      *upstream;
} ngx_http_pay_egress_main_conf_t;


typedef struct {
    ngx_flag_t                         enable;
    ngx_http_pay_where_t               where;
} ngx_http_pay_egress_loc_conf_t;


typedef struct {
    ngx_http_request_t                *request;
    ngx_http_pay_egress_main_conf_t   *main;
    ngx_http_pay_channel_t            *channel;     /* NULL: unknown */

    uint64_t                           attempt;     /* 0: none valid */
    ngx_uint_t                         kind;
    int64_t                            send_before; /* boot time, us */

    ngx_queue_t                        waiting;     /* for the resolver */
    ngx_http_pay_wait_t               *wait;        /* for a place, or NULL */
    ngx_event_t                       *bound;       /* ends a call, or NULL */
    ngx_event_t                       *pause;       /* for its rate, or NULL */

    /* the balancer's */
    ngx_http_upstream_t               *upstream;
    ngx_output_chain_filter_pt         output;
    void                              *output_ctx;
    ngx_int_t                        (*process_header)(ngx_http_request_t *r);
    ngx_uint_t                         http_version;
    ngx_http_pay_address_t             address;     /* as chosen */
    ngx_uint_t                         index;       /* its, in the list */
    ngx_uint_t                         status;      /* channel's, or 0 */
    ngx_msec_t                         latency;     /* until its header */
    ngx_msec_t                         begun;       /* when it was admitted */

    unsigned                           invalid:1;   /* headers make no sense */
    unsigned                           again:1;     /* was not sent before */
    unsigned                           body_read:1;
    unsigned                           in_handler:1;
    unsigned                           queued:1;    /* waiting is linked */
    unsigned                           asked:1;     /* the resolver, once */
    unsigned                           seen:1;      /* attempt seen before */
    unsigned                           recorded:1;  /* attempt, by this call */
    unsigned                           gave_up:1;   /* waited for nothing */
    unsigned                           pressed:1;   /* until send_before */
    unsigned                           rated:1;     /* counted in its rate */
    unsigned                           admitted:1;  /* to proxy_pass */
    unsigned                           held:1;      /* counted in flight */
    unsigned                           passed:1;    /* a byte may have left */
    unsigned                           answered:1;
    unsigned                           late:1;      /* when about to be sent */
    unsigned                           hurried:1;   /* to connect */
    unsigned                           judged:1;    /* by its health */
    unsigned                           cut:1;       /* answer ended early */
} ngx_http_pay_egress_ctx_t;


/* NULL when the request is no call; survives internal redirects */
ngx_http_pay_egress_ctx_t *ngx_http_pay_egress_get_ctx(ngx_http_request_t *r);

/* gives back the call's place in its channel, if it still has it */
void ngx_http_pay_egress_release(ngx_http_pay_egress_ctx_t *ctx);
/*
 * NGX_OK: a healthy channel, a place in its cap, a place in its rate.
 * NGX_AGAIN: waits for a place, the phases go on by themselves.  NGX_BUSY:
 * refused, *reason says why.
 */
ngx_int_t ngx_http_pay_egress_place(ngx_http_request_t *r,
    ngx_http_pay_egress_ctx_t *ctx, ngx_uint_t *reason);
/* a call that is not passed on: its place, its attempt, its turn */
void ngx_http_pay_egress_leave(ngx_http_pay_egress_ctx_t *ctx);


/* the request: what its Pay-* headers say, and taking them out */

void ngx_http_pay_egress_read_headers(ngx_http_request_t *r,
    ngx_http_pay_egress_ctx_t *ctx);
ngx_int_t ngx_http_pay_egress_strip(ngx_http_request_t *r);
ngx_int_t ngx_http_pay_egress_add_variables(ngx_conf_t *cf);


/* the answer */

void ngx_http_pay_egress_add_filter(void);
/* sends a refusal and ends the request; returns what the handler must */
ngx_int_t ngx_http_pay_egress_refuse(ngx_http_request_t *r,
    ngx_http_pay_egress_ctx_t *ctx, ngx_uint_t reason);
/* counts a refusal, of the channel or of none */
void ngx_http_pay_egress_count_refusal(ngx_http_pay_egress_ctx_t *ctx,
    ngx_uint_t reason);
/* tells the channel's health what became of the call, once; failed: nginx says */
void ngx_http_pay_egress_judge(ngx_http_pay_egress_ctx_t *ctx,
    ngx_uint_t failed);
/* counts what became of an admitted call */
void ngx_http_pay_egress_count(ngx_http_pay_egress_ctx_t *ctx);
/* NGX_HTTP_PAY_SENT_... */
ngx_uint_t ngx_http_pay_egress_sent(ngx_http_pay_egress_ctx_t *ctx);


/* the directive and its checks */

char *ngx_http_pay_egress_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_pay_egress_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);


/* idle connections of a channel */

/* one that is alive, or NULL */
ngx_connection_t *ngx_http_pay_idle_get(ngx_http_pay_peers_t *peers,
    ngx_peer_connection_t *pc);
/* NGX_OK: kept; NGX_DECLINED: the caller still has it */
ngx_int_t ngx_http_pay_idle_put(ngx_http_pay_peers_t *peers,
    ngx_peer_connection_t *pc);
ngx_int_t ngx_http_pay_idle_init(ngx_conf_t *cf, ngx_http_pay_peers_t *peers);


/* balancer */

ngx_int_t ngx_http_pay_balancer_init(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us);

#if (NGX_HTTP_SSL)

/* of the peer: sessions, and the channel's TLS alerts */
ngx_int_t ngx_http_pay_tls_set_session(ngx_peer_connection_t *pc, void *data);
void ngx_http_pay_tls_save_session(ngx_peer_connection_t *pc, void *data);
/* of the peers; a pool's cleanup */
void ngx_http_pay_tls_forget_session(void *data);

#endif

/*
 * Addresses of a channel: fixed ones, or what the resolver said last.
 * NGX_OK: there are some.  NGX_AGAIN: asked, the request goes on by itself
 * when the answer comes.  NGX_ERROR: there are none.
 */
ngx_int_t ngx_http_pay_resolve(ngx_http_request_t *r,
    ngx_http_pay_egress_ctx_t *ctx);
void ngx_http_pay_resolve_cancel(ngx_http_pay_egress_ctx_t *ctx);


extern ngx_module_t  ngx_http_pay_egress_module;


#endif /* _NGX_HTTP_PAY_EGRESS_H_INCLUDED_ */
