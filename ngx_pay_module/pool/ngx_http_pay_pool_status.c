/*
 * The pools' part of the status page.
 */

#include "ngx_http_pay_pool.h"


static ngx_str_t  ngx_http_pay_pool_classes[] = {
    ngx_string("0xx"), ngx_string("1xx"), ngx_string("2xx"),
    ngx_string("3xx"), ngx_string("4xx"), ngx_string("5xx")
};


/* one counter of every pool; those of times are shown in seconds */

static void
ngx_http_pay_pool_family(ngx_http_pay_status_text_t *t,
    ngx_http_pay_pool_main_conf_t *omcf, const char *name, const char *help,
    size_t offset)
{
    ngx_uint_t                  i;
    ngx_atomic_uint_t           n;
    ngx_http_pay_pool_t        *pool;
    ngx_http_pay_pool_count_t   sum;

    ngx_http_pay_status_head(t, name, "counter", help);

    pool = omcf->pools.elts;

    for (i = 0; i < omcf->pools.nelts; i++) {
        sum = ngx_http_pay_pool_sum(omcf->sh, pool[i].row);
        n = *(ngx_atomic_t *) ((u_char *) &sum + offset);

        if (offset == offsetof(ngx_http_pay_pool_count_t, latency)) {
            ngx_http_pay_status_printf(t, "%s{pool=\"%V\"} %uA.%03uA\n", name,
                                       &pool[i].name, n / 1000, n % 1000);

        } else {
            ngx_http_pay_status_printf(t, "%s{pool=\"%V\"} %uA\n", name,
                                       &pool[i].name, n);
        }
    }
}


static void
ngx_http_pay_pool_gauges(ngx_http_pay_status_text_t *t,
    ngx_http_pay_pool_main_conf_t *omcf)
{
    ngx_uint_t            i;
    ngx_http_pay_pool_t  *pool;

    pool = omcf->pools.elts;

    ngx_http_pay_status_head(t, "pay_pool_in_flight", "gauge",
                             "Requests that wait for the pool now.");

    for (i = 0; i < omcf->pools.nelts; i++) {
        ngx_http_pay_status_printf(t, "pay_pool_in_flight{pool=\"%V\"} %ui\n",
                                   &pool[i].name,
                                   ngx_http_pay_pool_in_flight(omcf->sh,
                                                               pool[i].row));
    }

    ngx_http_pay_status_head(t, "pay_pool_bound", "gauge",
                             "Requests the pool may have in flight.");

    for (i = 0; i < omcf->pools.nelts; i++) {
        ngx_http_pay_status_printf(t, "pay_pool_bound{pool=\"%V\"} %ui\n",
                                   &pool[i].name, pool[i].bound);
    }

    ngx_http_pay_status_head(t, "pay_pool_on", "gauge",
                             "1, or 0: switched off, requests go elsewhere.");

    for (i = 0; i < omcf->pools.nelts; i++) {
        ngx_http_pay_status_printf(t, "pay_pool_on{pool=\"%V\"} %d\n",
                                   &pool[i].name,
                                   !ngx_http_pay_pool_is_off(omcf, &pool[i]));
    }

    ngx_http_pay_status_head(t, "pay_pool_stepped_back_total", "counter",
                             "Times a canary was worse and switched off.");

    for (i = 0; i < omcf->pools.nelts; i++) {
        ngx_http_pay_status_printf(t, "pay_pool_stepped_back_total"
                                   "{pool=\"%V\"} %uA\n", &pool[i].name,
                                   omcf->sh->looks[pool[i].row].back);
    }
}


void
ngx_http_pay_status_pools(ngx_http_request_t *r, ngx_http_pay_status_text_t *t)
{
    ngx_uint_t                      i, k;
    ngx_http_pay_pool_t            *pool;
    ngx_http_pay_pool_count_t       sum;
    ngx_http_pay_pool_main_conf_t  *omcf;

    omcf = ngx_http_get_module_main_conf(r, ngx_http_pay_pool_module);

    if (omcf->sh == NULL) {
        return;
    }

    ngx_http_pay_pool_gauges(t, omcf);

    ngx_http_pay_pool_family(t, omcf, "pay_pool_requests_total",
                             "Requests passed on to the pool.",
                             offsetof(ngx_http_pay_pool_count_t, requests));
    ngx_http_pay_pool_family(t, omcf, "pay_pool_refused_total",
                             "Requests over the bound.",
                             offsetof(ngx_http_pay_pool_count_t, refused));
    ngx_http_pay_pool_family(t, omcf, "pay_pool_seconds_total",
                             "Time until the answers, summed.",
                             offsetof(ngx_http_pay_pool_count_t, latency));

    ngx_http_pay_status_head(t, "pay_pool_answers_total", "counter",
                             "Answers, by class of status.");

    pool = omcf->pools.elts;

    for (i = 0; i < omcf->pools.nelts; i++) {
        sum = ngx_http_pay_pool_sum(omcf->sh, pool[i].row);

        for (k = 0; k < NGX_HTTP_PAY_POOL_CLASSES; k++) {
            ngx_http_pay_status_printf(t, "pay_pool_answers_total"
                                       "{pool=\"%V\",status=\"%V\"} %uA\n",
                                       &pool[i].name,
                                       &ngx_http_pay_pool_classes[k],
                                       sum.answers[k]);
        }
    }
}


void
ngx_http_pay_status_pools_json(ngx_http_request_t *r,
    ngx_http_pay_status_text_t *t)
{
    ngx_uint_t                      i, k;
    ngx_str_t                       upstream;
    ngx_http_pay_pool_t            *pool;
    ngx_http_pay_pool_count_t       sum;
    ngx_http_pay_pool_main_conf_t  *omcf;

    omcf = ngx_http_get_module_main_conf(r, ngx_http_pay_pool_module);

    ngx_http_pay_status_printf(t, "[");

    pool = omcf->pools.elts;

    for (i = 0; omcf->sh && i < omcf->pools.nelts; i++) {
        sum = ngx_http_pay_pool_sum(omcf->sh, pool[i].row);
        upstream = ngx_http_pay_status_quoted(t, &pool[i].upstream);

        ngx_http_pay_status_printf(t, "%s{\"name\":\"%V\","
            "\"upstream\":\"%V\",\"state\":\"%s\",\"stepped_back\":%uA,"
            "\"in_flight\":%ui,\"bound\":%ui,"
            "\"requests\":%uA,\"refused\":%uA,\"latency_ms\":%uA,"
            "\"answers\":{", i ? "," : "", &pool[i].name, &upstream,
            ngx_http_pay_pool_is_off(omcf, &pool[i]) ? "off" : "on",
            omcf->sh->looks[pool[i].row].back,
            ngx_http_pay_pool_in_flight(omcf->sh, pool[i].row), pool[i].bound,
            sum.requests, sum.refused, sum.latency);

        for (k = 0; k < NGX_HTTP_PAY_POOL_CLASSES; k++) {
            ngx_http_pay_status_printf(t, "%s\"%V\":%uA", k ? "," : "",
                                       &ngx_http_pay_pool_classes[k],
                                       sum.answers[k]);
        }

        ngx_http_pay_status_printf(t, "}}");
    }

    ngx_http_pay_status_printf(t, "]");
}
