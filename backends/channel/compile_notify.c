#include "compile.h"

const struct conf_directive notification_table[] = {
    {"about", 1, 1, 0, "payment | refund | reversal", "payment", "What it speaks of."},
    {"event", 1, 8, 0, "PATH [VALUE ...]", "",
     "It is this block's when that member has one of the values; without values, when it is "
     "there."},
    {"verify", 0, 0, CONF_BLOCK, "{ ... }", "", "How it is signed, if not as answers are."},
    {"unsigned", 1, 1, 0, "hint", "",
     "Nobody signs it: all its classes are unknown, it only tells that a query is due."},
    {"check", 2, 8, CONF_REPEAT, "PATH SOURCE [FILTER ...] [optional]", "",
     "Member of the outer message, before anything is decrypted."},
    {"absent", 1, 1, CONF_REPEAT, "PATH", "", "The outer message does not have this member."},
    {"decrypt", 3, 6, 0,
     "aes_256_gcm key=SECRET ciphertext=PATH nonce=PATH aad=PATH | "
     "aes_256_ecb key=SECRET ciphertext=PATH [derive=md5_hex]",
     "",
     "The trade block reads the message inside: base64 of cipher and tag; of cipher, with the "
     "secret or the hex of its MD5 as key."},
    {"trade", 0, 0, CONF_BLOCK | CONF_NEED, "{ ... }", "", "What it says."},
    {"acknowledge", 3, 3, CONF_NEED, "STATUS TYPE BODY", "", "Answer: taken."},
    {"refuse", 3, 3, CONF_NEED, "STATUS TYPE BODY", "", "Answer: not taken, send it again."},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

/* The value of "name=value", checked for its name. */
static int named(struct compiler *cp, const struct conf_node *at, uint32_t i, const char *name,
                 struct slice *out)
{
    struct slice rest = at->args[i];

    if (!slice_is(slice_cut(&rest, '='), name) || rest.n == 0)
        return conf_fail(cp->err, at, "expected %s=VALUE, not \"%.*s\"", name,
                         SLICE_FMT(at->args[i]));
    *out = rest;
    return 0;
}

static int compile_sealed(struct compiler *cp, const struct conf_node *at,
                          struct adapter_notification *n)
{
    struct slice key, ciphertext;
    int index;

    if (named(cp, at, 1, "key", &key) < 0 || named(cp, at, 2, "ciphertext", &ciphertext) < 0)
        return -1;
    index = adapter_secret_index(cp->adapter, key);
    if (index < 0 ||
        cp->adapter->secrets[index].type != (n->md5_key ? SECRET_HMAC_SHA256 : SECRET_AES256))
        return conf_fail(cp->err, at, "\"%.*s\" is no secret of type %s", SLICE_FMT(key),
                         n->md5_key ? "hmac_sha256" : "aes256");
    n->key = (uint32_t)index;
    n->ciphertext = compile_path(cp, at, ciphertext);
    return n->ciphertext ? 0 : -1;
}

int compile_decrypt(struct compiler *cp, const struct conf_node *at, struct adapter_notification *n)
{
    struct slice nonce, aad;

    if (!at)
        return 0;
    n->inner = cp->adapter->notify;
    if (slice_is(at->args[0], "aes_256_ecb")) {
        n->decrypt = DECRYPT_AES_256_ECB;
        n->md5_key = at->nargs == 4 && slice_is(at->args[3], "derive=md5_hex");
        if (at->nargs > 3 && !n->md5_key)
            return conf_fail(cp->err, at, "expected derive=md5_hex, not \"%.*s\"",
                             SLICE_FMT(at->args[3]));
        return compile_sealed(cp, at, n);
    }
    if (!slice_is(at->args[0], "aes_256_gcm") || at->nargs != 5)
        return conf_fail(cp->err, at, "expected aes_256_gcm or aes_256_ecb, not \"%.*s\"",
                         SLICE_FMT(at->args[0]));
    n->decrypt = DECRYPT_AES_256_GCM;
    if (compile_sealed(cp, at, n) < 0 || named(cp, at, 3, "nonce", &nonce) < 0 ||
        named(cp, at, 4, "aad", &aad) < 0)
        return -1;
    n->nonce = compile_path(cp, at, nonce);
    n->aad = compile_path(cp, at, aad);
    return n->nonce && n->aad ? 0 : -1;
}

static int compile_ack(struct compiler *cp, const struct conf_node *at, int min, int max,
                       struct adapter_ack *out)
{
    if (compile_printable(cp, at, at->args[1], ' ') < 0)
        return -1;
    out->content_type = at->args[1];
    out->body = at->args[2];
    return compile_status(cp, at, at->args[0], min, max, &out->status);
}

static bool takes_always(const struct adapter_trade *t, enum result_member m)
{
    for (uint32_t i = 0; i < t->ntakes; i++)
        if (t->takes[i].member == m && t->takes[i].need == NEED_ALWAYS)
            return true;
    return false;
}

static bool checks_account(const struct adapter_check *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (v[i].want.source.id == SOURCE_ACCOUNT && !v[i].absent && !v[i].want.optional)
            return true;
    return false;
}

/* Whose order it is must be known, and that it is this account's. */
static int check_identity(struct compiler *cp, const struct conf_node *at,
                          const struct adapter_notification *n)
{
    const struct adapter_trade *t = &n->trade;

    if (!checks_account(t->checks, t->nchecks) && !checks_account(n->checks, n->nchecks))
        return conf_fail(cp->err, at, "a notification must check a member against $account.NAME");
    if (!takes_always(t, MEMBER_REQUEST_NO) &&
        (n->about == CALL_QUERY || !takes_always(t, MEMBER_REFUND_NO)))
        return conf_fail(cp->err, at, "a notification must take request_no");
    for (uint32_t i = 0; n->unsigned_hint && i < t->map.n; i++)
        if (t->map.v[i].cls != CLASS_UNKNOWN)
            return conf_fail(cp->err, t->map.v[i].at,
                             "what nobody signed proves nothing: expected unknown");
    if (n->unsigned_hint && !t->state && t->cls != CLASS_UNKNOWN)
        return conf_fail(cp->err, at, "what nobody signed proves nothing: expected unknown");
    return 0;
}

static int compile_event(struct compiler *cp, const struct conf_node *at,
                         struct adapter_notification *n)
{
    if (!at)
        return 0;
    n->event = compile_path(cp, at, at->args[0]);
    n->words = at->args + 1;
    n->nwords = at->nargs - 1;
    return n->event ? 0 : -1;
}

static int compile_about(struct compiler *cp, const struct conf_node *block,
                         struct adapter_notification *n)
{
    static const enum call_kind kinds[] = {CALL_QUERY, CALL_REFUND_QUERY, CALL_REVERSE};
    const struct conf_node *about = conf_find(block->child, "about");
    const struct conf_node *hint = conf_find(block->child, "unsigned");

    if (hint && !slice_is(hint->args[0], "hint"))
        return conf_fail(cp->err, hint, "expected hint, not \"%.*s\"", SLICE_FMT(hint->args[0]));
    n->unsigned_hint = hint != NULL;
    n->about = CALL_QUERY;
    if (!about)
        return 0;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        if (slice_is(about->args[0], channel_about_name(kinds[i]))) {
            n->about = kinds[i];
            return 0;
        }
    }
    return conf_fail(cp->err, about, "expected payment, refund or reversal, not \"%.*s\"",
                     SLICE_FMT(about->args[0]));
}

