/*
 * What may stand behind "when KEY=": one value of each kind, and the files of
 * names.
 */

#include "ngx_http_pay_when_values.h"

#include "core/money.h"
#include "core/payer_app.h"


#define NGX_HTTP_PAY_WHEN_FILE   (64 * 1024 * 1024)


static ngx_int_t ngx_http_pay_when_method(ngx_conf_t *cf,
    ngx_http_pay_when_t *when, ngx_http_pay_when_key_t *key, ngx_str_t *value);
static ngx_int_t ngx_http_pay_when_wallet(ngx_conf_t *cf,
    ngx_http_pay_when_t *when, ngx_http_pay_when_key_t *key, ngx_str_t *value);
static ngx_int_t ngx_http_pay_when_work(ngx_conf_t *cf,
    ngx_http_pay_when_t *when, ngx_http_pay_when_key_t *key, ngx_str_t *value);
static ngx_int_t ngx_http_pay_when_by_channel(ngx_conf_t *cf,
    ngx_http_pay_when_t *when, ngx_http_pay_when_key_t *key, ngx_str_t *value);
static ngx_int_t ngx_http_pay_when_fraction(ngx_conf_t *cf,
    ngx_http_pay_when_t *when, ngx_http_pay_when_key_t *key, ngx_str_t *value);
static ngx_int_t ngx_http_pay_when_amount(ngx_conf_t *cf,
    ngx_http_pay_when_t *when, ngx_http_pay_when_key_t *key, ngx_str_t *value);
static ngx_int_t ngx_http_pay_when_name(ngx_conf_t *cf,
    ngx_http_pay_when_t *when, ngx_http_pay_when_key_t *key, ngx_str_t *value);
static ngx_int_t ngx_http_pay_when_file(ngx_conf_t *cf,
    ngx_http_pay_when_t *when, ngx_http_pay_when_key_t *key, ngx_str_t *value);


ngx_http_pay_when_key_t  ngx_http_pay_when_keys[] = {
    { ngx_string("method"), MATCH_NUMBER_BIT(MATCH_METHOD), MATCH_METHOD,
      ngx_http_pay_when_method, 1, 0 },
    { ngx_string("wallet"), MATCH_NUMBER_BIT(MATCH_WALLET), MATCH_WALLET,
      ngx_http_pay_when_wallet, 1, 0 },
    { ngx_string("work"), MATCH_NUMBER_BIT(MATCH_WORK), MATCH_WORK,
      ngx_http_pay_when_work, 1, 0 },
    { ngx_string("channel"), MATCH_NUMBER_BIT(MATCH_CHANNEL), MATCH_CHANNEL,
      ngx_http_pay_when_by_channel, 1, 0 },
    { ngx_string("share"), MATCH_NUMBER_BIT(MATCH_SHARE), MATCH_SHARE,
      ngx_http_pay_when_fraction, 0, 0 },
    { ngx_string("amount"), MATCH_AMOUNT_BIT, 0,
      ngx_http_pay_when_amount, 0, 0 },
    { ngx_string("merchant"), MATCH_NAME_BIT(MATCH_MERCHANT), MATCH_MERCHANT,
      ngx_http_pay_when_name, 1, 1 },
    { ngx_string("merchants"), MATCH_NAME_BIT(MATCH_MERCHANT), MATCH_MERCHANT,
      ngx_http_pay_when_file, 1, 1 },
    { ngx_string("app"), MATCH_NAME_BIT(MATCH_APP), MATCH_APP,
      ngx_http_pay_when_name, 1, 1 },
    { ngx_string("apps"), MATCH_NAME_BIT(MATCH_APP), MATCH_APP,
      ngx_http_pay_when_file, 1, 1 },
    { ngx_string("currency"), MATCH_NAME_BIT(MATCH_CURRENCY), MATCH_CURRENCY,
      ngx_http_pay_when_name, 1, 1 },
    { ngx_string("scene"), MATCH_NAME_BIT(MATCH_SCENE), MATCH_SCENE,
      ngx_http_pay_when_name, 1, 1 },
    { ngx_null_string, 0, 0, NULL, 0, 0 }
};


ngx_str_t  ngx_http_pay_work_names[] = {
    ngx_string("create"),
    ngx_string("query"),
    ngx_string("close"),
    ngx_string("other"),
    ngx_null_string
};


static ngx_uint_t
ngx_http_pay_when_is_name(ngx_str_t *s)
{
    u_char      c;
    ngx_uint_t  i;

    for (i = 0; i < s->len; i++) {
        c = s->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || c == '_' || c == '-'))
        {
            return 0;
        }
    }

    return s->len > 0 && s->len <= 32;
}


