/*
 * An app's list of addresses.  A genuine signature from elsewhere is what a
 * stolen key looks like, so this comes after the signature: whoever has no key
 * learns nothing here, and every report is worth reading.
 */

#include "ngx_pay_module/keys/ngx_pay_keys.h"
#include "ngx_pay_module/request/ngx_http_pay_private.h"


#define NGX_HTTP_PAY_ALLOW_SAY  5000    /* ms between lines about one key */


static void
ngx_http_pay_allow_report(ngx_http_request_t *r, ngx_pay_key_t *key)
{
    ngx_http_pay_count(unlisted);
    key->unlisted++;

    if (key->said && ngx_current_msec - key->said < NGX_HTTP_PAY_ALLOW_SAY) {
        return;
    }

    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "pay: event=address_not_listed app=%V serial=%V source=%V "
                  "action=%s count=%ui", &key->app, &key->serial,
                  &r->connection->addr_text,
                  key->allow_alert ? "none" : "refuse", key->unlisted);

    key->said = ngx_current_msec;
    key->unlisted = 0;
}


ngx_int_t
ngx_http_pay_allow_request(ngx_http_request_t *r)
{
    ngx_pay_key_t       *key;
    ngx_http_pay_ctx_t  *ctx;

    ctx = ngx_http_pay_get_ctx(r);
    key = ctx->key;

    if (key->nallow == 0 || ctx->allowed) {
        return NGX_OK;
    }

    if (!addr_rule_match(key->allow, key->nallow, r->connection->sockaddr)) {
        ngx_http_pay_allow_report(r, key);

        if (!key->allow_alert) {
            return ngx_http_pay_refuse(r, PROBLEM_ADDRESS_NOT_ALLOWED, NULL,
                                       NULL);
        }
    }

    ctx->allowed = 1;

    return NGX_OK;
}
