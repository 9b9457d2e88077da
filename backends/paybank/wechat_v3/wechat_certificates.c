/* GET /v3/certificates: the platform's certificates, each encrypted for the merchant. */
#include "backends/paybank/exchange.h"
#include "core/json.h"
#include "wechat.h"
#include "wechat_sign.h"

#define NONCE_LEN 12
#define AAD       "certificate"
#define TEXT_MAX  65536

static int put_sealed(struct json_writer *w, const struct merchant *m, struct slice pem)
{
    struct slice aad = SLICE(AAD);
    char nonce[NONCE_LEN];
    struct buf sealed;
    int rc;

    random_token(nonce, sizeof(nonce));
    buf_init(&sealed, TEXT_MAX);
    rc = wechat_encrypt(m, slice_n(nonce, sizeof(nonce)), aad, pem, &sealed);
    json_key(w, "encrypt_certificate");
    json_begin_object(w);
    json_member_str(w, "algorithm", SLICE("AEAD_AES_256_GCM"));
    json_member_str(w, "nonce", slice_n(nonce, sizeof(nonce)));
    json_member_str(w, "associated_data", aad);
    json_member_str(w, "ciphertext", buf_slice(&sealed));
    json_end_object(w);
    buf_release(&sealed);
    return rc;
}

static int put_one(struct json_writer *w, const struct merchant *m, struct slice pem)
{
    char serial[64], from[RFC3339_LEN + 1], until[RFC3339_LEN + 1];
    int64_t not_before, not_after;
    int rc;

    if (cert_serial_hex(pem, serial, sizeof(serial)) < 0 ||
        cert_validity(pem, &not_before, &not_after) < 0)
        return -1;
    time_format_rfc3339(from, not_before * USEC_PER_SEC);
    time_format_rfc3339(until, not_after * USEC_PER_SEC);
    json_begin_object(w);
    json_member_str(w, "serial_no", slice_of(serial));
    json_member_str(w, "effective_time", slice_of(from));
    json_member_str(w, "expire_time", slice_of(until));
    rc = put_sealed(w, m, pem);
    json_end_object(w);
    return rc;
}

void wechat_certificates(struct exchange *ex, struct slice item, struct slice query)
{
    const struct merchant *m = ex->merchant;
    struct json_writer w;
    int rc = 0;

    (void)item;
    (void)query;
    if (exchange_strike(ex))
        return;
    if (m->nplatform_certs == 0) {
        wechat_refuse(ex, 404, "RESOURCE_NOT_EXISTS", "无可用的平台证书，请使用微信支付公钥");
        exchange_send(ex);
        return;
    }
    ex->status = 200;
    json_writer_init(&w, &ex->body);
    json_begin_object(&w);
    json_key(&w, "data");
    json_begin_array(&w);
    for (uint32_t i = 0; i < m->nplatform_certs && rc == 0; i++)
        rc = put_one(&w, m, m->platform_certs[i]);
    json_end_array(&w);
    json_end_object(&w);
    if (rc < 0)
        ex->body.failed = true; /* cut instead of half an answer */
    exchange_send(ex);
}
