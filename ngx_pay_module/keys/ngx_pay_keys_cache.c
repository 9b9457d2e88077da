/*
 * Parsed keys of one process: bounded, the least recently used goes first.
 */

#include "ngx_pay_keys.h"


#define NGX_PAY_KEY_BUCKETS  1024       /* a power of two */


static ngx_uint_t      keys_max;
static ngx_uint_t      keys_count;
static ngx_queue_t     keys_lru;        /* newest first */
static ngx_pay_key_t  *keys_bucket[NGX_PAY_KEY_BUCKETS];


void
ngx_pay_cache_init(ngx_uint_t max)
{
    keys_max = max;
    ngx_queue_init(&keys_lru);
}


void
ngx_pay_key_unref(ngx_pay_key_t *key)
{
    if (--key->refs == 0) {
        verify_key_release(&key->verify);
        ngx_free(key);
    }
}


ngx_pay_key_t *
ngx_pay_cache_find(ngx_str_t *serial, ngx_uint_t hash)
{
    ngx_pay_key_t  *key;

    for (key = keys_bucket[hash & (NGX_PAY_KEY_BUCKETS - 1)];
         key;
         key = key->next)
    {
        if (key->hash == hash && key->serial.len == serial->len
            && ngx_memcmp(key->serial.data, serial->data, serial->len) == 0)
        {
            return key;
        }
    }

    return NULL;
}


void
ngx_pay_cache_remove(ngx_pay_key_t *key)
{
    ngx_pay_key_t  **p;

    for (p = &keys_bucket[key->hash & (NGX_PAY_KEY_BUCKETS - 1)];
         *p != key;
         p = &(*p)->next)
    {
        /* void */
    }

    *p = key->next;
    ngx_queue_remove(&key->lru);
    key->listed = 0;
    keys_count--;

    ngx_pay_key_unref(key);
}


/* takes over the caller's reference */

void
ngx_pay_cache_insert(ngx_pay_key_t *key)
{
    ngx_pay_key_t  *old, **bucket;

    old = ngx_pay_cache_find(&key->serial, key->hash);

    if (old) {
        ngx_pay_cache_remove(old);

    } else if (keys_count >= keys_max) {
        ngx_pay_cache_remove(ngx_queue_data(ngx_queue_last(&keys_lru),
                                            ngx_pay_key_t, lru));
    }

    bucket = &keys_bucket[key->hash & (NGX_PAY_KEY_BUCKETS - 1)];
    key->next = *bucket;
    *bucket = key;
    key->listed = 1;
    ngx_queue_insert_head(&keys_lru, &key->lru);
    keys_count++;
}


ngx_pay_key_t *
ngx_pay_cache_from_zone(ngx_str_t *serial, ngx_uint_t hash)
{
    size_t          n;
    ngx_msec_t      confirmed;
    ngx_uint_t      covered;
    ngx_pay_key_t  *key;
    u_char          record[NGX_PAY_LINE_MAX];

    n = ngx_pay_keys_zone_get(serial, hash, record, sizeof(record),
                              &confirmed, &covered);
    if (n == 0) {
        return NULL;
    }

    key = ngx_pay_key_unpack(serial, slice_n(record, n));
    wipe(record, n);

    if (key == NULL) {
        return NULL;
    }

    key->hash = hash;
    key->confirmed = confirmed;
    key->generation = covered ? ngx_pay_feed_covering() : 0;

    ngx_pay_cache_insert(key);

    return key;
}


void
ngx_pay_cache_touch(ngx_pay_key_t *key)
{
    ngx_queue_remove(&key->lru);
    ngx_queue_insert_head(&keys_lru, &key->lru);
}


void
ngx_pay_cache_stale(ngx_uint_t generation, ngx_msec_t until)
{
    ngx_queue_t    *q;
    ngx_pay_key_t  *key;

    for (q = ngx_queue_head(&keys_lru);
         q != ngx_queue_sentinel(&keys_lru);
         q = ngx_queue_next(q))
    {
        key = ngx_queue_data(q, ngx_pay_key_t, lru);

        if (generation && key->generation == generation) {
            key->confirmed = until;
        }

        key->generation = 0;
        key->retry = ngx_current_msec;
    }
}


void
ngx_pay_cache_clear(void)
{
    while (!ngx_queue_empty(&keys_lru)) {
        ngx_pay_cache_remove(ngx_queue_data(ngx_queue_head(&keys_lru),
                                            ngx_pay_key_t, lru));
    }
}
