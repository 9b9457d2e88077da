#include "set.h"

#include "core/net.h"
#include "core/payer_app.h"

#include <glob.h>
#include <stdlib.h>

#define SET_MEMORY     (256u * 1024 * 1024)
#define CHANNELS_MAX   4096u
#define FIRST_QUERY_MS 120000
#define SETTLE_MS      30000

struct channel_set {
    struct arena arena;
    struct channel *channels;
    size_t count;
    struct adapter **adapters; /* each file once, however many channels use it */
    size_t nadapters;
};

/* nginx takes routing and egress from the same block; those directives have no effect here. */
const struct conf_directive channel_block_table[] = {
    {"adapter", 1, 1, CONF_NEED, "NAME", "", "File in the adapters folder."},
    {"methods", 1, 8, CONF_NEED, "METHOD ...", "", "Payment methods it serves."},
    {"wallet", 1, 4, 0, "WALLET ...", "",
     "Wallets that it ends in: wechat, alipay, unionpay, other."},
    {"notify_base", 1, 1, 0, "URL", "", "How the channel reaches our /notify."},
    {"query_first", 1, 1, 0, "TIME", "120s", "First query after a prepare of unknown result."},
    {"settle", 1, 1, 0, "TIME", "30s", "How long \"not found\" proves nothing."},
    {"account", 1, 16, CONF_REPEAT, "NAME ...", "",
     "Accounts used there; the first is the default."},
    {"state", 1, 1, 0, "on | off | drain | block", "on", "Read by nginx."},
    {"endpoint", 1, 1, 0, "URL", "", "Read by nginx."},
    {"tls_name", 1, 1, 0, "NAME", "", "Read by nginx."},
    {"tls_certificate", 2, 2, 0, "FILE KEY", "", "Read by nginx; payd watches its end."},
    {"amount", 2, 2, 0, "MIN MAX", "", "Read by nginx."},
    {"weight", 1, 1, 0, "NUMBER", "", "Read by nginx."},
    {"priority", 1, 1, 0, "NUMBER", "", "Read by nginx."},
    {"concurrency", 1, 3, 0, "NUMBER [reserve=PERCENT] [shared]", "", "Read by nginx."},
    {"queue", 1, 2, 0, "NUMBER [timeout=TIME]", "", "Read by nginx."},
    {"keepalive", 1, 2, 0, "NUMBER [timeout=TIME]", "", "Read by nginx."},
    {"breaker", 1, 9, 0, "off | NAME=VALUE ...", "", "Read by nginx."},
    {"sla", 1, 7, 0, "KIND=TIME ... [share=PERCENT]", "", "Read by nginx."},
    {"rate", 1, 2, CONF_REPEAT, "KIND=NUMBER/s [burst=NUMBER]", "", "Read by nginx."},
    {"bind", 1, 4, 0, "ADDRESS ...", "", "Read by nginx."},
    {"timeout", 1, 3, 0, "connect=TIME send=TIME read=TIME", "", "Read by nginx."},
    {"fee", 1, 4, 0, "PERCENT [fixed=AMOUNT] [min=AMOUNT] [max=AMOUNT]", "", "Read by nginx."},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

static bool name_valid(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || (c == '-' && i > 0)))
            return false;
    }
    return s.n > 0 && s.n <= 32;
}

/* ------------------------------------------------------------------ one block */

static int get_adapter(struct channel_set *set, const char *dir, const struct conf_node *at,
                       const struct adapter **out, struct conf_error *err)
{
    struct slice name = at->args[0];

    if (!name_valid(name))
        return conf_fail(err, at, "\"%.*s\" is no adapter name (1..32 of a-z, 0-9, _)",
                         SLICE_FMT(name));
    for (size_t i = 0; i < set->nadapters; i++) {
        if (slice_eq(set->adapters[i]->name, name)) {
            *out = set->adapters[i];
            return 0;
        }
    }
    if (adapter_load(&set->arena, dir, name, at, &set->adapters[set->nadapters], err) < 0)
        return -1;
    *out = set->adapters[set->nadapters++];
    return 0;
}

/* The call that begins a payment of this method. */
static enum call_kind method_kind(enum payment_method m)
{
    return m == METHOD_BARCODE ? CALL_CHARGE : CALL_PREPARE;
}

