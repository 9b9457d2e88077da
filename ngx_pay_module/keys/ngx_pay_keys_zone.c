/*
 * Records of keys in the zone.  They are kept packed (ngx_pay_key_pack.c),
 * because parsed keys hold pointers.  Secrets are wiped before memory is given back.
 */

#include "ngx_pay_keys.h"


#define NGX_PAY_UNKNOWN_SLOTS  1024     /* a power of two */
#define NGX_PAY_UNKNOWN_TTL    3000     /* ms */
#define NGX_PAY_EVICT_MAX      32       /* per insertion */


typedef struct {
    ngx_rbtree_node_t       node;       /* key: hash of the serial */
    ngx_queue_t             lru;
    ngx_msec_t              confirmed;
    u_short                 serial_len;
    u_short                 record_len;
    u_char                  data[1];    /* serial, record */
} ngx_pay_key_node_t;


/* one unknown serial per place; a later one with the same hash replaces it */

typedef struct {
    ngx_msec_t              until;
    u_char                  len;
    u_char                  serial[NGX_PAY_SERIAL_MAX];
} ngx_pay_unknown_t;


struct ngx_pay_keys_shm_s {
    ngx_rbtree_t            rbtree;
    ngx_rbtree_node_t       sentinel;
    ngx_queue_t             lru;        /* newest first */

    /* from..until: some process of this node had a live change feed */
    ngx_msec_t              from;
    ngx_msec_t              until;

    time_t                  second;     /* the budget of look-ups is for */
    ngx_uint_t              asked;
    ngx_pay_unknown_t       unknown[NGX_PAY_UNKNOWN_SLOTS];
};


static ngx_int_t
ngx_pay_keys_compare(ngx_pay_key_node_t *kn, u_char *serial, size_t len)
{
    return ngx_memn2cmp(serial, kn->data, len, kn->serial_len);
}


static void
ngx_pay_keys_insert_value(ngx_rbtree_node_t *temp, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel)
{
    ngx_pay_key_node_t  *kn;
    ngx_rbtree_node_t  **p;

    kn = (ngx_pay_key_node_t *) node;

    for ( ;; ) {

        if (node->key != temp->key) {
            p = node->key < temp->key ? &temp->left : &temp->right;

        } else {
            p = ngx_pay_keys_compare((ngx_pay_key_node_t *) temp, kn->data,
                                     kn->serial_len)
                < 0 ? &temp->left : &temp->right;
        }

        if (*p == sentinel) {
            break;
        }

        temp = *p;
    }

    *p = node;
    node->parent = temp;
    node->left = sentinel;
    node->right = sentinel;
    ngx_rbt_red(node);
}


ngx_pay_keys_shm_t *
ngx_pay_keys_init_shm(ngx_slab_pool_t *shpool)
{
    ngx_pay_keys_shm_t  *shm;

    shm = ngx_slab_calloc(shpool, sizeof(ngx_pay_keys_shm_t));
    if (shm == NULL) {
        return NULL;
    }

    ngx_rbtree_init(&shm->rbtree, &shm->sentinel, ngx_pay_keys_insert_value);
    ngx_queue_init(&shm->lru);

    return shm;
}


/* the functions below hold the slab mutex when they call these */

static ngx_pay_key_node_t *
ngx_pay_keys_find(ngx_str_t *serial, ngx_uint_t hash)
{
    ngx_int_t            rc;
    ngx_rbtree_node_t   *node, *sentinel;
    ngx_pay_keys_shm_t  *shm;
    ngx_pay_key_node_t  *kn;

    shm = ngx_http_pay_shm->keys;
    node = shm->rbtree.root;
    sentinel = shm->rbtree.sentinel;

    while (node != sentinel) {

        if (hash != node->key) {
            node = hash < node->key ? node->left : node->right;
            continue;
        }

        kn = (ngx_pay_key_node_t *) node;

        rc = ngx_pay_keys_compare(kn, serial->data, serial->len);

        if (rc == 0) {
            return kn;
        }

        node = rc < 0 ? node->left : node->right;
    }

    return NULL;
}


static void
ngx_pay_keys_drop(ngx_pay_key_node_t *kn)
{
    ngx_rbtree_delete(&ngx_http_pay_shm->keys->rbtree, &kn->node);
    ngx_queue_remove(&kn->lru);

    wipe(kn->data, kn->serial_len + kn->record_len);
    ngx_slab_free_locked(ngx_http_pay_shpool, kn);
}


static ngx_pay_key_node_t *
ngx_pay_keys_alloc(size_t size)
{
    ngx_uint_t           n;
    ngx_queue_t         *lru;
    ngx_pay_key_node_t  *kn;

    lru = &ngx_http_pay_shm->keys->lru;

    for (n = 0; n < NGX_PAY_EVICT_MAX; n++) {

        kn = ngx_slab_alloc_locked(ngx_http_pay_shpool, size);

        if (kn || ngx_queue_empty(lru)) {
            return kn;
        }

        ngx_pay_keys_drop(ngx_queue_data(ngx_queue_last(lru),
                                         ngx_pay_key_node_t, lru));
        ngx_http_pay_count(key_evicted);
    }

    return NULL;
}


