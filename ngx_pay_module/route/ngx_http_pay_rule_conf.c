/*
 * pay_rule NAME { when ...; only | exclude | prefer CHANNEL ...; by ...; }
 */

#include "ngx_http_pay_route.h"

#include "ngx_pay_module/conf/ngx_http_pay_block.h"


/* what is known when channels are chosen */

#define NGX_HTTP_PAY_RULE_KEYS                                                \
    (MATCH_NUMBER_BIT(MATCH_METHOD) | MATCH_NUMBER_BIT(MATCH_WALLET)          \
     | MATCH_NUMBER_BIT(MATCH_SHARE) | MATCH_AMOUNT_BIT                       \
     | MATCH_NAME_BIT(MATCH_MERCHANT) | MATCH_NAME_BIT(MATCH_APP)             \
     | MATCH_NAME_BIT(MATCH_CURRENCY) | MATCH_NAME_BIT(MATCH_SCENE))


static char *ngx_http_pay_rule_when(ngx_conf_t *cf, void *block);
static char *ngx_http_pay_rule_only(ngx_conf_t *cf, void *block);
static char *ngx_http_pay_rule_exclude(ngx_conf_t *cf, void *block);
static char *ngx_http_pay_rule_prefer(ngx_conf_t *cf, void *block);
static char *ngx_http_pay_rule_by(ngx_conf_t *cf, void *block);


static ngx_http_pay_block_command_t  ngx_http_pay_rule_commands[] = {
    { ngx_string("when"), 1, 64, NGX_HTTP_PAY_BLOCK_NEED,
      ngx_http_pay_rule_when },
    { ngx_string("only"), 1, NGX_HTTP_PAY_CHANNELS_MAX,
      NGX_HTTP_PAY_BLOCK_ONCE, ngx_http_pay_rule_only },
    { ngx_string("exclude"), 1, NGX_HTTP_PAY_CHANNELS_MAX,
      NGX_HTTP_PAY_BLOCK_ONCE, ngx_http_pay_rule_exclude },
    { ngx_string("prefer"), 1, NGX_HTTP_PAY_CHANNELS_MAX,
      NGX_HTTP_PAY_BLOCK_ONCE, ngx_http_pay_rule_prefer },
    { ngx_string("by"), 1, 1, NGX_HTTP_PAY_BLOCK_ONCE,
      ngx_http_pay_rule_by },
    { ngx_null_string, 0, 0, 0, NULL }
};


static ngx_http_pay_rule_t *
ngx_http_pay_rule_find(ngx_http_pay_route_main_conf_t *rmcf, ngx_str_t *name)
{
    ngx_uint_t            i;
    ngx_http_pay_rule_t  *rule;

    rule = rmcf->rules.elts;

    for (i = 0; i < rmcf->rules.nelts; i++) {
        if (rule[i].name.len == name->len
            && ngx_memcmp(rule[i].name.data, name->data, name->len) == 0)
        {
            return &rule[i];
        }
    }

    return NULL;
}


char *
ngx_http_pay_rule_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_pay_route_main_conf_t  *rmcf = conf;

    ngx_str_t            *value;
    ngx_http_pay_rule_t  *rule;

    value = cf->args->elts;
    rule = ngx_http_pay_rule_find(rmcf, &value[1]);

    if (rule) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate pay_rule \"%V\", first in %V:%ui",
                           &value[1], &rule->where.file, rule->where.line);
        return NGX_CONF_ERROR;
    }

    if (rmcf->rules.nelts == ROUTE_RULES) {
        return "is too often there: at most 256 blocks are possible";
    }

    rule = ngx_array_push(&rmcf->rules);
    if (rule == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(rule, sizeof(ngx_http_pay_rule_t));
    rule->name = value[1];
    ngx_http_pay_where(cf, &rule->where);

    if (ngx_array_init(&rule->whens, cf->pool, 1, sizeof(ngx_http_pay_when_t))
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_pay_block_read(cf, ngx_http_pay_rule_commands, rule)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (rule->only.where.line == 0 && rule->exclude.where.line == 0
        && rule->prefer.where.line == 0 && rule->by == ROUTE_BY_NOTHING)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "pay_rule \"%V\" does nothing: \"only\", "
                           "\"exclude\", \"prefer\" or \"by\" is missing",
                           &rule->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_pay_rule_when(ngx_conf_t *cf, void *block)
{
    ngx_http_pay_rule_t  *rule = block;

    return ngx_http_pay_when_read(cf, &rule->whens, NGX_HTTP_PAY_RULE_KEYS);
}


/* the names are looked up when all channels are known */

static char *
ngx_http_pay_rule_channels(ngx_conf_t *cf, ngx_http_pay_channels_t *list)
{
    ngx_str_t   *value, *name;
    ngx_uint_t   i, k;

    value = cf->args->elts;

    ngx_http_pay_where(cf, &list->where);

    if (ngx_array_init(&list->names, cf->pool, cf->args->nelts,
                       sizeof(ngx_str_t))
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        for (k = 1; k < i; k++) {
            if (value[i].len == value[k].len
                && ngx_memcmp(value[i].data, value[k].data, value[i].len) == 0)
            {
                return ngx_http_pay_block_invalid(cf, &value[i]);
            }
        }

        name = ngx_array_push(&list->names);
        *name = value[i];
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_pay_rule_only(ngx_conf_t *cf, void *block)
{
    return ngx_http_pay_rule_channels(cf,
                                      &((ngx_http_pay_rule_t *) block)->only);
}


static char *
ngx_http_pay_rule_exclude(ngx_conf_t *cf, void *block)
{
    return ngx_http_pay_rule_channels(cf,
                                   &((ngx_http_pay_rule_t *) block)->exclude);
}


static char *
ngx_http_pay_rule_prefer(ngx_conf_t *cf, void *block)
{
    return ngx_http_pay_rule_channels(cf,
                                    &((ngx_http_pay_rule_t *) block)->prefer);
}


static char *
ngx_http_pay_rule_by(ngx_conf_t *cf, void *block)
{
    ngx_http_pay_rule_t  *rule = block;

    ngx_str_t  *value;

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "weight") == 0) {
        rule->by = ROUTE_BY_WEIGHT;

    } else if (ngx_strcmp(value[1].data, "cost") == 0) {
        rule->by = ROUTE_BY_COST;

    } else {
        return ngx_http_pay_block_invalid(cf, &value[1]);
    }

    return NGX_CONF_OK;
}
