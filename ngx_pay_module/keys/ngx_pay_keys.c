/*
 * Which key a request gets - from the process's cache, the zone, or a look-up -
 * and what becomes of that which payd tells.
 */

#include "ngx_pay_keys_lookup.h"


static ngx_pay_keys_conf_t  *keys_conf;
static ngx_log_t            *keys_log;


static ngx_uint_t
ngx_pay_key_hash(ngx_str_t *serial)
{
    return (ngx_uint_t) slice_hash(ngx_pay_slice(*serial));
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

        } else if (ngx_pay_key_usable(k)
                   && (!ngx_pay_feed_connected()
                       || (ngx_msec_int_t) (k->retry - ngx_current_msec) > 0))
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


void
ngx_pay_keys_connected(void)
{
    ngx_pay_lookups_resume();
}


ngx_int_t
ngx_pay_keys_start(ngx_cycle_t *cycle, ngx_pay_keys_conf_t *conf)
{
    keys_conf = conf;
    keys_log = cycle->log;
    ngx_pay_lookup_init(conf, cycle->log);
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