static int read_methods(struct channel *c, const struct conf_node *at, struct conf_error *err)
{
    c->facts.prepare_resend = true;
    for (uint32_t i = 0; i < at->nargs; i++) {
        int m = payment_method_parse(at->args[i]);
        const struct adapter_api *api;

        if (m <= METHOD_NONE)
            return conf_fail(err, at, "\"%.*s\" is no payment method", SLICE_FMT(at->args[i]));
        if (c->methods & 1u << m)
            return conf_fail(err, at, "method %.*s is repeated", SLICE_FMT(at->args[i]));
        api = adapter_find_api(c->adapter, method_kind((enum payment_method)m),
                               (enum payment_method)m);
        if (!api)
            return conf_fail(err, at, "adapter %.*s cannot do method %.*s",
                             SLICE_FMT(c->facts.adapter), SLICE_FMT(at->args[i]));
        if (api->kind == CALL_CHARGE &&
            (!adapter_find_api(c->adapter, CALL_REVERSE, (enum payment_method)m) ||
             !adapter_find_api(c->adapter, CALL_QUERY, (enum payment_method)m)))
            return conf_fail(err, at, "adapter %.*s charges, but has no query or no reversal",
                             SLICE_FMT(c->facts.adapter));
        c->methods |= 1u << m;
        c->facts.prepare_resend &= api->resend || api->kind == CALL_CHARGE;
    }
    return 0;
}

static int read_wallets(struct channel *c, const struct conf_node *at, struct conf_error *err)
{
    for (uint32_t i = 0; at && i < at->nargs; i++) {
        int app = payer_app_parse(at->args[i]);

        if (app < 0 || (c->facts.wallets & 1u << app))
            return conf_fail(
                err, at, "\"%.*s\" is no wallet, or is repeated: wechat, alipay, unionpay, other",
                SLICE_FMT(at->args[i]));
        c->facts.wallets |= 1u << app;
    }
    return 0;
}

static int read_notify_base(struct channel *c, const struct conf_node *block,
                            struct conf_error *err)
{
    const struct conf_node *at = conf_find(block->child, "notify_base");
    const char *why;
    struct url url;

    if (!at)
        return c->adapter->uses_notify_url ? conf_fail(err, block, "adapter %.*s needs notify_base",
                                                       SLICE_FMT(c->facts.adapter))
                                           : 0;
    if (url_parse(at->args[0], &url, &why) < 0)
        return conf_fail(err, at, "expected an http or https URL: %s", why);
    if (at->args[0].p[at->args[0].n - 1] == '/')
        return conf_fail(err, at, "the URL must not end with \"/\"");
    c->facts.notify_base = at->args[0];
    return 0;
}

static int read_time(const struct conf_node *block, const char *name, int64_t dflt_ms, int64_t *us,
                     struct conf_error *err)
{
    const struct conf_node *at = conf_find(block->child, name);
    int64_t ms = dflt_ms;

    if (at && (conf_duration_ms(at->args[0], &ms) < 0 || ms > 24 * 3600 * 1000))
        return conf_fail(err, at, "expected a time of at most 1d such as 120s, not \"%.*s\"",
                         SLICE_FMT(at->args[0]));
    *us = ms * USEC_PER_MSEC;
    return 0;
}

static int read_channel(struct channel_set *set, const char *dir, const struct conf_node *block,
                        struct channel *c, struct conf_error *err)
{
    const struct conf_node *account, *endpoint, *certificate;

    if (conf_check(block, NULL, channel_block_table, err) < 0)
        return -1;
    c->at = block;
    c->facts.name = block->args[0];
    if (get_adapter(set, dir, conf_find(block->child, "adapter"), &c->adapter, err) < 0)
        return -1;
    c->facts.adapter = c->adapter->name;
    c->facts.version = c->adapter->version;
    account = conf_find(block->child, "account");
    if (account)
        c->facts.account = account->args[0];
    if (read_methods(c, conf_find(block->child, "methods"), err) < 0 ||
        read_wallets(c, conf_find(block->child, "wallet"), err) < 0 ||
        read_notify_base(c, block, err) < 0 ||
        read_time(block, "query_first", FIRST_QUERY_MS, &c->facts.first_query_us, err) < 0)
        return -1;
    certificate = conf_find(block->child, "tls_certificate");
    if (certificate)
        c->facts.tls_certificate = certificate->args[0];
    endpoint = conf_find(block->child, "endpoint");
    if (endpoint)
        c->endpoint = endpoint->args[0];
    else if (c->adapter->uses_endpoint)
        return conf_fail(err, block, "adapter %.*s needs endpoint", SLICE_FMT(c->facts.adapter));
    return read_time(block, "settle", SETTLE_MS, &c->facts.settle_us, err);
}

