/* A notification: which block it is for, who signed it, what is sealed in it, what it says. */
#include "channel.h"

#include "account.h"
#include "core/crypto_old.h"
#include "set.h"
#include "trade.h"

#define NONCE_MAX 64u
#define WORD_MAX  64u

static int parse(enum encoding e, struct slice text, struct arena *arena, const struct json **out)
{
    return text.n > ADAPTER_BODY_MAX ? -1 : body_parse(e, text, arena, out);
}

/* ------------------------------------------------------------------ decrypting */

static int open_ecb(const struct adapter_notification *n, const struct account_key *k,
                    struct slice sealed, struct buf *plain)
{
    struct slice key = slice_n(k->raw.p, k->raw.n);
    char text[2 * MD5_LEN + 1];
    uint8_t md5[MD5_LEN];
    struct buf hex = {.p = text, .alloc = 2 * MD5_LEN, .cap = 2 * MD5_LEN};

    if (n->md5_key) {
        if (md5_parts(&key, 1, md5) < 0)
            return -1;
        hex_encode(&hex, slice_n(md5, sizeof(md5)), false);
        key = buf_slice(&hex);
    }
    return aes256_ecb_open(key, sealed, plain);
}

int notification_open(const struct adapter_notification *n, const struct channel_account *a,
                      const struct json *body, struct arena *arena, struct slice *out)
{
    const struct account_key *k = &a->keys[n->key];
    struct slice text = json_str(body, n->ciphertext);
    struct slice nonce = n->nonce ? json_str(body, n->nonce) : SLICE_NULL;
    struct buf sealed, plain;
    int rc;

    if (!k->present || text.n == 0)
        return -1;
    sealed = arena_buf(arena, text.n);
    if (base64_decode(&sealed, text) < 0)
        return -1;
    plain = arena_buf(arena, sealed.n + 32);
    if (n->decrypt == DECRYPT_AES_256_ECB)
        rc = open_ecb(n, k, buf_slice(&sealed), &plain);
    else if (nonce.n == 0 || nonce.n > NONCE_MAX)
        rc = -1;
    else /* the tag covers cipher, nonce and aad */
        rc = gcm_open(slice_n(k->raw.p, k->raw.n), nonce, json_str(body, n->aad),
                      buf_slice(&sealed), &plain);
    *out = buf_slice(&plain);
    return rc;
}

/* ------------------------------------------------------------------ reading */

static int read_trade(const struct adapter_notification *n, const struct facts *f,
                      const struct json *body, struct channel_result *out, const char **reason)
{
    const char *code, *path;
    struct slice plain;

    if (n->decrypt) {
        *reason = "cannot be decrypted";
        if (notification_open(n, f->account, body, f->arena, &plain) < 0)
            return -1;
        *reason = "decrypted text is malformed";
        if (parse(n->inner, plain, f->arena, &body) < 0)
            return -1;
    }
    if (trade_run(&n->trade, body, f, out, &code, &path) == 0)
        return 0;
    *reason = slice_is(slice_of(code), "mismatch") ? "is not for this account"
                                                   : "has a member missing or malformed";
    return -1;
}

static bool fits(const struct adapter_notification *n, const struct json *body)
{
    const struct json *v = n->event ? json_get(body, n->event) : NULL;

    if (!n->event || !v)
        return !n->event;
    for (uint32_t i = 0; i < n->nwords; i++)
        if (v->type == JSON_STRING && slice_eq(v->text, n->words[i]))
            return true;
    return n->nwords == 0;
}

static const struct adapter_notification *find_block(const struct adapter *ad,
                                                     const struct json *body)
{
    for (uint32_t i = 0; i < ad->nnotifications; i++)
        if (fits(&ad->notifications[i], body))
            return &ad->notifications[i];
    return NULL;
}

/* Genuine, but of no kind that the adapter knows. */
static int read_other(const struct adapter *ad, const struct json *body, struct channel_result *out,
                      const char **reason)
{
    out->code = json_str(body, ad->notifications[0].event);
    *reason = "has no event";
    return out->code.n == 0 || out->code.n > WORD_MAX ? -1 : 0;
}

static int read_block(const struct adapter_notification *n, const struct facts *f,
                      const struct json *body, struct channel_result *out, const char **reason)
{
    const char *path;

    out->about = n->about;
    out->verified = !n->unsigned_hint;
    *reason = "has an unknown form";
    if (!checks_hold(n->checks, n->nchecks, body, f, &path))
        return -1;
    return read_trade(n, f, body, out, reason);
}

static int read_all(const struct adapter *ad, struct facts *f, const struct http_header *headers,
                    size_t nheaders, struct channel_result *out, const char **reason)
{
    const struct adapter_notification *n;
    const struct json *body = NULL;
    bool parsed = parse(ad->notify, f->body, f->arena, &body) == 0;

    n = parsed ? find_block(ad, body) : NULL;
    if (!(n && n->unsigned_hint) &&
        signer_verify(n && n->has_verify ? &n->verify : &ad->verify, f, headers, nheaders,
                      parsed ? body : NULL, reason) != SIGNATURE_GOOD)
        return -1;
    *reason = "is malformed";
    if (!parsed)
        return -1;
    return n ? read_block(n, f, body, out, reason) : read_other(ad, body, out, reason);
}

int channel_notification(const struct channel *c, const struct channel_account *a,
                         const struct http_header *headers, size_t nheaders, struct slice body,
                         pay_time_t now, struct arena *arena, struct channel_result *out,
                         const char **reason)
{
    const struct channel_result nothing = {
        .cls = CLASS_UNKNOWN, .about = CALL_QUERY, .amount = -1, .refund_amount = -1};
    struct channel_result result = nothing;
    struct facts f = {.channel = c, .account = a, .now = now, .body = body, .arena = arena};

    *out = nothing;
    result.verified = true;
    *reason = "channel sends no notifications";
    if (!c->adapter->nnotifications || a->channel != c)
        return -1;
    *reason = "is too large";
    if (body.n > ADAPTER_BODY_MAX)
        return -1;
    if (read_all(c->adapter, &f, headers, nheaders, &result, reason) < 0)
        return -1;
    *reason = "out of memory";
    if (arena->failed)
        return -1;
    *reason = NULL;
    *out = result;
    return 0;
}

const char *channel_about_name(enum call_kind about)
{
    switch (about) {
    case CALL_REFUND_QUERY:
        return "refund";
    case CALL_REVERSE:
        return "reversal";
    default:
        return "payment";
    }
}

void channel_ack(const struct channel *c, bool ok, struct channel_ack *out)
{
    static const struct adapter_ack none = {.status = 404};
    const struct adapter *ad = c->adapter;
    const struct adapter_ack *ack = !ad->nnotifications ? &none
                                    : ok                ? &ad->notifications[0].ok
                                                        : &ad->notifications[0].fail;

    out->status = ack->status;
    out->content_type = ack->content_type;
    out->body = ack->body;
}
