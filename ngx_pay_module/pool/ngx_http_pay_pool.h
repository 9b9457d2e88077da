/*
 * Pools: groups of worker processes behind one declared upstream each, with a
 * bound on the requests they may have in flight.  A request belongs to the
 * first pool of the file that has a "when" line that holds, the same one for
 * all requests of an order that are alike, so that equal requests in flight
 * meet in one process.  No request waits for one of another pool: a pool at
 * its bound refuses at once.
 *
 * Requests in flight are counted in the zone "pay_pool" by process and summed
 * when a place is asked for: what a killed process had is forgotten with its
 * row, and nobody takes a lock.
 *
 * A pool that is switched off is passed over.  One with "step_back" switches
 * itself off when it is worse than the pool it is compared with.
 */

#ifndef _NGX_HTTP_PAY_POOL_H_INCLUDED_
#define _NGX_HTTP_PAY_POOL_H_INCLUDED_

#include "ngx_pay_module/conf/ngx_http_pay_when.h"
#include "ngx_pay_module/request/ngx_http_pay_core.h"
#include "ngx_pay_module/status/ngx_http_pay_status.h"

#include "core/canary.h"


#define NGX_HTTP_PAY_POOLS_MAX   32
#define NGX_HTTP_PAY_POOL_BOUND  1000000    /* largest in_flight */
#define NGX_HTTP_PAY_POOL_CLASSES  6        /* of answers, by status / 100 */
#define NGX_HTTP_PAY_POOL_NAME   27         /* with a prefix, in the ledger */


/* one pay_pool block */

typedef struct ngx_http_pay_pool_s  ngx_http_pay_pool_t;

struct ngx_http_pay_pool_s {
    ngx_str_t                    name;
    ngx_str_t                    upstream;
    ngx_uint_t                   bound;
    ngx_array_t                  whens;     /* ngx_http_pay_when_t */
    ngx_uint_t                   row;       /* in the zone */
    ngx_http_pay_where_t         where;

    ngx_str_t                    against;   /* step_back; empty: none */
    ngx_http_pay_pool_t         *other;     /* that pool */
    struct canary_limits         limits;

    ngx_uint_t                   all;       /* has "when all" */
    ngx_int_t                    sw;        /* row in the ledger, or ERROR */
};


/* what one process counted for one pool; never goes back */

typedef struct {
    ngx_atomic_t                 requests;  /* passed on */
    ngx_atomic_t                 refused;   /* over the bound */
    ngx_atomic_t                 answers[NGX_HTTP_PAY_POOL_CLASSES];
    ngx_atomic_t                 latency;   /* sum, ms */
} ngx_http_pay_pool_count_t;


/*
 * Requests of one process that wait, and the sum of the moments since when.
 * Only that process writes; seq is odd while it does.
 */

typedef struct {
    ngx_atomic_t                 seq;
    ngx_atomic_t                 waiting;
    ngx_atomic_t                 since;     /* ms */
} ngx_http_pay_pool_wait_t;


/* what is known of a canary, under the zone's mutex */

typedef struct {
    ngx_uint_t                   known;     /* 0: begin anew */
    ngx_uint_t                   against;   /* row of the other */
    ngx_msec_t                   at;        /* of the last look */
    struct canary_sums           own;       /* then */
    struct canary_sums           other;
    ngx_atomic_t                 back;      /* times it stepped back */
} ngx_http_pay_pool_look_t;


typedef struct {
    ngx_atomic_t                 slots;     /* 1 + highest one ever used */
    time_t                       reaped;
    ngx_pid_t                    pids[NGX_MAX_PROCESSES];
    ngx_atomic_t                 in_flight[NGX_MAX_PROCESSES]
                                          [NGX_HTTP_PAY_POOLS_MAX];
    ngx_http_pay_pool_count_t    counts[NGX_HTTP_PAY_ROWS]
                                       [NGX_HTTP_PAY_POOLS_MAX];
    ngx_http_pay_pool_wait_t     waits[NGX_HTTP_PAY_ROWS]
                                      [NGX_HTTP_PAY_POOLS_MAX];
    ngx_http_pay_pool_look_t     looks[NGX_HTTP_PAY_POOLS_MAX];

    struct {
        ngx_uint_t               len;       /* 0: row is free */
        u_char                   name[NGX_HTTP_PAY_NAME_MAX];
    }                            names[NGX_HTTP_PAY_POOLS_MAX];
} ngx_http_pay_pool_sh_t;


