#include "vault.h"

static struct slice key_at(const struct vault *v, uint32_t i)
{
    return slice_n((const char *)v->keys[i], AES256_KEY_LEN);
}

int vault_add(struct vault *v, struct slice hex)
{
    struct buf bytes;
    int rc = -1;

    while (hex.n &&
           (hex.p[hex.n - 1] == '\n' || hex.p[hex.n - 1] == '\r' || hex.p[hex.n - 1] == ' '))
        hex.n--;
    if (v->n == VAULT_KEYS_MAX || hex.n != (size_t)2 * AES256_KEY_LEN)
        return -1;
    buf_init(&bytes, AES256_KEY_LEN);
    if (hex_decode(&bytes, hex) == 0 && bytes.n == AES256_KEY_LEN) {
        memcpy(v->keys[v->n++], bytes.p, AES256_KEY_LEN);
        rc = 0;
    }
    if (bytes.p)
        wipe(bytes.p, bytes.n);
    buf_release(&bytes);
    return rc;
}

void vault_wipe(struct vault *v)
{
    wipe(v, sizeof(*v));
}

int vault_ring_seal(const struct vault *v, struct slice context, struct slice plain,
                    struct buf *out)
{
    return v->n ? vault_seal(key_at(v, 0), context, plain, out) : -1;
}

int vault_ring_open(const struct vault *v, struct slice context, struct slice sealed,
                    struct buf *out)
{
    size_t before = out->n;

    for (uint32_t i = 0; i < v->n; i++) {
        if (vault_open(key_at(v, i), context, sealed, out) == 0)
            return (int)i;
        if (buf_ok(out))
            out->n = before;
    }
    return -1;
}
