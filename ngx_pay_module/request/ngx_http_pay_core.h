/*
 * What the modules of the edge share: the request's context, refusals, the
 * shared zone's counters and the location's switches.
 *
 * Life of a context: made by the sign module's PREACCESS handler, kept in a
 * clean-up of r->pool (so that it survives internal redirects, which zero
 * r->ctx), released with the request.  Strings in it live as long as it does.
 */

#ifndef _NGX_HTTP_PAY_CORE_H_INCLUDED_
#define _NGX_HTTP_PAY_CORE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_pay_module/conf/ngx_http_pay_conf.h"

#include "core/api.h"
#include "core/arena.h"
#include "core/problem.h"
#include "core/scheme.h"


/* borders between nginx's strings and slices */

static ngx_inline struct slice
ngx_pay_slice(ngx_str_t s)
{
    return slice_n(s.data, s.len);
}


static ngx_inline ngx_str_t
ngx_pay_str(struct slice s)
{
    ngx_str_t  str;

    str.len = s.n;
    str.data = (u_char *) (uintptr_t) s.p;

    return str;
}


typedef struct ngx_pay_key_s        ngx_pay_key_t;
typedef struct ngx_pay_redis_op_s   ngx_pay_redis_op_t;
typedef struct ngx_pay_key_wait_s   ngx_pay_key_wait_t;
typedef struct ngx_http_pay_claim_s  ngx_http_pay_claim_t;


typedef struct {
    struct arena                arena;      /* this request's memory */
    struct slice                body;       /* whole request body */
    struct api_match            match;
    const struct json          *doc;        /* parsed, checked body or NULL */

    /* identity, from the key record; set once the key is known */
    ngx_str_t                   mchid;
    ngx_str_t                   app;
    ngx_str_t                   serial;
    ngx_str_t                   trace;      /* 32 hex characters, always set */

    ngx_uint_t                  base_slot;
    ngx_uint_t                  span;
    ngx_uint_t                  slot;       /* of the order */

    enum scheme                 scheme;
    enum key_alg                alg;

    /* set by the route module; $pay_channels and $pay_route read them */
    ngx_str_t                   channels;
    ngx_str_t                   route;
    ngx_str_t                   refuse;   /* "CODE POINTER": no channel */
    ngx_uint_t                  channel;  /* 1 + place of the first, or 0 */

    /* set by the pool module */
    void                       *pool;
    ngx_msec_t                  pooled;   /* since when */

    /* private to the sign, guard and answer modules from here on */

    ngx_http_pay_claim_t       *claim;
    struct authorization        auth;       /* filled in by every scheme */
    ngx_pay_key_t              *key;        /* counted reference */
    ngx_pay_key_wait_t         *wait;       /* pending key look-up */
    ngx_pay_redis_op_t         *op;         /* pending Redis command */
    ngx_http_cleanup_t         *cln;        /* detaches wait and op */
    void                       *answer;     /* answer filter's state */

    enum problem_code           code;       /* refused with, for $pay_code */
    ngx_str_t                  *limit;      /* RateLimit headers: name, */
    ngx_uint_t                  remaining;
    ngx_uint_t                  reset;      /* seconds */
    ngx_str_t                   policy;     /* RateLimit-Policy */
    ngx_uint_t                  state;      /* of the sign handler */
    ngx_int_t                   rc;         /* what the awaited thing said */
    int64_t                     value;      /* and Redis, of the guard */

    unsigned                    verified:1; /* signature was genuine */
    unsigned                    body_read:1;
    unsigned                    body_asked:1;
    unsigned                    in_handler:1;
    unsigned                    allowed:1;  /* address is on the app's list */
    unsigned                    guarded:1;  /* nonce and limits passed */
    unsigned                    refused:1;
    unsigned                    limited:1;  /* limit ... policy are set */
    unsigned                    answered:1; /* Redis has, or failed */
    unsigned                    reserved:1; /* a place to sign with RSA */
    unsigned                    fallback:1; /* guarded without Redis */
    unsigned                    pool_held:1; /* counted as in flight */
} ngx_http_pay_ctx_t;


/* switches of one location, written by directives of the core module */

typedef struct {
    ngx_flag_t                  sign;       /* pay_sign on | off */
    ngx_flag_t                  strip;      /* pay_strip on | off */
    ngx_flag_t                  problems;   /* pay_problems on | off */

    /*
     * set to 1 by pay_egress: the Pay-* headers of a request to this location
     * come from a worker and must reach the egress module
     */
    ngx_flag_t                  keep;
} ngx_http_pay_loc_conf_t;


/*
 * Counters in the zone: one row per process slot, written only by the process
 * in that slot, summed when read.
 */

