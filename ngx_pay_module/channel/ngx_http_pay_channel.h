/*
 * Channels: the pay_channel blocks of the configuration and what the zone
 * knows about each of them.
 *
 * Configuration lives in the cycle; counters live in a row of the zone
 * "pay_channel" that is matched by name, so that they survive a reload.  Calls
 * in flight and runtime switches live in the ledger, in the row of the same
 * index.
 */

#ifndef _NGX_HTTP_PAY_CHANNEL_H_INCLUDED_
#define _NGX_HTTP_PAY_CHANNEL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_pay_module/cap/ngx_http_pay_ledger.h"

#include "core/breaker.h"
#include "core/gcra.h"
#include "core/route.h"
#include "core/terms.h"


#define NGX_HTTP_PAY_CHANNELS_MAX   NGX_HTTP_PAY_LEDGER_ROWS
#define NGX_HTTP_PAY_CHANNELS_HASH  (2 * NGX_HTTP_PAY_CHANNELS_MAX)


/* what a channel is open for */

#define NGX_HTTP_PAY_STATE_ON       0
#define NGX_HTTP_PAY_STATE_OFF      1       /* no new payments */
#define NGX_HTTP_PAY_STATE_DRAIN    2       /* the same, on the way to off */
#define NGX_HTTP_PAY_STATE_BLOCK    3       /* nothing at all */
#define NGX_HTTP_PAY_STATES         4

/* kinds of calls, Pay-Kind */

#define NGX_HTTP_PAY_KIND_PAY       0
#define NGX_HTTP_PAY_KIND_QUERY     1
#define NGX_HTTP_PAY_KIND_CLOSE     2
#define NGX_HTTP_PAY_KIND_REVERSE   3
#define NGX_HTTP_PAY_KIND_REFUND    4
#define NGX_HTTP_PAY_KIND_OTHER     5
#define NGX_HTTP_PAY_KINDS          6

/* rates are per kind of call, and one for all of them together */

#define NGX_HTTP_PAY_RATE_ALL       NGX_HTTP_PAY_KINDS
#define NGX_HTTP_PAY_RATES          (NGX_HTTP_PAY_KINDS + 1)

/* addresses of ours that calls may leave from */

#define NGX_HTTP_PAY_BINDS_MAX      4

/* what became of a call, Pay-Sent */

#define NGX_HTTP_PAY_SENT_NO        0
#define NGX_HTTP_PAY_SENT_MAYBE     1
#define NGX_HTTP_PAY_SENT_ANSWERED  2
#define NGX_HTTP_PAY_SENTS          3

/* why a channel breaks TLS off: it wants a certificate of ours, or the rest */

#define NGX_HTTP_PAY_ALERT_CERTIFICATE  0
#define NGX_HTTP_PAY_ALERT_OTHER        1
#define NGX_HTTP_PAY_ALERTS             2

/* the egress's own refusals */

#define NGX_HTTP_PAY_REFUSED_UNKNOWN     0
#define NGX_HTTP_PAY_REFUSED_OFF         1
#define NGX_HTTP_PAY_REFUSED_BUSY        2
#define NGX_HTTP_PAY_REFUSED_LATE        3
#define NGX_HTTP_PAY_REFUSED_INVALID     4
#define NGX_HTTP_PAY_REFUSED_SEEN        5
#define NGX_HTTP_PAY_REFUSED_UNRESOLVED  6
#define NGX_HTTP_PAY_REFUSED_OUT         7
#define NGX_HTTP_PAY_REFUSED_RATE        8
#define NGX_HTTP_PAY_REFUSALS            9

/* payment methods a channel may list */

#define NGX_HTTP_PAY_METHODS_MAX    32

/* upper bounds of the latency buckets, ms; one more bucket has no bound */

#define NGX_HTTP_PAY_BUCKETS        9


/* one channel in the zone */

