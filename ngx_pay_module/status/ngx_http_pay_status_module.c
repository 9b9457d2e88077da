/*
 * pay_status prometheus | json: the edge's counters.
 */

#include "ngx_http_pay_status.h"


#define NGX_HTTP_PAY_STATUS_NAME  128


static ngx_int_t ngx_http_pay_status_init(ngx_conf_t *cf);
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


static const ngx_http_pay_status_part_t  ngx_http_pay_status_parts[] = {
    { "edge", ngx_http_pay_status_edge, ngx_http_pay_status_edge_json },
    { "requests", ngx_http_pay_status_requests,
      ngx_http_pay_status_requests_json },
    { "zones", ngx_http_pay_status_zones, ngx_http_pay_status_zones_json },
    { "channels", ngx_http_pay_status_channels,
      ngx_http_pay_status_channels_json },
    { "pools", ngx_http_pay_status_pools, ngx_http_pay_status_pools_json },
    { NULL, NULL, NULL }
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
    ngx_http_pay_status_init,              /* postconfiguration */

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
    ngx_int_t                          rc;
    ngx_http_pay_status_text_t         text;
    ngx_http_pay_status_loc_conf_t    *slcf;
    const ngx_http_pay_status_part_t  *part;

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

        for (part = ngx_http_pay_status_parts; part->name; part++) {
            ngx_http_pay_status_printf(&text, "%s\"%s\":",
                                       text.buf ? "," : "{", part->name);
            part->json(r, &text);
        }

        ngx_http_pay_status_printf(&text, "}\n");

    } else {
        ngx_str_set(&r->headers_out.content_type,
                    "text/plain; version=0.0.4");

        for (part = ngx_http_pay_status_parts; part->name; part++) {
            part->prometheus(r, &text);
        }
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


void
ngx_http_pay_status_head(ngx_http_pay_status_text_t *t, const char *name,
    const char *type, const char *help)
{
    ngx_http_pay_status_printf(t, "# HELP %s %s\n# TYPE %s %s\n", name, help,
                               name, type);
}


void
ngx_http_pay_status_histogram(ngx_http_pay_status_text_t *t, const char *name,
    ngx_str_t *label, ngx_str_t *value, ngx_uint_t *bounds,
    ngx_atomic_t *buckets, ngx_uint_t n, ngx_atomic_uint_t sum)
{
    ngx_uint_t         i;
    ngx_atomic_uint_t  count;

    count = 0;

    for (i = 0; i < n; i++) {
        count += buckets[i];

        ngx_http_pay_status_printf(t, "%s_bucket{%V=\"%V\",le=\"%ui.%03ui\"} "
                                   "%uA\n", name, label, value,
                                   bounds[i] / 1000, bounds[i] % 1000, count);
    }

    count += buckets[n];

    ngx_http_pay_status_printf(t, "%s_bucket{%V=\"%V\",le=\"+Inf\"} %uA\n"
                               "%s_sum{%V=\"%V\"} %uA.%03uA\n"
                               "%s_count{%V=\"%V\"} %uA\n",
                               name, label, value, count,
                               name, label, value, sum / 1000, sum % 1000,
                               name, label, value, count);
}


ngx_str_t
ngx_http_pay_status_quoted(ngx_http_pay_status_text_t *t, ngx_str_t *s)
{
    u_char     *p;
    size_t      i;
    ngx_str_t   quoted;

    quoted.len = 0;
    quoted.data = ngx_pnalloc(t->pool, 2 * NGX_HTTP_PAY_STATUS_NAME);

    if (quoted.data == NULL) {
        t->failed = 1;
        return quoted;
    }

    p = quoted.data;

    for (i = 0; i < ngx_min(s->len, NGX_HTTP_PAY_STATUS_NAME); i++) {
        if (s->data[i] == '"' || s->data[i] == '\\') {
            *p++ = '\\';
        }

        *p++ = s->data[i] < 0x20 || s->data[i] > 0x7e ? '?' : s->data[i];
    }

    quoted.len = p - quoted.data;

    return quoted;
}


static ngx_int_t
ngx_http_pay_status_init(ngx_conf_t *cf)
{
    return ngx_http_pay_conf_handler(cf, NGX_HTTP_LOG_PHASE,
                                     ngx_http_pay_status_count);
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
