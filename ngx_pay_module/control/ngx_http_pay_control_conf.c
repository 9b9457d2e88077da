/*
 * pay_control and pay_control_users, and where they may stand.
 */

#include "ngx_http_pay_control.h"

#include <pwd.h>


typedef struct {
    ngx_http_core_srv_conf_t  *server;
    ngx_http_pay_where_t       where;
} ngx_http_pay_control_place_t;


typedef struct {
    ngx_array_t                places;      /* where pay_control is on */
} ngx_http_pay_control_main_conf_t;


char *
ngx_http_pay_control(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_pay_control_loc_conf_t  *clcf = conf;

    char                              *rv;
    ngx_http_pay_control_place_t      *place;
    ngx_http_pay_control_main_conf_t  *cmcf;

    rv = ngx_conf_set_flag_slot(cf, cmd, conf);

    if (rv != NGX_CONF_OK || !clcf->enable) {
        return rv;
    }

    ngx_http_pay_control_set_handler(cf);

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_pay_control_module);

    place = ngx_array_push(&cmcf->places);
    if (place == NULL) {
        return NGX_CONF_ERROR;
    }

    place->server = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);
    ngx_http_pay_where(cf, &place->where);

    return NGX_CONF_OK;
}


/* names or numbers */

char *
ngx_http_pay_control_users(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_pay_control_loc_conf_t  *clcf = conf;

    uid_t          *uid;
    ngx_int_t       n;
    ngx_str_t      *value;
    ngx_uint_t      i;
    struct passwd  *pw;

    if (clcf->users) {
        return "is duplicate";
    }

    value = cf->args->elts;

    clcf->users = ngx_array_create(cf->pool, cf->args->nelts, sizeof(uid_t));
    if (clcf->users == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        n = ngx_atoi(value[i].data, value[i].len);

        if (n == NGX_ERROR) {
            pw = getpwnam((char *) value[i].data);

            if (pw == NULL) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "no user \"%V\" on this machine", &value[i]);
                return NGX_CONF_ERROR;
            }

            n = pw->pw_uid;
        }

        uid = ngx_array_push(clcf->users);
        if (uid == NULL) {
            return NGX_CONF_ERROR;
        }

        *uid = (uid_t) n;
    }

    return NGX_CONF_OK;
}


/* all listeners of a server with pay_control must be unix sockets */

ngx_int_t
ngx_http_pay_control_init(ngx_conf_t *cf)
{
    ngx_uint_t                         p, a, s, i;
    ngx_http_conf_port_t              *port;
    ngx_http_conf_addr_t              *addr;
    ngx_http_core_srv_conf_t         **server;
    ngx_http_core_main_conf_t         *core;
    ngx_http_pay_control_place_t      *place;
    ngx_http_pay_control_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_pay_control_module);
    core = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    place = cmcf->places.elts;

    if (cmcf->places.nelts == 0 || core->ports == NULL) {
        return NGX_OK;
    }

    port = core->ports->elts;

    for (p = 0; p < core->ports->nelts; p++) {

        if (port[p].family == AF_UNIX) {
            continue;
        }

        addr = port[p].addrs.elts;

        for (a = 0; a < port[p].addrs.nelts; a++) {
            server = addr[a].servers.elts;

            for (s = 0; s < addr[a].servers.nelts; s++) {
                for (i = 0; i < cmcf->places.nelts; i++) {

                    if (server[s] == place[i].server) {
                        (void) ngx_http_pay_conf_error(cf, &place[i].where,
                            "\"pay_control\" is only possible in a server "
                            "that listens on unix sockets and nothing else");
                        return NGX_ERROR;
                    }
                }
            }
        }
    }

    return NGX_OK;
}


void *
ngx_http_pay_control_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_pay_control_main_conf_t  *cmcf;

    cmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_pay_control_main_conf_t));
    if (cmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&cmcf->places, cf->pool, 2,
                       sizeof(ngx_http_pay_control_place_t))
        != NGX_OK)
    {
        return NULL;
    }

    return cmcf;
}


void *
ngx_http_pay_control_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_pay_control_loc_conf_t  *clcf;

    clcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_pay_control_loc_conf_t));
    if (clcf == NULL) {
        return NULL;
    }

    clcf->enable = NGX_CONF_UNSET;

    return clcf;
}


char *
ngx_http_pay_control_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_pay_control_loc_conf_t  *prev = parent;
    ngx_http_pay_control_loc_conf_t  *conf = child;

    /* the handler is the location's own, so the switch is not inherited */

    ngx_conf_init_value(conf->enable, 0);

    if (conf->users == NULL) {
        conf->users = prev->users;
    }

    return NGX_CONF_OK;
}
