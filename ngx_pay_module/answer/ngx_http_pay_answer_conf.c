/*
 * pay_platform_key: our private key, and the thread that signs with it.
 */

#include "ngx_http_pay_answer.h"


static void
ngx_http_pay_answer_free(void *data)
{
    ngx_uint_t                i;
    ngx_http_pay_platform_t  *platform = data;

    for (i = 0; i <= KEY_MD5; i++) {
        verify_key_release(&platform->keys[i].key);
    }
}


/* a public key would load as well: only one that signs will do */

static ngx_int_t
ngx_http_pay_answer_try(struct verify_key *key)
{
    size_t        n;
    uint8_t       sig[SIGNATURE_MAX];
    struct slice  part;

    part = SLICE("pay");

    return key_sign(key, &part, 1, sig, &n) == 0 ? NGX_OK : NGX_ERROR;
}


/* an RSA key signs in two algorithms, the others in one */

static char *
ngx_http_pay_answer_take(ngx_conf_t *cf, ngx_http_pay_platform_t *platform,
    ngx_str_t *serial, ngx_str_t *file, struct slice pem)
{
    ngx_uint_t         i, found;
    struct verify_key  key;

    found = 0;

    for (i = KEY_RSA_SHA256; i <= KEY_MD5; i++) {

        if (key_alg_is_shared((enum key_alg) i)
            || verify_key_load(&key, (enum key_alg) i, pem) != 0)
        {
            continue;
        }

        found = 1;

        if (ngx_http_pay_answer_try(&key) != NGX_OK) {
            verify_key_release(&key);
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "the key in \"%V\" cannot sign", file);
            return NGX_CONF_ERROR;
        }

        if (platform->keys[i].serial.len) {
            verify_key_release(&key);
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "a second key for %s in \"%V\"",
                               key_alg_name((enum key_alg) i), file);
            return NGX_CONF_ERROR;
        }

        platform->keys[i].key = key;
        platform->keys[i].serial = *serial;
    }

    if (!found) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no private RSA key of 2048 bits or more, nor one "
                           "of Ed25519 or P-256 in \"%V\"", file);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_pay_answer_load(ngx_conf_t *cf, ngx_http_pay_platform_t *platform,
    ngx_str_t *serial, ngx_str_t *file)
{
    char     *rv;
    u_char    pem[16384];
    ssize_t   n;
    ngx_fd_t  fd;

    if (ngx_conf_full_name(cf->cycle, file, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    fd = ngx_open_file(file->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed", file);
        return NGX_CONF_ERROR;
    }

    n = ngx_read_fd(fd, pem, sizeof(pem));
    (void) ngx_close_file(fd);

    rv = ngx_http_pay_answer_take(cf, platform, serial, file,
                                  slice_n(pem, n > 0 ? n : 0));
    wipe(pem, sizeof(pem));

    return rv;
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


static ngx_http_pay_platform_t *
ngx_http_pay_answer_create(ngx_conf_t *cf)
{
    ngx_pool_cleanup_t       *cln;
    ngx_http_pay_platform_t  *platform;

    cln = ngx_pool_cleanup_add(cf->pool, sizeof(ngx_http_pay_platform_t));
    if (cln == NULL) {
        return NULL;
    }

    platform = cln->data;
    ngx_memzero(platform, sizeof(ngx_http_pay_platform_t));
    cln->handler = ngx_http_pay_answer_free;

    platform->queue = NGX_HTTP_PAY_ANSWER_QUEUE;
    platform->pool = ngx_http_pay_answer_pool(cf);

#if (NGX_THREADS)
    if (platform->pool == NULL) {
        return NULL;
    }
#endif

    return platform;
}


char *
ngx_http_pay_answer_set_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_pay_answer_main_conf_t  *amcf = conf;

    char                     *rv;
    ngx_int_t                 n;
    ngx_str_t                *value;
    ngx_http_pay_platform_t  *platform;

    if (amcf->platform == NULL) {
        amcf->platform = ngx_http_pay_answer_create(cf);

        if (amcf->platform == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    platform = amcf->platform;
    value = cf->args->elts;

    rv = ngx_http_pay_answer_load(cf, platform, &value[1], &value[2]);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (cf->args->nelts == 4) {
        n = ngx_strncmp(value[3].data, "queue=", 6) == 0
            ? ngx_atoi(value[3].data + 6, value[3].len - 6) : NGX_ERROR;

        if (n <= 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\"", &value[3]);
            return NGX_CONF_ERROR;
        }

        if (platform->keys[KEY_RSA_SHA256].serial.data != value[1].data) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"queue\" is for an RSA key, \"%V\" is none",
                               &value[2]);
            return NGX_CONF_ERROR;
        }

        platform->queue = n;
    }

    return NGX_CONF_OK;
}
