/*
 * See ngx_http_pay_route.h.
 */

#include "ngx_http_pay_route.h"


#define NGX_HTTP_PAY_ROUTE_DRAWS  8     /* by weight, then what has room */


ngx_int_t
ngx_http_pay_route_prepare(ngx_conf_t *cf,
    ngx_http_pay_route_main_conf_t *rmcf)
{
    ngx_uint_t                         i, m, n;
    ngx_http_pay_channel_t           **chp;
    ngx_http_pay_candidate_t          *c;
    ngx_http_pay_channel_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_pay_channel_module);
    rmcf->channels = cmcf;

    chp = cmcf->channels.elts;

    for (m = 0; m < NGX_HTTP_PAY_METHODS_MAX; m++) {
        n = 0;

        for (i = 0; i < cmcf->channels.nelts; i++) {
            n += (chp[i]->methods >> m) & 1;
        }

        if (n == 0) {
            continue;
        }

        c = ngx_pcalloc(cf->pool, n * sizeof(ngx_http_pay_candidate_t));
        if (c == NULL) {
            return NGX_ERROR;
        }

        rmcf->candidates[m] = c;
        rmcf->ncandidates[m] = n;

        for (i = 0; i < cmcf->channels.nelts; i++) {
            if (chp[i]->methods & 1u << m) {
                c->min = chp[i]->amount_min;
                c->max = chp[i]->amount_max;
                c->weight = chp[i]->weight;
                c->state = chp[i]->state;
                c->channel = chp[i];
                c++;
            }
        }
    }

    return NGX_OK;
}


void
ngx_http_pay_route_bind(ngx_http_pay_route_main_conf_t *rmcf)
{
    ngx_uint_t  i, m;

    for (m = 0; m < NGX_HTTP_PAY_METHODS_MAX; m++) {
        for (i = 0; i < rmcf->ncandidates[m]; i++) {
            rmcf->candidates[m][i].row = rmcf->candidates[m][i].channel->row;
        }
    }
}


void
ngx_http_pay_route_choose(ngx_http_pay_route_main_conf_t *rmcf,
    ngx_int_t method, int64_t amount, uint64_t hash,
    ngx_http_pay_route_t *route)
{
    u_char                      *states, *shares;
    uint64_t                     x, weight;
    ngx_uint_t                   i, n, draws, nback;
    ngx_http_pay_candidate_t    *c, *last;
    ngx_http_pay_channel_row_t  *row;
    ngx_http_pay_candidate_t    *fit[NGX_HTTP_PAY_CHANNELS_MAX];
    ngx_http_pay_candidate_t    *back[NGX_HTTP_PAY_CHANNELS_MAX];

    if (method == NGX_ERROR || rmcf->ncandidates[method] == 0) {
        return;
    }

    ngx_http_pay_health_refresh(rmcf->channels);

    states = rmcf->channels->sh->states;
    shares = rmcf->channels->sh->shares;
    weight = 0;
    nback = 0;
    n = 0;

    c = rmcf->candidates[method];
    last = c + rmcf->ncandidates[method];

    for ( /* void */ ; c < last; c++) {

        /* the runtime switch, if one is set, counts */

        if (states[c->row] ? states[c->row] != 1 + NGX_HTTP_PAY_STATE_ON
                           : c->state != NGX_HTTP_PAY_STATE_ON)
        {
            continue;
        }

        route->open++;

        if (amount < c->min || amount > c->max) {
            continue;
        }

        route->fit++;

        if (!ngx_http_pay_health_takes(shares[c->row], hash)) {
            route->ill++;

            if (shares[c->row]) {
                back[nback++] = c;
            }

            continue;
        }

        fit[n++] = c;
        weight += c->weight;
    }

    /* nobody is quite well: who comes back takes more than his share */

    for (i = 0; i < nback && route->ill == route->fit; i++) {
        fit[n++] = back[i];
        weight += back[i]->weight;
    }

    for (draws = 0;
         n && route->n < NGX_HTTP_PAY_ROUTE_MAX
         && (draws < NGX_HTTP_PAY_ROUTE_DRAWS || route->n == 0);
         draws++)
    {
        i = n - 1;

        if (draws < NGX_HTTP_PAY_ROUTE_DRAWS) {

            x = hash % weight;
            hash = (hash ^ (hash >> 29)) * 0xbf58476d1ce4e5b9ULL;

            for (i = 0; x >= fit[i]->weight; i++) {
                x -= fit[i]->weight;
            }
        }

        c = fit[i];
        fit[i] = fit[--n];
        weight -= c->weight;

        row = &rmcf->channels->sh->rows[c->row];

        if (ngx_http_pay_channel_full(row, c->channel)) {
            route->busy++;
            continue;
        }

        route->chosen[route->n++] = c->channel;
    }

    if (route->n) {
        ngx_http_pay_health_chosen(rmcf->channels, route->chosen[0]);
    }
}
