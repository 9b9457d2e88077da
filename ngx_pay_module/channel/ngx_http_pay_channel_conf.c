/*
 * The pay_channel block's parser.  The file is read by payd too: what only it
 * needs is accepted here and has no effect.
 */

#include "ngx_http_pay_channel_conf.h"
#include "ngx_http_pay_rate.h"

#include "core/api.h"


#define NGX_HTTP_PAY_CHANNEL_ONCE  1    /* may not be repeated */
#define NGX_HTTP_PAY_CHANNEL_NEED  2    /* must be there */


typedef struct ngx_http_pay_directive_s  ngx_http_pay_directive_t;

typedef struct {
    ngx_http_pay_channel_t     *channel;
    uint32_t                    seen;       /* directives, by index */
} ngx_http_pay_block_t;

struct ngx_http_pay_directive_s {
    ngx_str_t                   name;
    ngx_uint_t                  min;        /* arguments */
    ngx_uint_t                  max;
    ngx_uint_t                  flags;
    char                     *(*set)(ngx_conf_t *cf,
                                     ngx_http_pay_channel_t *ch);
};


static ngx_int_t ngx_http_pay_channel_check_name(ngx_conf_t *cf,
    ngx_http_pay_channel_main_conf_t *cmcf, ngx_str_t *name);
static char *ngx_http_pay_channel_add_zone(ngx_conf_t *cf,
    ngx_http_pay_channel_main_conf_t *cmcf);
static char *ngx_http_pay_channel_directive(ngx_conf_t *cf,
    ngx_command_t *dummy, void *conf);
static char *ngx_http_pay_channel_finish(ngx_conf_t *cf,
    ngx_http_pay_block_t *block);


/* NULL: for payd only */

static ngx_http_pay_directive_t  ngx_http_pay_channel_directives[] = {
    { ngx_string("state"), 1, 1, NGX_HTTP_PAY_CHANNEL_ONCE,
      ngx_http_pay_channel_state_set },
    { ngx_string("adapter"), 1, 1,
      NGX_HTTP_PAY_CHANNEL_ONCE|NGX_HTTP_PAY_CHANNEL_NEED,
      ngx_http_pay_channel_adapter },
    { ngx_string("endpoint"), 1, 1,
      NGX_HTTP_PAY_CHANNEL_ONCE|NGX_HTTP_PAY_CHANNEL_NEED,
      ngx_http_pay_channel_endpoint },
    { ngx_string("tls_name"), 1, 1, NGX_HTTP_PAY_CHANNEL_ONCE,
      ngx_http_pay_channel_tls_name },
    { ngx_string("tls_certificate"), 2, 2, NGX_HTTP_PAY_CHANNEL_ONCE,
      ngx_http_pay_channel_tls_certificate },
    { ngx_string("methods"), 1, NGX_HTTP_PAY_METHODS_MAX,
      NGX_HTTP_PAY_CHANNEL_ONCE|NGX_HTTP_PAY_CHANNEL_NEED,
      ngx_http_pay_channel_methods },
    { ngx_string("wallet"), 1, 4, NGX_HTTP_PAY_CHANNEL_ONCE,
      ngx_http_pay_channel_wallet },
    { ngx_string("amount"), 2, 2, NGX_HTTP_PAY_CHANNEL_ONCE,
      ngx_http_pay_channel_amount },
    { ngx_string("weight"), 1, 1, NGX_HTTP_PAY_CHANNEL_ONCE,
      ngx_http_pay_channel_weight },
    { ngx_string("priority"), 1, 1, NGX_HTTP_PAY_CHANNEL_ONCE,
      ngx_http_pay_channel_priority },
    { ngx_string("concurrency"), 1, 3, NGX_HTTP_PAY_CHANNEL_ONCE,
      ngx_http_pay_channel_concurrency },
    { ngx_string("queue"), 1, 2, NGX_HTTP_PAY_CHANNEL_ONCE,
      ngx_http_pay_channel_queue },
    { ngx_string("timeout"), 1, 3,
      NGX_HTTP_PAY_CHANNEL_ONCE|NGX_HTTP_PAY_CHANNEL_NEED,
      ngx_http_pay_channel_timeout },
    { ngx_string("keepalive"), 1, 2, NGX_HTTP_PAY_CHANNEL_ONCE,
      ngx_http_pay_channel_keepalive },
    { ngx_string("fee"), 1, 4, NGX_HTTP_PAY_CHANNEL_ONCE,
      ngx_http_pay_channel_fee },
    { ngx_string("breaker"), 1, 9, NGX_HTTP_PAY_CHANNEL_ONCE,
      ngx_http_pay_channel_breaker },
    { ngx_string("sla"), 1, 7, NGX_HTTP_PAY_CHANNEL_ONCE,
      ngx_http_pay_channel_sla },
    { ngx_string("rate"), 1, 2, 0, ngx_http_pay_channel_rate },
    { ngx_string("bind"), 1, 4, NGX_HTTP_PAY_CHANNEL_ONCE,
      ngx_http_pay_channel_bind },

    { ngx_string("account"), 1, 16, 0, NULL },
    { ngx_string("notify_base"), 1, 1, NGX_HTTP_PAY_CHANNEL_ONCE, NULL },
    { ngx_string("query_first"), 1, 1, NGX_HTTP_PAY_CHANNEL_ONCE, NULL },
    { ngx_string("settle"), 1, 8, NGX_HTTP_PAY_CHANNEL_ONCE, NULL },

    { ngx_null_string, 0, 0, 0, NULL }
};


