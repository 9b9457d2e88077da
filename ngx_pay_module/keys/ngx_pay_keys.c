/*
 * Which key a request gets, and look-ups: one question to payd for any number
 * of requests that wait for its answer.  When it owes the answer for too long,
 * or cannot tell, another payd is asked as well, and the first answer counts.
 */

#include "ngx_pay_keys.h"


#define NGX_PAY_LOOKUP_BUCKETS  64      /* a power of two */
#define NGX_PAY_KEY_RETRY       1000    /* ms between questions when stale */


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


static void ngx_pay_lookup_end(ngx_pay_lookup_t *lookup, ngx_int_t rc,
    ngx_pay_key_t *key);


static ngx_pay_keys_conf_t  *keys_conf;
static ngx_log_t            *keys_log;
static ngx_pay_lookup_t     *lookups[NGX_PAY_LOOKUP_BUCKETS];


static ngx_uint_t
ngx_pay_key_hash(ngx_str_t *serial)
{
    return (ngx_uint_t) slice_hash(ngx_pay_slice(*serial));
}


static ngx_uint_t
ngx_pay_key_usable(ngx_pay_key_t *key)
{
    return key != NULL && ngx_current_msec - key->confirmed <= keys_conf->stale;
}


/* look-ups */

static ngx_pay_lookup_t *
ngx_pay_lookup_find(ngx_str_t *serial, ngx_uint_t hash)
{
    ngx_pay_lookup_t  *l;

    for (l = lookups[hash & (NGX_PAY_LOOKUP_BUCKETS - 1)]; l; l = l->next) {
        if (l->hash == hash && l->serial.len == serial->len
            && ngx_memcmp(l->text, serial->data, serial->len) == 0)
        {
            return l;
        }
    }

    return NULL;
}


/* nobody could tell: what we know may still serve */

static void
ngx_pay_lookup_failed(ngx_pay_lookup_t *lookup)
{
    ngx_pay_key_t  *key;

    key = ngx_pay_cache_find(&lookup->serial, lookup->hash);

    if (ngx_pay_key_usable(key)) {
        key->retry = ngx_current_msec + NGX_PAY_KEY_RETRY;
        ngx_http_pay_count(key_stale);
        ngx_pay_lookup_end(lookup, NGX_OK, key);
        return;
    }

    ngx_pay_lookup_end(lookup, NGX_BUSY, NULL);
}


static ngx_int_t
ngx_pay_lookup_ask(ngx_pay_lookup_t *lookup, ngx_uint_t which)
{
    if (ngx_pay_feed_ask(which, &lookup->serial) != NGX_OK) {
        return NGX_ERROR;
    }

    lookup->owed[which]++;

    return NGX_OK;
}


static ngx_uint_t
ngx_pay_lookup_hedges(void)
{
    return keys_conf->hedge && ngx_pay_feed_has_aside();
}


/* at most once for each look-up */

static void
ngx_pay_lookup_hedge(ngx_pay_lookup_t *lookup)
{
    if (lookup->hedged || !ngx_pay_lookup_hedges()) {
        return;
    }

    lookup->hedged = 1;
    ngx_http_pay_count(key_hedges);

    (void) ngx_pay_lookup_ask(lookup, NGX_PAY_FEED_ASIDE);
}


static void
ngx_pay_lookup_timeout(ngx_event_t *ev)
{
    ngx_pay_lookup_t  *lookup = ev->data;

    if (ngx_pay_lookup_hedges() && !lookup->waited) {
        lookup->waited = 1;
        ngx_pay_lookup_hedge(lookup);
        ngx_add_timer(ev, keys_conf->timeout - keys_conf->hedge);
        return;
    }

    ngx_log_error(NGX_LOG_WARN, keys_log, 0,
                  "pay: look-up of key \"%V\" timed out", &lookup->serial);

    ngx_pay_lookup_failed(lookup);
}


static ngx_pay_lookup_t *
ngx_pay_lookup_start(ngx_str_t *serial, ngx_uint_t hash)
{
    ngx_pay_lookup_t  *lookup, **bucket;

    if (ngx_pay_feed_ask(NGX_PAY_FEED_MAIN, serial) != NGX_OK) {
        return NULL;
    }

    lookup = ngx_calloc(sizeof(ngx_pay_lookup_t), keys_log);
    if (lookup == NULL) {
        return NULL;
    }

    lookup->fd = (ngx_socket_t) -1;
    lookup->owed[NGX_PAY_FEED_MAIN] = 1;
    lookup->hash = hash;
    lookup->serial.data = lookup->text;
    lookup->serial.len = serial->len;
    ngx_memcpy(lookup->text, serial->data, serial->len);
    ngx_queue_init(&lookup->waiters);

    lookup->timer.handler = ngx_pay_lookup_timeout;
    lookup->timer.data = lookup;
    lookup->timer.log = keys_log;
    ngx_add_timer(&lookup->timer,
                  ngx_pay_lookup_hedges() ? keys_conf->hedge
                                          : keys_conf->timeout);

    bucket = &lookups[hash & (NGX_PAY_LOOKUP_BUCKETS - 1)];
    lookup->next = *bucket;
    *bucket = lookup;

    ngx_http_pay_count(key_misses);

    return lookup;
}