typedef struct {
    ngx_http_pay_count_t        *count;     /* in the ledger */

    ngx_atomic_t                 calls[NGX_HTTP_PAY_KINDS];
    ngx_atomic_t                 sent[NGX_HTTP_PAY_SENTS];
    ngx_atomic_t                 answers[6];  /* by status / 100 */
    ngx_atomic_t                 alerts[NGX_HTTP_PAY_ALERTS];
    ngx_atomic_t                 refused[NGX_HTTP_PAY_REFUSALS];
    ngx_atomic_t                 buckets[NGX_HTTP_PAY_BUCKETS + 1];
    ngx_atomic_t                 latency;     /* sum, ms */

    /* ngx_http_pay_health.h, under the zone's mutex */
    struct breaker               breaker;
    ngx_atomic_t                 opened;      /* times */
    ngx_atomic_t                 outcomes[ANSWER_CLASS_COUNT];
    ngx_atomic_t                 outcome_ms;  /* sum, as workers waited */

    int64_t                      rates[NGX_HTTP_PAY_RATES];   /* gcra */

    ngx_uint_t                   len;         /* 0: row is free */
    u_char                       name[NGX_HTTP_PAY_NAME_MAX];
} ngx_http_pay_channel_row_t;


typedef struct {
    ngx_http_pay_channel_row_t   rows[NGX_HTTP_PAY_CHANNELS_MAX];

    /* runtime switches, in the ledger: 0 or 1 + NGX_HTTP_PAY_STATE_... */
    u_char                      *states;

    /* health, ngx_http_pay_health.h: percent of new payments, 0 or 1 */
    u_char                       shares[NGX_HTTP_PAY_CHANNELS_MAX];
    u_char                       ill[NGX_HTTP_PAY_CHANNELS_MAX];
    ngx_atomic_t                 nill;
    int64_t                      due;       /* next step of one of them, ms */
    ngx_atomic_t                 suspected; /* our own network, so often */

    /* refusals that concern no channel */
    ngx_atomic_t                 refused[NGX_HTTP_PAY_REFUSALS];
} ngx_http_pay_channel_sh_t;


/* one pay_channel block */

typedef struct ngx_http_pay_peers_s  ngx_http_pay_peers_t;

typedef struct {
    ngx_str_t                    name;
    ngx_str_t                    adapter;
    ngx_uint_t                   state;     /* as configured */
    uint32_t                     methods;   /* bits */
    uint32_t                     wallets;   /* bits by payer_app; 0: any */

    ngx_url_t                    url;
    ngx_str_t                    tls_name;  /* SNI, verification */
    ngx_str_t                    host;      /* Host header */
    ngx_str_t                    cert;      /* ours, file; len 0: none */
    ngx_str_t                    cert_key;

    int64_t                      amount_min;
    int64_t                      amount_max;
    ngx_uint_t                   weight;
    ngx_uint_t                   priority;  /* lower goes first */
    struct route_fee             fee;

    ngx_uint_t                   cap;       /* calls at once */
    ngx_uint_t                   pay_cap;   /* of them new payments */
    ngx_uint_t                   reserve;   /* percent, the rest */
    ngx_uint_t                   queue;     /* calls that may wait, a class */
    ngx_msec_t                   queue_timeout;
    ngx_queue_t                  waiting[NGX_HTTP_PAY_WAITS]; /* here */
    ngx_uint_t                   keepalive; /* idle connections a worker */

    ngx_msec_t                   connect_timeout;
    ngx_msec_t                   send_timeout;
    ngx_msec_t                   read_timeout;
    ngx_msec_t                   idle_timeout;

    struct breaker_policy        breaker;
    struct gcra_rate             rates[NGX_HTTP_PAY_RATES];

    ngx_addr_t                   binds[NGX_HTTP_PAY_BINDS_MAX];
    ngx_uint_t                   nbinds;

    ngx_uint_t                   row;       /* index in the zone */
    ngx_uint_t                   place;     /* in main conf's channels */
    ngx_http_pay_peers_t        *peers;     /* the balancer's, per worker */

    unsigned                     tls:1;
    unsigned                     by_name:1; /* endpoint needs a resolver */
    unsigned                     shared:1;  /* the cap, by several nodes */
    unsigned                     asking:1;  /* for leases, in this process */

    u_char                      *file;      /* where the block stands */
    ngx_uint_t                   line;
} ngx_http_pay_channel_t;


