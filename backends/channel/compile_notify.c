#include "compile.h"

const struct conf_directive notification_table[] = {
    {"check", 2, 8, CONF_REPEAT, "PATH SOURCE [FILTER ...] [optional]", "",
     "Member of the outer message, before anything is decrypted."},
    {"absent", 1, 1, CONF_REPEAT, "PATH", "", "The outer message does not have this member."},
    {"event", 2, 2, 0, "PATH VALUE", "",
     "Only this event has a result; others are genuine and of class unknown."},
    {"decrypt", 5, 5, 0, "aes_256_gcm key=SECRET ciphertext=PATH nonce=PATH aad=PATH", "",
     "The trade block reads the JSON inside: base64 of cipher and tag."},
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

static int compile_decrypt(struct compiler *cp, const struct conf_node *at,
                           struct adapter_notification *n)
{
    struct slice key, ciphertext, nonce, aad;
    int index;

    if (!at)
        return 0;
    if (!slice_is(at->args[0], "aes_256_gcm"))
        return conf_fail(cp->err, at, "expected aes_256_gcm, not \"%.*s\"", SLICE_FMT(at->args[0]));
    if (named(cp, at, 1, "key", &key) < 0 || named(cp, at, 2, "ciphertext", &ciphertext) < 0 ||
        named(cp, at, 3, "nonce", &nonce) < 0 || named(cp, at, 4, "aad", &aad) < 0)
        return -1;
    index = adapter_secret_index(cp->adapter, key);
    if (index < 0 || cp->adapter->secrets[index].type != SECRET_AES256)
        return conf_fail(cp->err, at, "\"%.*s\" is no secret of type aes256", SLICE_FMT(key));
    n->encrypted = true;
    n->key = (uint32_t)index;
    n->ciphertext = compile_path(cp, at, ciphertext);
    n->nonce = compile_path(cp, at, nonce);
    n->aad = compile_path(cp, at, aad);
    return n->ciphertext && n->nonce && n->aad ? 0 : -1;
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

/* Whose order it is must be known, and that it is this account's. */
static int check_identity(struct compiler *cp, const struct conf_node *at,
                          const struct adapter_trade *t)
{
    bool account = false, number = false;

    for (uint32_t i = 0; i < t->nchecks; i++)
        account |= t->checks[i].want.source.id == SOURCE_ACCOUNT && !t->checks[i].absent &&
                   !t->checks[i].want.optional;
    for (uint32_t i = 0; i < t->ntakes; i++)
        number |= t->takes[i].member == MEMBER_REQUEST_NO && t->takes[i].need == NEED_ALWAYS;
    if (!account)
        return conf_fail(cp->err, at, "a notification must check a member against $account.NAME");
    if (!number)
        return conf_fail(cp->err, at, "a notification must take request_no");
    return 0;
}

int compile_notification(struct compiler *cp, const struct conf_node *block)
{
    struct adapter_notification *n = &cp->adapter->notification;
    const struct conf_node *event, *trade;

    if (conf_check(block, NULL, notification_table, cp->err) < 0)
        return -1;
    event = conf_find(block->child, "event");
    trade = conf_find(block->child, "trade");
    if (event) {
        n->event = compile_path(cp, event, event->args[0]);
        n->event_word = event->args[1];
        if (!n->event)
            return -1;
    }
    if (compile_checks(cp, block, IN_NOTIFY, &n->checks, &n->nchecks) < 0 ||
        compile_decrypt(cp, conf_find(block->child, "decrypt"), n) < 0 ||
        compile_trade(cp, trade, IN_NOTIFY, &n->trade) < 0 ||
        check_identity(cp, trade, &n->trade) < 0 ||
        compile_ack(cp, conf_find(block->child, "acknowledge"), 200, 299, &n->ok) < 0 ||
        compile_ack(cp, conf_find(block->child, "refuse"), 400, 599, &n->fail) < 0)
        return -1;
    n->present = true;
    return 0;
}
