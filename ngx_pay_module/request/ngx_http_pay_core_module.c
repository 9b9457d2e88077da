/*
 * The root of the edge: the shared zone with its counters, and the switches of
 * locations.  Requests are the matter of ngx_http_pay_request.c.
 */

#include "ngx_http_pay_private.h"

#include "ngx_pay_module/guard/ngx_http_pay_attack.h"
#include "ngx_pay_module/keys/ngx_pay_keys.h"
#include "ngx_pay_module/local/ngx_pay_limit.h"
#include "ngx_pay_module/local/ngx_pay_nonce.h"

#include <malloc.h>


#define NGX_HTTP_PAY_ZONE_MIN  (1024 * 1024)
#define NGX_HTTP_PAY_TRIM      (4 * 1024 * 1024)


typedef struct {
    ngx_shm_zone_t       *zone;
    ngx_http_pay_where_t  sign_at;      /* first pay_sign on */
    ngx_core_conf_t      *core;         /* has worker_processes */
} ngx_http_pay_main_conf_t;


static char *ngx_http_pay_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static ngx_int_t ngx_http_pay_init_zone(ngx_shm_zone_t *zone, void *data);
static ngx_int_t ngx_http_pay_init(ngx_conf_t *cf);
static void *ngx_http_pay_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_pay_sign(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static void *ngx_http_pay_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_pay_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_http_pay_init_process(ngx_cycle_t *cycle);
static void ngx_http_pay_exit_process(ngx_cycle_t *cycle);


static ngx_command_t  ngx_http_pay_core_commands[] = {

    { ngx_string("pay_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE2,
      ngx_http_pay_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("pay_sign"),
      NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_http_pay_sign,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_pay_loc_conf_t, sign),
      NULL },

    { ngx_string("pay_strip"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_pay_loc_conf_t, strip),
      NULL },

    { ngx_string("pay_problems"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_pay_loc_conf_t, problems),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_pay_core_module_ctx = {
    ngx_http_pay_add_variables,            /* preconfiguration */
    ngx_http_pay_init,                     /* postconfiguration */

    ngx_http_pay_create_main_conf,         /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_pay_create_loc_conf,          /* create location configuration */
    ngx_http_pay_merge_loc_conf            /* merge location configuration */
};


ngx_module_t  ngx_http_pay_core_module = {
    NGX_MODULE_V1,
    &ngx_http_pay_core_module_ctx,         /* module context */
    ngx_http_pay_core_commands,            /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_pay_init_process,             /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_pay_exit_process,             /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


ngx_slab_pool_t            *ngx_http_pay_shpool;
ngx_http_pay_shm_t         *ngx_http_pay_shm;

static ngx_http_pay_row_t   ngx_http_pay_no_row;
static ngx_http_pay_row_t  *ngx_http_pay_own_row = &ngx_http_pay_no_row;


ngx_http_pay_row_t *
ngx_http_pay_rows(void)
{
    return ngx_http_pay_shm ? ngx_http_pay_shm->rows : NULL;
}


ngx_http_pay_row_t *
ngx_http_pay_row(void)
{
    return ngx_http_pay_own_row;
}


static char *
ngx_http_pay_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_pay_main_conf_t  *pmcf = conf;

    ssize_t     size;
    ngx_str_t  *value;

    if (pmcf->zone) {
        return "is duplicate";
    }

    value = cf->args->elts;

    size = ngx_parse_size(&value[2]);

    if (size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid zone size \"%V\"",
                           &value[2]);
        return NGX_CONF_ERROR;
    }

    if (size < NGX_HTTP_PAY_ZONE_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" is too small, at least 1m is needed",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    pmcf->zone = ngx_shared_memory_add(cf, &value[1], size,
                                       &ngx_http_pay_core_module);
    if (pmcf->zone == NULL) {
        return NGX_CONF_ERROR;
    }

    if (pmcf->zone->data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "zone \"%V\" is used already",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    pmcf->core = (ngx_core_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                                  ngx_core_module);
    pmcf->zone->init = ngx_http_pay_init_zone;
    pmcf->zone->data = pmcf;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_pay_init_zone(ngx_shm_zone_t *zone, void *data)
{
    ngx_http_pay_main_conf_t  *pmcf = zone->data;

    ngx_uint_t           i;
    ngx_slab_pool_t     *shpool;
    ngx_http_pay_shm_t  *shm;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (data || zone->shm.exists) {
        /* a reload: everything in the zone stays */
        return NGX_OK;
    }

    shm = ngx_slab_calloc(shpool, sizeof(ngx_http_pay_shm_t));
    if (shm == NULL) {
        return NGX_ERROR;
    }

    shm->keys = ngx_pay_keys_init_shm(shpool);
    shm->nonces = ngx_pay_nonce_init_shm(shpool, zone->shm.size);
    shm->limits = ngx_pay_limits_init_shm(shpool, zone->shm.size);
    shm->attack = ngx_http_pay_attack_init_shm(shpool, zone->shm.size);

    if (shm->keys == NULL || shm->nonces == NULL || shm->limits == NULL
        || shm->attack == NULL)
    {
        return NGX_ERROR;
    }

    /* two generations of workers, while the zone has room for sure */

    for (i = 0; i < 2 * (ngx_uint_t) pmcf->core->worker_processes; i++) {
        ngx_http_pay_counts_init(shpool, shm, i);
    }

    shpool->data = shm;

    /* a full zone is normal for the key cache, which makes room by itself */
    shpool->log_nomem = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_pay_init(ngx_conf_t *cf)
{
    ngx_http_pay_main_conf_t  *pmcf;

    pmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_pay_core_module);

    if (pmcf->sign_at.line && pmcf->zone == NULL) {
        ngx_http_pay_conf_error(cf, &pmcf->sign_at,
                                "\"pay_sign\" needs \"pay_zone\",");
        return NGX_ERROR;
    }

    return ngx_http_pay_conf_handler(cf, NGX_HTTP_PREACCESS_PHASE,
                                     ngx_http_pay_preaccess);
}


ngx_http_pay_where_t *
ngx_http_pay_sign_at(ngx_conf_t *cf)
{
    ngx_http_pay_main_conf_t  *pmcf;

    pmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_pay_core_module);

    return &pmcf->sign_at;
}


static void *
ngx_http_pay_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_pay_main_conf_t));
}


static char *
ngx_http_pay_sign(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_pay_loc_conf_t  *plcf = conf;

    char                      *rv;
    ngx_http_pay_main_conf_t  *pmcf;

    rv = ngx_conf_set_flag_slot(cf, cmd, conf);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    pmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_pay_core_module);

    if (plcf->sign && pmcf->sign_at.line == 0) {
        ngx_http_pay_where(cf, &pmcf->sign_at);
    }

    return NGX_CONF_OK;
}


