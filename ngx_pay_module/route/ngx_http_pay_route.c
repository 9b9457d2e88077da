/*
 * See ngx_http_pay_route.h.
 */

#include "ngx_http_pay_route.h"

#include "ngx_pay_module/channel/ngx_http_pay_rate.h"


static ngx_int_t
ngx_http_pay_route_compare(const void *one, const void *two)
{
    ngx_http_pay_channel_t  *a = *(ngx_http_pay_channel_t **) one;
    ngx_http_pay_channel_t  *b = *(ngx_http_pay_channel_t **) two;

    return a->priority < b->priority ? -1 : a->priority > b->priority;
}


static void
ngx_http_pay_route_sort(ngx_http_pay_route_main_conf_t *rmcf,
    struct route_channel *channels)
{
    ngx_uint_t               i;
    ngx_http_pay_channel_t  *ch;

    rmcf->n = rmcf->channels->channels.nelts;

    ngx_memcpy(rmcf->sorted, rmcf->channels->channels.elts,
               rmcf->n * sizeof(ngx_http_pay_channel_t *));

    /* stable: equals stay in the order of the file */

    ngx_sort(rmcf->sorted, rmcf->n, sizeof(ngx_http_pay_channel_t *),
             ngx_http_pay_route_compare);

    for (i = 0; i < rmcf->n; i++) {
        ch = rmcf->sorted[i];

        rmcf->at[ch->place] = i;
        rmcf->on[i] = ch->state == NGX_HTTP_PAY_STATE_ON;

        channels[i].name = ngx_pay_slice(ch->name);
        channels[i].methods = ch->methods;
        channels[i].min = ch->amount_min;
        channels[i].max = ch->amount_max;
        channels[i].priority = ch->priority;
        channels[i].weight = ch->weight;
        channels[i].fee = ch->fee;
    }
}


