/*
 * pay_platform_key: our private key, and the thread that signs with it.
 */

#include "ngx_http_pay_answer.h"


static void
ngx_http_pay_answer_release_key(void *data)
{
    verify_key_release(data);
}


static ngx_int_t
ngx_http_pay_answer_load(ngx_conf_t *cf, ngx_str_t *file,
    struct verify_key *key)
{
    int                  rc;
    u_char               pem[16384];
    ssize_t              n;
    ngx_fd_t             fd;
    ngx_pool_cleanup_t  *cln;

    if (ngx_conf_full_name(cf->cycle, file, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    fd = ngx_open_file(file->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed", file);
        return NGX_ERROR;
    }

    n = ngx_read_fd(fd, pem, sizeof(pem));
    (void) ngx_close_file(fd);

    rc = n > 0 ? verify_key_load(key, KEY_RSA_SHA256, slice_n(pem, n)) : -1;
    wipe(pem, sizeof(pem));

    if (rc != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no private RSA key of 2048 bits or more in \"%V\"",
                           file);
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        verify_key_release(key);
        return NGX_ERROR;
    }

    cln->handler = ngx_http_pay_answer_release_key;
    cln->data = key;

    return NGX_OK;
}


/* a public key would load as well: only one that signs will do */

static ngx_int_t
ngx_http_pay_answer_try(struct verify_key *key)
{
    int           rc;
    struct buf    out;
    struct slice  part;

    part = SLICE("pay");
    buf_init(&out, NGX_HTTP_PAY_SIGNATURE);
    rc = scheme_sign(key, &part, 1, &out);
    buf_release(&out);

    return rc == 0 ? NGX_OK : NGX_ERROR;
}


#if (NGX_THREADS)

/*
 * nginx has no function that makes a thread pool with given numbers, so its
 * own directive is called, as if "thread_pool pay_sign threads=1" stood in the
 * configuration.
 */

extern ngx_module_t  ngx_thread_pool_module;

static void *
ngx_http_pay_answer_pool(ngx_conf_t *cf)
{
    char           *rv;
    ngx_str_t      *arg, name;
    ngx_array_t    *args;
    ngx_command_t  *cmd;

    ngx_str_set(&name, "pay_sign");

    if (ngx_thread_pool_get(cf->cycle, &name)) {
        return ngx_thread_pool_add(cf, &name);
    }

    cmd = ngx_thread_pool_module.commands;

    args = ngx_array_create(cf->pool, 4, sizeof(ngx_str_t));
    if (args == NULL) {
        return NULL;
    }

    arg = ngx_array_push_n(args, 4);
    if (arg == NULL) {
        return NULL;
    }

    arg[0] = cmd->name;
    arg[1] = name;
    ngx_str_set(&arg[2], "threads=1");
    ngx_str_set(&arg[3], "max_queue=65536");

    {
        ngx_array_t  *saved = cf->args;

        cf->args = args;
        rv = cmd->set(cf, cmd, NULL);
        cf->args = saved;
    }

    return rv == NGX_CONF_OK ? ngx_thread_pool_add(cf, &name) : NULL;
}

#else

static void *
ngx_http_pay_answer_pool(ngx_conf_t *cf)
{
    return NULL;
}

#endif


char *
ngx_http_pay_answer_set_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_pay_answer_main_conf_t  *amcf = conf;

    ngx_int_t                 n;
    ngx_str_t                *value;
    ngx_http_pay_platform_t  *platform;

    if (amcf->platform) {
        return "is duplicate";
    }

    value = cf->args->elts;

    platform = ngx_pcalloc(cf->pool, sizeof(ngx_http_pay_platform_t));
    if (platform == NULL) {
        return NGX_CONF_ERROR;
    }

    platform->serial = value[1];
    platform->queue = NGX_HTTP_PAY_ANSWER_QUEUE;

    if (ngx_http_pay_answer_load(cf, &value[2], &platform->key) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_pay_answer_try(&platform->key) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the key in \"%V\" cannot sign", &value[2]);
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts == 4) {
        n = ngx_strncmp(value[3].data, "queue=", 6) == 0
            ? ngx_atoi(value[3].data + 6, value[3].len - 6) : NGX_ERROR;

        if (n <= 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\"", &value[3]);
            return NGX_CONF_ERROR;
        }

        platform->queue = n;
    }

    platform->pool = ngx_http_pay_answer_pool(cf);

#if (NGX_THREADS)
    if (platform->pool == NULL) {
        return NGX_CONF_ERROR;
    }
#endif

    amcf->platform = platform;

    return NGX_CONF_OK;
}
