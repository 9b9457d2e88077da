/*
 * What the incoming half of the edge (core, sign, guard, answer) shares among
 * itself; the rest of the edge uses ngx_http_pay_core.h only.
 */

#ifndef _NGX_HTTP_PAY_PRIVATE_H_INCLUDED_
#define _NGX_HTTP_PAY_PRIVATE_H_INCLUDED_


#include "ngx_http_pay_core.h"


typedef struct ngx_pay_keys_shm_s   ngx_pay_keys_shm_t;
typedef struct ngx_pay_nonce_shm_s  ngx_pay_nonce_shm_t;
typedef struct ngx_pay_limits_shm_s ngx_pay_limits_shm_t;
typedef struct ngx_http_pay_attack_shm_s  ngx_http_pay_attack_shm_t;
typedef struct ngx_http_pay_counts_s  ngx_http_pay_counts_t;


/* the last master that sentinels told, for processes that start */

typedef struct {
    uint64_t              name;     /* hash of what they call it */
    int64_t               epoch;
    size_t                len;      /* 0: none */
    in_port_t             port;
    u_char                host[NGX_SOCKADDR_STRLEN];
} ngx_http_pay_master_t;


/* root of the zone; the parts are allocated once, when the zone is new */

typedef struct {
    ngx_http_pay_row_t    rows[NGX_HTTP_PAY_ROWS];
    ngx_pay_keys_shm_t   *keys;
    ngx_pay_nonce_shm_t  *nonces;
    ngx_pay_limits_shm_t *limits;
    ngx_http_pay_master_t master;
    ngx_http_pay_attack_shm_t  *attack;

    /* finished requests by API, one block per process slot in use, or NULL */
    ngx_http_pay_counts_t  *counts[NGX_HTTP_PAY_ROWS];
} ngx_http_pay_shm_t;


/* the zone's slab pool and root in a worker, NULL without pay_zone */
extern ngx_slab_pool_t     *ngx_http_pay_shpool;
extern ngx_http_pay_shm_t  *ngx_http_pay_shm;


/*
 * The steps of PREACCESS in their order, called by the core module's handler:
 * NGX_OK goes on to the next one, anything else is returned to the phase.
 */
ngx_int_t ngx_http_pay_sign_request(ngx_http_request_t *r);
ngx_int_t ngx_http_pay_allow_request(ngx_http_request_t *r);
ngx_int_t ngx_http_pay_guard_request(ngx_http_request_t *r);

/* a refusal, which may be a signal of attack */
void ngx_http_pay_attack_note(ngx_http_request_t *r, enum problem_code code);

/* parts of the core module that stand in their own files */
ngx_int_t ngx_http_pay_preaccess(ngx_http_request_t *r);
ngx_int_t ngx_http_pay_add_variables(ngx_conf_t *cf);
ngx_int_t ngx_http_pay_seed(void);
/* where the first "pay_sign on" stands; line 0 when there is none */
ngx_http_pay_where_t *ngx_http_pay_sign_at(ngx_conf_t *cf);

/* NGX_OK: ctx->body_read.  NGX_DONE: the phases go on when it has come. */
ngx_int_t ngx_http_pay_body_read(ngx_http_request_t *r,
    ngx_http_pay_ctx_t *ctx);
/* fills ctx->body; NGX_DECLINED: longer than max */
ngx_int_t ngx_http_pay_body_gather(ngx_http_request_t *r,
    ngx_http_pay_ctx_t *ctx, size_t max);

/* timestamp window of this location in seconds */
time_t ngx_http_pay_guard_window(ngx_http_request_t *r);
/* " guard=redis limit=app left=199": what has judged, and the tightest limit */
size_t ngx_http_pay_guard_told_len(ngx_http_pay_ctx_t *ctx);
u_char *ngx_http_pay_guard_told(ngx_http_pay_ctx_t *ctx, u_char *p);

/* makes the block of a slot if there is none; without memory it stays away */
void ngx_http_pay_counts_init(ngx_slab_pool_t *shpool, ngx_http_pay_shm_t *shm,
    ngx_uint_t slot);

/*
 * That the answer to ctx->alg can be signed: NGX_OK, for RSA with a place in
 * the thread's queue; NGX_BUSY when that is full, NGX_DECLINED without a key.
 */
ngx_int_t ngx_http_pay_answer_reserve(ngx_http_pay_ctx_t *ctx);
void ngx_http_pay_answer_release(ngx_http_pay_ctx_t *ctx);

ngx_http_pay_ctx_t *ngx_http_pay_create_ctx(ngx_http_request_t *r);
/* goes on with the phases of a request that waited; r may be gone after it */
void ngx_http_pay_resume(ngx_http_request_t *r);

/*
 * Writes the body of a refusal and sets status and headers, without sending:
 * the buffer is the whole answer.  status 0 means the code's.
 */
ngx_buf_t *ngx_http_pay_problem(ngx_http_request_t *r, enum problem_code code,
    ngx_uint_t status, const char *detail, struct slice pointer);
/* RETRY_SAME_NUMBER if r never left for a worker, else RESULT_UNKNOWN, ... */
enum problem_code ngx_http_pay_nginx_problem(ngx_http_request_t *r,
    ngx_uint_t status);
ngx_int_t ngx_http_pay_refuse_with(ngx_http_request_t *r,
    const struct problem *problem);

/* unique, not secret: trace ids and nonces of answers */
#define NGX_PAY_TOKEN_LEN  32
void ngx_http_pay_token(u_char *p);


#endif /* _NGX_HTTP_PAY_PRIVATE_H_INCLUDED_ */
