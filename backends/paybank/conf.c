#include "conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <fcntl.h>

#define FILE_MAX (64 << 10)

static const struct conf_directive top_table[] = {
    {"listen", 1, 1, 0, "127.0.0.1:PORT", "", "HTTP for bank_json, control and the page"},
    {"listen_tls", 3, 3, 0, "127.0.0.1:PORT CERT KEY", "", "HTTPS for the same and WeChat Pay v3"},
    {"ready_file", 1, 1, 0, "FILE", "", "gets a line http=PORT tls=PORT once it serves"},
    {"journal", 1, 1, 0, "FILE", "", "the books, survive kill -9; without it they are in memory"},
    {"log", 1, 1, 0, "FILE", "stderr", "where the log goes"},
    {"seed", 1, 1, 0, "NUMBER", "1", "of the dice behind a fault's percent"},
    {"notify_delay", 1, 1, 0, "TIME", "50ms", "from the payment to its first notification"},
    {"notify_retry", 1, NOTIFY_RETRY_MAX - 1, 0, "TIME ...",
     "150ms 150ms 300ms 1800ms 6s 12s 18s 18s 18s 36s 108s 108s 108s 216s 216s",
     "waits between notifications; the default is the real schedule, 100 times as fast"},
    {"ca_file", 1, 1, 0, "FILE", "the system's", "who signs the servers that are notified"},
    {"wechat", 0, 0, CONF_BLOCK, "{ merchant ... }", "", "merchants of WeChat Pay v3"},
    {"bank_json", 0, 0, CONF_BLOCK, "{ merchant ... }", "", "merchants of bank_json"},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

static const struct conf_directive channel_table[] = {
    {"merchant", 1, 1, CONF_BLOCK | CONF_REPEAT | CONF_NEED, "ID { ... }", "", "one merchant"},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

static const struct conf_directive wechat_table[] = {
    {"appid", 1, APPIDS_MAX, CONF_NEED, "APPID ...", "", "apps bound to the merchant"},
    {"api_v3_key", 1, 1, CONF_NEED, "TEXT", "", "32 characters that encrypt notifications"},
    {"merchant_cert", 1, 1, CONF_NEED, "FILE", "", "PEM certificate that requests are signed with"},
    {"platform_serial", 1, 1, CONF_NEED, "SERIAL", "", "serial number of the platform key"},
    {"platform_key", 1, 1, CONF_NEED, "FILE", "", "PEM private key that signs our answers"},
    {"disabled", 1, 1, 0, "on | off", "off", "the merchant may not take payments"},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

static const struct conf_directive bank_json_table[] = {
    {"key", 1, 1, CONF_NEED, "TEXT", "", "secret shared with the merchant, 32 bytes or more"},
    {"disabled", 1, 1, 0, "on | off", "off", "the merchant may not take payments"},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

static const char *const channel_names[CHANNEL_COUNT] = {"wechat_v3", "bank_json"};

const char *bank_channel_name(enum bank_channel c)
{
    return channel_names[c];
}

int bank_channel_parse(struct slice s)
{
    for (int c = 0; c < CHANNEL_COUNT; c++)
        if (slice_is(s, channel_names[c]))
            return c;
    return -1;
}

/* What the readers below share. */
struct loader {
    struct bank_conf *c;
    struct slice folder; /* of the configuration file, with its last '/' */
    struct conf_error *err;
};

static int set_path(struct loader *l, const struct conf_node *n, uint32_t arg, const char **out)
{
    struct slice s = n->args[arg];

    if (s.n == 0)
        return conf_fail(l->err, n, "empty file name");
    if (s.p[0] == '/')
        *out = arena_cstr(&l->c->arena, s);
    else
        *out = arena_printf(&l->c->arena, "%.*s%.*s", SLICE_FMT(l->folder), SLICE_FMT(s)).p;
    return *out ? 0 : conf_fail(l->err, n, "bad file name");
}

static int read_pem(struct loader *l, const struct conf_node *n, const char *path,
                    struct slice *out)
{
    char *p = arena_alloc(&l->c->arena, FILE_MAX);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got;

    if (fd < 0)
        return conf_fail(l->err, n, "cannot open %s", path);
    got = p ? read(fd, p, FILE_MAX) : -1;
    close(fd);
    if (got <= 0 || got == FILE_MAX)
        return conf_fail(l->err, n, "cannot read %s, or it is empty or too large", path);
    *out = slice_n(p, (size_t)got);
    return 0;
}

/* 127.0.0.0/8 with a port and nothing else: this bank has no business on a network. */
static int set_listen(struct loader *l, const struct conf_node *n, const char **out)
{
    struct slice rest = n->args[0];
    struct slice host = slice_cut(&rest, ':');
    int64_t v;

    if (slice_int64(rest, &v) < 0 || v < 0 || v > 65535)
        return conf_fail(l->err, n, "\"%.*s\" is not ADDRESS:PORT", SLICE_FMT(n->args[0]));
    for (int i = 0; i < 4; i++) {
        struct slice octet = slice_cut(&host, '.');

        if (slice_int64(octet, &v) < 0 || v < 0 || v > 255 || (i == 0 && v != 127) ||
            (i == 3 && host.p))
            return conf_fail(l->err, n, "\"%.*s\": only addresses of 127.0.0.0/8 are allowed",
                             SLICE_FMT(n->args[0]));
    }
    *out = arena_cstr(&l->c->arena, n->args[0]);
    return *out ? 0 : conf_fail(l->err, n, "bad address");
}

static int set_listen_tls(struct loader *l, const struct conf_node *n)
{
    if (set_listen(l, n, &l->c->listen_tls) < 0 || set_path(l, n, 1, &l->c->tls_cert) < 0 ||
        set_path(l, n, 2, &l->c->tls_key) < 0)
        return -1;
    if (access(l->c->tls_cert, R_OK) < 0 || access(l->c->tls_key, R_OK) < 0)
        return conf_fail(l->err, n, "cannot read certificate or key");
    return 0;
}

static int set_duration(struct loader *l, const struct conf_node *n, uint32_t arg, int64_t *us)
{
    int64_t ms;

    if (conf_duration_ms(n->args[arg], &ms) < 0 || ms < 0 || ms > 7 * 86400000LL)
        return conf_fail(l->err, n, "\"%.*s\" is not a time such as 50ms, 5s, 2m",
                         SLICE_FMT(n->args[arg]));
    *us = ms * 1000;
    return 0;
}

static int set_retries(struct loader *l, const struct conf_node *n)
{
    for (uint32_t i = 0; i < n->nargs; i++)
        if (set_duration(l, n, i, &l->c->notify_retry_us[i]) < 0)
            return -1;
    l->c->notify_retries = n->nargs;
    return 0;
}

static int set_seed(struct loader *l, const struct conf_node *n)
{
    int64_t v;

    if (slice_int64(n->args[0], &v) < 0 || v < 0)
        return conf_fail(l->err, n, "seed must be a number, 0 or more");
    l->c->seed = (uint64_t)v;
    return 0;
}

static int read_merchant_cert(struct loader *l, const struct conf_node *n, struct merchant *m)
{
    const char *path;
    struct slice pem;

    if (set_path(l, n, 0, &path) < 0 || read_pem(l, n, path, &pem) < 0)
        return -1;
    if (cert_serial_hex(pem, m->merchant_serial, sizeof(m->merchant_serial)) < 0)
        return conf_fail(l->err, n, "%s is not a PEM certificate", path);
    m->merchant_key = pkey_public_from_pem(pem);
    return m->merchant_key ? 0 : conf_fail(l->err, n, "%s: key not usable", path);
}

static int read_platform_key(struct loader *l, const struct conf_node *n, struct merchant *m)
{
    const char *path;
    struct slice pem;

    if (set_path(l, n, 0, &path) < 0 || read_pem(l, n, path, &pem) < 0)
        return -1;
    m->platform_key = pkey_private_from_pem(pem);
    return m->platform_key ? 0 : conf_fail(l->err, n, "%s is not a usable PEM private key", path);
}

static int read_wechat_key(struct loader *l, const struct conf_node *n, struct merchant *m)
{
    if (n->args[0].n != AES256_KEY_LEN)
        return conf_fail(l->err, n, "api_v3_key must have 32 characters");
    return secret_set(&m->api_v3_key, n->args[0]) < 0 ? conf_fail(l->err, n, "no memory") : 0;
}

static int read_shared_key(struct loader *l, const struct conf_node *n, struct merchant *m)
{
    if (n->args[0].n < 32)
        return conf_fail(l->err, n, "key must have 32 bytes or more");
    m->shared_key = hmac_key_new(n->args[0]);
    return m->shared_key ? 0 : conf_fail(l->err, n, "no memory");
}

static int read_merchant_directive(struct loader *l, const struct conf_node *n, struct merchant *m)
{
    if (slice_is(n->name, "appid")) {
        for (uint32_t i = 0; i < n->nargs; i++)
            m->appids[i] = n->args[i];
        m->nappids = n->nargs;
        return 0;
    }
    if (slice_is(n->name, "api_v3_key"))
        return read_wechat_key(l, n, m);
    if (slice_is(n->name, "merchant_cert"))
        return read_merchant_cert(l, n, m);
    if (slice_is(n->name, "platform_serial")) {
        m->platform_serial = n->args[0];
        return 0;
    }
    if (slice_is(n->name, "platform_key"))
        return read_platform_key(l, n, m);
    if (slice_is(n->name, "key"))
        return read_shared_key(l, n, m);
    if (conf_onoff(n->args[0], &m->disabled) < 0)
        return conf_fail(l->err, n, "disabled is on or off");
    return 0;
}

static int read_merchant(struct loader *l, const struct conf_node *block, enum bank_channel channel)
{
    const struct conf_directive *table =
        channel == CHANNEL_WECHAT_V3 ? wechat_table : bank_json_table;
    struct merchant *m = arena_new(&l->c->arena, struct merchant);

    if (!m || block->args[0].n == 0 || block->args[0].n > MCHID_MAX)
        return conf_fail(l->err, block, "a merchant's id has 1 to 32 characters");
    if (bank_conf_merchant(l->c, channel, block->args[0]))
        return conf_fail(l->err, block, "merchant %.*s stands twice", SLICE_FMT(block->args[0]));
    if (conf_check(block, NULL, table, l->err) < 0)
        return -1;
    m->channel = channel;
    m->id = block->args[0];
    m->next = l->c->merchants;
    l->c->merchants = m; /* at once, so that release frees what was read so far */
    for (const struct conf_node *n = block->child; n; n = n->next)
        if (read_merchant_directive(l, n, m) < 0)
            return -1;
    return 0;
}

static int read_channel(struct loader *l, const struct conf_node *block, enum bank_channel channel)
{
    if (conf_check(block, NULL, channel_table, l->err) < 0)
        return -1;
    for (const struct conf_node *n = block->child; n; n = n->next)
        if (read_merchant(l, n, channel) < 0)
            return -1;
    return 0;
}

static int read_top(struct loader *l, const struct conf_node *n)
{
    struct bank_conf *c = l->c;

    if (slice_is(n->name, "listen"))
        return set_listen(l, n, &c->listen);
    if (slice_is(n->name, "listen_tls"))
        return set_listen_tls(l, n);
    if (slice_is(n->name, "ready_file"))
        return set_path(l, n, 0, &c->ready_file);
    if (slice_is(n->name, "journal"))
        return set_path(l, n, 0, &c->journal);
    if (slice_is(n->name, "log"))
        return set_path(l, n, 0, &c->log_file);
    if (slice_is(n->name, "ca_file"))
        return set_path(l, n, 0, &c->ca_file);
    if (slice_is(n->name, "seed"))
        return set_seed(l, n);
    if (slice_is(n->name, "notify_delay"))
        return set_duration(l, n, 0, &c->notify_delay_us);
    if (slice_is(n->name, "notify_retry"))
        return set_retries(l, n);
    return read_channel(l, n, slice_is(n->name, "wechat") ? CHANNEL_WECHAT_V3 : CHANNEL_BANK_JSON);
}

static void set_defaults(struct bank_conf *c)
{
    static const int64_t retry_ms[] = {150,   150,   300,    1800,   6000,   12000,  18000, 18000,
                                       18000, 36000, 108000, 108000, 108000, 216000, 216000};

    c->seed = 1;
    c->notify_delay_us = 50000;
    c->notify_retries = sizeof(retry_ms) / sizeof(retry_ms[0]);
    for (uint32_t i = 0; i < c->notify_retries; i++)
        c->notify_retry_us[i] = retry_ms[i] * 1000;
}

int bank_conf_load(struct bank_conf *c, const char *file, struct conf_error *err)
{
    struct loader l = {c, SLICE_NULL, err};
    const char *slash = strrchr(file, '/');
    struct conf_node *first;

    memset(c, 0, sizeof(*c));
    arena_init(&c->arena, 64 << 20);
    set_defaults(c);
    if (slash)
        l.folder = slice_n(file, (size_t)(slash - file) + 1);
    if (conf_parse_file(&c->arena, file, &first, err) < 0 ||
        conf_check(NULL, first, top_table, err) < 0)
        return -1;
    for (const struct conf_node *n = first; n; n = n->next)
        if (read_top(&l, n) < 0)
            return -1;
    if (!c->listen && !c->listen_tls) {
        snprintf(err->text, sizeof(err->text), "%s:1: \"listen\" or \"listen_tls\" is missing",
                 file);
        return -1;
    }
    return 0;
}

void bank_conf_release(struct bank_conf *c)
{
    for (struct merchant *m = c->merchants; m; m = m->next) {
        secret_release(&m->api_v3_key);
        pkey_destroy(m->merchant_key);
        pkey_destroy(m->platform_key);
        hmac_key_free(m->shared_key);
    }
    arena_release(&c->arena);
}

const struct merchant *bank_conf_merchant(const struct bank_conf *c, enum bank_channel channel,
                                          struct slice id)
{
    const struct merchant *m = c->merchants;

    while (m && !(m->channel == channel && slice_eq(m->id, id)))
        m = m->next;
    return m;
}

static void add_table(struct buf *out, const char *block, const struct conf_directive *d)
{
    for (; d->name; d++)
        buf_addf(out, "%s\t%s\t%s\t%s\t%s\n", block, d->name, d->syntax, d->dflt, d->help);
}

void bank_conf_directives(struct buf *out)
{
    add_table(out, "main", top_table);
    add_table(out, "wechat", channel_table);
    add_table(out, "wechat.merchant", wechat_table);
    add_table(out, "bank_json", channel_table);
    add_table(out, "bank_json.merchant", bank_json_table);
}