static void *
ngx_http_pay_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_pay_loc_conf_t  *plcf;

    plcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_pay_loc_conf_t));
    if (plcf == NULL) {
        return NULL;
    }

    plcf->sign = NGX_CONF_UNSET;
    plcf->strip = NGX_CONF_UNSET;
    plcf->problems = NGX_CONF_UNSET;

    return plcf;
}


static char *
ngx_http_pay_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_pay_loc_conf_t  *prev = parent;
    ngx_http_pay_loc_conf_t  *conf = child;

    ngx_conf_merge_value(conf->sign, prev->sign, 0);
    ngx_conf_merge_value(conf->strip, prev->strip, 0);
    conf->keep |= prev->keep;

    /*
     * Unless said otherwise problems are on in a location that verifies and in
     * the server around it, whose configuration serves requests that are
     * refused before they have a location.  2 stands for "by default".
     */

    if (conf->problems == NGX_CONF_UNSET) {
        conf->problems = (prev->problems == 0 || prev->problems == 1)
                         ? prev->problems
                         : conf->sign ? 1 : 2;
    }

    if (conf->sign && prev->problems == 2) {
        prev->problems = 3;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_pay_init_process(ngx_cycle_t *cycle)
{
    ngx_http_pay_main_conf_t  *pmcf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    pmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_pay_core_module);

    if (pmcf == NULL || pmcf->zone == NULL) {
        return NGX_OK;
    }

    ngx_http_pay_shpool = (ngx_slab_pool_t *) pmcf->zone->shm.addr;
    ngx_http_pay_shm = ngx_http_pay_shpool->data;
    ngx_http_pay_own_row = &ngx_http_pay_shm->rows[ngx_process_slot
                                                   % NGX_HTTP_PAY_ROWS];

    if (ngx_http_pay_seed() != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_pay_counts_init(ngx_http_pay_shpool, ngx_http_pay_shm,
                             ngx_process_slot);

    ngx_http_pay_own_row->pid = ngx_pid;
    ngx_http_pay_own_row->redis_state = NGX_HTTP_PAY_REDIS_OFF;
    ngx_http_pay_own_row->feed_alive = 0;
    ngx_http_pay_own_row->redis_inflight = 0;
    ngx_http_pay_own_row->sign_inflight = 0;

    /* waves of requests would give memory back and fault it in again */

    (void) mallopt(M_TRIM_THRESHOLD, NGX_HTTP_PAY_TRIM);

    return NGX_OK;
}


static void
ngx_http_pay_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_pay_row_t  *row = ngx_http_pay_own_row;

    if (row->pid == (ngx_atomic_t) ngx_pid) {
        row->pid = 0;
        row->redis_state = NGX_HTTP_PAY_REDIS_OFF;
        row->feed_alive = 0;
    }
}