/* ------------------------------------------------------------------ files */

static const struct conf_directive file_table[] = {
    {"pay_channel", 1, 1, CONF_BLOCK | CONF_REPEAT, "NAME { ... }", "", "One channel."},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

static int add_channel(struct channel_set *set, const char *dir, const struct conf_node *block,
                       struct conf_error *err)
{
    const struct channel *same = channel_find(set, block->args[0]);

    if (!name_valid(block->args[0]))
        return conf_fail(err, block, "\"%.*s\" is no channel name (1..32 of a-z, 0-9, _, -)",
                         SLICE_FMT(block->args[0]));
    if (same)
        return conf_fail(err, block, "channel %.*s is repeated, first at %s:%u",
                         SLICE_FMT(block->args[0]), same->at->file, same->at->line);
    if (set->count == CHANNELS_MAX)
        return conf_fail(err, block, "more than %u channels", CHANNELS_MAX);
    if (read_channel(set, dir, block, &set->channels[set->count], err) < 0)
        return -1;
    set->count++;
    return 0;
}

static int read_channels_file(struct channel_set *set, const char *dir, const char *file,
                              struct conf_error *err)
{
    struct conf_node *first;

    if (conf_parse_file(&set->arena, file, &first, err) < 0 ||
        conf_check(NULL, first, file_table, err) < 0)
        return -1;
    for (const struct conf_node *d = first; d; d = d->next)
        if (add_channel(set, dir, d, err) < 0)
            return -1;
    return 0;
}

/* A pattern without a match is an empty set; a plain name must exist. */
static int read_files(struct channel_set *set, const char *pattern, const char *dir,
                      struct conf_error *err)
{
    glob_t found;
    int rc = glob(pattern, 0, NULL, &found);

    if (rc == GLOB_NOMATCH && strpbrk(pattern, "*?["))
        return 0;
    if (rc != 0)
        return conf_fail(err, NULL, "%s: no such file", pattern);
    for (size_t i = 0; i < found.gl_pathc && rc == 0; i++)
        rc = read_channels_file(set, dir, found.gl_pathv[i], err);
    globfree(&found);
    return rc;
}

static struct channel_set *new_set(void)
{
    struct channel_set *set = calloc(1, sizeof(*set));

    if (!set)
        return NULL;
    arena_init(&set->arena, SET_MEMORY);
    set->channels = calloc(CHANNELS_MAX, sizeof(*set->channels));
    set->adapters = calloc(CHANNELS_MAX, sizeof(*set->adapters));
    if (set->channels && set->adapters)
        return set;
    channel_set_free(set);
    return NULL;
}

int channel_set_load(const char *channels_glob, const char *adapter_dir, struct channel_set **out,
                     struct conf_error *err)
{
    struct channel_set *set = new_set();

    if (!set)
        return conf_fail(err, NULL, "out of memory");
    if (read_files(set, channels_glob, adapter_dir, err) < 0) {
        conf_error_place(err);
        channel_set_free(set);
        return -1;
    }
    *out = set;
    return 0;
}

/* nginx sends without one what a channel wants a certificate for, and nobody tells until it is
 * needed. */
static int check_tls(const struct channel *c, struct conf_error *err)
{
    if (!slice_starts(c->endpoint, SLICE("https:")) || conf_find(c->at->child, "tls_certificate"))
        return 0;
    for (uint32_t i = 0; i < c->adapter->napis; i++)
        if (c->adapter->apis[i].tls_certificate)
            return conf_fail(err, c->at, "adapter %.*s needs tls_certificate for %s",
                             SLICE_FMT(c->facts.adapter), c->adapter->apis[i].name);
    return 0;
}

/* What a block lacks hides what else may be wrong in it, but not the other blocks. */
static uint32_t check_blocks(struct channel_set *set, struct conf_node *first, const char *dir,
                             void (*found)(void *arg, const struct conf_error *err), void *arg)
{
    struct conf_error err = {.text = ""};
    uint32_t missing, n = conf_check_all(NULL, &first, file_table, &missing, found, arg);

    for (struct conf_node *d = first; d; d = d->next) {
        n += conf_check_all(d, NULL, channel_block_table, &missing, found, arg);
        if (!missing && (add_channel(set, dir, d, &err) < 0 ||
                         check_tls(&set->channels[set->count - 1], &err) < 0)) {
            found(arg, &err);
            n++;
        }
    }
    return n;
}

static bool has_channels(struct arena *arena, const char *path, struct conf_node **first)
{
    struct conf_error err;

    return conf_parse_file(arena, path, first, &err) == 0 && conf_find(*first, "pay_channel");
}

uint32_t channel_check(const char *path, const char *adapter_dir,
                       void (*found)(void *arg, const struct conf_error *err), void *arg)
{
    struct channel_set *set = new_set();
    struct conf_node *first = NULL;
    struct conf_error err = {.text = ""};
    uint32_t n;

    if (!set) {
        conf_fail(&err, NULL, "out of memory");
        found(arg, &err);
        return 1;
    }
    n = has_channels(&set->arena, path, &first) ? check_blocks(set, first, adapter_dir, found, arg)
                                                : adapter_check(path, NULL, found, arg);
    channel_set_free(set);
    return n;
}

void channel_set_free(struct channel_set *set)
{
    if (!set)
        return;
    free(set->channels);
    free(set->adapters);
    arena_release(&set->arena);
    free(set);
}

/* ------------------------------------------------------------------ reading the set */

size_t channel_count(const struct channel_set *set)
{
    return set->count;
}

const struct channel *channel_at(const struct channel_set *set, size_t i)
{
    return i < set->count ? &set->channels[i] : NULL;
}

const struct channel *channel_find(const struct channel_set *set, struct slice name)
{
    for (size_t i = 0; i < set->count; i++)
        if (slice_eq(set->channels[i].facts.name, name))
            return &set->channels[i];
    return NULL;
}

const struct channel_facts *channel_facts(const struct channel *c)
{
    return &c->facts;
}

bool channel_has(const struct channel *c, enum call_kind kind, enum payment_method method)
{
    bool begins = kind == CALL_PREPARE || kind == CALL_CHARGE;

    if ((unsigned)method >= PAYMENT_METHOD_COUNT || (begins && !(c->methods & 1u << method)))
        return false;
    return adapter_find_api(c->adapter, kind, method) != NULL;
}

bool channel_api(const struct channel *c, enum call_kind kind, enum payment_method method,
                 struct channel_api *out)
{
    const struct adapter_api *api = adapter_find_api(c->adapter, kind, method);

    *out = (struct channel_api){0};
    if (!api)
        return false;
    *out = (struct channel_api){.name = api->name,
                                .idempotent = api->idempotent,
                                .resend = api->resend,
                                .local = api->local,
                                .sla_us = api->sla_us,
                                .earliest_us = api->earliest_us,
                                .window_us = api->window_us,
                                .same_day = api->same_day};
    return true;
}

bool channel_in_window(const struct channel *c, enum call_kind kind, enum payment_method method,
                       pay_time_t paid_at, pay_time_t now)
{
    const struct adapter_api *api = adapter_find_api(c->adapter, kind, method);
    char day[9], today[9];

    if (!api)
        return false;
    if (api->same_day) {
        time_format_day(day, paid_at);
        time_format_day(today, now);
        return memcmp(day, today, 8) == 0;
    }
    return !api->window_us || now - paid_at <= api->window_us;
}

int channel_address(const struct channel *c, struct slice text, struct channel_address *out,
                    const char **reason)
{
    struct url url;

    *reason = "expected an https address without port";
    if (url_parse(text, &url, reason) < 0)
        return -1;
    for (uint32_t i = 0; i < c->adapter->nhosts; i++) {
        if (!slice_eq_nocase(url.host, c->adapter->hosts[i]))
            continue;
        *out = (struct channel_address){url.host, url.target};
        *reason = NULL;
        return 0;
    }
    *reason = "the adapter does not name this host under download";
    return -1;
}
