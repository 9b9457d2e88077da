#include "adapter.h"

#include "account.h"
#include "compile.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define ADAPTER_FILE_MAX (1024 * 1024)

static const struct conf_directive file_table[] = {
    {"encoding", 1, 1, CONF_NEED, "json", "", "Encoding of bodies, both ways."},
    {"account", 0, 0, CONF_BLOCK | CONF_NEED, "{ ... }", "",
     "What an account at the channel consists of."},
    {"header", 2, 2, CONF_REPEAT, "NAME TEMPLATE", "",
     "A header of every request; literals and $account values."},
    {"sign", 0, 0, CONF_BLOCK | CONF_NEED, "{ ... }", "", "Signature of requests."},
    {"verify", 0, 0, CONF_BLOCK | CONF_NEED, "{ ... }", "",
     "Signature of answers and notifications."},
    {"errors", 0, 0, CONF_BLOCK | CONF_NEED, "{ ... }", "",
     "What answers say that are not whole; rows for every API."},
    {"api", 1, 1, CONF_BLOCK | CONF_NEED | CONF_REPEAT, "NAME { ... }", "", "One call."},
    {"notification", 0, 0, CONF_BLOCK, "{ ... }", "", "What the channel sends on its own."},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

static const struct conf_directive account_table[] = {
    {"value", 1, 2, CONF_REPEAT, "NAME [optional]", "",
     "A plain value of the account's config: $account.NAME."},
    {"secret", 2, 4, CONF_REPEAT, "NAME TYPE [serial=VALUE] [optional]", "",
     "A secret: rsa_private, rsa_public (key or certificate in PEM), hmac_sha256, aes256; serial "
     "is the value that names the key."},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

static const struct directive_context contexts[] = {
    {"file", file_table},        {"account", account_table},
    {"sign", signer_sign_table}, {"verify", signer_verify_table},
    {"errors", errors_table},    {"api", api_block_table},
    {"recv", recv_table},        {"call", call_table},
    {"trade", trade_table},      {"notification", notification_table},
};

const struct directive_context *adapter_contexts(size_t i)
{
    return i < sizeof(contexts) / sizeof(*contexts) ? &contexts[i] : NULL;
}

int adapter_no_memory(struct compiler *cp)
{
    return conf_fail(cp->err, NULL, "channels: configuration is too large");
}

const char *adapter_cstr(struct compiler *cp, struct slice s)
{
    return arena_cstr(cp->arena, s);
}

const struct adapter_api *adapter_find_api(const struct adapter *ad, enum call_kind kind,
                                           enum payment_method method)
{
    uint8_t i;

    if ((unsigned)kind >= CALL_KIND_COUNT || (unsigned)method >= PAYMENT_METHOD_COUNT)
        return NULL;
    i = ad->api_of[kind][method];
    return i ? &ad->apis[i - 1] : NULL;
}

int adapter_secret_index(const struct adapter *ad, struct slice name)
{
    for (uint32_t i = 0; i < ad->nsecrets; i++)
        if (slice_is(name, ad->secrets[i].name))
            return (int)i;
    return -1;
}

/* ------------------------------------------------------------------ account */

static int value_index(const struct adapter *ad, struct slice name)
{
    for (uint32_t i = 0; i < ad->nvalues; i++)
        if (slice_is(name, ad->values[i].name))
            return (int)i;
    return -1;
}

static const char *account_name(struct compiler *cp, const struct conf_node *d)
{
    struct slice name = d->args[0];
    bool good = name.n > 0 && name.n <= 64;
    const char *copy;

    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        good = good && ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_');
    }
    if (!good) {
        conf_fail(cp->err, d, "\"%.*s\": expected a name of a-z, 0-9, _", SLICE_FMT(name));
        return NULL;
    }
    if (value_index(cp->adapter, name) >= 0 || adapter_secret_index(cp->adapter, name) >= 0) {
        conf_fail(cp->err, d, "\"%.*s\" is repeated", SLICE_FMT(name));
        return NULL;
    }
    copy = adapter_cstr(cp, name);
    if (!copy)
        adapter_no_memory(cp);
    return copy;
}

static int add_value(struct compiler *cp, const struct conf_node *d)
{
    struct adapter *ad = cp->adapter;
    struct adapter_value *v = &ad->values[ad->nvalues];

    if (ad->nvalues == ADAPTER_VALUES_MAX)
        return conf_fail(cp->err, d, "more than %u values", ADAPTER_VALUES_MAX);
    if (d->nargs == 2 && !slice_is(d->args[1], "optional"))
        return conf_fail(cp->err, d, "expected optional, not \"%.*s\"", SLICE_FMT(d->args[1]));
    v->name = account_name(cp, d);
    v->optional = d->nargs == 2;
    if (!v->name)
        return -1;
    ad->nvalues++;
    return 0;
}

static int secret_option(struct compiler *cp, const struct conf_node *d, struct slice word,
                         struct adapter_secret *s)
{
    struct slice name = word;

    if (slice_is(word, "optional")) {
        s->optional = true;
        return 0;
    }
    if (!slice_is(slice_cut(&name, '='), "serial"))
        return conf_fail(cp->err, d, "expected serial=VALUE or optional, not \"%.*s\"",
                         SLICE_FMT(word));
    s->serial = value_index(cp->adapter, name);
    if (s->serial < 0)
        return conf_fail(cp->err, d, "serial=%.*s: no such value above", SLICE_FMT(name));
    return 0;
}

static int add_secret(struct compiler *cp, const struct conf_node *d)
{
    struct adapter *ad = cp->adapter;
    struct adapter_secret *s = &ad->secrets[ad->nsecrets];
    int type = secret_type_parse(d->args[1]);

    if (ad->nsecrets == ADAPTER_SECRETS_MAX)
        return conf_fail(cp->err, d, "more than %u secrets", ADAPTER_SECRETS_MAX);
    if (type < 0)
        return conf_fail(cp->err, d, "\"%.*s\" is no type of secrets", SLICE_FMT(d->args[1]));
    s->serial = -1;
    s->type = (enum secret_type)type;
    for (uint32_t i = 2; i < d->nargs; i++)
        if (secret_option(cp, d, d->args[i], s) < 0)
            return -1;
    /* a key without its serial could never be chosen */
    if (s->serial >= 0 && ad->values[s->serial].optional != s->optional)
        return conf_fail(cp->err, d, "secret and serial must both be optional or both not");
    s->name = account_name(cp, d);
    if (!s->name)
        return -1;
    ad->nsecrets++;
    return 0;
}

static int compile_account(struct compiler *cp, const struct conf_node *block)
{
    if (conf_check(block, NULL, account_table, cp->err) < 0)
        return -1;
    for (const struct conf_node *d = block->child; d; d = d->next) {
        int rc = slice_is(d->name, "value") ? add_value(cp, d) : add_secret(cp, d);

        if (rc < 0)
            return -1;
    }
    return 0;
}

/* ------------------------------------------------------------------ the file */

static int compile_request_headers(struct compiler *cp, const struct conf_node *first)
{
    struct adapter *ad = cp->adapter;

    for (const struct conf_node *d = first; d; d = d->next) {
        struct adapter_header *h = &ad->headers[ad->nheaders];

        if (!slice_is(d->name, "header"))
            continue;
        if (ad->nheaders == ADAPTER_HEADERS_MAX)
            return conf_fail(cp->err, d, "more than %u headers", ADAPTER_HEADERS_MAX);
        if (compile_printable(cp, d, d->args[0], '!') < 0 ||
            compile_printable(cp, d, d->args[1], ' ') < 0)
            return -1;
        h->name = d->args[0];
        /* no order's text in a header: it could end the line */
        if (template_compile(cp, d, d->args[1], 0, &h->value) < 0)
            return -1;
        ad->nheaders++;
    }
    return 0;
}

static int compile_file(struct compiler *cp, const struct conf_node *first)
{
    struct adapter *ad = cp->adapter;
    const struct conf_node *encoding, *notification;

    if (conf_check(NULL, first, file_table, cp->err) < 0)
        return -1;
    encoding = conf_find(first, "encoding");
    notification = conf_find(first, "notification");
    if (!slice_is(encoding->args[0], "json"))
        return conf_fail(cp->err, encoding, "expected json, not \"%.*s\"",
                         SLICE_FMT(encoding->args[0]));
    ad->content_type = SLICE("application/json");
    if (compile_account(cp, conf_find(first, "account")) < 0 ||
        compile_request_headers(cp, first) < 0 ||
        signer_compile(cp, conf_find(first, "sign"), false, &ad->sign) < 0 ||
        signer_compile(cp, conf_find(first, "verify"), true, &ad->verify) < 0 ||
        compile_errors(cp, conf_find(first, "errors"), &ad->errors) < 0 ||
        compile_apis(cp, first) < 0)
        return -1;
    return notification ? compile_notification(cp, notification) : 0;
}

/* The bytes of the file: its version is their hash, so they are read as a whole and once. */
static int read_file(struct compiler *cp, const struct conf_node *at, const char *path,
                     struct slice *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    char *p = NULL;
    ssize_t n = 0;
    size_t done = 0;

    if (fd < 0)
        return conf_fail(cp->err, at, "cannot open \"%s\": %s", path, strerror(errno));
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= ADAPTER_FILE_MAX)
        p = arena_alloc(cp->arena, (size_t)st.st_size);
    while (p && done < (size_t)st.st_size) {
        n = read(fd, p + done, (size_t)st.st_size - done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    close(fd);
    if (!p || done < (size_t)st.st_size)
        return conf_fail(cp->err, at, "cannot read \"%s\" (a regular file of at most %d bytes?)",
                         path, ADAPTER_FILE_MAX);
    *out = slice_n(p, done);
    return 0;
}

int adapter_load(struct arena *arena, const char *dir, struct slice name,
                 const struct conf_node *at, struct adapter **out, struct conf_error *err)
{
    struct compiler cp = {.arena = arena, .adapter = arena_new(arena, struct adapter), .err = err};
    struct slice path = arena_printf(arena, "%s/%.*s.conf", dir, SLICE_FMT(name));
    struct conf_node *first;
    struct slice text;
    uint64_t hash;

    if (!cp.adapter || !path.p)
        return adapter_no_memory(&cp);
    if (read_file(&cp, at, path.p, &text) < 0)
        return -1;
    hash = slice_hash(text);
    cp.adapter->name = arena_copy(arena, name);
    cp.adapter->version = (uint32_t)(hash ^ hash >> 32);
    if (conf_parse_text(arena, path.p, text, &first, err) < 0)
        return -1;
    if (!first)
        return conf_fail(err, at, "\"%s\" is empty", path.p);
    if (compile_file(&cp, first) < 0)
        return -1;
    *out = cp.adapter;
    return 0;
}
