/*
 * TLS to channels: sessions are kept for each channel, and what a channel
 * says when it breaks TLS off is counted.
 *
 * A channel that wants a certificate of ours and gets none, or one that it
 * does not take, says so in an alert.  Up to TLS 1.2 the handshake fails by
 * it, and the call was not sent.  In TLS 1.3 our side of the handshake is
 * done before the channel has looked at our certificate: the request is on
 * its way when the alert comes, and the call stays "maybe sent".
 */

#include "ngx_http_pay_egress.h"

#if (NGX_HTTP_SSL)


/* RFC 8446, 6.2; RFC 5246, 7.2.2 */

#define NGX_HTTP_PAY_TLS_CLOSE_NOTIFY          0
#define NGX_HTTP_PAY_TLS_BAD_CERTIFICATE       42
#define NGX_HTTP_PAY_TLS_CERTIFICATE_UNKNOWN   46
#define NGX_HTTP_PAY_TLS_UNKNOWN_CA            48
#define NGX_HTTP_PAY_TLS_ACCESS_DENIED         49
#define NGX_HTTP_PAY_TLS_USER_CANCELED         90
#define NGX_HTTP_PAY_TLS_CERTIFICATE_REQUIRED  116


static void ngx_http_pay_tls_info(const ngx_ssl_conn_t *ssl, int where,
    int ret);
static ngx_uint_t ngx_http_pay_tls_about_certificate(int alert);


/* of the row in a connection's SSL; -1: not asked for yet */

static int  ngx_http_pay_tls_index = -1;


ngx_int_t
ngx_http_pay_tls_set_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_pay_egress_ctx_t  *ctx = data;

    ngx_ssl_conn_t              *ssl;
    ngx_http_pay_channel_row_t  *row;

    if (ngx_http_pay_tls_index == -1) {
        ngx_http_pay_tls_index = SSL_get_ex_new_index(0, NULL, NULL, NULL,
                                                      NULL);
    }

    ssl = pc->connection->ssl->connection;
    row = ngx_http_pay_channel_row(ctx->main->channels, ctx->channel);

    if (ngx_http_pay_tls_index != -1
        && SSL_set_ex_data(ssl, ngx_http_pay_tls_index, row) == 1)
    {
        SSL_set_info_callback(ssl, ngx_http_pay_tls_info);
    }

    return ngx_ssl_set_session(pc->connection, ctx->channel->peers->session);
}


void
ngx_http_pay_tls_save_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_pay_egress_ctx_t  *ctx = data;

    ngx_ssl_session_t     *session;
    ngx_http_pay_peers_t  *peers;

    session = ngx_ssl_get_session(pc->connection);

    if (session == NULL) {
        return;
    }

    peers = ctx->channel->peers;

    if (peers->session) {
        ngx_ssl_free_session(peers->session);
    }

    peers->session = session;
}


void
ngx_http_pay_tls_forget_session(void *data)
{
    ngx_http_pay_peers_t  *peers = data;

    if (peers->session) {
        ngx_ssl_free_session(peers->session);
        peers->session = NULL;
    }
}


/* in place of nginx's own, which looks at connections that come in only */

static void
ngx_http_pay_tls_info(const ngx_ssl_conn_t *ssl, int where, int ret)
{
    int                          alert;
    ngx_uint_t                   certificate;
    ngx_connection_t            *c;
    ngx_http_pay_channel_row_t  *row;

    alert = ret & 0xff;

    if ((where & SSL_CB_READ_ALERT) != SSL_CB_READ_ALERT
        || alert == NGX_HTTP_PAY_TLS_CLOSE_NOTIFY
        || alert == NGX_HTTP_PAY_TLS_USER_CANCELED)
    {
        return;
    }

    c = ngx_ssl_get_connection((ngx_ssl_conn_t *) ssl);
    row = SSL_get_ex_data(ssl, ngx_http_pay_tls_index);
    certificate = ngx_http_pay_tls_about_certificate(alert);

    (void) ngx_atomic_fetch_add(&row->alerts[certificate
                                             ? NGX_HTTP_PAY_ALERT_CERTIFICATE
                                             : NGX_HTTP_PAY_ALERT_OTHER], 1);

    ngx_log_error(NGX_LOG_ERR, c->log, 0,
                  "pay_channel \"%*s\" breaks TLS off: %s (alert %d)%s",
                  row->len, row->name, SSL_alert_desc_string_long(ret), alert,
                  certificate ? "; it wants another certificate of ours than "
                                "its \"tls_certificate\", or any" : "");
}


static ngx_uint_t
ngx_http_pay_tls_about_certificate(int alert)
{
    return (alert >= NGX_HTTP_PAY_TLS_BAD_CERTIFICATE
            && alert <= NGX_HTTP_PAY_TLS_CERTIFICATE_UNKNOWN)
           || alert == NGX_HTTP_PAY_TLS_UNKNOWN_CA
           || alert == NGX_HTTP_PAY_TLS_ACCESS_DENIED
           || alert == NGX_HTTP_PAY_TLS_CERTIFICATE_REQUIRED;
}

#endif