/*
 * The look-up leaves the table before anybody is told, because a handler may
 * start the next one; a handler may also cancel those behind it.
 */

static void
ngx_pay_lookup_end(ngx_pay_lookup_t *lookup, ngx_int_t rc, ngx_pay_key_t *key)
{
    ngx_queue_t          *q;
    ngx_pay_lookup_t    **p;
    ngx_pay_key_wait_t   *wait;

    for (p = &lookups[lookup->hash & (NGX_PAY_LOOKUP_BUCKETS - 1)];
         *p != lookup;
         p = &(*p)->next)
    {
        /* void */
    }

    *p = lookup->next;

    if (lookup->timer.timer_set) {
        ngx_del_timer(&lookup->timer);
    }

    if (key) {
        key->refs++;
    }

    while (!ngx_queue_empty(&lookup->waiters)) {
        q = ngx_queue_head(&lookup->waiters);
        wait = ngx_queue_data(q, ngx_pay_key_wait_t, queue);
        ngx_queue_remove(q);

        if (key) {
            key->refs++;
        }

        wait->handler(wait->data, rc, key);
    }

    if (key) {
        ngx_pay_key_unref(key);
    }

    ngx_free(lookup);
}


/* what the requests call */

ngx_int_t
ngx_pay_key_get(ngx_str_t *serial, ngx_pay_key_t **key,
    ngx_pay_key_wait_t *wait)
{
    ngx_uint_t         hash, generation;
    ngx_pay_key_t     *k;
    ngx_pay_lookup_t  *lookup;

    hash = ngx_pay_key_hash(serial);
    generation = ngx_pay_feed_generation();

    k = ngx_pay_cache_find(serial, hash);

    if (k && k->generation == generation && generation) {
        ngx_http_pay_count(key_hits);
        ngx_pay_cache_touch(k);
        goto found;
    }

    if (k == NULL) {
        k = ngx_pay_cache_from_zone(serial, hash);

        if (k && k->generation == generation && generation) {
            ngx_http_pay_count(key_zone_hits);
            goto found;
        }
    }

    lookup = ngx_pay_lookup_find(serial, hash);

    if (lookup == NULL) {

        if (k == NULL) {
            if (ngx_pay_keys_zone_is_unknown(serial, hash)) {
                return NGX_DECLINED;
            }

            if (!ngx_pay_keys_zone_may_ask(keys_conf->misses)) {
                return NGX_BUSY;
            }

        } else if ((ngx_msec_int_t) (k->retry - ngx_current_msec) > 0
                   && ngx_pay_key_usable(k))
        {
            ngx_http_pay_count(key_stale);
            goto found;
        }

        lookup = ngx_pay_lookup_start(serial, hash);

        if (lookup) {
            lookup->charged = k == NULL;
        }
    }

    if (lookup) {
        ngx_queue_insert_tail(&lookup->waiters, &wait->queue);
        return NGX_AGAIN;
    }

    if (!ngx_pay_key_usable(k)) {
        return NGX_BUSY;
    }

    ngx_http_pay_count(key_stale);

found:

    k->refs++;
    *key = k;

    return NGX_OK;
}


void
ngx_pay_key_cancel(ngx_pay_key_wait_t *wait)
{
    ngx_queue_remove(&wait->queue);
}


/* what the connection calls */

static void
ngx_pay_keys_record(ngx_str_t *serial, ngx_uint_t hash, struct slice record,
    ngx_pay_lookup_t *lookup)
{
    struct buf      packed;
    ngx_pay_key_t  *key;

    key = ngx_pay_key_parse(record);

    if (key == NULL || key->serial.len != serial->len
        || ngx_memcmp(key->serial.data, serial->data, serial->len) != 0)
    {
        ngx_log_error(NGX_LOG_ERR, keys_log, 0,
                      "pay: the record of key \"%V\" is malformed", serial);
        if (key) {
            ngx_pay_key_unref(key);
        }

        if (lookup) {
            ngx_pay_lookup_failed(lookup);
        }

        return;
    }

    key->hash = hash;
    key->confirmed = ngx_current_msec;
    key->generation = ngx_pay_feed_generation();

    ngx_pay_cache_insert(key);

    buf_init(&packed, NGX_PAY_LINE_MAX);

    if (ngx_pay_key_pack(key, &packed) == NGX_OK) {
        ngx_pay_keys_zone_put(serial, hash, buf_slice(&packed));

    } else {
        ngx_pay_keys_zone_forget(serial, hash);
    }

    wipe(packed.p, packed.n);
    buf_release(&packed);

    if (lookup) {
        if (lookup->charged) {
            ngx_pay_keys_zone_give_back();
        }

        ngx_pay_lookup_end(lookup, NGX_OK, key);
    }
}