static int compile_notification(struct compiler *cp, struct conf_node *block,
                                struct adapter_notification *n)
{
    struct conf_node *trade, *verify;
    uint32_t before = cp->mistakes;

    if (compile_table(cp, block, notification_table) < 0)
        return -1;
    trade = compile_block(block->child, "trade");
    verify = compile_block(block->child, "verify");
    n->has_verify = verify != NULL;
    if (compile_failed(cp, compile_about(cp, block, n)) ||
        compile_failed(cp, compile_event(cp, conf_find(block->child, "event"), n)) ||
        (verify && compile_failed(cp, signer_compile(cp, verify, SIGNER_VERIFY, &n->verify))) ||
        compile_failed(cp, compile_checks(cp, block, IN_NOTIFY, &n->checks, &n->nchecks)) ||
        compile_failed(cp, compile_decrypt(cp, conf_find(block->child, "decrypt"), n)) ||
        compile_failed(cp, compile_trade(cp, trade, IN_NOTIFY, n->about, &n->trade)) ||
        (cp->mistakes == before && compile_failed(cp, check_identity(cp, trade, n))) ||
        compile_failed(cp,
                       compile_ack(cp, conf_find(block->child, "acknowledge"), 200, 299, &n->ok)) ||
        compile_failed(cp, compile_ack(cp, conf_find(block->child, "refuse"), 400, 599, &n->fail)))
        return -1;
    return 0;
}

int compile_notifications(struct compiler *cp, struct conf_node *first)
{
    struct adapter_notification *v =
        arena_array(cp->arena, struct adapter_notification, ADAPTER_NOTES_MAX);
    struct adapter *ad = cp->adapter;

    if (!v)
        return adapter_no_memory(cp);
    ad->notifications = v;
    for (struct conf_node *d = first; d; d = d->next) {
        if (!slice_is(d->name, "notification"))
            continue;
        if (ad->nnotifications == ADAPTER_NOTES_MAX)
            return conf_fail(cp->err, d, "more than %u notifications", ADAPTER_NOTES_MAX);
        if (compile_failed(cp, compile_notification(cp, d, &v[ad->nnotifications])))
            return -1;
        ad->nnotifications++;
    }
    return 0;
}
