/*
 * pay_attack: who has been refused too often is not listened to for a time.
 */

#include "ngx_http_pay_attack.h"
#include "ngx_http_pay_guard.h"


static ngx_int_t ngx_http_pay_attack_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_pay_attack_init(ngx_conf_t *cf);
static void *ngx_http_pay_attack_create_conf(ngx_conf_t *cf);
static char *ngx_http_pay_attack_merge_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_pay_attack(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_command_t  ngx_http_pay_attack_commands[] = {

    { ngx_string("pay_attack"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_1MORE,
      ngx_http_pay_attack,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_pay_attack_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_pay_attack_init,              /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_http_pay_attack_create_conf,       /* create server configuration */
    ngx_http_pay_attack_merge_conf,        /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_pay_attack_module = {
    NGX_MODULE_V1,
    &ngx_http_pay_attack_module_ctx,       /* module context */
    ngx_http_pay_attack_commands,          /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_str_t  ngx_http_pay_attack_detail =
    ngx_string("too many refused requests from this address");


/* before the location is looked for, so that it holds for all of them */

static ngx_int_t
ngx_http_pay_attack_handler(ngx_http_request_t *r)
{
    ngx_str_t                    name, value;
    ngx_uint_t                   seconds;
    ngx_http_pay_attack_conf_t  *acf;

    acf = ngx_http_get_module_srv_conf(r, ngx_http_pay_attack_module);

    if (!acf->enable || !acf->block || r->internal || r != r->main) {
        return NGX_DECLINED;
    }

    seconds = ngx_http_pay_attack_blocked(r, acf);

    if (seconds == 0) {
        return NGX_DECLINED;
    }

    ngx_http_pay_count(attack_refused);

    ngx_str_set(&name, "Retry-After");

    value.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (value.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    value.len = ngx_sprintf(value.data, "%ui", seconds) - value.data;

    if (ngx_http_pay_add_header(r, name, value) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_pay_refuse(r, PROBLEM_RATE_LIMITED,
                               (char *) ngx_http_pay_attack_detail.data, NULL);
}


void
ngx_http_pay_attack_note(ngx_http_request_t *r, enum problem_code code)
{
    ngx_uint_t                   signal;
    ngx_http_pay_attack_conf_t  *acf;

    acf = ngx_http_get_module_srv_conf(r, ngx_http_pay_attack_module);

    if (!acf->enable) {
        return;
    }

    switch (code) {

    case PROBLEM_AUTHORIZATION_INVALID:
    case PROBLEM_SIGN_ERROR:
    case PROBLEM_IDENTITY_MISMATCH:
        signal = NGX_HTTP_PAY_ATTACK_SIGNATURES;
        break;

    case PROBLEM_NONCE_REPLAYED:
        signal = NGX_HTTP_PAY_ATTACK_REPLAYS;
        break;

    case PROBLEM_KEY_UNKNOWN:
        signal = NGX_HTTP_PAY_ATTACK_SERIALS;
        break;

    case PROBLEM_PATH_UNKNOWN:
    case PROBLEM_METHOD_NOT_ALLOWED:
    case PROBLEM_TARGET_INVALID:
        signal = NGX_HTTP_PAY_ATTACK_PATHS;
        break;

    default:
        return;
    }

    ngx_http_pay_attack_count(r, acf, signal);
}


/* configuration */

static ngx_int_t
ngx_http_pay_attack_most(ngx_http_pay_attack_conf_t *acf, ngx_uint_t signal,
    ngx_str_t *value)
{
    ngx_int_t  n;

    if (value->len == 3 && ngx_strncmp(value->data, "off", 3) == 0) {
        acf->most[signal] = 0;
        return NGX_OK;
    }

    n = ngx_atoi(value->data, value->len);
    acf->most[signal] = n;

    return (n > 0 && n <= 1000000) ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_pay_attack_time(time_t *time, ngx_str_t *value)
{
    *time = ngx_parse_time(value, 1);

    return (*time > 0 && *time <= 86400) ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_pay_attack_except(ngx_conf_t *cf, ngx_http_pay_attack_conf_t *acf,
    ngx_str_t *value)
{
    ngx_cidr_t  *cidr;

    if (acf->except == NULL) {
        acf->except = ngx_array_create(cf->pool, 4, sizeof(ngx_cidr_t));
        if (acf->except == NULL) {
            return NGX_ERROR;
        }
    }

    cidr = ngx_array_push(acf->except);

    return (cidr && ngx_ptocidr(value, cidr) == NGX_OK) ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_pay_attack_arg(ngx_conf_t *cf, ngx_http_pay_attack_conf_t *acf,
    ngx_str_t *arg)
{
    ngx_str_t  value;

    if (ngx_http_pay_conf_param(arg, "signatures", &value)) {
        return ngx_http_pay_attack_most(acf, NGX_HTTP_PAY_ATTACK_SIGNATURES,
                                        &value);
    }

    if (ngx_http_pay_conf_param(arg, "replays", &value)) {
        return ngx_http_pay_attack_most(acf, NGX_HTTP_PAY_ATTACK_REPLAYS,
                                        &value);
    }

    if (ngx_http_pay_conf_param(arg, "serials", &value)) {
        return ngx_http_pay_attack_most(acf, NGX_HTTP_PAY_ATTACK_SERIALS,
                                        &value);
    }

    if (ngx_http_pay_conf_param(arg, "paths", &value)) {
        return ngx_http_pay_attack_most(acf, NGX_HTTP_PAY_ATTACK_PATHS, &value);
    }

    if (ngx_http_pay_conf_param(arg, "within", &value)) {
        return ngx_http_pay_attack_time(&acf->within, &value);
    }

    if (ngx_http_pay_conf_param(arg, "block", &value)) {

        if (value.len == 3 && ngx_strncmp(value.data, "off", 3) == 0) {
            acf->block = 0;
            return NGX_OK;
        }

        return ngx_http_pay_attack_time(&acf->time, &value);
    }

    if (ngx_http_pay_conf_param(arg, "rate", &value)) {
        return ngx_pay_limit_rate(&value, &acf->rate, &acf->window);
    }

    if (ngx_http_pay_conf_param(arg, "except", &value)) {
        return ngx_http_pay_attack_except(cf, acf, &value);
    }

    return NGX_ERROR;
}


static char *
ngx_http_pay_attack(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_pay_attack_conf_t  *acf = conf;

    ngx_str_t   *value;
    ngx_uint_t   i;

    if (acf->enable != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        acf->enable = 0;
        return NGX_CONF_OK;
    }

    acf->enable = 1;
    acf->block = 1;
    acf->within = 10;
    acf->time = 60;
    acf->most[NGX_HTTP_PAY_ATTACK_SIGNATURES] = 20;
    acf->most[NGX_HTTP_PAY_ATTACK_REPLAYS] = 50;
    acf->most[NGX_HTTP_PAY_ATTACK_SERIALS] = 20;
    acf->most[NGX_HTTP_PAY_ATTACK_PATHS] = 50;

    i = ngx_strcmp(value[1].data, "on") == 0 ? 2 : 1;

    for ( /* void */ ; i < cf->args->nelts; i++) {
        if (ngx_http_pay_attack_arg(cf, acf, &value[i]) != NGX_OK) {
            return ngx_http_pay_conf_invalid(cf, &value[i]);
        }
    }

    return NGX_CONF_OK;
}


static void *
ngx_http_pay_attack_create_conf(ngx_conf_t *cf)
{
    ngx_http_pay_attack_conf_t  *acf;

    acf = ngx_pcalloc(cf->pool, sizeof(ngx_http_pay_attack_conf_t));

    if (acf) {
        acf->enable = NGX_CONF_UNSET;
    }

    return acf;
}


static char *
ngx_http_pay_attack_merge_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_pay_attack_conf_t  *prev = parent;
    ngx_http_pay_attack_conf_t  *conf = child;

    if (conf->enable == NGX_CONF_UNSET) {
        *conf = *prev;
    }

    if (conf->enable == NGX_CONF_UNSET) {
        conf->enable = 0;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_pay_attack_init(ngx_conf_t *cf)
{
    return ngx_http_pay_conf_handler(cf, NGX_HTTP_SERVER_REWRITE_PHASE,
                                     ngx_http_pay_attack_handler);
}
