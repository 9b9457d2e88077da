/*
 * Lines of "when": reading them, and what they ask of a request.  See
 * ngx_http_pay_when.h; ngx_http_pay_when_values.c has the values.
 */

#include "ngx_http_pay_when_values.h"

#include "ngx_http_pay_block.h"


#define NGX_HTTP_PAY_WHEN_ARENA  (1024 * 1024 * 1024)


/* the values between commas */

static ngx_int_t
ngx_http_pay_when_values(ngx_conf_t *cf, ngx_http_pay_when_t *when,
    ngx_http_pay_when_key_t *key, ngx_str_t *list)
{
    u_char     *comma, *last;
    ngx_int_t   rc;
    ngx_str_t   value;

    last = list->data + list->len;
    value.data = list->data;

    for ( ;; ) {
        comma = ngx_strlchr(value.data, last, ',');
        value.len = (comma ? comma : last) - value.data;

        rc = value.len ? key->set(cf, when, key, &value) : NGX_DECLINED;

        if (rc != NGX_OK || comma == NULL) {
            return rc;
        }

        if (!key->list) {
            return NGX_DECLINED;
        }

        value.data = comma + 1;
    }
}


/* KEY=VALUE or KEY!=VALUE */

static char *
ngx_http_pay_when_part(ngx_conf_t *cf, ngx_http_pay_when_t *when,
    uint32_t keys, ngx_str_t *arg)
{
    u_char                   *p;
    uint32_t                  negated;
    ngx_int_t                 rc;
    ngx_str_t                 name, list;
    ngx_http_pay_when_key_t  *key;

    p = ngx_strlchr(arg->data, arg->data + arg->len, '=');

    if (p == NULL || p == arg->data) {
        return ngx_http_pay_block_invalid(cf, arg);
    }

    name.data = arg->data;
    name.len = p - arg->data;
    list.data = p + 1;
    list.len = arg->data + arg->len - list.data;

    negated = p[-1] == '!';
    name.len -= negated;

    for (key = ngx_http_pay_when_keys; key->name.len; key++) {
        if (key->name.len == name.len
            && ngx_memcmp(key->name.data, name.data, name.len) == 0)
        {
            break;
        }
    }

    if (key->name.len == 0 || !(keys & key->bit)) {
        return ngx_http_pay_block_invalid(cf, arg);
    }

    /* only lists of names add up */

    if ((when->line.given & key->bit)
        && (!key->adds
            || ((when->line.negated & key->bit) != 0) != negated))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is duplicate in \"when\"", &name);
        return NGX_CONF_ERROR;
    }

    rc = ngx_http_pay_when_values(cf, when, key, &list);

    if (rc == NGX_DECLINED) {
        return ngx_http_pay_block_invalid(cf, arg);
    }

    when->line.given |= key->bit;
    when->line.negated |= negated ? key->bit : 0;

    return rc == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
}


char *
ngx_http_pay_when_read(ngx_conf_t *cf, ngx_array_t *whens, uint32_t keys)
{
    ngx_str_t            *value;
    ngx_uint_t            i;
    ngx_http_pay_when_t  *when;

    value = cf->args->elts;

    when = ngx_array_push(whens);
    if (when == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(when, sizeof(ngx_http_pay_when_t));
    ngx_http_pay_where(cf, &when->where);

    if (ngx_array_init(&when->channels, cf->pool, 1, sizeof(ngx_str_t))
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts == 2 && value[1].len == 3
        && ngx_strncmp(value[1].data, "all", 3) == 0)
    {
        return NGX_CONF_OK;
    }

    for (i = 1; i < cf->args->nelts; i++) {
        if (ngx_http_pay_when_part(cf, when, keys, &value[i]) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


ngx_http_pay_channel_t *
ngx_http_pay_when_channel(ngx_conf_t *cf,
    ngx_http_pay_channel_main_conf_t *cmcf, ngx_str_t *name,
    ngx_http_pay_where_t *where)
{
    ngx_http_pay_channel_t  *ch;

    ch = ngx_http_pay_channel_find(cmcf, name);

    if (ch == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "unknown channel \"%V\" in %V:%ui", name, &where->file,
                      where->line);
    }

    return ch;
}


char *
ngx_http_pay_when_resolve(ngx_conf_t *cf, ngx_http_pay_when_t *when,
    ngx_http_pay_channel_main_conf_t *cmcf)
{
    ngx_str_t               *name;
    ngx_uint_t               i;
    ngx_http_pay_channel_t  *ch;

    name = when->channels.elts;

    for (i = 0; i < when->channels.nelts; i++) {
        ch = ngx_http_pay_when_channel(cf, cmcf, &name[i], &when->where);
        if (ch == NULL) {
            return NGX_CONF_ERROR;
        }

        match_set_add(&when->line.numbers[MATCH_CHANNEL], ch->place);
    }

    return NGX_CONF_OK;
}


static void
ngx_http_pay_when_release(void *data)
{
    arena_release(data);
}


struct arena *
ngx_http_pay_when_arena(ngx_conf_t *cf)
{
    struct arena        *a;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(cf->pool, sizeof(struct arena));
    if (cln == NULL) {
        return NULL;
    }

    a = cln->data;
    arena_init(a, NGX_HTTP_PAY_WHEN_ARENA);

    cln->handler = ngx_http_pay_when_release;

    return a;
}


uint64_t
ngx_http_pay_when_hash(ngx_http_pay_ctx_t *ctx)
{
    struct slice  number;

    number = ctx->match.id;

    if (number.n == 0) {
        number = ctx->match.out_trade_no.n
                 ? ctx->match.out_trade_no
                 : json_str(ctx->doc, "out_trade_no");
    }

    return slice_hash(number)
           ^ slice_hash(ngx_pay_slice(ctx->mchid)) * 0x9e3779b97f4a7c15ULL;
}
