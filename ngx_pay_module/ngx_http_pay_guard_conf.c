/*
 * pay_guard and pay_redis.  Every wrong word is reported as it stands.
 */

#include "ngx_http_pay_guard.h"


#define NGX_HTTP_PAY_RATE_MAX      1000000
#define NGX_HTTP_PAY_PASSWORD_MAX  1024


/* "name=value": cuts value out, or returns 0 when it is another name */

static ngx_uint_t
ngx_http_pay_guard_param(ngx_str_t *arg, const char *name, ngx_str_t *value)
{
    size_t  n;

    n = ngx_strlen(name);

    if (arg->len <= n || ngx_strncmp(arg->data, name, n) != 0
        || arg->data[n] != '=')
    {
        return 0;
    }

    value->data = arg->data + n + 1;
    value->len = arg->len - n - 1;

    return 1;
}


static char *
ngx_http_pay_guard_invalid(ngx_conf_t *cf, ngx_str_t *arg)
{
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"", arg);

    return NGX_CONF_ERROR;
}


/* "500r/s", or "off" for no limit */

static ngx_int_t
ngx_http_pay_guard_rate(ngx_str_t *value)
{
    ngx_int_t  n;

    if (value->len == 3 && ngx_strncmp(value->data, "off", 3) == 0) {
        return 0;
    }

    if (value->len < 4
        || ngx_strncmp(value->data + value->len - 3, "r/s", 3) != 0)
    {
        return NGX_ERROR;
    }

    n = ngx_atoi(value->data, value->len - 3);

    return (n > 0 && n <= NGX_HTTP_PAY_RATE_MAX) ? n : NGX_ERROR;
}


static ngx_int_t
ngx_http_pay_guard_arg(ngx_http_pay_guard_loc_conf_t *glcf, ngx_str_t *arg)
{
    ngx_int_t  n;
    ngx_str_t  value;

    if (ngx_http_pay_guard_param(arg, "window", &value)) {
        n = ngx_parse_time(&value, 1);
        glcf->window = n;
        return (n > 0 && n <= 3600) ? NGX_OK : NGX_ERROR;
    }

    if (ngx_http_pay_guard_param(arg, "nonce", &value)) {
        n = ngx_parse_time(&value, 0);
        glcf->nonce = n;
        return n > 0 ? NGX_OK : NGX_ERROR;
    }

    if (ngx_http_pay_guard_param(arg, "app", &value)) {
        n = ngx_http_pay_guard_rate(&value);
        glcf->rate = n;
        return n != NGX_ERROR ? NGX_OK : NGX_ERROR;
    }

    if (ngx_http_pay_guard_param(arg, "burst", &value)) {
        n = ngx_atoi(value.data, value.len);
        glcf->burst = n;
        return (n >= 0 && n <= NGX_HTTP_PAY_RATE_MAX) ? NGX_OK : NGX_ERROR;
    }

    if (ngx_http_pay_guard_param(arg, "fallback", &value)) {
        if (value.len == 4 && ngx_strncmp(value.data, "open", 4) == 0) {
            glcf->closed = 0;
            return NGX_OK;
        }

        if (value.len == 6 && ngx_strncmp(value.data, "closed", 6) == 0) {
            glcf->closed = 1;
            return NGX_OK;
        }
    }

    return NGX_ERROR;
}


char *
ngx_http_pay_guard_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_pay_guard_loc_conf_t  *glcf = conf;

    ngx_str_t                       *value;
    ngx_uint_t                       i;
    ngx_http_pay_guard_main_conf_t  *gmcf;

    if (glcf->enable != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && value[1].len == 3
        && ngx_strncmp(value[1].data, "off", 3) == 0)
    {
        glcf->enable = 0;
        return NGX_CONF_OK;
    }

    glcf->enable = 1;
    glcf->window = NGX_HTTP_PAY_WINDOW;
    ngx_http_pay_where(cf, &glcf->at);

    for (i = 1; i < cf->args->nelts; i++) {
        if (ngx_http_pay_guard_arg(glcf, &value[i]) != NGX_OK) {
            return ngx_http_pay_guard_invalid(cf, &value[i]);
        }
    }

    /* both clocks may be off by the window */

    if (glcf->nonce == 0) {
        glcf->nonce = glcf->window * 2 * 1000;
    }

    if (glcf->nonce < (ngx_msec_t) glcf->window * 2 * 1000) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"nonce\" must be at least twice \"window\"");
        return NGX_CONF_ERROR;
    }

    glcf->policy.data = ngx_pnalloc(cf->pool, sizeof("\"app\";q=;w=1")
                                              + NGX_INT_T_LEN);
    if (glcf->policy.data == NULL) {
        return NGX_CONF_ERROR;
    }

    glcf->policy.len = ngx_sprintf(glcf->policy.data, "\"app\";q=%ui;w=1",
                                   glcf->rate)
                       - glcf->policy.data;

    gmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_pay_guard_module);

    if (gmcf->used_at.line == 0) {
        ngx_http_pay_where(cf, &gmcf->used_at);
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_pay_redis_addr(ngx_conf_t *cf, ngx_pay_redis_conf_t *redis,
    ngx_str_t *value)
{
    u_char     *p;
    ngx_url_t   u;

    ngx_memzero(&u, sizeof(ngx_url_t));
    u.url = *value;
    u.default_port = 6379;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK || u.naddrs == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s in \"%V\"",
                           u.err ? u.err : "no address", value);
        return NGX_CONF_ERROR;
    }

    if (u.family == AF_UNIX) {
        redis->path.len = value->len - 5;
        redis->path.data = value->data + 5;     /* ends in NUL */
        return NGX_CONF_OK;
    }

    /* a name would be resolved by hiredis, which blocks */

    p = ngx_pnalloc(cf->pool, NGX_SOCKADDR_STRLEN + 1);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    redis->host.data = p;
    redis->host.len = ngx_sock_ntop(u.addrs[0].sockaddr, u.addrs[0].socklen, p,
                                    NGX_SOCKADDR_STRLEN, 0);
    p[redis->host.len] = '\0';
    redis->port = ngx_inet_get_port(u.addrs[0].sockaddr);

    /* "[::1]" without its brackets */

    if (u.addrs[0].sockaddr->sa_family == AF_INET6 && p[0] == '[') {
        p[redis->host.len - 1] = '\0';
        redis->host.data++;
        redis->host.len -= 2;
    }

    return NGX_CONF_OK;
}


