/*
 * Answers of the egress: its own refusals, Pay-Sent on every one, and the
 * count of what became of the calls.
 */

#include "ngx_http_pay_egress.h"


static ngx_int_t ngx_http_pay_egress_header_filter(ngx_http_request_t *r);
static void ngx_http_pay_egress_strip_answer(ngx_http_request_t *r);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


/* status and body of each refusal, index: NGX_HTTP_PAY_REFUSED_... */

#define ngx_http_pay_refusal(status, code, title)                             \
    { status, ngx_string("{\"type\":\"about:blank\",\"title\":\"" title       \
      "\",\"status\":" #status ",\"code\":\"" code "\"}") }

static struct {
    ngx_uint_t  status;
    ngx_str_t   body;
} ngx_http_pay_egress_refusals[] = {
    ngx_http_pay_refusal(404, "CHANNEL_UNKNOWN", "No such channel"),
    ngx_http_pay_refusal(503, "CHANNEL_OFF", "Channel takes no such calls now"),
    ngx_http_pay_refusal(503, "CHANNEL_BUSY", "Too many calls on the channel"),
    ngx_http_pay_refusal(409, "SEND_TOO_LATE", "Too late to send"),
    ngx_http_pay_refusal(400, "ATTEMPT_INVALID", "Pay headers make no sense"),
    ngx_http_pay_refusal(409, "ALREADY_PASSED", "Attempt was passed on before"),
    ngx_http_pay_refusal(502, "CHANNEL_UNRESOLVED", "Channel has no address"),
    ngx_http_pay_refusal(503, "CHANNEL_OUT", "Channel is out of order"),
    ngx_http_pay_refusal(503, "CHANNEL_RATE", "Calls come faster than its rate")
};


void
ngx_http_pay_egress_add_filter(void)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_pay_egress_header_filter;
}


void
ngx_http_pay_egress_count_refusal(ngx_http_pay_egress_ctx_t *ctx,
    ngx_uint_t reason)
{
    ngx_atomic_t                      *n;
    ngx_http_pay_channel_main_conf_t  *cmcf;

    cmcf = ctx->main->channels;

    if (cmcf->sh == NULL) {
        return;
    }

    n = ctx->channel
        ? &ngx_http_pay_channel_row(cmcf, ctx->channel)->refused[reason]
        : &cmcf->sh->refused[reason];

    (void) ngx_atomic_fetch_add(n, 1);
}


ngx_int_t
ngx_http_pay_egress_refuse(ngx_http_request_t *r,
    ngx_http_pay_egress_ctx_t *ctx, ngx_uint_t reason)
{
    ngx_int_t     rc;
    ngx_str_t    *body, name, value;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    ngx_http_pay_egress_leave(ctx);
    ngx_http_pay_egress_count_refusal(ctx, reason);

    body = &ngx_http_pay_egress_refusals[reason].body;

    r->headers_out.status = ngx_http_pay_egress_refusals[reason].status;
    r->headers_out.content_length_n = body->len;
    ngx_str_set(&r->headers_out.content_type, PROBLEM_CONTENT_TYPE);
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    if (reason == NGX_HTTP_PAY_REFUSED_BUSY
        || reason == NGX_HTTP_PAY_REFUSED_OUT
        || reason == NGX_HTTP_PAY_REFUSED_RATE)
    {
        ngx_str_set(&name, "Retry-After");
        ngx_str_set(&value, "1");

        if (ngx_http_pay_add_header(r, name, value) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_OK && !r->header_only) {
        b = ngx_calloc_buf(r->pool);

        if (b) {
            b->pos = body->data;
            b->last = body->data + body->len;
            b->memory = 1;
            b->last_buf = 1;
            b->last_in_chain = 1;

            out.buf = b;
            out.next = NULL;

            rc = ngx_http_output_filter(r, &out);

        } else {
            rc = NGX_ERROR;
        }
    }

    ngx_http_finalize_request(r, rc);

    return NGX_DONE;
}


/*
 * What was not the channel's doing says nothing about it: a call that came too
 * late, one that had too little time left to connect, one that nginx gave up.
 */

void
ngx_http_pay_egress_judge(ngx_http_pay_egress_ctx_t *ctx, ngx_uint_t failed)
{
    struct breaker_call  call;

    if (ctx->judged) {
        return;
    }

    ctx->judged = 1;

    if (ctx->status == 0
        && (!failed || ctx->late || (ctx->hurried && !ctx->passed)))
    {
        return;
    }

    call.api = ctx->kind;
    call.pay = (ctx->kind == NGX_HTTP_PAY_KIND_PAY);
    call.connected = ctx->passed;
    call.served = ctx->status && ctx->status < 500 && !ctx->cut;
    call.took_ms = (ngx_msec_int_t) (ngx_current_msec - ctx->begun);

    ngx_http_pay_health_call(ctx->main->channels, ctx->channel, &call,
                             ctx->request->connection->log);
}


/* a call that was admitted is over */

void
ngx_http_pay_egress_count(ngx_http_pay_egress_ctx_t *ctx)
{
    ngx_uint_t                   i;
    ngx_http_pay_channel_row_t  *row;

    row = ngx_http_pay_channel_row(ctx->main->channels, ctx->channel);

    (void) ngx_atomic_fetch_add(&row->sent[ngx_http_pay_egress_sent(ctx)], 1);

    if (!ctx->answered) {
        return;
    }

    i = ngx_min(ctx->status / 100, 5);
    (void) ngx_atomic_fetch_add(&row->answers[i], 1);

    for (i = 0; i < NGX_HTTP_PAY_BUCKETS; i++) {
        if (ctx->latency <= ngx_http_pay_bucket_bounds[i]) {
            break;
        }
    }

    (void) ngx_atomic_fetch_add(&row->buckets[i], 1);
    (void) ngx_atomic_fetch_add(&row->latency, ctx->latency);
}


ngx_uint_t
ngx_http_pay_egress_sent(ngx_http_pay_egress_ctx_t *ctx)
{
    if (ctx->answered) {
        return NGX_HTTP_PAY_SENT_ANSWERED;
    }

    return ctx->passed || ctx->seen ? NGX_HTTP_PAY_SENT_MAYBE
                                    : NGX_HTTP_PAY_SENT_NO;
}


static ngx_int_t
ngx_http_pay_egress_header_filter(ngx_http_request_t *r)
{
    ngx_str_t                        name, *value;
    ngx_http_upstream_t             *u;
    ngx_http_pay_egress_ctx_t       *ctx;
    ngx_http_pay_egress_loc_conf_t  *elcf;

    if (r != r->main) {
        return ngx_http_next_header_filter(r);
    }

    ctx = ngx_http_pay_egress_get_ctx(r);
    value = &ngx_http_pay_sent_names[NGX_HTTP_PAY_SENT_NO];

    if (ctx == NULL) {
        elcf = ngx_http_get_module_loc_conf(r, ngx_http_pay_egress_module);

        if (!elcf->enable) {
            return ngx_http_next_header_filter(r);
        }

        /* refused by nginx itself before the handler: too large, denied */

    } else {
        u = r->upstream;

        /* a live upstream sends what it has read; one that failed is over */

        if (u && u == ctx->upstream && u->cleanup && ctx->passed
            && u->headers_in.status_n
            && u->headers_in.status_n == r->headers_out.status)
        {
            ctx->answered = 1;
            ngx_http_pay_egress_strip_answer(r);
        }

        value = &ngx_http_pay_sent_names[ngx_http_pay_egress_sent(ctx)];
    }

    ngx_str_set(&name, "Pay-Sent");

    if (ngx_http_pay_add_header(r, name, *value) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_next_header_filter(r);
}


/* the channel's own Pay-* headers mean nothing here */

static void
ngx_http_pay_egress_strip_answer(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &r->headers_out.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len >= 4
            && ngx_strncasecmp(h[i].key.data, (u_char *) "pay-", 4) == 0)
        {
            h[i].hash = 0;
        }
    }
}
