/*
 * A request on its way to a worker: the steps and their order, what is taken
 * off it, and its context.
 */

#include "ngx_http_pay_private.h"

#include "ngx_pay_module/keys/ngx_pay_keys.h"
#include "ngx_pay_module/pool/ngx_http_pay_pool.h"


#define NGX_HTTP_PAY_ARENA_CAP  (512 * 1024)


static ngx_int_t ngx_http_pay_strip(ngx_http_request_t *r);
static ngx_uint_t ngx_http_pay_is_normal(ngx_http_request_t *r);


static uint64_t  ngx_http_pay_random[2];


/* the order of everything that happens before a request is passed on */

ngx_int_t
ngx_http_pay_preaccess(ngx_http_request_t *r)
{
    ngx_int_t                 rc;
    ngx_http_pay_loc_conf_t  *plcf;

    if (r != r->main) {
        return NGX_DECLINED;
    }

    plcf = ngx_http_get_module_loc_conf(r, ngx_http_pay_core_module);

    if (!plcf->keep && ngx_http_pay_strip(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (!plcf->sign && !plcf->strip) {
        return NGX_DECLINED;
    }

    if (!r->internal && !ngx_http_pay_is_normal(r)) {
        return ngx_http_pay_refuse(r, PROBLEM_TARGET_INVALID, NULL, NULL);
    }

    if (!plcf->sign) {
        return NGX_DECLINED;
    }

    rc = ngx_http_pay_sign_request(r);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_pay_allow_request(r);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_pay_guard_request(r);
    if (rc != NGX_OK) {
        return rc;
    }

    return NGX_DECLINED;
}


static ngx_inline ngx_uint_t
ngx_http_pay_is_ours(ngx_table_elt_t *h)
{
    return h->key.len > 4
           && (h->lowcase_key[0] == 'p' && h->lowcase_key[1] == 'a'
               && h->lowcase_key[2] == 'y'
               && (h->lowcase_key[3] == '-' || h->lowcase_key[3] == '_'));
}


/*
 * Nobody outside may state our facts.  The proxy module sends what stands in
 * the list and cannot be told to leave one out by prefix, so the list is built
 * again without them.  The old elements stay where they are, because
 * r->headers_in points at some of them.
 */

static ngx_int_t
ngx_http_pay_strip(ngx_http_request_t *r)
{
    ngx_uint_t        i, found;
    ngx_list_t        list;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h, *copy;

    found = 0;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;
        for (i = 0; i < part->nelts; i++) {
            found |= ngx_http_pay_is_ours(&h[i]);
        }
    }

    if (!found) {
        return NGX_OK;
    }

    if (ngx_list_init(&list, r->pool, 20, sizeof(ngx_table_elt_t)) != NGX_OK) {
        return NGX_ERROR;
    }

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (ngx_http_pay_is_ours(&h[i])) {
                continue;
            }

            copy = ngx_list_push(&list);
            if (copy == NULL) {
                return NGX_ERROR;
            }

            *copy = h[i];
        }
    }

    r->headers_in.headers = list;

    /* the first part is embedded, so "last" must not point into our frame */

    if (list.last == &list.part) {
        r->headers_in.headers.last = &r->headers_in.headers.part;
    }

    return NGX_OK;
}


/*
 * Whether location and worker see the same path: what was sent must be what
 * nginx made of it, but for escapes of characters that need one.
 */

static ngx_uint_t
ngx_http_pay_is_normal(ngx_http_request_t *r)
{
    u_char      *p, *end, *u, *last;
    ngx_int_t    ch;

    p = r->unparsed_uri.data;
    end = p + r->unparsed_uri.len;
    u = r->uri.data;
    last = u + r->uri.len;

    for ( /* void */ ; p < end && *p != '?'; u++) {

        if (u == last) {
            return 0;
        }

        if (*p != '%') {
            if (*p++ != *u) {
                return 0;
            }
            continue;
        }

        if (end - p < 3) {
            return 0;
        }

        ch = ngx_hextoi(p + 1, 2);
        p += 3;

        if (ch != *u || ch <= 0x20 || ch == 0x7f || ch == '%' || ch == '/'
            || ch == '\\' || ch == '.' || ch == '-' || ch == '_' || ch == '~'
            || (ch >= '0' && ch <= '9') || (ch >= 'A' && ch <= 'Z')
            || (ch >= 'a' && ch <= 'z'))
        {
            return 0;
        }
    }

    return u == last;
}


static void
ngx_http_pay_cleanup_ctx(void *data)
{
    ngx_http_pay_ctx_t  *ctx = data;

    ngx_http_pay_answer_release(ctx);
    ngx_http_pay_pool_release(ctx);

    if (ctx->key) {
        ngx_pay_key_unref(ctx->key);
    }

    arena_release(&ctx->arena);
}


/* what was read from the request: not needed while it waits for an answer */

void
ngx_http_pay_forget_doc(ngx_http_pay_ctx_t *ctx)
{
    ctx->doc = NULL;
    ctx->match.id = SLICE_NULL;
    ctx->match.out_trade_no = SLICE_NULL;
    ctx->match.mchid = SLICE_NULL;
    arena_clear(&ctx->arena);
}


ngx_http_pay_ctx_t *
ngx_http_pay_create_ctx(ngx_http_request_t *r)
{
    u_char              *trace;
    ngx_pool_cleanup_t  *cln;
    ngx_http_pay_ctx_t  *ctx;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_pay_ctx_t)
                                        + NGX_PAY_TOKEN_LEN);
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_http_pay_ctx_t));

    trace = (u_char *) (ctx + 1);
    ngx_http_pay_token(trace);
    ctx->trace.data = trace;
    ctx->trace.len = NGX_PAY_TOKEN_LEN;

    arena_init(&ctx->arena, NGX_HTTP_PAY_ARENA_CAP);

    cln->handler = ngx_http_pay_cleanup_ctx;
    ngx_http_set_ctx(r, ctx, ngx_http_pay_core_module);

    return ctx;
}


ngx_http_pay_ctx_t *
ngx_http_pay_find_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_pay_cleanup_ctx) {
            ngx_http_set_ctx(r, cln->data, ngx_http_pay_core_module);
            return cln->data;
        }
    }

    return NULL;
}


void
ngx_http_pay_resume(ngx_http_request_t *r)
{
    ngx_connection_t  *c;

    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_core_run_phases;

    ngx_http_core_run_phases(r);
    ngx_http_run_posted_requests(c);
}


/* xorshift128+: fast, and unique is all that is asked for */

static uint64_t
ngx_http_pay_random64(void)
{
    uint64_t  a, b;

    a = ngx_http_pay_random[0];
    b = ngx_http_pay_random[1];

    ngx_http_pay_random[0] = b;
    a ^= a << 23;
    ngx_http_pay_random[1] = a ^ b ^ (a >> 18) ^ (b >> 5);

    return ngx_http_pay_random[1] + b;
}


ngx_int_t
ngx_http_pay_seed(void)
{
    if (random_bytes(ngx_http_pay_random, sizeof(ngx_http_pay_random)) != 0) {
        return NGX_ERROR;
    }

    ngx_http_pay_random[0] |= 1;

    return NGX_OK;
}


void
ngx_http_pay_token(u_char *p)
{
    uint64_t  id[2];

    id[0] = ngx_http_pay_random64();
    id[1] = ngx_http_pay_random64();

    (void) ngx_hex_dump(p, (u_char *) id, sizeof(id));
}