static void
ngx_pay_keys_forget(ngx_str_t *serial, ngx_uint_t hash)
{
    ngx_pay_key_t  *key;

    key = ngx_pay_cache_find(serial, hash);

    if (key) {
        ngx_pay_cache_remove(key);
    }

    ngx_pay_keys_zone_forget(serial, hash);
}


static ngx_uint_t
ngx_pay_lookup_owed(ngx_pay_lookup_t *lookup)
{
    return lookup->owed[NGX_PAY_FEED_MAIN] + lookup->owed[NGX_PAY_FEED_ASIDE];
}


/*
 * Takes an answer off what is owed.  1: it is none to go by, because it may
 * have been read from the database before a change, or because nobody could
 * tell and the other payd may.
 */

static ngx_uint_t
ngx_pay_lookup_wait_on(ngx_pay_lookup_t *lookup, ngx_uint_t from,
    ngx_pay_feed_e event)
{
    lookup->owed[from] -= lookup->owed[from] > 0;

    if (lookup->old[from]) {
        lookup->old[from]--;

        if (lookup->old[from] == 0 && lookup->owed[from] == 0
            && ngx_pay_lookup_ask(lookup, from) == NGX_OK)
        {
            return 1;
        }

        return ngx_pay_lookup_owed(lookup) > 0;
    }

    if (event != ngx_pay_feed_later) {
        return 0;
    }

    if (from == NGX_PAY_FEED_MAIN) {
        ngx_pay_lookup_hedge(lookup);
    }

    return ngx_pay_lookup_owed(lookup) > 0;
}


void
ngx_pay_keys_event(ngx_uint_t from, ngx_pay_feed_e event, ngx_str_t *serial,
    struct slice record)
{
    ngx_uint_t         hash, old;
    ngx_pay_lookup_t  *lookup;

    hash = ngx_pay_key_hash(serial);
    lookup = ngx_pay_lookup_find(serial, hash);

    if (event == ngx_pay_feed_changed) {
        ngx_pay_keys_forget(serial, hash);

        if (lookup) {
            ngx_memcpy(lookup->old, lookup->owed, sizeof(lookup->old));
        }

        return;
    }

    /* nobody waits for it, and the other may have told something newer */

    if (from == NGX_PAY_FEED_ASIDE
        && (lookup == NULL || lookup->owed[from] == 0))
    {
        return;
    }

    if (lookup) {
        old = lookup->old[from];

        if (ngx_pay_lookup_wait_on(lookup, from, event)) {
            return;
        }

        if (old) {
            event = ngx_pay_feed_later;
        }
    }

    switch (event) {

    case ngx_pay_feed_key:
        ngx_pay_keys_record(serial, hash, record, lookup);
        return;

    case ngx_pay_feed_none:
        ngx_pay_keys_forget(serial, hash);
        ngx_pay_keys_zone_set_unknown(serial, hash);

        if (lookup) {
            ngx_pay_lookup_end(lookup, NGX_DECLINED, NULL);
        }

        return;

    default: /* ngx_pay_feed_later */
        if (lookup) {
            ngx_pay_lookup_failed(lookup);
        }
    }
}


/*
 * Nothing more comes from there.  Those who are told may start and end others:
 * the bucket is looked through anew after each.
 */

static void
ngx_pay_lookups_lost(ngx_uint_t which)
{
    ngx_uint_t         i;
    ngx_pay_lookup_t  *l;

    for (i = 0; i < NGX_PAY_LOOKUP_BUCKETS; i++) {

        for (l = lookups[i]; l; l = l->next) {
            l->old[which] = 0;

            if (l->owed[which]) {
                l->owed[which] = 0;
                l->lost = ngx_pay_lookup_owed(l) == 0;
            }
        }

        for (l = lookups[i]; l; l = l ? l->next : lookups[i]) {
            if (l->lost) {
                ngx_pay_lookup_failed(l);
                l = NULL;
            }
        }
    }
}


void
ngx_pay_keys_lost(ngx_uint_t generation, ngx_msec_t until)
{
    ngx_pay_cache_stale(generation, until);

    ngx_pay_lookups_lost(NGX_PAY_FEED_MAIN);
}


void
ngx_pay_keys_aside_lost(void)
{
    ngx_pay_lookups_lost(NGX_PAY_FEED_ASIDE);
}


ngx_int_t
ngx_pay_keys_start(ngx_cycle_t *cycle, ngx_pay_keys_conf_t *conf)
{
    keys_conf = conf;
    keys_log = cycle->log;
    ngx_pay_cache_init(conf->parsed);

    return ngx_pay_feed_start(cycle, conf);
}


void
ngx_pay_keys_stop(void)
{
    if (keys_conf == NULL) {
        return;
    }

    ngx_pay_feed_stop();

    ngx_pay_cache_clear();
}