char *
ngx_http_pay_channel_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_pay_channel_main_conf_t  *cmcf = conf;

    char                     *rv;
    ngx_str_t                *value;
    ngx_conf_t                save;
    ngx_http_pay_block_t      block;
    ngx_http_pay_channel_t   *ch, **place;

    value = cf->args->elts;

    if (ngx_http_pay_channel_check_name(cf, cmcf, &value[1]) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    ch = ngx_pcalloc(cf->pool, sizeof(ngx_http_pay_channel_t));
    if (ch == NULL) {
        return NGX_CONF_ERROR;
    }

    ch->name = value[1];
    ch->file = cf->conf_file->file.name.data;
    ch->line = cf->conf_file->line;
    ch->amount_min = AMOUNT_MIN;
    ch->amount_max = AMOUNT_MAX;
    ch->weight = 1;
    ch->priority = 10;
    ch->place = cmcf->channels.nelts;
    ch->cap = 100;
    ch->pay_cap = 80;
    ch->reserve = 20;
    ch->queue_timeout = 500;
    ngx_queue_init(&ch->waiting[NGX_HTTP_PAY_WAIT_PAY]);
    ngx_queue_init(&ch->waiting[NGX_HTTP_PAY_WAIT_OTHER]);
    ch->keepalive = NGX_CONF_UNSET_UINT;
    ch->idle_timeout = 15000;
    ngx_http_pay_channel_breaker_defaults(ch);

    block.channel = ch;
    block.seen = 0;

    save = *cf;
    cf->handler = ngx_http_pay_channel_directive;
    cf->handler_conf = (void *) &block;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (ngx_http_pay_channel_finish(cf, &block) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    *ngx_http_pay_channel_place(cmcf, &ch->name) = ch;

    place = ngx_array_push(&cmcf->channels);
    if (place == NULL) {
        return NGX_CONF_ERROR;
    }

    *place = ch;

    return ngx_http_pay_channel_add_zone(cf, cmcf);
}


static ngx_int_t
ngx_http_pay_channel_check_name(ngx_conf_t *cf,
    ngx_http_pay_channel_main_conf_t *cmcf, ngx_str_t *name)
{
    u_char                   c;
    ngx_uint_t               i;
    ngx_http_pay_channel_t  *ch;

    if (name->len == 0 || name->len > NGX_HTTP_PAY_NAME_MAX) {
        goto invalid;
    }

    for (i = 0; i < name->len; i++) {
        c = name->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')
              || c == '_' || (c == '-' && i > 0)))
        {
            goto invalid;
        }
    }

    ch = ngx_http_pay_channel_find(cmcf, name);

    if (ch) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate pay_channel \"%V\", first in %s:%ui",
                           name, ch->file, ch->line);
        return NGX_ERROR;
    }

    if (cmcf->channels.nelts == NGX_HTTP_PAY_CHANNELS_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "too many pay_channel blocks at \"%V\", "
                           "at most %d are possible",
                           name, NGX_HTTP_PAY_CHANNELS_MAX);
        return NGX_ERROR;
    }

    return NGX_OK;

invalid:

    (void) ngx_http_pay_channel_invalid(cf, name);

    return NGX_ERROR;
}


