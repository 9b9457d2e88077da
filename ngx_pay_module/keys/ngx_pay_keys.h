/*
 * Keys of merchants' apps by serial number.
 *
 * Three layers: parsed keys in each process (bounded, least recently used goes
 * first), records in the zone (an LRU for all processes and across reloads),
 * and payd's internal socket, asked once per process for any number of waiting
 * requests.  payd's change feed makes entries disappear; while the feed is not
 * alive, entries are asked again and, if nobody answers, used for `stale` at
 * most.  docs/interfaces.md has the protocol.
 *
 * A key handed out is counted; its fields do not change and live until the
 * last ngx_pay_key_unref, also when the cache has dropped it.
 */

#ifndef _NGX_PAY_KEYS_H_INCLUDED_
#define _NGX_PAY_KEYS_H_INCLUDED_

#include "ngx_pay_module/local/ngx_pay_limit.h"

#include "core/net.h"


#define NGX_PAY_SERIAL_MAX  64      /* as authorization_parse allows */
#define NGX_PAY_LINE_MAX    16384   /* of the protocol, with its newline */


struct ngx_pay_key_s {
    ngx_str_t               serial;
    ngx_str_t               mchid;
    ngx_str_t               app;
    struct verify_key       verify;
    enum key_scheme         scheme;     /* the one it may be used in */
    int64_t                 valid_from; /* seconds since 1970 */
    int64_t                 valid_to;
    ngx_uint_t              base_slot;
    ngx_uint_t              span;
    ngx_pay_limit_t         limits[2];  /* of app and merchant; rate 0: none */
    struct addr_rule       *allow;      /* where the app may call from */
    ngx_uint_t              nallow;     /* 0: from anywhere */
    unsigned                on:1;
    unsigned                allow_alert:1; /* from elsewhere, too: say so */

    /* private to the cache */
    unsigned                listed:1;   /* the cache holds a reference */
    ngx_uint_t              refs;
    ngx_uint_t              unlisted;   /* calls since it was last said */
    ngx_msec_t              said;
    ngx_uint_t              hash;
    ngx_uint_t              generation; /* of the feed it is fresh in, or 0 */
    ngx_msec_t              confirmed;  /* last known to be right */
    ngx_msec_t              retry;      /* stale: do not ask before */
    ngx_queue_t             lru;
    ngx_pay_key_t          *next;       /* in its bucket */
};


/* set by the pay_keys directive */

typedef struct {
    ngx_array_t             addrs;      /* ngx_addr_t */
    ngx_msec_t              timeout;    /* of one look-up */
    ngx_msec_t              hedge;      /* then another payd is asked; 0: no */
    ngx_msec_t              stale;
    ngx_uint_t              parsed;     /* keys per process */
    ngx_uint_t              misses;     /* unknown serials per s and node */
} ngx_pay_keys_conf_t;


/*
 * A request that waits for a look-up; allocated by the caller, who must cancel
 * it before the memory goes.  The handler is called once, unless cancelled,
 * with what ngx_pay_key_get would have returned but NGX_AGAIN.
 */

typedef void (*ngx_pay_key_pt)(void *data, ngx_int_t rc, ngx_pay_key_t *key);

struct ngx_pay_key_wait_s {
    ngx_queue_t             queue;
    ngx_pay_key_pt          handler;
    void                   *data;
};


ngx_int_t ngx_pay_keys_start(ngx_cycle_t *cycle, ngx_pay_keys_conf_t *conf);
void ngx_pay_keys_stop(void);

/*
 * NGX_OK: *key carries a reference.  NGX_DECLINED: there is no such key.
 * NGX_BUSY: nobody can tell now.  NGX_AGAIN: wait->handler will be called.
 */
ngx_int_t ngx_pay_key_get(ngx_str_t *serial, ngx_pay_key_t **key,
    ngx_pay_key_wait_t *wait);
void ngx_pay_key_cancel(ngx_pay_key_wait_t *wait);
void ngx_pay_key_unref(ngx_pay_key_t *key);

/* a record of the protocol as a key with one reference; NULL if malformed */
ngx_pay_key_t *ngx_pay_key_parse(struct slice record);
void ngx_pay_key_set_limit(ngx_pay_key_t *key, ngx_uint_t kind,
    ngx_uint_t rate, ngx_uint_t window, ngx_uint_t burst);
