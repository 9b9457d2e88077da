/*
 * pay_pool NAME { upstream NAME; in_flight NUMBER; step_back ...; when ...; }
 */

#include "ngx_http_pay_pool.h"

#include "ngx_pay_module/answer/ngx_http_pay_answer.h"
#include "ngx_pay_module/conf/ngx_http_pay_block.h"


extern ngx_module_t  ngx_http_pay_answer_filter_module;


/* what is known when a pool is chosen */

#define NGX_HTTP_PAY_POOL_KEYS                                                \
    (MATCH_NUMBER_BIT(MATCH_WORK) | MATCH_NUMBER_BIT(MATCH_CHANNEL)           \
     | MATCH_NUMBER_BIT(MATCH_METHOD) | MATCH_NUMBER_BIT(MATCH_SHARE)         \
     | MATCH_NAME_BIT(MATCH_MERCHANT) | MATCH_NAME_BIT(MATCH_APP)             \
     | MATCH_NAME_BIT(MATCH_SCENE))


static char *ngx_http_pay_pool_add_zone(ngx_conf_t *cf,
    ngx_http_pay_pool_main_conf_t *omcf);
static char *ngx_http_pay_pool_check(ngx_conf_t *cf,
    ngx_http_pay_pool_main_conf_t *omcf, ngx_uint_t sum);
static char *ngx_http_pay_pool_when(ngx_conf_t *cf, void *block);
static char *ngx_http_pay_pool_upstream(ngx_conf_t *cf, void *block);
static char *ngx_http_pay_pool_bound(ngx_conf_t *cf, void *block);
static char *ngx_http_pay_pool_back(ngx_conf_t *cf, void *block);
static char *ngx_http_pay_pool_compare(ngx_conf_t *cf,
    ngx_http_pay_pool_main_conf_t *omcf, ngx_http_pay_pool_t *pool);


static ngx_http_pay_block_command_t  ngx_http_pay_pool_commands[] = {
    { ngx_string("upstream"), 1, 1,
      NGX_HTTP_PAY_BLOCK_ONCE|NGX_HTTP_PAY_BLOCK_NEED,
      ngx_http_pay_pool_upstream },
    { ngx_string("in_flight"), 1, 1,
      NGX_HTTP_PAY_BLOCK_ONCE|NGX_HTTP_PAY_BLOCK_NEED,
      ngx_http_pay_pool_bound },
    { ngx_string("step_back"), 1, 4, NGX_HTTP_PAY_BLOCK_ONCE,
      ngx_http_pay_pool_back },
    { ngx_string("when"), 1, 64, 0, ngx_http_pay_pool_when },
    { ngx_null_string, 0, 0, 0, NULL }
};


