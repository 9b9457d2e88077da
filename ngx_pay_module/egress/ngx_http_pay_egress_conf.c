/*
 * The pay_egress directive and what its location must and must not have.
 */

#include "ngx_http_pay_egress.h"


static ngx_int_t ngx_http_pay_egress_add_upstream(ngx_conf_t *cf);
static const char *ngx_http_pay_egress_proxy_error(ngx_conf_t *cf);
static char *ngx_http_pay_egress_check_channels(ngx_conf_t *cf,
    ngx_http_pay_egress_loc_conf_t *elcf);


extern ngx_module_t  ngx_http_proxy_module;


char *
ngx_http_pay_egress_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_pay_egress_loc_conf_t  *elcf = conf;

    char                     *rv;
    ngx_command_t             flag;
    ngx_http_pay_loc_conf_t  *plcf;

    flag = *cmd;
    flag.offset = offsetof(ngx_http_pay_egress_loc_conf_t, enable);

    rv = ngx_conf_set_flag_slot(cf, &flag, conf);

    if (rv != NGX_CONF_OK || !elcf->enable) {
        return rv;
    }

    ngx_http_pay_where(cf, &elcf->where);

    /* Pay-* of requests to this location are for us */

    plcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_pay_core_module);
    plcf->keep = 1;

    if (ngx_http_pay_egress_add_upstream(cf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_pay_egress_add_upstream(ngx_conf_t *cf)
{
    ngx_url_t                         u;
    ngx_http_pay_egress_main_conf_t  *emcf;

    emcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_pay_egress_module);

    if (emcf->upstream) {
        return NGX_OK;
    }

    ngx_memzero(&u, sizeof(ngx_url_t));
    ngx_str_set(&u.host, NGX_HTTP_PAY_EGRESS_UPSTREAM);
    u.no_resolve = 1;
    u.no_port = 1;

    emcf->upstream = ngx_http_upstream_add(cf, &u, NGX_HTTP_UPSTREAM_CREATE);

    if (emcf->upstream == NULL) {
        return NGX_ERROR;
    }

    emcf->upstream->peer.init_upstream = ngx_http_pay_balancer_init;

    return NGX_OK;
}


char *
ngx_http_pay_egress_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_pay_egress_loc_conf_t  *prev = parent;
    ngx_http_pay_egress_loc_conf_t  *conf = child;

    const char                *text;
    ngx_http_core_loc_conf_t  *clcf;

    if (conf->enable == NGX_CONF_UNSET && prev->enable == 1) {
        conf->where = prev->where;
    }

    ngx_conf_merge_value(conf->enable, prev->enable, 0);

    if (!conf->enable) {
        return NGX_CONF_OK;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    /* "if" and "limit_except" blocks take over the location's handler */

    if (clcf->handler == NULL && !clcf->noname && !clcf->lmt_excpt) {
        return ngx_http_pay_conf_error(cf, &conf->where,
                                       "\"pay_egress\" needs "
                                       "\"proxy_pass $pay_egress_url\"");
    }

    text = ngx_http_pay_egress_proxy_error(cf);

    if (text) {
        return ngx_http_pay_conf_error(cf, &conf->where, text);
    }

    return ngx_http_pay_egress_check_channels(cf, conf);
}


/*
 * The proxy module's configuration begins with the upstream's, and it is
 * merged already: proxy stands before this module.
 */

static const char *
ngx_http_pay_egress_proxy_error(ngx_conf_t *cf)
{
    ngx_http_upstream_conf_t  *ucf;

    ucf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_proxy_module);

    if (ucf->upstream) {
        return "\"pay_egress\" needs \"proxy_pass $pay_egress_url\", "
               "not another address";
    }

    if (!(ucf->next_upstream & NGX_HTTP_UPSTREAM_FT_OFF)) {
        return "\"pay_egress\" needs \"proxy_next_upstream off\": "
               "a call is never sent twice";
    }

    if (ucf->intercept_errors) {
        return "\"pay_egress\" excludes \"proxy_intercept_errors on\": "
               "the answer is the channel's";
    }

    if (ucf->store) {
        return "\"pay_egress\" excludes \"proxy_store\"";
    }

#if (NGX_HTTP_CACHE)
    if (ucf->cache) {
        return "\"pay_egress\" excludes \"proxy_cache\"";
    }
#endif

    if (!ucf->pass_request_headers || !ucf->pass_request_body) {
        return "\"pay_egress\" excludes \"proxy_pass_request_headers off\" "
               "and \"proxy_pass_request_body off\"";
    }

    /*
     * A worker that goes away does not stop the channel's work: the call
     * counts until the channel has answered.
     */

    ucf->ignore_client_abort = 1;

    return NULL;
}


/* what the channels need from the location */

static char *
ngx_http_pay_egress_check_channels(ngx_conf_t *cf,
    ngx_http_pay_egress_loc_conf_t *elcf)
{
    ngx_uint_t                         i;
    ngx_http_pay_channel_t           **chp, *ch;
    ngx_http_core_loc_conf_t          *clcf;
    ngx_http_upstream_conf_t          *ucf;
    ngx_http_pay_channel_main_conf_t  *cmcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    ucf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_proxy_module);
    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_pay_channel_module);

    chp = cmcf->channels.elts;

    for (i = 0; i < cmcf->channels.nelts; i++) {
        ch = chp[i];

        if (ch->by_name
            && (clcf->resolver == NULL
                || clcf->resolver->connections.nelts == 0))
        {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "no \"resolver\" for the endpoint \"%V\" "
                          "of pay_channel \"%V\" in %s:%ui",
                          &ch->url.host, &ch->name, ch->file, ch->line);
            return NGX_CONF_ERROR;
        }

        if (!ch->tls) {
            continue;
        }

#if (NGX_HTTP_SSL)

        if (!ucf->ssl_verify) {
            return ngx_http_pay_conf_error(cf, &elcf->where,
                                           "\"pay_egress\" needs "
                                           "\"proxy_ssl_verify on\" "
                                           "for https endpoints");
        }

        if (ch->cert.len && ucf->ssl_certificate == NULL) {
            return ngx_http_pay_conf_error(cf, &elcf->where,
                                           "\"pay_egress\" needs "
                                           "\"proxy_ssl_certificate "
                                           "$pay_egress_certificate\" and "
                                           "its key for channels with "
                                           "\"tls_certificate\"");
        }

#else

        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "nginx was built without SSL, which the endpoint "
                      "of pay_channel \"%V\" needs in %s:%ui",
                      &ch->name, ch->file, ch->line);
        return NGX_CONF_ERROR;

#endif
    }

    return NGX_CONF_OK;
}
