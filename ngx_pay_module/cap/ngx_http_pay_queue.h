/*
 * The waiting queue in front of a channel's cap, for all processes of a node.
 *
 * Each process keeps its own waiting calls in order and shows the ticket of its
 * first one in the ledger: the lowest ticket of all is the next to get a place.
 * Whoever gives a place back wakes the process whose turn it is with a datagram;
 * a process looks by itself every 50 ms while calls wait in it, so that a lost
 * datagram or a killed process costs no more than that.
 *
 * New payments and all other calls wait in queues of their own: who may use the
 * reserve does not wait behind those who may not.
 *
 * A call that was refused before waits though the queue is full, or has no
 * places at all: else new ones, which come more often than it does, would get
 * each place before it, for as long as there are too many.  How many such calls
 * there are is bounded by the workers that make them (payd's timers).
 */

#ifndef _NGX_HTTP_PAY_QUEUE_H_INCLUDED_
#define _NGX_HTTP_PAY_QUEUE_H_INCLUDED_

#include "ngx_pay_module/channel/ngx_http_pay_channel.h"


typedef struct ngx_http_pay_wait_s  ngx_http_pay_wait_t;

/* NGX_OK: has a place; NGX_BUSY: waited too long.  The wait is over. */
typedef void (*ngx_http_pay_wait_pt)(ngx_http_pay_wait_t *wait, ngx_int_t rc);

struct ngx_http_pay_wait_s {
    ngx_queue_t              queue;
    ngx_event_t              timer;     /* data: the request's connection */
    uint64_t                 ticket;
    ngx_http_pay_channel_t  *channel;
    ngx_uint_t               wait_class;

    ngx_http_pay_wait_pt     handler;   /* set by the caller */
    void                    *data;
    ngx_connection_t        *connection;
    unsigned                 again:1;   /* was refused before */

    unsigned                 waiting:1;
    unsigned                 granted:1; /* has a place, not told yet */
};


/*
 * NGX_OK: has a place at once.  NGX_AGAIN: waits for up to ms.  NGX_BUSY: the
 * queue is full.  wait lives until it is over or cancelled.
 */
ngx_int_t ngx_http_pay_queue_enter(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_uint_t kind, ngx_msec_t ms,
    ngx_http_pay_wait_t *wait);
/* does nothing when it is over */
void ngx_http_pay_queue_cancel(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_wait_t *wait);

/* a place of ch became free: whose turn is it? */
void ngx_http_pay_queue_wake(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch);

void ngx_http_pay_queue_start(ngx_cycle_t *cycle,
    ngx_http_pay_channel_main_conf_t *cmcf);
void ngx_http_pay_queue_stop(void);


#endif /* _NGX_HTTP_PAY_QUEUE_H_INCLUDED_ */