static char *
ngx_http_pay_channel_add_zone(ngx_conf_t *cf,
    ngx_http_pay_channel_main_conf_t *cmcf)
{
    size_t     size;
    ngx_str_t  name;

    if (cmcf->zone) {
        return NGX_CONF_OK;
    }

    ngx_str_set(&name, "pay_channel");

    size = ngx_align(sizeof(ngx_http_pay_channel_sh_t), ngx_pagesize)
           + 32 * ngx_pagesize;

    cmcf->zone = ngx_shared_memory_add(cf, &name, size,
                                       &ngx_http_pay_channel_module);
    if (cmcf->zone == NULL) {
        return NGX_CONF_ERROR;
    }

    cmcf->zone->init = ngx_http_pay_channel_zone_init;
    cmcf->zone->data = cmcf;

    return NGX_CONF_OK;
}


static char *
ngx_http_pay_channel_directive(ngx_conf_t *cf, ngx_command_t *dummy,
    void *conf)
{
    ngx_http_pay_block_t  *block = conf;

    ngx_str_t                 *value;
    ngx_uint_t                 i, n;
    ngx_http_pay_directive_t  *d;

    value = cf->args->elts;
    n = cf->args->nelts - 1;

    for (i = 0; ngx_http_pay_channel_directives[i].name.len; i++) {
        d = &ngx_http_pay_channel_directives[i];

        if (d->name.len != value[0].len
            || ngx_memcmp(d->name.data, value[0].data, value[0].len) != 0)
        {
            continue;
        }

        if (n < d->min || n > d->max) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid number of arguments in \"%V\" "
                               "of pay_channel \"%V\"",
                               &value[0], &block->channel->name);
            return NGX_CONF_ERROR;
        }

        if ((d->flags & NGX_HTTP_PAY_CHANNEL_ONCE) && (block->seen & 1u << i)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" is duplicate in pay_channel \"%V\"",
                               &value[0], &block->channel->name);
            return NGX_CONF_ERROR;
        }

        block->seen |= 1u << i;

        return d->set ? d->set(cf, block->channel) : NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "unknown directive \"%V\" in pay_channel \"%V\"",
                       &value[0], &block->channel->name);

    return NGX_CONF_ERROR;
}


/* what is missing or does not fit together */

static char *
ngx_http_pay_channel_finish(ngx_conf_t *cf, ngx_http_pay_block_t *block)
{
    u_char                    *p;
    ngx_uint_t                 i;
    ngx_http_pay_channel_t    *ch;
    ngx_http_pay_directive_t  *d;

    ch = block->channel;

    for (i = 0; ngx_http_pay_channel_directives[i].name.len; i++) {
        d = &ngx_http_pay_channel_directives[i];

        if ((d->flags & NGX_HTTP_PAY_CHANNEL_NEED)
            && !(block->seen & 1u << i))
        {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "no \"%V\" in pay_channel \"%V\" in %s:%ui",
                          &d->name, &ch->name, ch->file, ch->line);
            return NGX_CONF_ERROR;
        }
    }

    if (ch->tls_name.len && !ch->tls) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"tls_name\" needs an https endpoint "
                      "in pay_channel \"%V\" in %s:%ui",
                      &ch->name, ch->file, ch->line);
        return NGX_CONF_ERROR;
    }

    if (ch->cert.len && !ch->tls) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"tls_certificate\" needs an https endpoint "
                      "in pay_channel \"%V\" in %s:%ui",
                      &ch->name, ch->file, ch->line);
        return NGX_CONF_ERROR;
    }

    if (ch->nbinds && !ch->by_name
        && ch->url.addrs[0].sockaddr->sa_family
           != ch->binds[0].sockaddr->sa_family)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"bind\" and \"endpoint\" are of different address "
                      "families in pay_channel \"%V\" in %s:%ui",
                      &ch->name, ch->file, ch->line);
        return NGX_CONF_ERROR;
    }

    ngx_http_pay_rate_init(ch);

    if (ch->keepalive == NGX_CONF_UNSET_UINT) {
        ch->keepalive = ngx_min(ch->cap, 64);
    }

    if (ch->tls_name.len) {
        ch->host = ch->tls_name;
        return NGX_CONF_OK;
    }

    /* Host and TLS name are the endpoint's */

    ch->tls_name = ch->url.host;

    if (ch->url.no_port || ch->url.port == ch->url.default_port) {
        ch->host = ch->url.host;
        return NGX_CONF_OK;
    }

    p = ngx_pnalloc(cf->pool, ch->url.host.len + sizeof(":65535") - 1);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    ch->host.data = p;
    ch->host.len = ngx_sprintf(p, "%V:%d", &ch->url.host, (int) ch->url.port)
                   - p;

    return NGX_CONF_OK;
}
