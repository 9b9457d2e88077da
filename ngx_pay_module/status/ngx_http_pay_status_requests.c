/*
 * Finished requests of merchants: by API, status and time, by the scheme of
 * their signature, and by what the guard said.  Counted in the log phase, in
 * a block of the process' own, so that counting costs no lock and no shared
 * cache line.
 */

#include "ngx_http_pay_status.h"

#include "ngx_pay_module/request/ngx_http_pay_private.h"


#define NGX_HTTP_PAY_TIMES     10
#define NGX_HTTP_PAY_SCHEMES   32   /* values of enum scheme there is room for */

#define NGX_HTTP_PAY_JUDGES    2
#define NGX_HTTP_PAY_VERDICTS  3


/* what the edge and payd say; the last one stands for any other */

static const ngx_uint_t  ngx_http_pay_statuses[] = {
    200, 201, 202, 204, 304, 400, 401, 403, 404, 405, 408, 409, 411, 413, 414,
    415, 422, 429, 431, 499, 500, 501, 502, 503, 504, 505
};

#define NGX_HTTP_PAY_STATUS_KINDS                                             \
    (sizeof(ngx_http_pay_statuses) / sizeof(ngx_http_pay_statuses[0]))

/* upper bounds in ms; a payment is answered within 40 s at most */

static ngx_uint_t  ngx_http_pay_times[NGX_HTTP_PAY_TIMES] = {
    5, 10, 25, 50, 100, 250, 1000, 5000, 20000, 40000
};

static ngx_str_t  ngx_http_pay_judges[NGX_HTTP_PAY_JUDGES] = {
    ngx_string("redis"), ngx_string("local")
};

static ngx_str_t  ngx_http_pay_verdicts[NGX_HTTP_PAY_VERDICTS] = {
    ngx_string("passed"), ngx_string("replayed"), ngx_string("limited")
};


typedef struct {
    ngx_atomic_t             answers[NGX_HTTP_PAY_STATUS_KINDS + 1];
    ngx_atomic_t             times[NGX_HTTP_PAY_TIMES + 1];
    ngx_atomic_t             time;          /* sum, ms */
} ngx_http_pay_api_counts_t;


struct ngx_http_pay_counts_s {
    ngx_atomic_t             schemes[NGX_HTTP_PAY_SCHEMES][2]; /* verified? */
    ngx_atomic_t             guard[NGX_HTTP_PAY_JUDGES][NGX_HTTP_PAY_VERDICTS];

    /* of api_table(), and one more for what is no API */
    ngx_http_pay_api_counts_t  apis[];
};


static ngx_atomic_uint_t ngx_http_pay_counts_sum(size_t offset);
static void ngx_http_pay_api_sum(ngx_uint_t api,
    ngx_http_pay_api_counts_t *sum);
static ngx_str_t ngx_http_pay_api_name(ngx_http_pay_status_text_t *t,
    ngx_uint_t api);


static size_t
ngx_http_pay_counts_size(void)
{
    size_t  n;

    (void) api_table(&n);

    return sizeof(ngx_http_pay_counts_t)
           + (n + 1) * sizeof(ngx_http_pay_api_counts_t);
}


void
ngx_http_pay_counts_init(ngx_slab_pool_t *shpool, ngx_http_pay_shm_t *shm,
    ngx_uint_t slot)
{
    slot %= NGX_HTTP_PAY_ROWS;

    if (shm->counts[slot] == NULL) {
        shm->counts[slot] = ngx_slab_calloc(shpool,
                                            ngx_http_pay_counts_size());
    }
}


static void
ngx_http_pay_count_answer(ngx_http_pay_api_counts_t *api,
    ngx_http_request_t *r)
{
    ngx_uint_t      i, status;
    ngx_time_t     *tp;
    ngx_msec_int_t  ms;

    status = r->err_status ? r->err_status : r->headers_out.status;

    for (i = 0; i < NGX_HTTP_PAY_STATUS_KINDS; i++) {
        if (ngx_http_pay_statuses[i] == status) {
            break;
        }
    }

    api->answers[i]++;

    tp = ngx_timeofday();
    ms = (ngx_msec_int_t) ((tp->sec - r->start_sec) * 1000
                           + (tp->msec - r->start_msec));
    ms = ngx_max(ms, 0);

    for (i = 0; i < NGX_HTTP_PAY_TIMES; i++) {
        if ((ngx_uint_t) ms <= ngx_http_pay_times[i]) {
            break;
        }
    }

    api->times[i]++;
    api->time += ms;
}


static void
ngx_http_pay_count_guard(ngx_http_pay_counts_t *counts,
    ngx_http_pay_ctx_t *ctx)
{
    ngx_uint_t  verdict;

    if (ctx->code == PROBLEM_NONCE_REPLAYED) {
        verdict = 1;

    } else if (ctx->code == PROBLEM_RATE_LIMITED) {
        verdict = 2;

    } else if (ctx->guarded) {
        verdict = 0;

    } else {
        return;
    }

    counts->guard[ctx->fallback || !ctx->answered][verdict]++;
}


