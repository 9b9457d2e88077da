#include "adapter.h"

#include "account.h"
#include "bill.h"
#include "compile.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define ADAPTER_FILE_MAX (1024 * 1024)
#define CHECK_MEMORY     (16u * 1024 * 1024)

static const struct conf_directive file_table[] = {
    {"encoding", 1, 3, CONF_NEED, "REQUEST [ANSWER [NOTIFICATION]]", "",
     "Encodings of bodies: json, xml, form, pairs; one or two are for the rest as well."},
    {"account", 0, 0, CONF_BLOCK | CONF_NEED, "{ ... }", "",
     "What an account at the channel consists of."},
    {"header", 2, 2, CONF_REPEAT, "NAME TEMPLATE", "",
     "A header of every request; literals and $account values."},
    {"common", 0, 0, CONF_BLOCK, "{ MEMBER SOURCE [FILTER ...] [optional]; ... }", "",
     "Members of every body, in front of the API's."},
    {"sign", 0, 0, CONF_BLOCK | CONF_NEED, "{ ... }", "", "Signature of requests."},
    {"verify", 0, 0, CONF_BLOCK | CONF_NEED, "{ ... }", "",
     "Signature of answers and notifications."},
    {"errors", 0, 0, CONF_BLOCK | CONF_NEED, "{ ... }", "",
     "What answers say that are not whole; rows for every API."},
    {"api", 1, 1, CONF_BLOCK | CONF_NEED | CONF_REPEAT, "NAME { ... }", "", "One call."},
    {"notification", 0, 0, CONF_BLOCK | CONF_REPEAT, "{ ... }", "",
     "What the channel sends on its own; the first block whose event fits counts."},
    {"certificates", 0, 0, CONF_BLOCK, "{ ... }", "",
     "Where the channel publishes the certificates it signs with."},
    {"download", 1, 8, 0, "HOST ...", "", "Hosts from which bills may be fetched."},
    {"bill", 0, 0, CONF_BLOCK, "{ ... }", "", "How a bill is unpacked and read."},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

static const struct conf_directive account_table[] = {
    {"value", 1, 2, CONF_REPEAT, "NAME [optional]", "",
     "A plain value of the account's config: $account.NAME."},
    {"secret", 2, 4, CONF_REPEAT, "NAME TYPE [serial=VALUE] [optional]", "",
     "A secret: rsa_private, rsa_public (key or certificate in PEM), hmac_sha256, aes256, "
     "x509_roots (CA certificates in PEM), x509 (a certificate of ours, kept for its end); serial "
     "is "
     "the value that names the key."},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

static const struct directive_context contexts[] = {
    {"file", file_table},
    {"account", account_table},
    {"sign", signer_sign_table},
    {"verify", signer_verify_table},
    {"errors", errors_table},
    {"api", api_block_table},
    {"recv", recv_table},
    {"call", call_table},
    {"trade", trade_table},
    {"present", present_table},
    {"notification", notification_table},
    {"certificates", certificates_table},
    {"bill", bill_table},
    {"row", bill_row_table},
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

bool compile_failed(struct compiler *cp, int rc)
{
    if (rc == 0)
        return false;
    if (!cp->found)
        return true;
    if (cp->err->text[0]) {
        cp->found(cp->arg, cp->err);
        cp->mistakes++;
        cp->err->text[0] = '\0';
    }
    return false;
}

/* The whole list, through conf_check_all when all mistakes are wanted. */
static int check_table(struct compiler *cp, struct conf_node *block, struct conf_node **first,
                       const struct conf_directive *table)
{
    uint32_t missing;

    if (!cp->found)
        return conf_check(block, first ? *first : NULL, table, cp->err);
    cp->mistakes += conf_check_all(block, first, table, &missing, cp->found, cp->arg);
    return missing ? -1 : 0;
}

int compile_table(struct compiler *cp, struct conf_node *block, const struct conf_directive *table)
{
    return check_table(cp, block, NULL, table);
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

static int compile_account(struct compiler *cp, struct conf_node *block)
{
    if (compile_table(cp, block, account_table) < 0)
        return -1;
    for (const struct conf_node *d = block->child; d; d = d->next)
        if (compile_failed(cp, slice_is(d->name, "value") ? add_value(cp, d) : add_secret(cp, d)))
            return -1;
    return 0;
}

/* ------------------------------------------------------------------ the file */

static int compile_request_header(struct compiler *cp, const struct conf_node *d)
{
    struct adapter *ad = cp->adapter;
    struct adapter_header *h = &ad->headers[ad->nheaders];

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
    return 0;
}

static int compile_encoding(struct compiler *cp, const struct conf_node *at)
{
    struct adapter *ad = cp->adapter;
    enum encoding *const out[] = {&ad->encode, &ad->decode, &ad->notify};

    for (uint32_t i = 0; i < 3; i++) {
        struct slice word = at->args[i < at->nargs ? i : at->nargs - 1];
        int e = encoding_parse(word);

        if (e < 0 || (i == 0 && e == ENCODING_PAIRS))
            return conf_fail(cp->err, at, "expected json, xml or form%s, not \"%.*s\"",
                             i ? " or pairs" : "", SLICE_FMT(word));
        *out[i] = (enum encoding)e;
    }
    return 0;
}

static int compile_hosts(struct compiler *cp, const struct conf_node *at)
{
    struct adapter *ad = cp->adapter;

    for (uint32_t i = 0; at && i < at->nargs; i++) {
        if (compile_printable(cp, at, at->args[i], '!') < 0)
            return -1;
        ad->hosts[ad->nhosts++] = at->args[i];
    }
    return 0;
}

/* Everything that is there; what is missing was told by the table. */
static int compile_blocks(struct compiler *cp, struct conf_node *first)
{
    struct adapter *ad = cp->adapter;
    const struct conf_node *encoding = conf_find(first, "encoding");
    struct conf_node *account = compile_block(first, "account");
    struct conf_node *sign = compile_block(first, "sign");
    struct conf_node *verify = compile_block(first, "verify");
    struct conf_node *errors = compile_block(first, "errors");
    struct conf_node *bill = compile_block(first, "bill");
    struct conf_node *certificates = compile_block(first, "certificates");

    cp->common = conf_find(first, "common");
    if ((encoding && compile_failed(cp, compile_encoding(cp, encoding))) ||
        (account && compile_failed(cp, compile_account(cp, account))))
        return -1;
    for (const struct conf_node *d = first; d; d = d->next)
        if (slice_is(d->name, "header") && compile_failed(cp, compile_request_header(cp, d)))
            return -1;
    if ((sign && compile_failed(cp, signer_compile(cp, sign, SIGNER_REQUEST, &ad->sign))) ||
        (verify && compile_failed(cp, signer_compile(cp, verify, SIGNER_VERIFY, &ad->verify))) ||
        (errors && compile_failed(cp, compile_errors(cp, errors, &ad->errors))) ||
        compile_failed(cp, compile_apis(cp, first)) ||
        compile_failed(cp, compile_notifications(cp, first)) ||
        (certificates && compile_failed(cp, compile_certificates(cp, certificates))) ||
        compile_failed(cp, compile_hosts(cp, conf_find(first, "download"))) ||
        (bill && compile_failed(cp, compile_bill(cp, bill))))
        return -1;
    return cp->mistakes ? -1 : 0;
}

static int compile_file(struct compiler *cp, struct conf_node *first)
{
    if (compile_failed(cp, check_table(cp, NULL, &first, file_table)))
        return -1;
    return compile_blocks(cp, first);
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

static int compile_adapter(struct compiler *cp, const char *path, struct slice text,
                           const struct conf_node *at)
{
    uint64_t hash = slice_hash(text);
    struct conf_node *first;

    cp->adapter->version = (uint32_t)(hash ^ hash >> 32);
    if (conf_parse_text(cp->arena, path, text, &first, cp->err) < 0)
        return -1;
    if (!first)
        return conf_fail(cp->err, at, "\"%s\" is empty", path);
    return compile_file(cp, first);
}

static int read_adapter(struct compiler *cp, const char *path, const struct conf_node *at)
{
    struct slice text;

    return read_file(cp, at, path, &text) < 0 ? -1 : compile_adapter(cp, path, text, at);
}

int adapter_load(struct arena *arena, const char *dir, struct slice name,
                 const struct conf_node *at, struct adapter **out, struct conf_error *err)
{
    struct compiler cp = {.arena = arena, .adapter = arena_new(arena, struct adapter), .err = err};
    struct slice path = arena_printf(arena, "%s/%.*s.conf", dir, SLICE_FMT(name));

    if (!cp.adapter || !path.p)
        return adapter_no_memory(&cp);
    cp.adapter->name = arena_copy(arena, name);
    if (read_adapter(&cp, path.p, at) < 0)
        return -1;
    *out = cp.adapter;
    return 0;
}

uint32_t adapter_check(const char *path, const struct slice *text,
                       void (*found)(void *arg, const struct conf_error *err), void *arg)
{
    struct conf_error err = {.text = ""};
    struct arena arena;
    struct compiler cp = {.arena = &arena, .err = &err, .found = found, .arg = arg};
    int rc;

    arena_init(&arena, CHECK_MEMORY);
    cp.adapter = arena_new(&arena, struct adapter);
    if (!cp.adapter)
        rc = adapter_no_memory(&cp);
    else
        rc = text ? compile_adapter(&cp, path, *text, NULL) : read_adapter(&cp, path, NULL);
    /* a file that cannot be parsed ends it, and so does what no list of mistakes goes on behind */
    compile_failed(&cp, rc);
    arena_release(&arena);
    return cp.mistakes;
}