/* one of "a|b|c" */

static ngx_uint_t
ngx_http_pay_when_is_scene(ngx_str_t *s)
{
    struct slice             values;
    const struct api_field  *f;

    for (f = api_of(API_PAYMENT_CREATE)->fields; f->path; f++) {
        if (ngx_strcmp(f->path, "scene") == 0) {
            values = slice_of(f->values);

            while (values.n) {
                if (slice_eq(slice_cut(&values, '|'), ngx_pay_slice(*s))) {
                    return 1;
                }
            }
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_pay_when_add_name(ngx_conf_t *cf, ngx_http_pay_when_t *when,
    ngx_uint_t kind, ngx_array_t *names, ngx_str_t *name)
{
    struct slice  *s;

    s = ngx_array_push(names);
    if (s == NULL) {
        return NGX_ERROR;
    }

    *s = ngx_pay_slice(*name);

    when->line.names[kind] = names->elts;
    when->line.nnames[kind] = names->nelts;

    return NGX_OK;
}


/* the names a line has already, so that values and files add up */

static ngx_array_t *
ngx_http_pay_when_names(ngx_conf_t *cf, ngx_http_pay_when_t *when,
    ngx_uint_t kind, ngx_uint_t more)
{
    void         *old;
    ngx_uint_t    n;
    ngx_array_t  *names;

    n = when->line.nnames[kind];

    names = ngx_array_create(cf->pool, n + more, sizeof(struct slice));
    if (names == NULL) {
        return NULL;
    }

    if (n) {
        old = ngx_array_push_n(names, n);
        ngx_memcpy(old, when->line.names[kind], n * sizeof(struct slice));
    }

    return names;
}


static ngx_int_t
ngx_http_pay_when_name(ngx_conf_t *cf, ngx_http_pay_when_t *when,
    ngx_http_pay_when_key_t *key, ngx_str_t *value)
{
    ngx_uint_t    valid;
    ngx_array_t  *names;

    if (key->index == MATCH_CURRENCY) {
        valid = currency_valid(ngx_pay_slice(*value));

    } else if (key->index == MATCH_SCENE) {
        valid = ngx_http_pay_when_is_scene(value);

    } else {
        valid = ngx_http_pay_when_is_name(value);
    }

    if (!valid) {
        return NGX_DECLINED;
    }

    names = ngx_http_pay_when_names(cf, when, key->index, 1);

    return names ? ngx_http_pay_when_add_name(cf, when, key->index, names,
                                              value)
                 : NGX_ERROR;
}


/* a name per line; # begins a comment */

static ngx_int_t
ngx_http_pay_when_file_lines(ngx_conf_t *cf, ngx_http_pay_when_t *when,
    ngx_http_pay_when_key_t *key, ngx_str_t *file, struct slice text)
{
    ngx_str_t      name;
    ngx_uint_t     line;
    ngx_array_t   *names;
    struct slice   s, rest;

    names = ngx_http_pay_when_names(cf, when, key->index, 1024);
    if (names == NULL) {
        return NGX_ERROR;
    }

    for (line = 1; text.n; line++) {
        rest = slice_cut(&text, '\n');
        s = slice_cut(&rest, '#');

        if (s.n && s.p[s.n - 1] == '\r') {
            s.n--;
        }

        s = slice_trim(s);
        if (s.n == 0) {
            continue;
        }

        name = ngx_pay_str(s);

        if (!ngx_http_pay_when_is_name(&name)
            || names->nelts == NGX_HTTP_PAY_NAMES)
        {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "%s \"%V\" in %V:%ui",
                          names->nelts == NGX_HTTP_PAY_NAMES
                          ? "more than 1000000 names at" : "invalid name",
                          &name, file, line);
            return NGX_ERROR;
        }

        if (ngx_http_pay_when_add_name(cf, when, key->index, names, &name)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_pay_when_file(ngx_conf_t *cf, ngx_http_pay_when_t *when,
    ngx_http_pay_when_key_t *key, ngx_str_t *value)
{
    off_t            size;
    u_char          *text;
    ssize_t          n;
    ngx_str_t        file;
    ngx_file_t       f;
    ngx_file_info_t  fi;

    file = *value;

    if (ngx_conf_full_name(cf->cycle, &file, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_memzero(&f, sizeof(ngx_file_t));
    f.name = file;
    f.log = cf->log;
    f.fd = ngx_open_file(file.data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (f.fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed", &file);
        return NGX_ERROR;
    }

    if (ngx_fd_info(f.fd, &fi) == NGX_FILE_ERROR
        || ngx_file_size(&fi) > NGX_HTTP_PAY_WHEN_FILE)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "cannot read \"%V\" or longer than 64m", &file);
        (void) ngx_close_file(f.fd);
        return NGX_ERROR;
    }

    size = ngx_file_size(&fi);
    text = ngx_pnalloc(cf->pool, size + 1);
    n = text ? ngx_read_file(&f, text, size, 0) : NGX_ERROR;

    (void) ngx_close_file(f.fd);

    if (n != size) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "cannot read \"%V\"", &file);
        return NGX_ERROR;
    }

    /* an empty list is one: it holds for nobody */

    return ngx_http_pay_when_file_lines(cf, when, key, &file,
                                        slice_n(text, size));
}


static ngx_int_t
ngx_http_pay_when_number(ngx_http_pay_when_t *when,
    ngx_http_pay_when_key_t *key, ngx_int_t n)
{
    if (n < 0) {
        return NGX_DECLINED;
    }

    match_set_add(&when->line.numbers[key->index], (unsigned) n);

    return NGX_OK;
}


static ngx_int_t
ngx_http_pay_when_method(ngx_conf_t *cf, ngx_http_pay_when_t *when,
    ngx_http_pay_when_key_t *key, ngx_str_t *value)
{
    return ngx_http_pay_when_number(when, key,
                                    ngx_http_pay_method_index(value));
}


static ngx_int_t
ngx_http_pay_when_wallet(ngx_conf_t *cf, ngx_http_pay_when_t *when,
    ngx_http_pay_when_key_t *key, ngx_str_t *value)
{
    return ngx_http_pay_when_number(when, key,
                                    payer_app_parse(ngx_pay_slice(*value)));
}


static ngx_int_t
ngx_http_pay_when_work(ngx_conf_t *cf, ngx_http_pay_when_t *when,
    ngx_http_pay_when_key_t *key, ngx_str_t *value)
{
    return ngx_http_pay_when_number(when, key,
                  ngx_http_pay_name_index(ngx_http_pay_work_names,
                                          NGX_HTTP_PAY_WORKS, value));
}


static ngx_int_t
ngx_http_pay_when_by_channel(ngx_conf_t *cf, ngx_http_pay_when_t *when,
    ngx_http_pay_when_key_t *key, ngx_str_t *value)
{
    ngx_str_t  *name;

    name = ngx_array_push(&when->channels);
    if (name == NULL) {
        return NGX_ERROR;
    }

    *name = *value;

    return NGX_OK;
}


/* N/D, D a power of two up to 256 */

static ngx_int_t
ngx_http_pay_when_fraction(ngx_conf_t *cf, ngx_http_pay_when_t *when,
    ngx_http_pay_when_key_t *key, ngx_str_t *value)
{
    u_char     *slash, *last;
    ngx_int_t   i, n, d;

    last = value->data + value->len;
    slash = ngx_strlchr(value->data, last, '/');

    if (slash == NULL) {
        return NGX_DECLINED;
    }

    n = ngx_atoi(value->data, slash - value->data);
    d = ngx_atoi(slash + 1, last - slash - 1);

    if (d < 1 || d > NGX_HTTP_PAY_SHARES || (d & (d - 1)) || n < 1 || n > d) {
        return NGX_DECLINED;
    }

    for (i = 0; i < n * (NGX_HTTP_PAY_SHARES / d); i++) {
        match_set_add(&when->line.numbers[key->index], (unsigned) i);
    }

    return NGX_OK;
}


/* MIN-MAX, MIN-, -MAX or the one amount */

static ngx_int_t
ngx_http_pay_when_amount(ngx_conf_t *cf, ngx_http_pay_when_t *when,
    ngx_http_pay_when_key_t *key, ngx_str_t *value)
{
    u_char  *dash, *last;

    last = value->data + value->len;
    dash = ngx_strlchr(value->data, last, '-');

    when->line.min = AMOUNT_MIN;
    when->line.max = AMOUNT_MAX;

    if (dash == NULL) {
        when->line.min = ngx_atoof(value->data, value->len);
        when->line.max = when->line.min;

    } else {

        if (dash > value->data) {
            when->line.min = ngx_atoof(value->data, dash - value->data);
        }

        if (dash + 1 < last) {
            when->line.max = ngx_atoof(dash + 1, last - dash - 1);
        }
    }

    if (when->line.min < AMOUNT_MIN || when->line.max > AMOUNT_MAX
        || when->line.min > when->line.max || (dash && value->len == 1))
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}