static char *
ngx_http_pay_route_set(ngx_conf_t *cf, ngx_http_pay_route_main_conf_t *rmcf,
    ngx_http_pay_channels_t *list, struct match_set *set)
{
    ngx_str_t               *name;
    ngx_uint_t               i;
    ngx_http_pay_channel_t  *ch;

    name = list->names.elts;

    for (i = 0; i < list->names.nelts; i++) {
        ch = ngx_http_pay_when_channel(cf, rmcf->channels, &name[i],
                                       &list->where);
        if (ch == NULL) {
            return NGX_CONF_ERROR;
        }

        match_set_add(set, (unsigned) ngx_http_pay_route_number(rmcf, ch));
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_pay_route_rule(ngx_conf_t *cf, ngx_http_pay_route_main_conf_t *rmcf,
    ngx_http_pay_rule_t *rule, struct route_rule *out)
{
    ngx_uint_t            i;
    struct match_line    *lines;
    ngx_http_pay_when_t  *when;

    if (ngx_http_pay_route_set(cf, rmcf, &rule->only, &out->only)
        != NGX_CONF_OK
        || ngx_http_pay_route_set(cf, rmcf, &rule->exclude, &out->exclude)
           != NGX_CONF_OK
        || ngx_http_pay_route_set(cf, rmcf, &rule->prefer, &out->prefer)
           != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    lines = ngx_pcalloc(cf->temp_pool,
                        rule->whens.nelts * sizeof(struct match_line));
    if (lines == NULL) {
        return NGX_CONF_ERROR;
    }

    when = rule->whens.elts;

    for (i = 0; i < rule->whens.nelts; i++) {
        lines[i] = when[i].line;
    }

    out->lines = lines;
    out->nlines = rule->whens.nelts;
    out->has_only = rule->only.where.line != 0;
    out->by = rule->by;

    return NGX_CONF_OK;
}


char *
ngx_http_pay_route_prepare(ngx_conf_t *cf,
    ngx_http_pay_route_main_conf_t *rmcf)
{
    ngx_uint_t             i, lines;
    struct arena          *arena;
    struct route_rule     *rules;
    ngx_http_pay_rule_t   *rule;
    struct route_channel   channels[NGX_HTTP_PAY_CHANNELS_MAX];

    rmcf->channels = ngx_http_conf_get_module_main_conf(cf,
                                                  ngx_http_pay_channel_module);
    ngx_http_pay_route_sort(rmcf, channels);

    rules = ngx_pcalloc(cf->temp_pool, (rmcf->rules.nelts + 1)
                                       * sizeof(struct route_rule));
    arena = ngx_http_pay_when_arena(cf);

    if (rules == NULL || arena == NULL) {
        return NGX_CONF_ERROR;
    }

    rule = rmcf->rules.elts;
    lines = 0;

    for (i = 0; i < rmcf->rules.nelts; i++) {
        if (ngx_http_pay_route_rule(cf, rmcf, &rule[i], &rules[i])
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }

        lines += rules[i].nlines;

        if (lines > NGX_HTTP_PAY_WHENS) {
            return ngx_http_pay_conf_error(cf, &rule[i].where,
                                           "more than 256 \"when\" in all "
                                           "pay_rule blocks");
        }
    }

    rmcf->table = route_compile(arena, channels, rmcf->n, rules,
                                rmcf->rules.nelts);
    if (rmcf->table == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "no memory for the pay_rule blocks");
        return NGX_CONF_ERROR;
    }

    rmcf->given = route_given(rmcf->table);

    return NGX_CONF_OK;
}


void
ngx_http_pay_route_bind(ngx_http_pay_route_main_conf_t *rmcf)
{
    ngx_uint_t  i;

    for (i = 0; i < rmcf->n; i++) {
        rmcf->rows[i] = rmcf->sorted[i]->row;
    }
}


static bool
ngx_http_pay_route_full(const void *arg, unsigned i)
{
    const ngx_http_pay_route_main_conf_t  *rmcf = arg;

    ngx_http_pay_channel_row_t  *row;

    row = &rmcf->channels->sh->rows[rmcf->rows[i]];

    return ngx_http_pay_channel_full(row, rmcf->sorted[i])
           || ngx_http_pay_rate_full(rmcf->channels, rmcf->sorted[i]);
}


/*
 * What the first channel refuses only one of the same wallets may take over:
 * where others have filled the list, the best two of those stand behind them.
 */

static void
ngx_http_pay_route_add_same(ngx_http_pay_route_main_conf_t *rmcf,
    const struct route_ask *ask, const struct route_live *live,
    struct route_choice *choice)
{
    uint32_t             wallets;
    ngx_uint_t           i;
    struct route_live    same;
    struct route_choice  more;

    wallets = rmcf->sorted[choice->chosen[0]]->wallets;

    if (wallets == 0) {
        return;
    }

    same = *live;

    match_set_each(k, &live->open)
    {
        if (rmcf->sorted[k]->wallets != wallets) {
            match_set_drop(&same.open, k);
        }
    }

    for (i = 0; i < choice->n; i++) {
        match_set_drop(&same.open, choice->chosen[i]);
    }

    if (match_set_empty(&same.open)) {
        return;
    }

    route_choose(rmcf->table, ask, &same, &more);

    for (i = 0; i < more.n && choice->n < ROUTE_LISTED; i++) {
        choice->chosen[choice->n++] = more.chosen[i];
    }
}


void
ngx_http_pay_route_choose(ngx_http_pay_route_main_conf_t *rmcf,
    const struct route_ask *ask, uint32_t wallet, struct route_choice *choice)
{
    uint32_t                    wallets;
    ngx_uint_t                  i, row;
    uint8_t                     share[NGX_HTTP_PAY_CHANNELS_MAX];
    struct route_live           live;
    ngx_http_pay_channel_sh_t  *sh;

    ngx_memzero(&live, sizeof(struct route_live));
    live.full = ngx_http_pay_route_full;
    live.arg = rmcf;

    sh = rmcf->channels->sh;

    if (sh) {
        ngx_http_pay_health_refresh(rmcf->channels);

        live.share = sh->nill ? share : NULL;
    }

    for (i = 0; i < rmcf->n; i++) {
        row = rmcf->rows[i];

        /* the runtime switch, if one is set, counts */

        if (sh->states[row] ? sh->states[row] != 1 + NGX_HTTP_PAY_STATE_ON
                            : !rmcf->on[i])
        {
            continue;
        }

        /* a code that the payer shows works at its wallet's channels only */

        wallets = rmcf->sorted[i]->wallets;

        if (wallet && wallets && !(wallets & wallet)) {
            continue;
        }

        match_set_add(&live.open, (unsigned) i);
        share[i] = sh->shares[row];
    }

    route_choose(rmcf->table, ask, &live, choice);

    if (choice->n) {
        ngx_http_pay_health_chosen(rmcf->channels,
                                   rmcf->sorted[choice->chosen[0]]);
    }

    if (choice->n == ROUTE_CHOSEN) {
        ngx_http_pay_route_add_same(rmcf, ask, &live, choice);
    }
}