char *
ngx_http_pay_pool_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_pay_pool_main_conf_t  *omcf = conf;

    ngx_str_t            *value;
    ngx_uint_t            i;
    ngx_http_pay_pool_t  *pool;

    value = cf->args->elts;
    pool = omcf->pools.elts;

    for (i = 0; i < omcf->pools.nelts; i++) {
        if (pool[i].name.len == value[1].len
            && ngx_memcmp(pool[i].name.data, value[1].data, value[1].len) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate pay_pool \"%V\", first in %V:%ui",
                               &value[1], &pool[i].where.file,
                               pool[i].where.line);
            return NGX_CONF_ERROR;
        }
    }

    if (value[1].len > NGX_HTTP_PAY_POOL_NAME) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the name of pay_pool \"%V\" is longer than 27 "
                           "characters", &value[1]);
        return NGX_CONF_ERROR;
    }

    if (omcf->pools.nelts == NGX_HTTP_PAY_POOLS_MAX) {
        return "is too often there: at most 32 blocks are possible";
    }

    pool = ngx_array_push(&omcf->pools);
    if (pool == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(pool, sizeof(ngx_http_pay_pool_t));
    pool->name = value[1];
    ngx_http_pay_where(cf, &pool->where);

    if (ngx_array_init(&pool->whens, cf->pool, 1, sizeof(ngx_http_pay_when_t))
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_pay_block_read(cf, ngx_http_pay_pool_commands, pool)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    return ngx_http_pay_pool_add_zone(cf, omcf);
}


static char *
ngx_http_pay_pool_add_zone(ngx_conf_t *cf, ngx_http_pay_pool_main_conf_t *omcf)
{
    size_t     size;
    ngx_str_t  name;

    if (omcf->zone) {
        return NGX_CONF_OK;
    }

    ngx_str_set(&name, "pay_pool");

    size = ngx_align(sizeof(ngx_http_pay_pool_sh_t), ngx_pagesize)
           + 32 * ngx_pagesize;

    omcf->zone = ngx_shared_memory_add(cf, &name, size,
                                       &ngx_http_pay_pool_module);
    if (omcf->zone == NULL) {
        return NGX_CONF_ERROR;
    }

    omcf->zone->init = ngx_http_pay_pool_zone_init;
    omcf->zone->data = omcf;

    return NGX_CONF_OK;
}


static char *
ngx_http_pay_pool_when(ngx_conf_t *cf, void *block)
{
    ngx_http_pay_pool_t  *pool = block;

    return ngx_http_pay_when_read(cf, &pool->whens, NGX_HTTP_PAY_POOL_KEYS);
}


static char *
ngx_http_pay_pool_upstream(ngx_conf_t *cf, void *block)
{
    ngx_http_pay_pool_t  *pool = block;

    ngx_str_t  *value;

    value = cf->args->elts;
    pool->upstream = value[1];

    return NGX_CONF_OK;
}


static char *
ngx_http_pay_pool_bound(ngx_conf_t *cf, void *block)
{
    ngx_http_pay_pool_t  *pool = block;

    ngx_int_t   n;
    ngx_str_t  *value;

    value = cf->args->elts;
    n = ngx_atoi(value[1].data, value[1].len);

    if (n < 1 || n > NGX_HTTP_PAY_POOL_BOUND) {
        return ngx_http_pay_block_invalid(cf, &value[1]);
    }

    pool->bound = n;

    return NGX_CONF_OK;
}


/* the parameters of step_back behind the name of the other pool */

static struct {
    const char          *name;
    size_t               offset;
    ngx_int_t            min, max, value;
    ngx_uint_t           percent;
    ngx_uint_t           off;           /* "off", 0, is possible */
} ngx_http_pay_pool_limits[] = {
    { "requests", offsetof(struct canary_limits, requests),
      20, 100000, 100, 0, 0 },
    { "failures", offsetof(struct canary_limits, failures),
      1, 100, 5, 1, 0 },
    { "slower", offsetof(struct canary_limits, slower),
      110, 10000, 200, 1, 1 },
    { NULL, 0, 0, 0, 0, 0, 0 }
};


static char *
ngx_http_pay_pool_limit(ngx_conf_t *cf, struct canary_limits *limits,
    ngx_str_t *arg)
{
    ngx_int_t   n;
    ngx_str_t   value;
    uint32_t   *limit;
    ngx_uint_t  i;

    for (i = 0; ngx_http_pay_pool_limits[i].name; i++) {

        if (!ngx_http_pay_conf_param(arg, ngx_http_pay_pool_limits[i].name,
                                     &value))
        {
            continue;
        }

        limit = (uint32_t *) ((u_char *) limits
                              + ngx_http_pay_pool_limits[i].offset);

        if (ngx_http_pay_pool_limits[i].off && value.len == 3
            && ngx_strncmp(value.data, "off", 3) == 0)
        {
            *limit = 0;
            return NGX_CONF_OK;
        }

        if (ngx_http_pay_pool_limits[i].percent) {
            if (value.len == 0 || value.data[value.len - 1] != '%') {
                break;
            }

            value.len--;
        }

        n = ngx_atoi(value.data, value.len);

        if (n < ngx_http_pay_pool_limits[i].min
            || n > ngx_http_pay_pool_limits[i].max)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\" in \"step_back\": "
                               "%i to %i%s are possible%s", arg,
                               ngx_http_pay_pool_limits[i].min,
                               ngx_http_pay_pool_limits[i].max,
                               ngx_http_pay_pool_limits[i].percent ? " %" : "",
                               ngx_http_pay_pool_limits[i].off ? ", or off"
                                                               : "");
            return NGX_CONF_ERROR;
        }

        *limit = (uint32_t) n;

        return NGX_CONF_OK;
    }

    return ngx_http_pay_block_invalid(cf, arg);
}


