/*
 * tls_certificate of a pay_channel block: the certificate that we show to a
 * channel that asks for one.  nginx reads both files at each handshake
 * (proxy_ssl_certificate with a variable), as the user of its workers; that
 * they are there and belong together is found out when the configuration is
 * read.
 */

#include "ngx_http_pay_channel_conf.h"


#if (NGX_HTTP_SSL)

static const char *
ngx_http_pay_channel_pair(ngx_str_t *cert, ngx_str_t *key)
{
    SSL_CTX     *ctx;
    const char  *reason;

    ctx = SSL_CTX_new(TLS_client_method());
    if (ctx == NULL) {
        return "no memory";
    }

    reason = NULL;

    if (SSL_CTX_use_certificate_chain_file(ctx, (char *) cert->data) != 1) {
        reason = "the certificate cannot be read";

    } else if (SSL_CTX_use_PrivateKey_file(ctx, (char *) key->data,
                                           SSL_FILETYPE_PEM)
               != 1)
    {
        reason = "the key cannot be read, or is not the certificate's";
    }

    SSL_CTX_free(ctx);
    ERR_clear_error();

    return reason;
}

#endif


char *
ngx_http_pay_channel_tls_certificate(ngx_conf_t *cf,
    ngx_http_pay_channel_t *ch)
{
    ngx_str_t   *value;
    const char  *reason;

    value = cf->args->elts;

    ch->cert = value[1];
    ch->cert_key = value[2];

    if (ngx_conf_full_name(cf->cycle, &ch->cert, 1) != NGX_OK
        || ngx_conf_full_name(cf->cycle, &ch->cert_key, 1) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

#if (NGX_HTTP_SSL)
    reason = ngx_http_pay_channel_pair(&ch->cert, &ch->cert_key);
#else
    reason = "nginx was built without SSL";
#endif

    if (reason) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"tls_certificate\" \"%V\" \"%V\": %s",
                           &value[1], &value[2], reason);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
