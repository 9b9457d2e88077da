/*
 * pay_control: the life of a call on the control socket.
 */

#include "ngx_http_pay_control.h"


static ngx_int_t ngx_http_pay_control_handler(ngx_http_request_t *r);
static void ngx_http_pay_control_body_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_pay_control_run(ngx_http_pay_control_call_t *call);


/* everything that can be asked and told */

static ngx_http_pay_control_route_t  ngx_http_pay_control_routes[] = {

    { NGX_HTTP_GET, ngx_string("/channels"),
      ngx_http_pay_control_channels, 0 },

    { NGX_HTTP_GET, ngx_string("/channels/*"),
      ngx_http_pay_control_channel, 0 },

    { NGX_HTTP_PUT, ngx_string("/channels/*/state"),
      ngx_http_pay_control_set_state, 1 },

    { NGX_HTTP_PUT, ngx_string("/channels/*/health"),
      ngx_http_pay_control_set_health, 1 },

    { NGX_HTTP_POST, ngx_string("/-/outcomes"),
      ngx_http_pay_control_outcomes, 1 },

    { NGX_HTTP_GET, ngx_string("/pools"),
      ngx_http_pay_control_pools, 0 },

    { NGX_HTTP_GET, ngx_string("/pools/*"),
      ngx_http_pay_control_pool, 0 },

    { NGX_HTTP_PUT, ngx_string("/pools/*/state"),
      ngx_http_pay_control_set_pool, 1 },

    { 0, ngx_null_string, NULL, 0 }
};


