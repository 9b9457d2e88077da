#include "digest.h"

#include "core/buf.h"
#include "core/crypto.h"

#define TEXT_MAX   (64u << 10)
#define TEXT_USUAL 1024

struct slice content_digest(struct arena *a, const struct json *doc, struct slice app,
                            const char *amount, const char *const *paths, struct slice code)
{
    const struct json *value = json_get(doc, amount);
    uint8_t *digest = arena_alloc(a, SHA256_LEN);
    struct buf b;
    int rc = -1;

    buf_init(&b, TEXT_MAX);
    buf_reserve(&b, TEXT_USUAL);
    buf_addf(&b, "app=%.*s\n%s=%.*s\n", SLICE_FMT(app), amount,
             SLICE_FMT(value ? value->text : SLICE_NULL));
    for (; *paths; paths++) {
        struct slice v = json_str(doc, *paths);
        if (strcmp(*paths, "amount.currency") == 0 && v.n == 0)
            v = SLICE("CNY");
        buf_add_str(&b, *paths);
        buf_add_char(&b, '=');
        buf_add_int64(&b, (int64_t)v.n);
        buf_add_char(&b, ':');
        buf_add_slice(&b, v);
        buf_add_char(&b, '\n');
    }
    if (code.n)
        buf_addf(&b, "auth_code=%.*s\n", SLICE_FMT(code));
    if (digest && code.p && buf_ok(&b))
        rc = sha256(buf_slice(&b), digest);
    buf_release(&b);
    return rc == 0 ? slice_n(digest, SHA256_LEN) : SLICE_NULL;
}