ngx_int_t
ngx_http_pay_status_count(ngx_http_request_t *r)
{
    size_t                  n;
    ngx_uint_t              i;
    const struct api       *apis;
    ngx_http_pay_ctx_t     *ctx;
    ngx_http_pay_counts_t  *counts;

    if (r != r->main || ngx_http_pay_shm == NULL) {
        return NGX_OK;
    }

    ctx = ngx_http_pay_get_ctx(r);
    counts = ngx_http_pay_shm->counts[ngx_process_slot % NGX_HTTP_PAY_ROWS];

    if (ctx == NULL || counts == NULL) {
        return NGX_OK;
    }

    apis = api_table(&n);
    i = ctx->match.api ? (ngx_uint_t) (ctx->match.api - apis) : n;

    ngx_http_pay_count_answer(&counts->apis[i], r);
    ngx_http_pay_count_guard(counts, ctx);

    if ((ngx_uint_t) ctx->scheme < NGX_HTTP_PAY_SCHEMES) {
        counts->schemes[ctx->scheme][ctx->verified]++;
    }

    return NGX_OK;
}


/* ---- the page ---- */

static ngx_atomic_uint_t
ngx_http_pay_counts_sum(size_t offset)
{
    ngx_uint_t          i;
    ngx_atomic_uint_t   sum;

    sum = 0;

    for (i = 0; i < NGX_HTTP_PAY_ROWS; i++) {
        if (ngx_http_pay_shm->counts[i]) {
            sum += *(ngx_atomic_t *) ((u_char *) ngx_http_pay_shm->counts[i]
                                      + offset);
        }
    }

    return sum;
}


static void
ngx_http_pay_api_sum(ngx_uint_t api, ngx_http_pay_api_counts_t *sum)
{
    size_t         offset;
    ngx_uint_t     i;
    ngx_atomic_t  *value;

    offset = offsetof(ngx_http_pay_counts_t, apis)
             + api * sizeof(ngx_http_pay_api_counts_t);
    value = (ngx_atomic_t *) sum;

    for (i = 0; i < sizeof(*sum) / sizeof(ngx_atomic_t); i++) {
        value[i] = ngx_http_pay_counts_sum(offset + i * sizeof(ngx_atomic_t));
    }
}


/* "POST /v1/payments": the table's text, so a closed list */

static ngx_str_t
ngx_http_pay_api_name(ngx_http_pay_status_text_t *t, ngx_uint_t api)
{
    size_t             n;
    ngx_str_t          name;
    const struct api  *apis;

    static ngx_str_t   none = ngx_string("none");

    apis = api_table(&n);

    if (api == n) {
        return none;
    }

    name.len = ngx_strlen(apis[api].method) + 1 + ngx_strlen(apis[api].path);
    name.data = ngx_pnalloc(t->pool, name.len);

    if (name.data == NULL) {
        t->failed = 1;
        return none;
    }

    (void) ngx_sprintf(name.data, "%s %s", apis[api].method, apis[api].path);

    return name;
}


static ngx_str_t
ngx_http_pay_status_name(ngx_uint_t i, u_char *buf)
{
    ngx_str_t  name;

    name.data = buf;
    name.len = (i < NGX_HTTP_PAY_STATUS_KINDS
                ? ngx_sprintf(buf, "%ui", ngx_http_pay_statuses[i])
                : ngx_sprintf(buf, "other"))
               - buf;

    return name;
}


static void
ngx_http_pay_status_answers(ngx_http_pay_status_text_t *t, ngx_uint_t seconds)
{
    size_t                     n;
    u_char                     buf[NGX_INT_T_LEN];
    ngx_str_t                  name, status;
    ngx_uint_t                 i, k;
    ngx_http_pay_api_counts_t  sum;

    static ngx_str_t           label = ngx_string("api");

    (void) api_table(&n);

    for (i = 0; i <= n; i++) {
        ngx_http_pay_api_sum(i, &sum);
        name = ngx_http_pay_api_name(t, i);

        if (seconds) {
            ngx_http_pay_status_histogram(t, "pay_edge_request_seconds",
                                          &label, &name, ngx_http_pay_times,
                                          sum.times, NGX_HTTP_PAY_TIMES,
                                          sum.time);
            continue;
        }

        for (k = 0; k <= NGX_HTTP_PAY_STATUS_KINDS; k++) {
            status = ngx_http_pay_status_name(k, buf);
            ngx_http_pay_status_printf(t, "pay_edge_answers_total"
                                       "{api=\"%V\",status=\"%V\"} %uA\n",
                                       &name, &status, sum.answers[k]);
        }
    }
}


/* NULL: no such scheme */

static const char *
ngx_http_pay_scheme_label(ngx_uint_t i)
{
    const char  *name;

    name = scheme_name((enum scheme) i);

    return i && ngx_strcmp(name, "none") == 0 ? NULL : name;
}


