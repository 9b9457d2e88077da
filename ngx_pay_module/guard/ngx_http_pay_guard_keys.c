/*
 * Whose limits apply to a request, and what they are called in Redis.
 *
 * Keys are short and binary.  MMM is the merchant, LLLL a limit's id (4 bytes):
 *
 *   {MMM}hAPP:NNNNNNNNNNNNNNNN   a nonce of 32 lower-case hex characters
 *   {MMM}nAPP:NONCE              any other
 *   {MMM}aLLLLAPP                an app's limit
 *   {MMM}mLLLL                   a merchant's
 *   {pMETHOD PATH}LLLL           an API's
 *   {iAAAA}LLLL                  an address', 4 bytes, or 8 (IPv6: /64)
 *   {vVALUE}LLLL, {wMD5}LLLL     of a value of at most 32 bytes, or longer
 */

#include "ngx_http_pay_attack.h"
#include "ngx_http_pay_guard.h"

#include "ngx_pay_module/keys/ngx_pay_keys.h"
#include "ngx_pay_module/local/ngx_pay_nonce.h"

#include <ngx_md5.h>


#define NGX_HTTP_PAY_GUARD_RAW  32


static ngx_int_t
ngx_http_pay_guard_variable(ngx_http_request_t *r, ngx_http_pay_limit_t *l,
    u_char *hash, struct slice *value)
{
    ngx_md5_t  md5;
    ngx_str_t  text;

    if (ngx_http_complex_value(r, l->value, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    *value = ngx_pay_slice(text);

    if (text.len > NGX_HTTP_PAY_GUARD_RAW) {
        ngx_md5_init(&md5);
        ngx_md5_update(&md5, text.data, text.len);
        ngx_md5_final(hash, &md5);

        *value = slice_n(hash, 16);
    }

    return NGX_OK;
}


/* value is empty when the limit does not concern this request */

static ngx_int_t
ngx_http_pay_guard_value(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    ngx_http_pay_limit_t *l, u_char *hash, struct slice *value)
{
    switch (l->limit.kind) {

    case NGX_PAY_LIMIT_APP:
        *value = ngx_pay_slice(ctx->app);
        return NGX_OK;

    case NGX_PAY_LIMIT_MERCHANT:
        *value = ngx_pay_slice(ctx->mchid);
        return NGX_OK;

    case NGX_PAY_LIMIT_API:
        *value = slice_of(ctx->match.api->path);
        return NGX_OK;

    case NGX_PAY_LIMIT_IP:
        *value = ngx_http_pay_source(r);
        return NGX_OK;

    default:
        return ngx_http_pay_guard_variable(r, l, hash, value);
    }
}


static void
ngx_http_pay_guard_add(ngx_http_pay_guard_set_t *set, ngx_pay_limit_t *limit,
    struct slice value, ngx_uint_t tag)
{
    set->use[set->n].limit = limit;
    set->value[set->n] = value;
    set->tag[set->n] = tag;
    set->n++;
}


/* whether the key record has a limit of its own in the place of this one */

static ngx_uint_t
ngx_http_pay_guard_replaced(ngx_pay_key_t *key, ngx_pay_limit_t *limit)
{
    ngx_pay_limit_t  *own;

    if (limit->kind > NGX_PAY_LIMIT_MERCHANT) {
        return 0;
    }

    own = &key->limits[limit->kind];

    return own->rate && own->name.len == limit->name.len
           && ngx_memcmp(own->name.data, limit->name.data, limit->name.len)
              == 0;
}


ngx_int_t
ngx_http_pay_guard_collect(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    ngx_http_pay_guard_loc_conf_t *glcf, ngx_http_pay_guard_set_t *set)
{
    ngx_uint_t             i;
    struct slice           value;
    ngx_pay_limit_t       *own;
    ngx_http_pay_limit_t  *l;

    set->n = 0;
    set->own = 0;

    for (i = 0; i < glcf->n; i++) {
        l = glcf->all[i];

        if (ngx_http_pay_guard_replaced(ctx->key, &l->limit)) {
            continue;
        }

        if (ngx_http_pay_guard_value(r, ctx, l, set->hash[set->n], &value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (value.n) {
            ngx_http_pay_guard_add(set, &l->limit, value, l->tag);
        }
    }

    own = ctx->key->limits;

    if (own[NGX_PAY_LIMIT_APP].rate) {
        ngx_http_pay_guard_add(set, &own[NGX_PAY_LIMIT_APP],
                               ngx_pay_slice(ctx->app), 0);
        set->own++;
    }

    if (own[NGX_PAY_LIMIT_MERCHANT].rate) {
        ngx_http_pay_guard_add(set, &own[NGX_PAY_LIMIT_MERCHANT],
                               ngx_pay_slice(ctx->mchid), 0);
        set->own++;
    }

    return NGX_OK;
}


void
ngx_http_pay_guard_who(ngx_http_pay_ctx_t *ctx, ngx_http_pay_guard_set_t *set)
{
    uint64_t          who;
    ngx_uint_t        i;
    ngx_pay_limit_t  *limit;

    for (i = 0; i < set->n; i++) {
        limit = set->use[i].limit;

        who = ngx_pay_nonce_seed() ^ limit->id;

        if (limit->kind == NGX_PAY_LIMIT_APP) {
            who = ngx_pay_nonce_mix(who, ngx_pay_slice(ctx->mchid));

        } else if (limit->kind == NGX_PAY_LIMIT_API) {
            who = ngx_pay_nonce_mix(who, slice_of(ctx->match.api->method));
        }

        set->use[i].who = ngx_pay_nonce_mix(who, set->value[i]);
    }
}


/* a bulk string of at most 999 bytes begins */

static ngx_inline u_char *
ngx_http_pay_guard_bulk(u_char *p, size_t n)
{
    *p++ = '$';

    return ngx_pay_redis_number(p, n);
}


static ngx_inline u_char *
ngx_http_pay_guard_merchant(u_char *p, ngx_http_pay_ctx_t *ctx, u_char letter)
{
    *p++ = '{';
    p = ngx_cpymem(p, ctx->mchid.data, ctx->mchid.len);
    *p++ = '}';
    *p++ = letter;

    return p;
}


/* half as long in Redis' memory, which holds nonces above all */

static ngx_uint_t
ngx_http_pay_guard_unhex(struct slice nonce, u_char *p)
{
    int         high, low;
    ngx_uint_t  i;

    static const signed char  digits[256] = {
        ['0'] = 1, ['1'] = 2, ['2'] = 3, ['3'] = 4, ['4'] = 5, ['5'] = 6,
        ['6'] = 7, ['7'] = 8, ['8'] = 9, ['9'] = 10, ['a'] = 11, ['b'] = 12,
        ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16
    };

    if (nonce.n != 32) {
        return 0;
    }

    for (i = 0; i < 16; i++) {
        high = digits[(u_char) nonce.p[2 * i]];
        low = digits[(u_char) nonce.p[2 * i + 1]];

        if (high == 0 || low == 0) {
            return 0;
        }

        p[i] = (u_char) (((high - 1) << 4) | (low - 1));
    }

    return 1;
}


static u_char *
ngx_http_pay_guard_nonce(u_char *p, ngx_http_pay_ctx_t *ctx)
{
    u_char        bin[16];
    u_char        letter;
    struct slice  nonce;

    nonce = ctx->auth.nonce_str;
    letter = 'n';

    if (ngx_http_pay_guard_unhex(nonce, bin)) {
        nonce = slice_n(bin, 16);
        letter = 'h';
    }

    p = ngx_http_pay_guard_bulk(p, ctx->mchid.len + 3 + ctx->app.len + 1
                                   + nonce.n);
    p = ngx_http_pay_guard_merchant(p, ctx, letter);
    p = ngx_cpymem(p, ctx->app.data, ctx->app.len);
    *p++ = ':';
    p = ngx_cpymem(p, nonce.p, nonce.n);
    *p++ = CR;
    *p++ = LF;

    return p;
}


static u_char *
ngx_http_pay_guard_limit(u_char *p, ngx_http_pay_ctx_t *ctx,
    ngx_pay_limit_t *limit, struct slice value, ngx_uint_t hashed)
{
    const char    *method;
    struct slice   app;

    if (limit->kind <= NGX_PAY_LIMIT_MERCHANT) {
        app = limit->kind == NGX_PAY_LIMIT_APP ? value : SLICE_NULL;

        p = ngx_http_pay_guard_bulk(p, ctx->mchid.len + 3 + 4 + app.n);
        p = ngx_http_pay_guard_merchant(p, ctx, app.n ? 'a' : 'm');
        p = ngx_cpymem(p, &limit->id, 4);

        if (app.n) {
            p = ngx_cpymem(p, app.p, app.n);
        }

    } else {
        method = limit->kind == NGX_PAY_LIMIT_API ? ctx->match.api->method : "";

        p = ngx_http_pay_guard_bulk(p, 3 + ngx_strlen(method) + value.n + 4);
        *p++ = '{';
        *p++ = limit->kind == NGX_PAY_LIMIT_API ? 'p'
               : limit->kind == NGX_PAY_LIMIT_IP ? 'i' : hashed ? 'w' : 'v';
        p = ngx_cpymem(p, method, ngx_strlen(method));
        p = ngx_cpymem(p, value.p, value.n);
        *p++ = '}';
        p = ngx_cpymem(p, &limit->id, 4);
    }

    *p++ = CR;
    *p++ = LF;

    return p;
}


static u_char *
ngx_http_pay_guard_command(u_char *p, ngx_http_pay_ctx_t *ctx,
    ngx_http_pay_guard_loc_conf_t *glcf, ngx_http_pay_guard_set_t *set,
    ngx_uint_t from, ngx_uint_t to, ngx_uint_t nonce, ngx_pay_redis_cmd_t *cmd)
{
    u_char           *start;
    ngx_uint_t        i;
    ngx_pay_limit_t  *limit;

    cmd->nkeys = to - from;
    cmd->nargs = 1 + 2 * (to - from);

    start = p;

    for (i = from; i < to; i++) {
        p = ngx_http_pay_guard_limit(p, ctx, set->use[i].limit, set->value[i],
                                     (u_char *) set->value[i].p
                                     == set->hash[i]);
    }

    cmd->keys = p - start;
    start = p;

    if (nonce) {
        p = ngx_cpymem(p, glcf->life.data, glcf->life.len);

    } else {
        p = ngx_cpymem(p, "$1\r\n0\r\n", 7);
    }

    for (i = from; i < to; i++) {
        limit = set->use[i].limit;
        p = ngx_cpymem(p, limit->argv.data, limit->argv.len);
    }

    cmd->args = p - start;
    start = p;

    if (nonce) {
        p = ngx_http_pay_guard_nonce(p, ctx);
    }

    cmd->own = p - start;

    return p;
}


void
ngx_http_pay_guard_write(ngx_http_pay_ctx_t *ctx,
    ngx_http_pay_guard_loc_conf_t *glcf, ngx_http_pay_guard_set_t *set,
    ngx_uint_t script, ngx_uint_t tags, ngx_pay_redis_ask_t *ask)
{
    u_char               *p;
    ngx_uint_t            i, next, tag;
    ngx_pay_redis_cmd_t  *cmd;

    p = ask->text;
    ask->n = 0;
    tag = 0;

    for (i = 0; i <= set->n; i = next, tag++) {

        /* the last has tag 0, and is there also without a limit */

        for (next = i; next < set->n && set->tag[next] == set->tag[i]; next++) {
            /* void */
        }

        if (tags & ((ngx_uint_t) 1 << tag)) {
            cmd = &ask->cmds[ask->n++];
            cmd->script = script;

            p = ngx_http_pay_guard_command(p, ctx, glcf, set, i, next,
                                           next == set->n
                                           && (i == next || !set->tag[i]),
                                           cmd);
        }

        if (next == set->n && (i == next || !set->tag[i])) {
            break;
        }
    }

    ask->len = p - ask->text;
}
