/*
 * pay_status prometheus | json: the edge's counters.
 */

#include "ngx_http_pay_status.h"


static ngx_int_t ngx_http_pay_status_handler(ngx_http_request_t *r);
static char *ngx_http_pay_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static void *ngx_http_pay_status_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_pay_status_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);


typedef struct {
    ngx_uint_t   format;
} ngx_http_pay_status_loc_conf_t;


#define NGX_HTTP_PAY_STATUS_PROMETHEUS  1
#define NGX_HTTP_PAY_STATUS_JSON        2

static ngx_conf_enum_t  ngx_http_pay_status_formats[] = {
    { ngx_string("prometheus"), NGX_HTTP_PAY_STATUS_PROMETHEUS },
    { ngx_string("json"), NGX_HTTP_PAY_STATUS_JSON },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_http_pay_status_commands[] = {

    { ngx_string("pay_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_pay_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_pay_status_loc_conf_t, format),
      &ngx_http_pay_status_formats },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_pay_status_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_pay_status_create_loc_conf,   /* create location configuration */
    ngx_http_pay_status_merge_loc_conf     /* merge location configuration */
};


ngx_module_t  ngx_http_pay_status_module = {
    NGX_MODULE_V1,
    &ngx_http_pay_status_module_ctx,       /* module context */
    ngx_http_pay_status_commands,          /* module directives */
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


static ngx_int_t
ngx_http_pay_status_handler(ngx_http_request_t *r)
{
    ngx_int_t                        rc;
    ngx_http_pay_status_text_t       text;
    ngx_http_pay_status_loc_conf_t  *slcf;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_pay_status_module);

    ngx_memzero(&text, sizeof(ngx_http_pay_status_text_t));
    text.pool = r->pool;
    text.last = &text.out;

    if (slcf->format == NGX_HTTP_PAY_STATUS_JSON) {
        ngx_str_set(&r->headers_out.content_type, "application/json");
        ngx_http_pay_status_json(r, &text);

    } else {
        ngx_str_set(&r->headers_out.content_type,
                    "text/plain; version=0.0.4");
        ngx_http_pay_status_prometheus(r, &text);
    }

    if (text.failed || text.buf == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    text.buf->last_buf = 1;
    text.buf->last_in_chain = 1;

    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = text.size;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, text.out);
}


void ngx_cdecl
ngx_http_pay_status_printf(ngx_http_pay_status_text_t *t, const char *fmt, ...)
{
    u_char       *p;
    va_list       args;
    ngx_chain_t  *cl;

    if (t->failed) {
        return;
    }

    if (t->buf == NULL
        || t->buf->end - t->buf->last < NGX_HTTP_PAY_STATUS_LINE)
    {
        cl = ngx_alloc_chain_link(t->pool);

        if (cl == NULL) {
            t->failed = 1;
            return;
        }

        cl->next = NULL;
        cl->buf = ngx_create_temp_buf(t->pool, NGX_HTTP_PAY_STATUS_CHUNK);

        if (cl->buf == NULL) {
            t->failed = 1;
            return;
        }

        t->buf = cl->buf;
        *t->last = cl;
        t->last = &cl->next;
    }

    va_start(args, fmt);
    p = ngx_vslprintf(t->buf->last, t->buf->end, fmt, args);
    va_end(args);

    t->size += p - t->buf->last;
    t->buf->last = p;
}


static char *
ngx_http_pay_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                      *rv;
    ngx_http_core_loc_conf_t  *clcf;

    rv = ngx_conf_set_enum_slot(cf, cmd, conf);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_pay_status_handler;

    return NGX_CONF_OK;
}


static void *
ngx_http_pay_status_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_pay_status_loc_conf_t  *slcf;

    slcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_pay_status_loc_conf_t));
    if (slcf == NULL) {
        return NULL;
    }

    slcf->format = NGX_CONF_UNSET_UINT;

    return slcf;
}


static char *
ngx_http_pay_status_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_pay_status_loc_conf_t  *prev = parent;
    ngx_http_pay_status_loc_conf_t  *conf = child;

    ngx_conf_merge_uint_value(conf->format, prev->format, 0);

    return NGX_CONF_OK;
}