/* the first line of a file, so that no password stands in nginx.conf */

static char *
ngx_http_pay_redis_password(ngx_conf_t *cf, ngx_pay_redis_conf_t *redis,
    ngx_str_t *name)
{
    u_char      buf[NGX_HTTP_PAY_PASSWORD_MAX], *nl;
    ssize_t     n;
    ngx_fd_t    fd;
    ngx_str_t   file;

    file = *name;

    if (ngx_conf_full_name(cf->cycle, &file, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    fd = ngx_open_file(file.data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed", &file);
        return NGX_CONF_ERROR;
    }

    n = ngx_read_fd(fd, buf, sizeof(buf) - 1);
    (void) ngx_close_file(fd);

    nl = n > 0 ? ngx_strlchr(buf, buf + n, '\n') : NULL;

    if (nl) {
        n = nl - buf;
    }

    if (n <= 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "no password in \"%V\"",
                           &file);
        return NGX_CONF_ERROR;
    }

    buf[n] = '\0';
    redis->password.len = n;
    redis->password.data = ngx_pstrdup(cf->pool, &(ngx_str_t) { n + 1, buf });
    wipe(buf, sizeof(buf));

    return redis->password.data ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static ngx_int_t
ngx_http_pay_redis_arg(ngx_pay_redis_conf_t *redis, ngx_str_t *arg)
{
    ngx_int_t  n;
    ngx_str_t  value;

    if (ngx_http_pay_guard_param(arg, "timeout", &value)) {
        n = ngx_parse_time(&value, 0);
        redis->timeout = n;
        return (n > 0 && n <= 1000) ? NGX_OK : NGX_ERROR;
    }

    if (ngx_http_pay_guard_param(arg, "pause", &value)) {
        n = ngx_parse_time(&value, 0);
        redis->pause = n;
        return n > 0 ? NGX_OK : NGX_ERROR;
    }

    if (ngx_http_pay_guard_param(arg, "failures", &value)) {
        n = ngx_atoi(value.data, value.len);
        redis->failures = n;
        return n > 0 ? NGX_OK : NGX_ERROR;
    }

    if (ngx_http_pay_guard_param(arg, "inflight", &value)) {
        n = ngx_atoi(value.data, value.len);
        redis->inflight = n;
        return n > 0 ? NGX_OK : NGX_ERROR;
    }

    if (ngx_http_pay_guard_param(arg, "db", &value)) {
        n = ngx_atoi(value.data, value.len);
        redis->db = n;
        return (n >= 0 && n < 16384) ? NGX_OK : NGX_ERROR;
    }

    return NGX_ERROR;
}


char *
ngx_http_pay_guard_set_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_pay_guard_main_conf_t  *gmcf = conf;

    ngx_str_t             *value, file;
    ngx_uint_t             i;
    ngx_pay_redis_conf_t  *redis;

    if (gmcf->redis) {
        return "is duplicate";
    }

    redis = ngx_pcalloc(cf->pool, sizeof(ngx_pay_redis_conf_t));
    if (redis == NULL) {
        return NGX_CONF_ERROR;
    }

    gmcf->redis = redis;

    redis->timeout = 50;
    redis->pause = 1000;
    redis->failures = 5;
    redis->inflight = 4096;

    value = cf->args->elts;

    if (ngx_http_pay_redis_addr(cf, redis, &value[1]) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_http_pay_guard_param(&value[i], "password_file", &file)) {
            if (ngx_http_pay_redis_password(cf, redis, &file) != NGX_CONF_OK) {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        if (ngx_http_pay_redis_arg(redis, &value[i]) != NGX_OK) {
            return ngx_http_pay_guard_invalid(cf, &value[i]);
        }
    }

    return NGX_CONF_OK;
}
