/*
 * A key as the zone keeps it: packed, since there may be very many.  payd's
 * text of an RSA-2048 key has about 1,000 bytes, this has 410 with its node:
 * a slab of 512 holds it, and parsing DER takes half the time of JSON and PEM.
 * The format is for one life of the zone, written and read by one program.
 */

#include "ngx_pay_keys.h"


typedef struct {
    int64_t             valid_from;
    int64_t             valid_to;
    uint32_t            rate[2];
    uint32_t            burst[2];
    uint16_t            window[2];
    uint16_t            base_slot;
    uint16_t            nallow;
    uint8_t             alg;
    uint8_t             scheme;
    uint8_t             span;
    uint8_t             on;
    uint8_t             allow_alert;
    uint8_t             mchid_len;
    uint8_t             app_len;
    /* mchid, app, allow, key material */
} ngx_pay_key_pack_t;


ngx_int_t
ngx_pay_key_pack(ngx_pay_key_t *key, struct buf *out)
{
    ngx_uint_t          i;
    ngx_pay_key_pack_t  pack;

    ngx_memzero(&pack, sizeof(ngx_pay_key_pack_t));

    pack.valid_from = key->valid_from;
    pack.valid_to = key->valid_to;

    for (i = 0; i < 2; i++) {
        pack.rate[i] = (uint32_t) key->limits[i].rate;
        pack.burst[i] = (uint32_t) key->limits[i].burst;
        pack.window[i] = (uint16_t) key->limits[i].window;
    }

    pack.base_slot = (uint16_t) key->base_slot;
    pack.nallow = (uint16_t) key->nallow;
    pack.alg = (uint8_t) key->verify.alg;
    pack.scheme = (uint8_t) key->scheme;
    pack.span = (uint8_t) key->span;
    pack.on = key->on;
    pack.allow_alert = key->allow_alert;
    pack.mchid_len = (uint8_t) key->mchid.len;
    pack.app_len = (uint8_t) key->app.len;

    buf_add(out, &pack, sizeof(ngx_pay_key_pack_t));
    buf_add(out, key->mchid.data, key->mchid.len);
    buf_add(out, key->app.data, key->app.len);

    if (key->nallow) {
        buf_add(out, key->allow, key->nallow * sizeof(struct addr_rule));
    }

    if (key_alg_is_shared(key->verify.alg)) {
        buf_add(out, key->verify.secret.p, key->verify.secret.n);
        return buf_ok(out) ? NGX_OK : NGX_ERROR;
    }

    return pkey_public_der(key->verify.pkey, out) == 0 ? NGX_OK : NGX_ERROR;
}


static ngx_pay_key_t *
ngx_pay_key_alloc(ngx_str_t *serial, ngx_pay_key_pack_t *pack, u_char *p)
{
    size_t          rules;
    u_char         *to;
    ngx_pay_key_t  *key;

    rules = pack->nallow * sizeof(struct addr_rule);

    key = ngx_calloc(sizeof(ngx_pay_key_t) + rules + serial->len
                     + pack->mchid_len + pack->app_len, ngx_cycle->log);
    if (key == NULL) {
        return NULL;
    }

    key->refs = 1;
    key->allow = (struct addr_rule *) (key + 1);
    key->nallow = pack->nallow;

    to = (u_char *) key->allow + rules;

    key->serial.data = to;
    key->serial.len = serial->len;
    to = ngx_cpymem(to, serial->data, serial->len);

    key->mchid.data = to;
    key->mchid.len = pack->mchid_len;
    key->app.data = to + pack->mchid_len;
    key->app.len = pack->app_len;
    ngx_memcpy(to, p, pack->mchid_len + pack->app_len);

    ngx_memcpy(key->allow, p + pack->mchid_len + pack->app_len, rules);

    return key;
}


ngx_pay_key_t *
ngx_pay_key_unpack(ngx_str_t *serial, struct slice packed)
{
    size_t              n;
    u_char             *p;
    ngx_uint_t          i;
    ngx_pay_key_t      *key;
    ngx_pay_key_pack_t  pack;

    if (packed.n < sizeof(ngx_pay_key_pack_t)) {
        return NULL;
    }

    ngx_memcpy(&pack, packed.p, sizeof(ngx_pay_key_pack_t));
    p = (u_char *) (uintptr_t) packed.p + sizeof(ngx_pay_key_pack_t);

    n = sizeof(ngx_pay_key_pack_t) + pack.mchid_len + pack.app_len
        + pack.nallow * sizeof(struct addr_rule);

    if (packed.n < n) {
        return NULL;
    }

    key = ngx_pay_key_alloc(serial, &pack, p);
    if (key == NULL) {
        return NULL;
    }

    for (i = 0; i < 2; i++) {
        ngx_pay_key_set_limit(key, i, pack.rate[i], pack.window[i],
                              pack.burst[i]);
    }

    key->valid_from = pack.valid_from;
    key->valid_to = pack.valid_to;
    key->base_slot = pack.base_slot;
    key->span = pack.span;
    key->scheme = (enum key_scheme) pack.scheme;
    key->on = pack.on;
    key->allow_alert = pack.allow_alert;

    if (verify_key_load(&key->verify, (enum key_alg) pack.alg,
                        slice_n(packed.p + n, packed.n - n))
        != 0)
    {
        ngx_pay_key_unref(key);
        return NULL;
    }

    return key;
}