typedef struct {
    ngx_array_t                  channels;  /* ngx_http_pay_channel_t * */
    ngx_http_pay_channel_t      *hash[NGX_HTTP_PAY_CHANNELS_HASH];
    ngx_shm_zone_t              *zone;      /* NULL without channels */
    ngx_http_pay_channel_sh_t   *sh;
    ngx_slab_pool_t             *shpool;
    ngx_http_pay_ledger_t       *ledger;
    ngx_str_t                    state_file; /* of switches; len 0: none */
    ngx_uint_t                   node;      /* ours, from 0 */
    ngx_uint_t                   nodes;     /* that share caps; 0: alone */
} ngx_http_pay_channel_main_conf_t;


/* names of the enumerations above, for parsing, variables and metrics */

extern ngx_str_t  ngx_http_pay_state_names[];
extern ngx_str_t  ngx_http_pay_kind_names[];
extern ngx_str_t  ngx_http_pay_sent_names[];
extern ngx_str_t  ngx_http_pay_alert_names[];
extern ngx_str_t  ngx_http_pay_refusal_names[];
extern ngx_str_t  ngx_http_pay_method_names[];     /* ends with len 0 */
extern ngx_uint_t  ngx_http_pay_bucket_bounds[];

/* index of s among n names, or NGX_ERROR */
ngx_int_t ngx_http_pay_name_index(ngx_str_t *names, ngx_uint_t n,
    ngx_str_t *s);
/* index of a payment method, or NGX_ERROR */
ngx_int_t ngx_http_pay_method_index(ngx_str_t *s);


/* the pay_channel block's parser, called by the directive */
char *ngx_http_pay_channel_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* where the configured channel of that name is, or would be */
ngx_http_pay_channel_t **ngx_http_pay_channel_place(
    ngx_http_pay_channel_main_conf_t *cmcf, ngx_str_t *name);

#define ngx_http_pay_channel_find(cmcf, name)                                 \
    (*ngx_http_pay_channel_place(cmcf, name))

#define ngx_http_pay_channel_row(cmcf, ch)  (&(cmcf)->sh->rows[(ch)->row])

/* the runtime switch if one is set, else what the configuration says */
#define ngx_http_pay_channel_state(cmcf, ch)                                  \
    ((cmcf)->sh->states[(ch)->row]                                            \
     ? (ngx_uint_t) (cmcf)->sh->states[(ch)->row] - 1 : (ch)->state)

/* what new payments may have of n places */
#define ngx_http_pay_pay_part(ch, n)                                          \
    ((n) ? ngx_max((n) * (100 - (ch)->reserve) / 100, 1) : 0)

/* has no room for a new payment, nor would it wait there; who waits is first */
#define ngx_http_pay_channel_full(row, ch)                                    \
    (((row)->count->in_pay >= ((ch)->shared                                   \
                               ? ngx_http_pay_pay_part(ch,                    \
                                                       (row)->count->limit)   \
                               : (ch)->pay_cap)                               \
      || (row)->count->in_flight >= ((ch)->shared ? (row)->count->limit       \
                                                  : (ch)->cap)                \
      || (row)->count->waiting[NGX_HTTP_PAY_WAIT_PAY])                        \
     && (row)->count->waiting[NGX_HTTP_PAY_WAIT_PAY] >= (ch)->queue)


ngx_int_t ngx_http_pay_channel_zone_init(ngx_shm_zone_t *zone, void *data);

/*
 * NGX_OK: the call is counted and must be released exactly once by the same
 * process.  NGX_BUSY: over the cap.
 */
ngx_int_t ngx_http_pay_channel_acquire(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_uint_t kind);
void ngx_http_pay_channel_release(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_uint_t kind);

/* the same with the ledger locked, and without looking who waits */
ngx_uint_t ngx_http_pay_channel_take(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_uint_t wait_class);
/* 1: a call of that class would get a place now */
ngx_uint_t ngx_http_pay_channel_room(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_uint_t wait_class);

#define ngx_http_pay_wait_class(kind)                                         \
    ((kind) == NGX_HTTP_PAY_KIND_PAY ? NGX_HTTP_PAY_WAIT_PAY                  \
                                     : NGX_HTTP_PAY_WAIT_OTHER)


extern ngx_module_t  ngx_http_pay_channel_module;


#endif /* _NGX_HTTP_PAY_CHANNEL_H_INCLUDED_ */