/* the form of the zone (ngx_pay_key_pack.c); it holds the secret */
ngx_int_t ngx_pay_key_pack(ngx_pay_key_t *key, struct buf *out);
ngx_pay_key_t *ngx_pay_key_unpack(ngx_str_t *serial, struct slice packed);


/* the parsed keys (ngx_pay_keys_cache.c) */

void ngx_pay_cache_init(ngx_uint_t max);
void ngx_pay_cache_clear(void);
ngx_pay_key_t *ngx_pay_cache_find(ngx_str_t *serial, ngx_uint_t hash);
/* parses the zone's record and inserts it; NULL when there is none */
ngx_pay_key_t *ngx_pay_cache_from_zone(ngx_str_t *serial, ngx_uint_t hash);
/* takes over the caller's reference */
void ngx_pay_cache_insert(ngx_pay_key_t *key);
void ngx_pay_cache_remove(ngx_pay_key_t *key);
void ngx_pay_cache_touch(ngx_pay_key_t *key);
/* all entries have to be asked again; those of the stretch were right until */
void ngx_pay_cache_stale(ngx_uint_t generation, ngx_msec_t until);


/* the connection to payd (ngx_pay_keys_feed.c) */

ngx_int_t ngx_pay_feed_start(ngx_cycle_t *cycle, ngx_pay_keys_conf_t *conf);
void ngx_pay_feed_stop(void);

/* the payd whose changes we follow, and another that is only asked */
#define NGX_PAY_FEED_MAIN   0
#define NGX_PAY_FEED_ASIDE  1
#define NGX_PAY_FEEDS       2

/* NGX_OK: sent or queued; NGX_DECLINED: not connected; NGX_ERROR: no room */
ngx_int_t ngx_pay_feed_ask(ngx_uint_t which, ngx_str_t *serial);
ngx_uint_t ngx_pay_feed_connected(void);
/* whether there is another payd to ask */
ngx_uint_t ngx_pay_feed_has_aside(void);
/*
 * The number of the unbroken stretch of the change feed we are in: an entry
 * that was right in it still is, or we would have been told.  0: not alive.
 */
ngx_uint_t ngx_pay_feed_generation(void);
/* the same once a TICK has come: others are up to date now, too */
ngx_uint_t ngx_pay_feed_covering(void);

/* called by the connection */
typedef enum {
    ngx_pay_feed_key,       /* record holds the JSON text */
    ngx_pay_feed_none,
    ngx_pay_feed_later,
    ngx_pay_feed_changed
} ngx_pay_feed_e;

void ngx_pay_keys_event(ngx_uint_t from, ngx_pay_feed_e event,
    ngx_str_t *serial, struct slice record);
/* "WORD serial[ record]" but TICK, without its newline; NGX_ERROR: nonsense */
ngx_int_t ngx_pay_keys_line(ngx_uint_t from, struct slice line);
/*
 * The connection is gone: entries were right until then; a look-up that nobody
 * else was asked for is served by what is known, or waits for the next one.
 */
void ngx_pay_keys_lost(ngx_uint_t generation, ngx_msec_t until);
void ngx_pay_keys_aside_lost(void);
void ngx_pay_keys_connected(void);


/* the records in the zone (ngx_pay_keys_zone.c) */

ngx_pay_keys_shm_t *ngx_pay_keys_init_shm(ngx_slab_pool_t *shpool);

/*
 * Copies the record out: 0 when there is none, else its length.  *covered: the
 * feeds of this node's processes have not missed a change of it.
 */
size_t ngx_pay_keys_zone_get(ngx_str_t *serial, ngx_uint_t hash, u_char *buf,
    size_t size, ngx_msec_t *confirmed, ngx_uint_t *covered);
/* TICK on a feed that has been unbroken since `since` */
void ngx_pay_keys_zone_tick(ngx_msec_t since);
void ngx_pay_keys_zone_put(ngx_str_t *serial, ngx_uint_t hash,
    struct slice record);
void ngx_pay_keys_zone_forget(ngx_str_t *serial, ngx_uint_t hash);

/* unknown serials, for a few seconds */
ngx_uint_t ngx_pay_keys_zone_is_unknown(ngx_str_t *serial, ngx_uint_t hash);
void ngx_pay_keys_zone_set_unknown(ngx_str_t *serial, ngx_uint_t hash);
/* whether one more look-up of something uncached is allowed this second */
ngx_uint_t ngx_pay_keys_zone_may_ask(ngx_uint_t per_second);
void ngx_pay_keys_zone_give_back(void);


#endif /* _NGX_PAY_KEYS_H_INCLUDED_ */