typedef struct {
    ngx_array_t                  pools;     /* ngx_http_pay_pool_t */
    struct match                *match;
    uint8_t                      of_line[MATCH_LINES];
    ngx_uint_t                   last;      /* the pool of "when all" */
    ngx_shm_zone_t              *zone;      /* NULL without pools */
    ngx_http_pay_pool_sh_t      *sh;
    ngx_slab_pool_t             *shpool;
    ngx_http_pay_channel_main_conf_t  *channels;
} ngx_http_pay_pool_main_conf_t;


char *ngx_http_pay_pool_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
/* once all blocks are read */
char *ngx_http_pay_pool_prepare(ngx_conf_t *cf,
    ngx_http_pay_pool_main_conf_t *omcf);

ngx_int_t ngx_http_pay_pool_zone_init(ngx_shm_zone_t *zone, void *data);
void ngx_http_pay_pool_process_start(ngx_http_pay_pool_main_conf_t *omcf);
void ngx_http_pay_pool_process_end(ngx_http_pay_pool_main_conf_t *omcf);

/*
 * NGX_OK: counted, to be given back exactly once by the same process, with the
 * moment (ngx_current_msec) it was taken at.  NGX_BUSY: the pool is at its
 * bound.
 */
ngx_int_t ngx_http_pay_pool_take(ngx_http_pay_pool_main_conf_t *omcf,
    ngx_http_pay_pool_t *pool, ngx_msec_t now);
void ngx_http_pay_pool_give(ngx_http_pay_pool_main_conf_t *omcf,
    ngx_http_pay_pool_t *pool, ngx_msec_t since);
/* of all processes */
ngx_uint_t ngx_http_pay_pool_in_flight(ngx_http_pay_pool_sh_t *sh,
    ngx_uint_t row);
ngx_http_pay_pool_count_t ngx_http_pay_pool_sum(ngx_http_pay_pool_sh_t *sh,
    ngx_uint_t row);
/* requests that wait and their times so far; no failures */
void ngx_http_pay_pool_waiting(ngx_http_pay_pool_sh_t *sh, ngx_uint_t row,
    struct canary_sums *sums);

/* in the master, for each cycle: where the pools' switches are */
void ngx_http_pay_pool_switches(ngx_http_pay_pool_main_conf_t *omcf,
    ngx_log_t *log);
ngx_uint_t ngx_http_pay_pool_is_off(ngx_http_pay_pool_main_conf_t *omcf,
    ngx_http_pay_pool_t *pool);
/* the pool has a row for it; returns what ngx_http_pay_switch_set() does */
ngx_int_t ngx_http_pay_pool_set(ngx_http_pay_pool_main_conf_t *omcf,
    ngx_http_pay_pool_t *pool, ngx_uint_t off, uid_t uid, struct slice reason);
/* something happened to one of its requests: is it worse by now? */
void ngx_http_pay_pool_look(ngx_http_pay_pool_main_conf_t *omcf,
    ngx_http_pay_pool_t *pool);

/* the request is over, in whatever way, or has its answer */
void ngx_http_pay_pool_release(ngx_http_pay_ctx_t *ctx);
/* whether a pool is chosen in r's location */
ngx_uint_t ngx_http_pay_pool_enabled(ngx_http_request_t *r);


extern ngx_module_t  ngx_http_pay_pool_module;


#endif /* _NGX_HTTP_PAY_POOL_H_INCLUDED_ */
