#include "backends/paybank/wire/digest.h"
#include "wechat_v2.h"

int v2_signature(const struct form *f, const struct merchant *m, enum v2_sign type, char out[65])
{
    static const char *const but[] = {"sign", NULL};
    struct buf text;
    int rc;

    buf_init(&text, 1 << 20);
    form_signed_text(f, but, &text);
    buf_add_str(&text, "&key=");
    buf_add(&text, m->api_key.p, m->api_key.n);
    if (!buf_ok(&text))
        rc = -1;
    else if (type == V2_HMAC)
        rc = hmac_hex_upper(m->shared_key, buf_slice(&text), out);
    else
        rc = md5_hex(buf_slice(&text), true, out);
    buf_release(&text);
    return rc;
}

int v2_req_info(const struct merchant *m, struct slice plain, struct buf *out)
{
    char key[DIGEST_HEX_MAX];
    struct buf cipher;
    int rc;

    buf_init(&cipher, plain.n + 64);
    rc = md5_hex(slice_n(m->api_key.p, m->api_key.n), false, key);
    if (rc == 0)
        rc = aes256_ecb_seal(slice_n(key, 32), plain, &cipher);
    if (rc == 0)
        base64_encode(out, buf_slice(&cipher));
    buf_release(&cipher);
    wipe(key, sizeof(key));
    return rc == 0 && buf_ok(out) ? 0 : -1;
}