size_t
ngx_pay_keys_zone_get(ngx_str_t *serial, ngx_uint_t hash, u_char *buf,
    size_t size, ngx_msec_t *confirmed, ngx_uint_t *covered)
{
    size_t               n;
    ngx_pay_key_node_t  *kn;
    ngx_pay_keys_shm_t  *shm;

    n = 0;
    shm = ngx_http_pay_shm->keys;

    ngx_shmtx_lock(&ngx_http_pay_shpool->mutex);

    kn = ngx_pay_keys_find(serial, hash);

    if (kn && kn->record_len <= size) {
        n = kn->record_len;
        ngx_memcpy(buf, kn->data + kn->serial_len, n);

        *covered = (ngx_msec_int_t) (kn->confirmed - shm->from) >= 0
                   && (ngx_msec_int_t) (shm->until - kn->confirmed) >= 0;
        *confirmed = *covered ? shm->until : kn->confirmed;

        ngx_queue_remove(&kn->lru);
        ngx_queue_insert_head(&shm->lru, &kn->lru);
    }

    ngx_shmtx_unlock(&ngx_http_pay_shpool->mutex);

    return n;
}


/*
 * One process' feed goes on where another's ended, if it was connected before
 * that: a change in between was heard by one of them.
 */

void
ngx_pay_keys_zone_tick(ngx_msec_t since)
{
    ngx_pay_keys_shm_t  *shm;

    shm = ngx_http_pay_shm->keys;

    ngx_shmtx_lock(&ngx_http_pay_shpool->mutex);

    if (shm->until == 0 || (ngx_msec_int_t) (shm->until - since) < 0) {
        shm->from = since;
    }

    shm->until = ngx_current_msec;

    ngx_shmtx_unlock(&ngx_http_pay_shpool->mutex);
}


void
ngx_pay_keys_zone_put(ngx_str_t *serial, ngx_uint_t hash, struct slice record)
{
    size_t               size;
    ngx_pay_key_node_t  *kn;

    ngx_shmtx_lock(&ngx_http_pay_shpool->mutex);

    kn = ngx_pay_keys_find(serial, hash);

    if (kn) {
        ngx_pay_keys_drop(kn);
    }

    size = offsetof(ngx_pay_key_node_t, data) + serial->len + record.n;

    kn = ngx_pay_keys_alloc(size);

    if (kn) {
        kn->node.key = hash;
        kn->confirmed = ngx_current_msec;
        kn->serial_len = (u_short) serial->len;
        kn->record_len = (u_short) record.n;
        ngx_memcpy(kn->data, serial->data, serial->len);
        ngx_memcpy(kn->data + serial->len, record.p, record.n);

        ngx_rbtree_insert(&ngx_http_pay_shm->keys->rbtree, &kn->node);
        ngx_queue_insert_head(&ngx_http_pay_shm->keys->lru, &kn->lru);
    }

    ngx_shmtx_unlock(&ngx_http_pay_shpool->mutex);
}


void
ngx_pay_keys_zone_forget(ngx_str_t *serial, ngx_uint_t hash)
{
    ngx_pay_unknown_t   *u;
    ngx_pay_key_node_t  *kn;

    u = &ngx_http_pay_shm->keys->unknown[hash & (NGX_PAY_UNKNOWN_SLOTS - 1)];

    ngx_shmtx_lock(&ngx_http_pay_shpool->mutex);

    kn = ngx_pay_keys_find(serial, hash);

    if (kn) {
        ngx_pay_keys_drop(kn);
    }

    /* the key may have been added just now */

    u->len = 0;

    ngx_shmtx_unlock(&ngx_http_pay_shpool->mutex);
}


ngx_uint_t
ngx_pay_keys_zone_is_unknown(ngx_str_t *serial, ngx_uint_t hash)
{
    ngx_uint_t          found;
    ngx_pay_unknown_t  *u;

    u = &ngx_http_pay_shm->keys->unknown[hash & (NGX_PAY_UNKNOWN_SLOTS - 1)];

    ngx_shmtx_lock(&ngx_http_pay_shpool->mutex);

    found = u->len == serial->len
            && ngx_memcmp(u->serial, serial->data, serial->len) == 0
            && (ngx_msec_int_t) (u->until - ngx_current_msec) > 0;

    ngx_shmtx_unlock(&ngx_http_pay_shpool->mutex);

    return found;
}


void
ngx_pay_keys_zone_set_unknown(ngx_str_t *serial, ngx_uint_t hash)
{
    ngx_pay_unknown_t  *u;

    if (serial->len > NGX_PAY_SERIAL_MAX) {
        return;
    }

    u = &ngx_http_pay_shm->keys->unknown[hash & (NGX_PAY_UNKNOWN_SLOTS - 1)];

    ngx_shmtx_lock(&ngx_http_pay_shpool->mutex);

    u->until = ngx_current_msec + NGX_PAY_UNKNOWN_TTL;
    u->len = (u_char) serial->len;
    ngx_memcpy(u->serial, serial->data, serial->len);

    ngx_shmtx_unlock(&ngx_http_pay_shpool->mutex);
}


/* it was a key after all: a node that starts cold has many to ask for */

void
ngx_pay_keys_zone_give_back(void)
{
    ngx_pay_keys_shm_t  *shm;

    shm = ngx_http_pay_shm->keys;

    ngx_shmtx_lock(&ngx_http_pay_shpool->mutex);

    if (shm->second == ngx_time() && shm->asked) {
        shm->asked--;
    }

    ngx_shmtx_unlock(&ngx_http_pay_shpool->mutex);
}


ngx_uint_t
ngx_pay_keys_zone_may_ask(ngx_uint_t per_second)
{
    ngx_uint_t           may;
    ngx_pay_keys_shm_t  *shm;

    shm = ngx_http_pay_shm->keys;

    ngx_shmtx_lock(&ngx_http_pay_shpool->mutex);

    if (shm->second != ngx_time()) {
        shm->second = ngx_time();
        shm->asked = 0;
    }

    may = shm->asked < per_second;

    if (may) {
        shm->asked++;
    }

    ngx_shmtx_unlock(&ngx_http_pay_shpool->mutex);

    return may;
}
