#include "conf.h"

#include <stdio.h>
#include <unistd.h>

static const struct conf_directive top_table[] = {
    {"listen", 1, 1, 0, "127.0.0.1:PORT", "", "HTTP for bank_json, control and the page"},
    {"listen_tls", 3, 3, 0, "127.0.0.1:PORT CERT KEY", "", "HTTPS for all protocols"},
    {"plain_channels", 1, 1, 0, "on | off", "off", "all protocols without TLS, too: benchmarks"},
    {"ready_file", 1, 1, 0, "FILE", "", "gets a line http=PORT tls=PORT once it serves"},
    {"journal", 1, 1, 0, "FILE", "", "the books, survive kill -9; without it they are in memory"},
    {"log", 1, 1, 0, "FILE", "stderr", "where the log goes"},
    {"seed", 1, 1, 0, "NUMBER", "1", "of the dice behind a fault's percent"},
    {"notify_delay", 1, 1, 0, "TIME", "50ms", "from the payment to its first notification"},
    {"notify_retry", 1, NOTIFY_RETRY_MAX - 1, 0, "TIME ...",
     "150ms 150ms 300ms 1800ms 6s 12s 18s 18s 18s 36s 108s 108s 108s 216s 216s",
     "waits between notifications; the default is the real schedule, 100 times as fast"},
    {"ca_file", 1, 1, 0, "FILE", "the system's", "who signs the servers that are notified"},
    {"refund_delay", 1, 1, 0, "TIME", "50ms", "how long a refund is in progress"},
    {"refund_gap", 1, 1, 0, "TIME", "600ms",
     "WeChat: between refunds of one order; the default is a hundredth of the real minute"},
    {"reverse_after", 1, 1, 0, "TIME", "150ms",
     "WeChat: from a charge to its reversal at the earliest; the default is a hundredth of the "
     "real "
     "15 s"},
    {"password_above", 1, 1, 0, "FEN", "200000", "barcode payments over it ask for the password"},
    {"wechat", 0, 0, CONF_BLOCK, "{ merchant ... }", "", "merchants of WeChat Pay v3"},
    {"wechat_v2", 0, 0, CONF_BLOCK, "{ merchant ... }", "", "merchants of WeChat Pay v2"},
    {"alipay", 0, 0, CONF_BLOCK, "{ merchant ... }", "", "apps of Alipay"},
    {"unionpay", 0, 0, CONF_BLOCK, "{ merchant ... }", "", "merchants of UnionPay"},
    {"bank_json", 0, 0, CONF_BLOCK, "{ merchant ... }", "", "merchants of bank_json"},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

static const char *const channel_names[CHANNEL_COUNT] = {
#define X(name, text, block) text,
    BANK_CHANNEL_TABLE(X)
#undef X
};

static const char *const blocks[CHANNEL_COUNT] = {
#define X(name, text, block) block,
    BANK_CHANNEL_TABLE(X)
#undef X
};

const char *bank_channel_name(enum bank_channel c)
{
    return channel_names[c];
}

static int find_name(const char *const names[CHANNEL_COUNT], struct slice s)
{
    for (int c = 0; c < CHANNEL_COUNT; c++)
        if (slice_is(s, names[c]))
            return c;
    return -1;
}

int bank_channel_parse(struct slice s)
{
    return find_name(channel_names, s);
}

int conf_channel_of_block(struct slice name)
{
    return find_name(blocks, name);
}

int conf_set_path(struct conf_loader *l, const struct conf_node *n, uint32_t arg, const char **out)
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

/* 127.0.0.0/8 with a port and nothing else: this bank has no business on a network. */
static int set_listen(struct conf_loader *l, const struct conf_node *n, const char **out)
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

static int set_listen_tls(struct conf_loader *l, const struct conf_node *n)
{
    if (set_listen(l, n, &l->c->listen_tls) < 0 || conf_set_path(l, n, 1, &l->c->tls_cert) < 0 ||
        conf_set_path(l, n, 2, &l->c->tls_key) < 0)
        return -1;
    if (access(l->c->tls_cert, R_OK) < 0 || access(l->c->tls_key, R_OK) < 0)
        return conf_fail(l->err, n, "cannot read certificate or key");
    return 0;
}

static int set_duration(struct conf_loader *l, const struct conf_node *n, uint32_t arg, int64_t *us)
{
    int64_t ms;

    if (conf_duration_ms(n->args[arg], &ms) < 0 || ms < 0 || ms > 7 * 86400000LL)
        return conf_fail(l->err, n, "\"%.*s\" is not a time such as 50ms, 5s, 2m",
                         SLICE_FMT(n->args[arg]));
    *us = ms * 1000;
    return 0;
}

static int set_retries(struct conf_loader *l, const struct conf_node *n)
{
    for (uint32_t i = 0; i < n->nargs; i++)
        if (set_duration(l, n, i, &l->c->notify_retry_us[i]) < 0)
            return -1;
    l->c->notify_retries = n->nargs;
    return 0;
}

static int set_seed(struct conf_loader *l, const struct conf_node *n)
{
    int64_t v;

    if (slice_int64(n->args[0], &v) < 0 || v < 0)
        return conf_fail(l->err, n, "seed must be a number, 0 or more");
    l->c->seed = (uint64_t)v;
    return 0;
}

static int set_password_above(struct conf_loader *l, const struct conf_node *n)
{
    int64_t *out = &l->c->password_above;

    if (slice_int64(n->args[0], out) < 0 || *out < 0)
        return conf_fail(l->err, n, "password_above must be a number of fen, 0 or more");
    return 0;
}

static int read_top(struct conf_loader *l, const struct conf_node *n)
{
    struct bank_conf *c = l->c;

    if (slice_is(n->name, "listen"))
        return set_listen(l, n, &c->listen);
    if (slice_is(n->name, "listen_tls"))
        return set_listen_tls(l, n);
    if (slice_is(n->name, "ready_file"))
        return conf_set_path(l, n, 0, &c->ready_file);
    if (slice_is(n->name, "journal"))
        return conf_set_path(l, n, 0, &c->journal);
    if (slice_is(n->name, "log"))
        return conf_set_path(l, n, 0, &c->log_file);
    if (slice_is(n->name, "ca_file"))
        return conf_set_path(l, n, 0, &c->ca_file);
    if (slice_is(n->name, "seed"))
        return set_seed(l, n);
    if (slice_is(n->name, "notify_delay"))
        return set_duration(l, n, 0, &c->notify_delay_us);
    if (slice_is(n->name, "notify_retry"))
        return set_retries(l, n);
    if (slice_is(n->name, "refund_delay"))
        return set_duration(l, n, 0, &c->refund_delay_us);
    if (slice_is(n->name, "refund_gap"))
        return set_duration(l, n, 0, &c->refund_gap_us);
    if (slice_is(n->name, "reverse_after"))
        return set_duration(l, n, 0, &c->reverse_after_us);
    if (slice_is(n->name, "password_above"))
        return set_password_above(l, n);
    if (slice_is(n->name, "plain_channels"))
        return conf_onoff(n->args[0], &c->plain_channels) < 0
                   ? conf_fail(l->err, n, "plain_channels is on or off")
                   : 0;
    return conf_read_channel(l, n, (enum bank_channel)conf_channel_of_block(n->name));
}

static void set_defaults(struct bank_conf *c)
{
    static const int64_t retry_ms[] = {150,   150,   300,    1800,   6000,   12000,  18000, 18000,
                                       18000, 36000, 108000, 108000, 108000, 216000, 216000};

    c->seed = 1;
    c->notify_delay_us = 50000;
    c->refund_delay_us = 50000;
    c->refund_gap_us = 600000;
    c->reverse_after_us = 150000;
    c->password_above = 200000;
    c->notify_retries = sizeof(retry_ms) / sizeof(retry_ms[0]);
    for (uint32_t i = 0; i < c->notify_retries; i++)
        c->notify_retry_us[i] = retry_ms[i] * 1000;
}

int bank_conf_load(struct bank_conf *c, const char *file, struct conf_error *err)
{
    struct conf_loader l = {c, SLICE_NULL, err};
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
    for (struct merchant *m = c->merchants; m; m = m->next)
        conf_merchant_release(m);
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
    for (int i = 0; i < CHANNEL_COUNT; i++) {
        char block[64];

        snprintf(block, sizeof(block), "%s.merchant", blocks[i]);
        add_table(out, blocks[i], conf_channel_directives());
        add_table(out, block, conf_merchant_directives((enum bank_channel)i));
    }
}
