#include "channel.h"

#include "account.h"
#include "set.h"
#include "trade.h"

#define NONCE_MAX 64u

static int parse(struct slice text, struct arena *arena, const struct json **out)
{
    struct json_error why;

    if (text.n == 0 || text.n > ADAPTER_BODY_MAX || json_parse(arena, text, NULL, out, &why) < 0)
        return -1;
    return (*out)->type == JSON_OBJECT ? 0 : -1;
}

/* The plain text of what is sealed inside; the tag covers cipher, nonce and aad. */
static int decrypt(const struct adapter_notification *n, const struct channel_account *a,
                   const struct json *body, struct arena *arena, struct slice *out)
{
    const struct account_key *k = &a->keys[n->key];
    struct slice text = json_str(body, n->ciphertext);
    struct slice nonce = json_str(body, n->nonce);
    struct slice aad = json_str(body, n->aad);
    struct buf sealed, plain;

    if (!k->present || text.n == 0 || nonce.n == 0 || nonce.n > NONCE_MAX)
        return -1;
    sealed = arena_buf(arena, text.n);
    if (base64_decode(&sealed, text) < 0)
        return -1;
    plain = arena_buf(arena, sealed.n);
    if (gcm_open(slice_n(k->raw.p, k->raw.n), nonce, aad, buf_slice(&sealed), &plain) < 0)
        return -1;
    *out = buf_slice(&plain);
    return 0;
}

static int read_trade(const struct adapter_notification *n, const struct facts *f,
                      const struct json *body, struct channel_result *out, const char **reason)
{
    const char *code, *path;
    struct slice plain;

    if (n->encrypted) {
        *reason = "cannot be decrypted";
        if (decrypt(n, f->account, body, f->arena, &plain) < 0)
            return -1;
        *reason = "decrypted text is not JSON";
        if (parse(plain, f->arena, &body) < 0)
            return -1;
    }
    if (trade_run(&n->trade, body, f, out, &code, &path) == 0)
        return 0;
    *reason = slice_is(slice_of(code), "mismatch") ? "is not for this account"
                                                   : "has a member missing or malformed";
    return -1;
}

static int read_verified(const struct adapter_notification *n, const struct facts *f,
                         struct channel_result *out, const char **reason)
{
    const struct json *body;
    const char *path;
    struct slice event;

    *reason = "is not JSON";
    if (parse(f->body, f->arena, &body) < 0)
        return -1;
    if (n->event) {
        event = json_str(body, n->event);
        *reason = "has no event";
        if (event.n == 0 || event.n > 64)
            return -1;
        if (!slice_eq(event, n->event_word)) {
            out->code = event; /* genuine, but not about a payment's result */
            return 0;
        }
    }
    *reason = "has an unknown form";
    if (!checks_hold(n->checks, n->nchecks, body, f, &path))
        return -1;
    return read_trade(n, f, body, out, reason);
}

int channel_notification(const struct channel *c, const struct channel_account *a,
                         const struct http_header *headers, size_t nheaders, struct slice body,
                         pay_time_t now, struct arena *arena, struct channel_result *out,
                         const char **reason)
{
    struct channel_result result = {.cls = CLASS_UNKNOWN, .verified = true, .amount = -1};
    struct facts f = {.channel = c, .account = a, .now = now, .body = body, .arena = arena};

    *out = (struct channel_result){.cls = CLASS_UNKNOWN, .amount = -1};
    *reason = "channel sends no notifications";
    if (!c->adapter->notification.present || a->channel != c)
        return -1;
    *reason = "is too large";
    if (body.n > ADAPTER_BODY_MAX)
        return -1;
    if (signer_verify(&c->adapter->verify, &f, headers, nheaders, reason) != SIGNATURE_GOOD ||
        read_verified(&c->adapter->notification, &f, &result, reason) < 0)
        return -1;
    *reason = "out of memory";
    if (arena->failed)
        return -1;
    *reason = NULL;
    *out = result;
    return 0;
}

void channel_ack(const struct channel *c, bool ok, struct channel_ack *out)
{
    const struct adapter_notification *n = &c->adapter->notification;
    const struct adapter_ack *ack = ok ? &n->ok : &n->fail;

    out->status = n->present ? ack->status : 404;
    out->content_type = ack->content_type;
    out->body = ack->body;
}