static char *
ngx_http_pay_pool_back(ngx_conf_t *cf, void *block)
{
    ngx_http_pay_pool_t  *pool = block;

    ngx_str_t   *value;
    ngx_uint_t   i;

    value = cf->args->elts;
    pool->against = value[1];

    for (i = 0; ngx_http_pay_pool_limits[i].name; i++) {
        *(uint32_t *) ((u_char *) &pool->limits
                       + ngx_http_pay_pool_limits[i].offset)
            = (uint32_t) ngx_http_pay_pool_limits[i].value;
    }

    for (i = 2; i < cf->args->nelts; i++) {
        if (ngx_http_pay_pool_limit(cf, &pool->limits, &value[i])
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* the pool that step_back names */

static char *
ngx_http_pay_pool_compare(ngx_conf_t *cf, ngx_http_pay_pool_main_conf_t *omcf,
    ngx_http_pay_pool_t *pool)
{
    ngx_uint_t            i;
    ngx_http_pay_pool_t  *other;

    if (pool->against.len == 0) {
        return NGX_CONF_OK;
    }

    if (pool->all) {
        return ngx_http_pay_conf_error(cf, &pool->where,
                                       "\"step_back\" is not possible in a "
                                       "pay_pool with \"when all\"");
    }

    if (omcf->channels->channels.nelts == 0) {
        return ngx_http_pay_conf_error(cf, &pool->where,
                                       "\"step_back\" needs a \"pay_channel\" "
                                       "in the configuration, for the pay_pool");
    }

    other = omcf->pools.elts;

    for (i = 0; i < omcf->pools.nelts; i++) {
        if (&other[i] != pool && other[i].name.len == pool->against.len
            && ngx_memcmp(other[i].name.data, pool->against.data,
                          pool->against.len)
               == 0)
        {
            pool->other = &other[i];
            return NGX_CONF_OK;
        }
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "no other pay_pool \"%V\" to compare \"%V\" with in %V:%ui",
                  &pool->against, &pool->name, &pool->where.file,
                  pool->where.line);

    return NGX_CONF_ERROR;
}


/* a name in proxy_pass that is no upstream would be looked up in the DNS */

static ngx_uint_t
ngx_http_pay_pool_has_upstream(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_uint_t                       i;
    ngx_http_upstream_srv_conf_t   **uscfp;
    ngx_http_upstream_main_conf_t   *umcf;

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);
    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {
        if ((uscfp[i]->flags & NGX_HTTP_UPSTREAM_CREATE)
            && uscfp[i]->host.len == name->len
            && ngx_strncasecmp(uscfp[i]->host.data, name->data, name->len)
               == 0)
        {
            return 1;
        }
    }

    return 0;
}


char *
ngx_http_pay_pool_prepare(ngx_conf_t *cf, ngx_http_pay_pool_main_conf_t *omcf)
{
    ngx_uint_t                         i, k, lines, sum;
    struct arena                      *arena;
    struct match_line                 *line;
    ngx_http_pay_pool_t               *pool;
    ngx_http_pay_when_t               *when;
    ngx_http_pay_channel_main_conf_t  *cmcf;

    if (omcf->pools.nelts == 0) {
        return NGX_CONF_OK;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_pay_channel_module);
    arena = ngx_http_pay_when_arena(cf);
    line = ngx_pcalloc(cf->temp_pool,
                       MATCH_LINES * sizeof(struct match_line));

    if (arena == NULL || line == NULL) {
        return NGX_CONF_ERROR;
    }

    pool = omcf->pools.elts;
    lines = 0;
    sum = 0;

    omcf->channels = cmcf;
    omcf->last = NGX_HTTP_PAY_POOLS_MAX;

    for (i = 0; i < omcf->pools.nelts; i++) {

        if (!ngx_http_pay_pool_has_upstream(cf, &pool[i].upstream)) {
            return ngx_http_pay_conf_error(cf, &pool[i].where,
                                           "no such \"upstream\" is declared "
                                           "for the \"pay_pool\"");
        }

        sum += pool[i].bound;
        when = pool[i].whens.elts;

        for (k = 0; k < pool[i].whens.nelts; k++) {

            if (ngx_http_pay_when_resolve(cf, &when[k], cmcf) != NGX_CONF_OK) {
                return NGX_CONF_ERROR;
            }

            if (lines == MATCH_LINES) {
                return ngx_http_pay_conf_error(cf, &when[k].where,
                                               "more than 256 \"when\" in all "
                                               "pay_pool blocks");
            }

            if (when[k].line.given == 0) {
                pool[i].all = 1;
                omcf->last = ngx_min(omcf->last, i);
            }

            omcf->of_line[lines] = i;
            line[lines++] = when[k].line;
        }

        if (ngx_http_pay_pool_compare(cf, omcf, &pool[i]) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (omcf->last == NGX_HTTP_PAY_POOLS_MAX) {
        return ngx_http_pay_conf_error(cf, &pool[0].where,
                                       "no pay_pool has \"when all\": some "
                                       "requests would have no pool");
    }

    omcf->match = match_compile(arena, line, lines);
    if (omcf->match == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "no memory for the pay_pool blocks");
        return NGX_CONF_ERROR;
    }

    return ngx_http_pay_pool_check(cf, omcf, sum);
}


/*
 * Requests that wait for their workers hold places for RSA signatures: there
 * must be enough of them for all pools, or one pool's requests would be
 * refused for those of another that is stuck.
 */

static char *
ngx_http_pay_pool_check(ngx_conf_t *cf, ngx_http_pay_pool_main_conf_t *omcf,
    ngx_uint_t sum)
{
    ngx_http_pay_pool_t              *pool;
    ngx_http_pay_answer_main_conf_t  *amcf;

    pool = omcf->pools.elts;
    amcf = ngx_http_conf_get_module_main_conf(cf,
                                           ngx_http_pay_answer_filter_module);

    if (amcf->platform && amcf->platform->queue < sum) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "all pay_pool blocks together have \"in_flight\" %ui, "
                      "but \"pay_platform_key\" has queue=%ui: one pool could "
                      "take the places of another in %V:%ui", sum,
                      amcf->platform->queue, &pool->where.file,
                      pool->where.line);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
