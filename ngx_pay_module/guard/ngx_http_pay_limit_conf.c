/*
 * pay_limit, and what a location makes of its limits.
 */

#include "ngx_http_pay_guard.h"


static ngx_str_t  ngx_http_pay_limit_kinds[] = {
    ngx_string("app"),
    ngx_string("merchant"),
    ngx_string("api"),
    ngx_string("ip"),
    ngx_null_string
};


static ngx_uint_t
ngx_http_pay_limit_is(ngx_str_t *a, ngx_str_t *b)
{
    return a->len == b->len && ngx_memcmp(a->data, b->data, a->len) == 0;
}


static ngx_uint_t
ngx_http_pay_limit_kind(ngx_str_t *word)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_PAY_LIMIT_VALUE; i++) {
        if (ngx_http_pay_limit_is(word, &ngx_http_pay_limit_kinds[i])) {
            break;
        }
    }

    return i;
}


/* what is counted; a limit of one variable is called like that */

static char *
ngx_http_pay_limit_key(ngx_conf_t *cf, ngx_http_pay_limit_t *l,
    ngx_str_t *word)
{
    ngx_http_compile_complex_value_t  ccv;

    l->key = *word;
    l->limit.kind = ngx_http_pay_limit_kind(word);

    if (l->limit.kind != NGX_PAY_LIMIT_VALUE) {
        l->limit.name = *word;
        return NGX_CONF_OK;
    }

    if (ngx_http_script_variables_count(word) == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is not app, merchant, api, ip "
                           "or a text with variables", word);
        return NGX_CONF_ERROR;
    }

    l->value = ngx_pcalloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (l->value == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));
    ccv.cf = cf;
    ccv.value = word;
    ccv.complex_value = l->value;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    l->limit.name.data = word->data + 1;
    l->limit.name.len = word->len - 1;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_pay_limit_arg(ngx_http_pay_limit_t *l, ngx_str_t *arg)
{
    ngx_int_t  n;
    ngx_str_t  value;

    if (ngx_http_pay_conf_param(arg, "rate", &value)) {
        return ngx_pay_limit_rate(&value, &l->limit.rate, &l->limit.window);
    }

    if (ngx_http_pay_conf_param(arg, "burst", &value)) {
        n = ngx_atoi(value.data, value.len);
        l->limit.burst = n;
        return (n >= 0 && n <= NGX_PAY_LIMIT_RATE_MAX) ? NGX_OK : NGX_ERROR;
    }

    if (ngx_http_pay_conf_param(arg, "name", &value)) {
        l->limit.name = value;
        return NGX_OK;
    }

    if (ngx_http_pay_conf_param(arg, "algorithm", &value)) {
        l->limit.sliding = value.len == 7
                           && ngx_strncmp(value.data, "sliding", 7) == 0;

        return (l->limit.sliding
                || (value.len == 4 && ngx_strncmp(value.data, "gcra", 4) == 0))
               ? NGX_OK : NGX_ERROR;
    }

    return NGX_ERROR;
}


/* it stands in a header and in the log */

static ngx_uint_t
ngx_http_pay_limit_is_name(ngx_str_t *name)
{
    u_char      c;
    ngx_uint_t  i;

    for (i = 0; i < name->len; i++) {
        c = name->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'
              || c == '-'))
        {
            return 0;
        }
    }

    return name->len >= 1 && name->len <= NGX_PAY_LIMIT_NAME_MAX;
}


static char *
ngx_http_pay_limit_whole(ngx_conf_t *cf, ngx_http_pay_limit_t *l)
{
    ngx_uint_t  kind;

    if (l->limit.rate == 0) {
        return "needs \"rate\"";
    }

    if (l->limit.sliding && l->limit.burst) {
        return "has a \"burst\", which a sliding window does not";
    }

    if (!ngx_http_pay_limit_is_name(&l->limit.name)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid name \"%V\", 1 to %d of a-z 0-9 _ - "
                           "are needed; give it one by \"name=\"",
                           &l->limit.name, NGX_PAY_LIMIT_NAME_MAX);
        return NGX_CONF_ERROR;
    }

    /* a key record's limits take the place of these names */

    kind = ngx_http_pay_limit_kind(&l->limit.name);

    if (kind != NGX_PAY_LIMIT_VALUE && kind != l->limit.kind) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "name \"%V\" is for another kind of limit",
                           &l->limit.name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* limits of one name share a counter, so they must be the same */

char *
ngx_http_pay_limit_list(ngx_conf_t *cf, ngx_http_pay_limit_t *l)
{
    ngx_uint_t                       i, tag;
    ngx_pay_limit_t                 *a, *b;
    ngx_http_pay_limit_t           **known;
    ngx_http_pay_guard_main_conf_t  *gmcf;

    gmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_pay_guard_module);
    known = gmcf->limits.elts;
    a = &l->limit;
    tag = gmcf->limits.nelts + 1;

    for (i = 0; i < gmcf->limits.nelts; i++) {
        b = &known[i]->limit;

        if (tag > i + 1 && ngx_http_pay_limit_is(&l->key, &known[i]->key)) {
            tag = i + 1;
        }

        if (ngx_http_pay_limit_is(&a->name, &b->name)
            && !(ngx_http_pay_limit_is(&l->key, &known[i]->key)
                 && a->rate == b->rate && a->window == b->window
                 && a->burst == b->burst && a->sliding == b->sliding))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "limit \"%V\" is another one in %V:%ui; "
                               "give it a name of its own",
                               &a->name, &known[i]->at.file,
                               known[i]->at.line);
            return NGX_CONF_ERROR;
        }
    }

    known = ngx_array_push(&gmcf->limits);
    if (known == NULL) {
        return NGX_CONF_ERROR;
    }

    *known = l;
    l->tag = l->limit.kind <= NGX_PAY_LIMIT_MERCHANT ? 0 : tag;
    ngx_pay_limit_init(&l->limit);

    return NGX_CONF_OK;
}