static ngx_command_t  ngx_http_pay_control_commands[] = {

    { ngx_string("pay_control"),
      NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_http_pay_control,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_pay_control_loc_conf_t, enable),
      NULL },

    { ngx_string("pay_control_users"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_pay_control_users,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_pay_control_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_pay_control_init,             /* postconfiguration */

    ngx_http_pay_control_create_main_conf, /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_pay_control_create_loc_conf,  /* create location configuration */
    ngx_http_pay_control_merge_loc_conf    /* merge location configuration */
};


ngx_module_t  ngx_http_pay_control_module = {
    NGX_MODULE_V1,
    &ngx_http_pay_control_module_ctx,      /* module context */
    ngx_http_pay_control_commands,         /* module directives */
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


static void
ngx_http_pay_control_cleanup(void *data)
{
    ngx_http_pay_control_call_t  *call = data;

    arena_release(&call->arena);
    buf_release(&call->out);
}


static ngx_int_t
ngx_http_pay_control_handler(ngx_http_request_t *r)
{
    ngx_int_t                     rc;
    socklen_t                     len;
    struct ucred                  peer;
    ngx_pool_cleanup_t           *cln;
    ngx_http_pay_control_call_t  *call;

    len = sizeof(struct ucred);

    /* the configuration was checked; a peer without identity is nobody */

    if (r != r->main
        || r->connection->listening->sockaddr->sa_family != AF_UNIX
        || getsockopt(r->connection->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len)
           == -1)
    {
        return NGX_HTTP_FORBIDDEN;
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_pay_control_call_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    call = cln->data;
    ngx_memzero(call, sizeof(ngx_http_pay_control_call_t));
    cln->handler = ngx_http_pay_control_cleanup;

    call->request = r;
    call->channels = ngx_http_get_module_main_conf(r,
                                                  ngx_http_pay_channel_module);
    call->uid = peer.uid;
    call->status = NGX_HTTP_OK;
    arena_init(&call->arena, 16 * NGX_HTTP_PAY_CONTROL_BODY);
    buf_init(&call->out, NGX_HTTP_PAY_CONTROL_ANSWER);
    json_writer_init(&call->w, &call->out);

    ngx_http_set_ctx(r, call, ngx_http_pay_control_module);

    rc = ngx_http_read_client_request_body(r,
                                           ngx_http_pay_control_body_handler);

    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}


static void
ngx_http_pay_control_body_handler(ngx_http_request_t *r)
{
    ngx_int_t                     rc;
    ngx_http_pay_control_call_t  *call;

    call = ngx_http_get_module_ctx(r, ngx_http_pay_control_module);

    rc = ngx_http_pay_control_run(call);

    if (rc == NGX_OK) {
        rc = ngx_http_pay_control_send(call);

    } else {
        rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_finalize_request(r, rc);
}


/* 1: the path is the pattern's, *name what stands for its "*" */

static ngx_uint_t
ngx_http_pay_control_match(ngx_str_t *pattern, ngx_str_t *path, ngx_str_t *name)
{
    u_char  *p, *end, *s, *last;

    p = pattern->data;
    end = p + pattern->len;
    s = path->data;
    last = s + path->len;

    ngx_str_null(name);

    for ( /* void */ ; p < end; p++) {

        if (*p != '*') {
            if (s == last || *s++ != *p) {
                return 0;
            }

            continue;
        }

        name->data = s;

        while (s < last && *s != '/') {
            s++;
        }

        name->len = s - name->data;

        if (name->len == 0) {
            return 0;
        }
    }

    return s == last;
}


static ngx_uint_t
ngx_http_pay_control_may_write(ngx_http_pay_control_call_t *call)
{
    uid_t                            *uids;
    ngx_uint_t                        i;
    ngx_http_pay_control_loc_conf_t  *clcf;

    if (call->uid == 0 || call->uid == geteuid()) {
        return 1;
    }

    clcf = ngx_http_get_module_loc_conf(call->request,
                                        ngx_http_pay_control_module);

    if (clcf->users) {
        uids = clcf->users->elts;

        for (i = 0; i < clcf->users->nelts; i++) {
            if (uids[i] == call->uid) {
                return 1;
            }
        }
    }

    ngx_log_error(NGX_LOG_WARN, call->request->connection->log, 0,
                  "pay: control: uid %ui may not write",
                  (ngx_uint_t) call->uid);

    return 0;
}


/* NGX_OK: call->body is set; NGX_DECLINED: refused; NGX_ERROR */

static ngx_int_t
ngx_http_pay_control_parse(ngx_http_pay_control_call_t *call)
{
    off_t                size;
    ngx_buf_t           *b;
    ngx_chain_t         *cl, *bufs;
    struct buf           text;
    struct slice         doc;
    struct json_error    err;
    struct json_limits   limits;

    bufs = call->request->request_body ? call->request->request_body->bufs
                                       : NULL;

    for (size = 0, cl = bufs; cl; cl = cl->next) {
        size += ngx_buf_size(cl->buf);
    }

    if (size > NGX_HTTP_PAY_CONTROL_BODY) {
        (void) ngx_http_pay_control_refuse(call,
                                           NGX_HTTP_PAY_CONTROL_BODY_TOO_LARGE,
                                           NULL, NULL);
        return NGX_DECLINED;
    }

    buf_init(&text, NGX_HTTP_PAY_CONTROL_BODY);

    for (cl = bufs; cl; cl = cl->next) {
        b = cl->buf;

        if (ngx_buf_in_memory(b)) {
            buf_add(&text, b->pos, b->last - b->pos);
            continue;
        }

        if (!b->in_file) {
            continue;
        }

        size = b->file_last - b->file_pos;

        if (buf_reserve(&text, size) == NULL
            || ngx_read_file(b->file, (u_char *) text.p + text.n, size,
                             b->file_pos)
               != (ssize_t) size)
        {
            text.failed = 1;
            break;
        }

        text.n += size;
    }

    doc = arena_copy(&call->arena, buf_slice(&text));

    if (!buf_ok(&text) || call->arena.failed) {
        buf_release(&text);
        return NGX_ERROR;
    }

    buf_release(&text);

    limits.depth = 8;
    limits.values = 16384;
    limits.in_place = 0;

    if (json_parse(&call->arena, doc, &limits, &call->body, &err) != 0) {
        (void) ngx_http_pay_control_refuse(call,
                                           NGX_HTTP_PAY_CONTROL_JSON_INVALID,
                                           err.reason, NULL);
        return NGX_DECLINED;
    }

    if (call->body->type != JSON_OBJECT) {
        (void) ngx_http_pay_control_refuse(call,
                                           NGX_HTTP_PAY_CONTROL_FIELD_TYPE,
                                           "the body must be an object", "");
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_pay_control_run(ngx_http_pay_control_call_t *call)
{
    ngx_int_t                      rc;
    ngx_uint_t                     known;
    ngx_http_request_t            *r;
    ngx_http_pay_control_route_t  *route;

    r = call->request;
    known = 0;

    for (route = ngx_http_pay_control_routes; route->handler; route++) {

        if (!ngx_http_pay_control_match(&route->path, &r->uri, &call->name)) {
            continue;
        }

        known = 1;

        if (r->method == route->method) {
            break;
        }
    }

    if (route->handler == NULL) {
        return ngx_http_pay_control_refuse(call,
                                           known
                                           ? NGX_HTTP_PAY_CONTROL_METHOD
                                           : NGX_HTTP_PAY_CONTROL_PATH_UNKNOWN,
                                           NULL, NULL);
    }

    if (route->write && !ngx_http_pay_control_may_write(call)) {
        return ngx_http_pay_control_refuse(call,
                                           NGX_HTTP_PAY_CONTROL_FORBIDDEN,
                                           "root, nginx's user and "
                                           "pay_control_users may", NULL);
    }

    if (route->method != NGX_HTTP_GET) {
        rc = ngx_http_pay_control_parse(call);

        if (rc != NGX_OK) {
            return rc == NGX_DECLINED ? NGX_OK : rc;
        }
    }

    return route->handler(call);
}


void
ngx_http_pay_control_set_handler(ngx_conf_t *cf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_pay_control_handler;
}