void
ngx_http_pay_status_requests(ngx_http_request_t *r,
    ngx_http_pay_status_text_t *t)
{
    ngx_uint_t   i, k;
    const char  *name;

    if (ngx_http_pay_shm == NULL) {
        return;
    }

    ngx_http_pay_status_head(t, "pay_edge_answers_total", "counter",
                             "Answers to merchants, by API and status.");
    ngx_http_pay_status_answers(t, 0);

    ngx_http_pay_status_head(t, "pay_edge_request_seconds", "histogram",
                             "From a request's first byte to its end.");
    ngx_http_pay_status_answers(t, 1);

    ngx_http_pay_status_head(t, "pay_edge_signatures_total", "counter",
                             "Requests by scheme; none: there was no scheme.");

    for (i = 0; i < NGX_HTTP_PAY_SCHEMES; i++) {
        name = ngx_http_pay_scheme_label(i);

        for (k = 0; name && k < 2; k++) {
            ngx_http_pay_status_printf(t, "pay_edge_signatures_total"
                                       "{scheme=\"%s\",genuine=\"%s\"} %uA\n",
                                       name, k ? "yes" : "no",
                                       ngx_http_pay_counts_sum(
                                           offsetof(ngx_http_pay_counts_t,
                                                    schemes)
                                           + (2 * i + k)
                                             * sizeof(ngx_atomic_t)));
        }
    }

    ngx_http_pay_status_head(t, "pay_edge_guard_total", "counter",
                             "Verdicts of the guard, by who judged.");

    for (i = 0; i < NGX_HTTP_PAY_JUDGES; i++) {
        for (k = 0; k < NGX_HTTP_PAY_VERDICTS; k++) {
            ngx_http_pay_status_printf(t, "pay_edge_guard_total"
                                       "{judge=\"%V\",verdict=\"%V\"} %uA\n",
                                       &ngx_http_pay_judges[i],
                                       &ngx_http_pay_verdicts[k],
                                       ngx_http_pay_counts_sum(
                                           offsetof(ngx_http_pay_counts_t,
                                                    guard[i][k])));
        }
    }
}


static void
ngx_http_pay_status_api_json(ngx_http_pay_status_text_t *t, ngx_uint_t api)
{
    u_char                     buf[NGX_INT_T_LEN];
    ngx_str_t                  name, status;
    ngx_uint_t                 k, some;
    ngx_http_pay_api_counts_t  sum;

    ngx_http_pay_api_sum(api, &sum);
    name = ngx_http_pay_api_name(t, api);

    ngx_http_pay_status_printf(t, "%s\"%V\":{\"ms\":%uA,\"answers\":{",
                               api ? "," : "", &name, sum.time);

    some = 0;

    for (k = 0; k <= NGX_HTTP_PAY_STATUS_KINDS; k++) {
        if (sum.answers[k]) {
            status = ngx_http_pay_status_name(k, buf);
            ngx_http_pay_status_printf(t, "%s\"%V\":%uA", some ? "," : "",
                                       &status, sum.answers[k]);
            some = 1;
        }
    }

    ngx_http_pay_status_printf(t, "}}");
}


/* statuses that never occurred are left out here */

void
ngx_http_pay_status_requests_json(ngx_http_request_t *r,
    ngx_http_pay_status_text_t *t)
{
    size_t       n;
    ngx_uint_t   i, k;
    const char  *name;

    ngx_http_pay_status_printf(t, "{\"apis\":{");

    if (ngx_http_pay_shm == NULL) {
        ngx_http_pay_status_printf(t, "},\"schemes\":{},\"guard\":{}}");
        return;
    }

    (void) api_table(&n);

    for (i = 0; i <= n; i++) {
        ngx_http_pay_status_api_json(t, i);
    }

    ngx_http_pay_status_printf(t, "},\"schemes\":{");

    for (i = 0; i < NGX_HTTP_PAY_SCHEMES; i++) {
        name = ngx_http_pay_scheme_label(i);

        if (name) {
            k = offsetof(ngx_http_pay_counts_t, schemes[i]);
            ngx_http_pay_status_printf(t, "%s\"%s\":{\"genuine\":%uA,"
                                       "\"not\":%uA}", i ? "," : "", name,
                                       ngx_http_pay_counts_sum(
                                           k + sizeof(ngx_atomic_t)),
                                       ngx_http_pay_counts_sum(k));
        }
    }

    ngx_http_pay_status_printf(t, "},\"guard\":{");

    for (i = 0; i < NGX_HTTP_PAY_JUDGES; i++) {
        for (k = 0; k < NGX_HTTP_PAY_VERDICTS; k++) {
            ngx_http_pay_status_printf(t, "%s\"%V_%V\":%uA",
                                       i + k ? "," : "",
                                       &ngx_http_pay_judges[i],
                                       &ngx_http_pay_verdicts[k],
                                       ngx_http_pay_counts_sum(
                                           offsetof(ngx_http_pay_counts_t,
                                                    guard[i][k])));
        }
    }

    ngx_http_pay_status_printf(t, "}}");
}