char *
ngx_http_pay_guard_set_limit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_pay_guard_loc_conf_t  *glcf = conf;

    char                   *rv;
    ngx_str_t              *value;
    ngx_uint_t              i;
    ngx_http_pay_limit_t   *l, **own;

    l = ngx_pcalloc(cf->pool, sizeof(ngx_http_pay_limit_t));
    if (l == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;
    ngx_http_pay_where(cf, &l->at);

    if (ngx_http_pay_limit_key(cf, l, &value[1]) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {
        if (ngx_http_pay_limit_arg(l, &value[i]) != NGX_OK) {
            return ngx_http_pay_conf_invalid(cf, &value[i]);
        }
    }

    rv = ngx_http_pay_limit_whole(cf, l);

    if (rv == NGX_CONF_OK) {
        rv = ngx_http_pay_limit_list(cf, l);
    }

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (glcf->limits == NULL) {
        glcf->limits = ngx_array_create(cf->pool, 4, sizeof(void *));
        if (glcf->limits == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    own = ngx_array_push(glcf->limits);
    if (own == NULL) {
        return NGX_CONF_ERROR;
    }

    *own = l;

    if (cf->cmd_type & NGX_HTTP_LOC_CONF) {
        glcf->limit_at = l->at;
    }

    return NGX_CONF_OK;
}


/* what a merge may say about the location: in the words of the directive */

static char *
ngx_http_pay_limit_wrong(ngx_conf_t *cf, ngx_http_pay_limit_t *l,
    const char *text)
{
    ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "%s \"%V\" in %V:%ui", text,
                  &l->limit.name, &l->at.file, l->at.line);

    return NGX_CONF_ERROR;
}


static char *
ngx_http_pay_limit_take(ngx_conf_t *cf, ngx_http_pay_guard_loc_conf_t *glcf,
    ngx_http_pay_limit_t *l)
{
    ngx_uint_t  i;

    if (glcf->n == NGX_HTTP_PAY_LIMITS) {
        return ngx_http_pay_limit_wrong(cf, l, "more than 16 limits with");
    }

    for (i = 0; i < glcf->n; i++) {
        if (ngx_http_pay_limit_is(&l->limit.name, &glcf->all[i]->limit.name)) {
            return ngx_http_pay_limit_wrong(cf, l, "duplicate limit");
        }
    }

    glcf->all[glcf->n++] = l;

    return NGX_CONF_OK;
}


/* stable, by hash tag; the merchant's, 0, becomes the last */

static void
ngx_http_pay_limit_sort(ngx_http_pay_limit_t **all, ngx_uint_t n)
{
    ngx_uint_t             i, j;
    ngx_http_pay_limit_t  *l;

    for (i = 1; i < n; i++) {
        l = all[i];

        for (j = i; j > 0 && all[j - 1]->tag - 1 > l->tag - 1; j--) {
            all[j] = all[j - 1];
        }

        all[j] = l;
    }
}


static char *
ngx_http_pay_limit_texts(ngx_conf_t *cf, ngx_http_pay_guard_loc_conf_t *glcf)
{
    u_char      *p, number[NGX_INT64_LEN];
    size_t       n;
    ngx_uint_t   i;

    p = ngx_pnalloc(cf->pool, glcf->n * (NGX_PAY_LIMIT_POLICY_MAX + 2) + 1
                              + 2 * NGX_INT64_LEN + sizeof("$\r\n\r\n"));
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    glcf->policy.data = p;

    for (i = 0; i < glcf->n; i++) {
        p = ngx_sprintf(p, "%s%V", i ? ", " : "", &glcf->all[i]->limit.policy);
    }

    glcf->policy.len = p - glcf->policy.data;

    n = ngx_sprintf(number, "%M", glcf->nonce) - number;

    glcf->life.data = p;
    p = ngx_sprintf(p, "$%uz\r\n%*s\r\n", n, n, number);
    glcf->life.len = p - glcf->life.data;

    return NGX_CONF_OK;
}


char *
ngx_http_pay_guard_merge_limits(ngx_conf_t *cf,
    ngx_http_pay_guard_loc_conf_t *glcf)
{
    ngx_uint_t              i;
    ngx_http_pay_limit_t  **own;

    glcf->n = 0;
    glcf->all = ngx_palloc(cf->pool, NGX_HTTP_PAY_LIMITS * sizeof(void *));
    if (glcf->all == NULL) {
        return NGX_CONF_ERROR;
    }

    if (glcf->app.limit.rate) {
        if (ngx_http_pay_limit_take(cf, glcf, &glcf->app) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (glcf->limits) {
        own = glcf->limits->elts;

        for (i = 0; i < glcf->limits->nelts; i++) {
            if (ngx_http_pay_limit_take(cf, glcf, own[i]) != NGX_CONF_OK) {
                return NGX_CONF_ERROR;
            }
        }
    }

    ngx_http_pay_limit_sort(glcf->all, glcf->n);

    return ngx_http_pay_limit_texts(cf, glcf);
}