#define NGX_HTTP_PAY_ROWS     128
#define NGX_HTTP_PAY_ATTACKS  4         /* signals of attack */

typedef struct {
    ngx_atomic_t                requests;   /* seen by pay_sign */
    ngx_atomic_t                verified;
    ngx_atomic_t                refused[PROBLEM_COUNT];

    ngx_atomic_t                key_hits;   /* of the worker's parsed keys */
    ngx_atomic_t                key_zone_hits;
    ngx_atomic_t                key_misses; /* asked payd */
    ngx_atomic_t                key_hedges; /* and another one as well */
    ngx_atomic_t                key_stale;  /* used without being fresh */
    ngx_atomic_t                key_evicted;

    ngx_atomic_t                redis_ok;
    ngx_atomic_t                redis_errors;
    ngx_atomic_t                redis_timeouts;
    ngx_atomic_t                redis_late; /* replies after the deadline */
    ngx_atomic_t                redis_reconnects;
    ngx_atomic_t                redis_masters; /* told by sentinels */
    ngx_atomic_t                fallbacks;  /* guarded without Redis */
    ngx_atomic_t                limited[5]; /* by NGX_PAY_LIMIT_... */
    ngx_atomic_t                undone;     /* refused by another hash tag */
    ngx_atomic_t                unlisted;   /* address not on the app's list */
    ngx_atomic_t                attacks[NGX_HTTP_PAY_ATTACKS]; /* by signal */
    ngx_atomic_t                attack_refused; /* of blocked sources */

    ngx_atomic_t                sign_hmac;
    ngx_atomic_t                sign_rsa;
    ngx_atomic_t                sign_ec;    /* ed25519, ECDSA */
    ngx_atomic_t                sign_full;  /* no place in the RSA queue */

    /* gauges of the process in this slot, 0 when it is gone */
    ngx_atomic_t                pid;
    ngx_atomic_t                redis_state; /* NGX_HTTP_PAY_REDIS_... */
    ngx_atomic_t                feed_alive;  /* 0 | 1: payd's change feed */
    ngx_atomic_t                redis_inflight;
    ngx_atomic_t                sign_inflight;
} ngx_http_pay_row_t;

#define NGX_HTTP_PAY_REDIS_OFF      0   /* not configured */
#define NGX_HTTP_PAY_REDIS_OK       1
#define NGX_HTTP_PAY_REDIS_DOWN     2   /* not connected */
#define NGX_HTTP_PAY_REDIS_PAUSED   3   /* breaker open */

/* rows[NGX_HTTP_PAY_ROWS] in the zone; NULL without pay_zone */
ngx_http_pay_row_t *ngx_http_pay_rows(void);
/* this process' row; a dummy without pay_zone, so never NULL */
ngx_http_pay_row_t *ngx_http_pay_row(void);

#define ngx_http_pay_count(field)                                             \
    (ngx_http_pay_row()->field++)


/* an internal redirect zeroes r->ctx, but not the pool's clean-ups */
ngx_http_pay_ctx_t *ngx_http_pay_find_ctx(ngx_http_request_t *r);
/* gives back doc and what match read; for the last phase that needs them */
void ngx_http_pay_forget_doc(ngx_http_pay_ctx_t *ctx);

/*
 * Sends problem+json and finalizes the request; returns what a handler of the
 * PREACCESS or ACCESS phase must return at once (NGX_DONE).  Not for content
 * handlers.  detail and pointer may be NULL.  Signed when ctx->verified.
 */
ngx_int_t ngx_http_pay_refuse(ngx_http_request_t *r, enum problem_code code,
    const char *detail, const char *pointer);

/* The same for content handlers: returns what one must return. */
ngx_int_t ngx_http_pay_refuse_content(ngx_http_request_t *r,
    enum problem_code code, const char *detail, const char *pointer);

/* Adds a header to the answer; name and value must live as long as r. */
ngx_int_t ngx_http_pay_add_header(ngx_http_request_t *r, ngx_str_t name,
    ngx_str_t value);


extern ngx_module_t  ngx_http_pay_core_module;


/* NULL where pay_sign is off.  Survives internal redirects. */

static ngx_inline ngx_http_pay_ctx_t *
ngx_http_pay_get_ctx(ngx_http_request_t *r)
{
    ngx_http_pay_ctx_t  *ctx;

    r = r->main;

    ctx = ngx_http_get_module_ctx(r, ngx_http_pay_core_module);

    if (ctx == NULL && (r->internal || r->filter_finalize)) {
        ctx = ngx_http_pay_find_ctx(r);
    }

    return ctx;
}


#endif /* _NGX_HTTP_PAY_CORE_H_INCLUDED_ */
