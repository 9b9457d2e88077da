/*
 * One question to payd for any number of requests that wait for its answer.
 * When it owes the answer for too long, or cannot tell, another payd is asked
 * as well, and the first answer counts.  Between two connections to payd - one
 * stops, its successor is there in a moment - a question waits for the next.
 */

#include "ngx_pay_keys_lookup.h"


#define NGX_PAY_LOOKUP_BUCKETS  64      /* a power of two */
#define NGX_PAY_KEY_RETRY       1000    /* ms between questions when stale */


static ngx_pay_keys_conf_t  *lookup_conf;
static ngx_log_t            *lookup_log;
static ngx_pay_lookup_t     *lookups[NGX_PAY_LOOKUP_BUCKETS];


void
ngx_pay_lookup_init(ngx_pay_keys_conf_t *conf, ngx_log_t *log)
{
    lookup_conf = conf;
    lookup_log = log;
}


ngx_uint_t
ngx_pay_key_usable(ngx_pay_key_t *key)
{
    return key != NULL && ngx_current_msec - key->confirmed <= lookup_conf->stale;
}


ngx_pay_lookup_t *
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


void
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
    return lookup_conf->hedge && ngx_pay_feed_has_aside();
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
        ngx_add_timer(ev, lookup_conf->timeout - lookup_conf->hedge);
        return;
    }

    ngx_log_error(NGX_LOG_WARN, lookup_log, 0,
                  "pay: look-up of key \"%V\" timed out", &lookup->serial);

    ngx_pay_lookup_failed(lookup);
}


ngx_pay_lookup_t *
ngx_pay_lookup_start(ngx_str_t *serial, ngx_uint_t hash)
{
    ngx_int_t          rc;
    ngx_pay_lookup_t  *lookup, **bucket;

    rc = ngx_pay_feed_ask(NGX_PAY_FEED_MAIN, serial);

    if (rc == NGX_ERROR) {
        return NULL;
    }

    lookup = ngx_calloc(sizeof(ngx_pay_lookup_t), lookup_log);
    if (lookup == NULL) {
        return NULL;
    }

    lookup->fd = (ngx_socket_t) -1;
    lookup->owed[NGX_PAY_FEED_MAIN] = rc == NGX_OK;
    lookup->hash = hash;
    lookup->serial.data = lookup->text;
    lookup->serial.len = serial->len;
    ngx_memcpy(lookup->text, serial->data, serial->len);
    ngx_queue_init(&lookup->waiters);

    lookup->timer.handler = ngx_pay_lookup_timeout;
    lookup->timer.data = lookup;
    lookup->timer.log = lookup_log;
    ngx_add_timer(&lookup->timer,
                  ngx_pay_lookup_hedges() ? lookup_conf->hedge
                                          : lookup_conf->timeout);

    bucket = &lookups[hash & (NGX_PAY_LOOKUP_BUCKETS - 1)];
    lookup->next = *bucket;
    *bucket = lookup;

    ngx_http_pay_count(key_misses);

    if (rc == NGX_DECLINED) {
        ngx_pay_lookup_hedge(lookup);
    }

    return lookup;
}


/*
 * The look-up leaves the table before anybody is told, because a handler may
 * start the next one; a handler may also cancel those behind it.
 */

void
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


static ngx_uint_t
ngx_pay_lookup_owed(ngx_pay_lookup_t *lookup)
{
    return lookup->owed[NGX_PAY_FEED_MAIN] + lookup->owed[NGX_PAY_FEED_ASIDE];
}


ngx_uint_t
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


/*
 * Nobody owes it an answer any more.  What we know serves; else another payd
 * is asked, or the next connection brings the answer in time.
 */

static void
ngx_pay_lookup_orphaned(ngx_pay_lookup_t *lookup)
{
    if (ngx_pay_key_usable(ngx_pay_cache_find(&lookup->serial, lookup->hash))) {
        ngx_pay_lookup_failed(lookup);
        return;
    }

    ngx_pay_lookup_hedge(lookup);
}


/*
 * Nothing more comes from there.  Those who are told may start and end others:
 * the bucket is looked through anew after each.
 */

void
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
                l->lost = 0;
                ngx_pay_lookup_orphaned(l);
                l = NULL;
            }
        }
    }
}


void
ngx_pay_lookups_resume(void)
{
    ngx_uint_t         i;
    ngx_pay_lookup_t  *l;

    for (i = 0; i < NGX_PAY_LOOKUP_BUCKETS; i++) {
        for (l = lookups[i]; l; l = l->next) {
            if (ngx_pay_lookup_owed(l) == 0) {
                (void) ngx_pay_lookup_ask(l, NGX_PAY_FEED_MAIN);
            }
        }
    }
}
