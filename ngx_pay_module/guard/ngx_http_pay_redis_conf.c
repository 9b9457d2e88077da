/*
 * pay_redis.  Every wrong word is reported as it stands, but never a password.
 */

#include "ngx_http_pay_guard.h"


#define NGX_HTTP_PAY_PASSWORD_MAX   1024
#define NGX_HTTP_PAY_REDIS_PORT     6379
#define NGX_HTTP_PAY_SENTINEL_PORT  26379


/* a numeric address: hiredis would resolve a name, and block */

static ngx_int_t
ngx_http_pay_redis_numeric(ngx_conf_t *cf, ngx_addr_t *from,
    ngx_pay_redis_addr_t *addr)
{
    u_char  *p;

    p = ngx_pnalloc(cf->pool, NGX_SOCKADDR_STRLEN + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    addr->host.data = p;
    addr->host.len = ngx_sock_ntop(from->sockaddr, from->socklen, p,
                                   NGX_SOCKADDR_STRLEN, 0);
    p[addr->host.len] = '\0';
    addr->port = ngx_inet_get_port(from->sockaddr);

    /* "[::1]" without its brackets */

    if (from->sockaddr->sa_family == AF_INET6 && p[0] == '[') {
        p[addr->host.len - 1] = '\0';
        addr->host.data++;
        addr->host.len -= 2;
    }

    return NGX_OK;
}


/* a name may have several addresses: all of them */

static char *
ngx_http_pay_redis_addr(ngx_conf_t *cf, ngx_pay_redis_conf_t *redis,
    ngx_str_t *value)
{
    ngx_url_t              u;
    ngx_uint_t             i;
    ngx_pay_redis_addr_t  *addr;

    ngx_memzero(&u, sizeof(ngx_url_t));
    u.url = *value;
    u.default_port = redis->sentinel.len ? NGX_HTTP_PAY_SENTINEL_PORT
                                         : NGX_HTTP_PAY_REDIS_PORT;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK || u.naddrs == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s in \"%V\"",
                           u.err ? u.err : "no address", value);
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < u.naddrs; i++) {
        addr = ngx_array_push(&redis->addrs);
        if (addr == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_memzero(addr, sizeof(ngx_pay_redis_addr_t));

        if (u.family == AF_UNIX) {
            addr->path.len = value->len - 5;
            addr->path.data = value->data + 5;      /* ends in NUL */

        } else if (ngx_http_pay_redis_numeric(cf, &u.addrs[i], addr) != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* the first line of a file, so that no password stands in nginx.conf */

static char *
ngx_http_pay_redis_password(ngx_conf_t *cf, ngx_pay_redis_auth_t *auth,
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
    auth->password.len = n;
    auth->password.data = ngx_pstrdup(cf->pool, &(ngx_str_t) { n + 1, buf });
    wipe(buf, sizeof(buf));

    return auth->password.data ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static ngx_int_t
ngx_http_pay_redis_arg(ngx_pay_redis_conf_t *redis, ngx_str_t *arg)
{
    ngx_int_t  n;
    ngx_str_t  value;

    if (ngx_http_pay_conf_param(arg, "timeout", &value)) {
        n = ngx_parse_time(&value, 0);
        redis->timeout = n;
        return (n > 0 && n <= 1000) ? NGX_OK : NGX_ERROR;
    }

    if (ngx_http_pay_conf_param(arg, "pause", &value)) {
        n = ngx_parse_time(&value, 0);
        redis->pause = n;
        return n > 0 ? NGX_OK : NGX_ERROR;
    }

    if (ngx_http_pay_conf_param(arg, "failures", &value)) {
        n = ngx_atoi(value.data, value.len);
        redis->failures = n;
        return n > 0 ? NGX_OK : NGX_ERROR;
    }

    if (ngx_http_pay_conf_param(arg, "inflight", &value)) {
        n = ngx_atoi(value.data, value.len);
        redis->inflight = n;
        return n > 0 ? NGX_OK : NGX_ERROR;
    }

    if (ngx_http_pay_conf_param(arg, "sentinel", &value)) {
        return value.len ? NGX_OK : NGX_ERROR;
    }

    if (ngx_http_pay_conf_param(arg, "db", &value)) {
        n = ngx_atoi(value.data, value.len);
        redis->db = n;
        return (n >= 0 && n < 16384) ? NGX_OK : NGX_ERROR;
    }

    return NGX_ERROR;
}


/* NGX_DECLINED: another one */

static ngx_int_t
ngx_http_pay_redis_secret(ngx_conf_t *cf, ngx_pay_redis_conf_t *redis,
    ngx_str_t *arg)
{
    ngx_str_t              file;
    ngx_pay_redis_auth_t  *auth;

    if (ngx_http_pay_conf_param(arg, "user", &redis->auth.user)
        || ngx_http_pay_conf_param(arg, "sentinel_user",
                                    &redis->sentinel_auth.user))
    {
        return NGX_OK;
    }

    if (ngx_http_pay_conf_param(arg, "password_file", &file)) {
        auth = &redis->auth;

    } else if (ngx_http_pay_conf_param(arg, "sentinel_password_file", &file)) {
        auth = &redis->sentinel_auth;

    } else {
        return NGX_DECLINED;
    }

    return ngx_http_pay_redis_password(cf, auth, &file) == NGX_CONF_OK
           ? NGX_OK : NGX_ERROR;
}


/* what can only be said when all arguments are known */

static char *
ngx_http_pay_redis_whole(ngx_conf_t *cf, ngx_pay_redis_conf_t *redis,
    ngx_uint_t given)
{
    if (given == 0) {
        return "needs an address";
    }

    if (given > 1 && redis->sentinel.len == 0) {
        return "takes several addresses only with \"sentinel\"";
    }

    if (redis->sentinel.len == 0 && (redis->sentinel_auth.user.len
                                     || redis->sentinel_auth.password.len))
    {
        return "has a password for sentinels, but no \"sentinel\"";
    }

    if ((redis->auth.user.len && redis->auth.password.len == 0)
        || (redis->sentinel_auth.user.len
            && redis->sentinel_auth.password.len == 0))
    {
        return "has a user without a password file";
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_pay_redis_args(ngx_conf_t *cf, ngx_pay_redis_conf_t *redis)
{
    ngx_int_t    rc;
    ngx_str_t   *value;
    ngx_uint_t   i, given;

    value = cf->args->elts;
    given = 0;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strlchr(value[i].data, value[i].data + value[i].len, '=')
            == NULL)
        {
            if (ngx_http_pay_redis_addr(cf, redis, &value[i]) != NGX_CONF_OK) {
                return NGX_CONF_ERROR;
            }

            given++;
            continue;
        }

        rc = ngx_http_pay_redis_secret(cf, redis, &value[i]);

        if (rc == NGX_ERROR) {
            return NGX_CONF_ERROR;
        }

        if (rc == NGX_DECLINED
            && ngx_http_pay_redis_arg(redis, &value[i]) != NGX_OK)
        {
            return ngx_http_pay_conf_invalid(cf, &value[i]);
        }
    }

    return ngx_http_pay_redis_whole(cf, redis, given);
}


char *
ngx_http_pay_guard_set_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_pay_guard_main_conf_t  *gmcf = conf;

    ngx_str_t             *value;
    ngx_uint_t             i;
    ngx_pay_redis_conf_t  *redis;

    if (gmcf->redis) {
        return "is duplicate";
    }

    redis = ngx_pcalloc(cf->pool, sizeof(ngx_pay_redis_conf_t));
    if (redis == NULL
        || ngx_array_init(&redis->addrs, cf->pool, 4,
                          sizeof(ngx_pay_redis_addr_t))
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    gmcf->redis = redis;

    redis->timeout = 50;
    redis->pause = 1000;
    redis->failures = 5;
    redis->inflight = 4096;

    /* the default port depends on it */

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        (void) ngx_http_pay_conf_param(&value[i], "sentinel",
                                        &redis->sentinel);
    }

    return ngx_http_pay_redis_args(cf, redis);
}
