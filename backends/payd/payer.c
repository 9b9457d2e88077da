#include "payer.h"

#include "core/crypto.h"

#define PAYER_MAX 2048

/* Members of the request, and where they go. */
static const struct {
    const char *name;
    size_t offset;
} members[] = {{"payer_id", offsetof(struct channel_order, payer_id)},
               {"payer_client_ip", offsetof(struct channel_order, payer_ip)},
               {"return_url", offsetof(struct channel_order, return_url)},
               {"terminal_id", offsetof(struct channel_order, terminal_id)}};

#define MEMBERS (sizeof(members) / sizeof(members[0]))

struct slice payer_write(struct arena *a, const struct json *doc)
{
    struct slice out = SLICE_NULL;
    struct json_writer w;
    struct buf b;
    bool any = false;

    buf_init(&b, PAYER_MAX);
    json_writer_init(&w, &b);
    json_begin_object(&w);
    for (size_t i = 0; i < MEMBERS; i++) {
        any |= json_str(doc, members[i].name).n != 0;
        json_member_str_opt(&w, members[i].name, json_str(doc, members[i].name));
    }
    json_end_object(&w);
    if (any && buf_ok(&b))
        out = arena_copy(a, buf_slice(&b));
    else if (any)
        a->failed = true; /* never without what was asked for */
    buf_release(&b);
    return out;
}

void payer_read(struct arena *a, struct slice payer, struct channel_order *o)
{
    const struct json *doc;
    struct json_error err;

    if (!payer.n || json_parse(a, payer, NULL, &doc, &err) != 0)
        return;
    for (size_t i = 0; i < MEMBERS; i++)
        *(struct slice *)(void *)((char *)o + members[i].offset) = json_str(doc, members[i].name);
}

void auth_code_take(struct auth_code *c, const struct json *doc)
{
    struct slice code = json_str(doc, "auth_code");

    c->n = code.n <= AUTH_CODE_MAX ? code.n : 0;
    if (c->n)
        memcpy(c->text, code.p, c->n);
}

void auth_code_forget(struct auth_code *c)
{
    wipe(c, sizeof(*c));
}

struct slice auth_code_digest(struct arena *a, const struct auth_code *c,
                              const uint8_t master_key[32])
{
    const struct slice parts[] = {SLICE("auth_code:"), auth_code_slice(c)};
    struct hmac_key *key;
    uint8_t mac[SHA256_LEN];
    char *hex;
    int rc;

    if (!c->n)
        return SLICE("");
    key = hmac_key_new(slice_n(master_key, 32));
    rc = key ? hmac_sign(key, parts, 2, mac) : -1;
    hmac_key_free(key);
    hex = rc == 0 ? arena_alloc(a, 2 * SHA256_LEN) : NULL;
    if (!hex)
        return SLICE_NULL;
    for (size_t i = 0; i < SHA256_LEN; i++) {
        hex[2 * i] = "0123456789abcdef"[mac[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[mac[i] & 15];
    }
    return slice_n(hex, 2 * SHA256_LEN);
}

struct slice auth_code_mask(struct arena *a, const struct auth_code *c, struct slice text)
{
    for (size_t i = 0; c->n && i + c->n <= text.n; i++)
        if (memcmp(text.p + i, c->text, c->n) == 0)
            return arena_printf(a, "%.*s***", (int)i, text.p); /* what follows is of no use */
    return text;
}
