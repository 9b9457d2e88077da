/*
 * Look-ups: what a process has asked payd for and who waits for it.
 */

#ifndef _NGX_PAY_KEYS_LOOKUP_H_INCLUDED_
#define _NGX_PAY_KEYS_LOOKUP_H_INCLUDED_


#include "ngx_pay_keys.h"


typedef struct ngx_pay_lookup_s  ngx_pay_lookup_t;

struct ngx_pay_lookup_s {
    /* the timer's data: the event module's debug log reads fd behind these */
    void                *unused[3];
    ngx_socket_t         fd;

    ngx_event_t          timer;         /* not cancelable: requests wait */
    ngx_queue_t          waiters;
    ngx_pay_lookup_t    *next;
    ngx_uint_t           hash;
    ngx_str_t            serial;

    /* answers that are owed, and those of questions older than a change */
    ngx_uint_t           owed[NGX_PAY_FEEDS];
    ngx_uint_t           old[NGX_PAY_FEEDS];

    unsigned             waited:1;      /* for the first one, long enough */
    unsigned             hedged:1;      /* the other one was asked, too */
    unsigned             lost:1;        /* nobody owes it an answer */
    unsigned             charged:1;     /* to the budget of misses */
    u_char               text[NGX_PAY_SERIAL_MAX];
};


void ngx_pay_lookup_init(ngx_pay_keys_conf_t *conf, ngx_log_t *log);

/* whether a key still serves when nobody can tell of it */
ngx_uint_t ngx_pay_key_usable(ngx_pay_key_t *key);

ngx_pay_lookup_t *ngx_pay_lookup_find(ngx_str_t *serial, ngx_uint_t hash);
/* asks, as soon as payd can be asked; NULL when too much is asked already */
ngx_pay_lookup_t *ngx_pay_lookup_start(ngx_str_t *serial, ngx_uint_t hash);
/* tells all who wait, each with a reference of its own, and frees it */
void ngx_pay_lookup_end(ngx_pay_lookup_t *lookup, ngx_int_t rc,
    ngx_pay_key_t *key);
/* its end when nobody could tell: what we know may still serve */
void ngx_pay_lookup_failed(ngx_pay_lookup_t *lookup);
/*
 * Takes an answer off what is owed.  1: it is none to go by, because it may
 * have been read from the database before a change, or because nobody could
 * tell and the other payd may.
 */
ngx_uint_t ngx_pay_lookup_wait_on(ngx_pay_lookup_t *lookup, ngx_uint_t from,
    ngx_pay_feed_e event);
/* nothing more comes from there */
void ngx_pay_lookups_lost(ngx_uint_t which);
/* the main one can be asked again */
void ngx_pay_lookups_resume(void);


#endif /* _NGX_PAY_KEYS_LOOKUP_H_INCLUDED_ */
