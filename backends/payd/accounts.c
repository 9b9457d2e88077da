#include "accounts.h"

#include "backends/io/log.h"
#include "watched.h"
#include "worker.h"

#include <stdlib.h>

#define READ_EVERY_S 5
#define ACCOUNTS_MAX 4096
#define ARENA_CAP    (32u << 20)

struct entry {
    struct slice channel, account, mchid;
    struct channel_account *opened; /* NULL: unusable, which was logged */
    bool on;                        /* else for what was begun with it: queries, refunds, news */
};

/* One reading of the table; replaced whole by the next when anything differs. */
struct snapshot {
    struct arena arena;
    struct entry *entries;
    size_t count;
    uint64_t fingerprint;
};

struct accounts {
    struct worker *w;
    struct snapshot *current;
    struct arena *reading;
    unsigned waited_s, warned_s; /* since the last reading, warning */
};

struct accounts *accounts_new(struct worker *w)
{
    struct accounts *a = calloc(1, sizeof(*a));

    if (a) {
        a->w = w;
        a->waited_s = READ_EVERY_S;
    }
    return a;
}

static void snapshot_free(void *arg)
{
    struct snapshot *s = arg;

    if (!s)
        return;
    for (size_t i = 0; i < s->count; i++)
        channel_account_free(s->entries[i].opened);
    arena_release(&s->arena);
    free(s);
}

void accounts_free(struct accounts *a)
{
    if (!a)
        return;
    snapshot_free(a->current);
    if (a->reading) {
        arena_release(a->reading);
        free(a->reading);
    }
    free(a);
}

bool accounts_known(const struct accounts *a)
{
    return a->current != NULL;
}

static struct channel_account *open_account(struct worker *w, const struct channel *c,
                                            struct slice context, const struct store_account *row)
{
    struct channel_account *opened = NULL;
    struct conf_error err = {.text = ""};
    struct buf plain;
    int rc = -1;

    buf_init(&plain, 1 << 20);
    if (vault_ring_open(&w->vault, context, row->secrets_sealed, &plain) < 0)
        conf_fail(&err, NULL, "secrets open with no master key of ours");
    else
        rc = channel_account_new(c, row->account, row->config, buf_slice(&plain), &opened, &err);
    if (plain.p)
        wipe(plain.p, plain.n);
    buf_release(&plain);
    if (rc != 0)
        log_event(LOG_ERROR, "account_unusable", LOG_S("channel", row->channel),
                  LOG_S("account", row->account), LOG_S("reason", slice_of(err.text)));
    return rc == 0 ? opened : NULL;
}

static void add_entry(struct worker *w, struct snapshot *s, const struct store_account *row)
{
    struct entry *e = &s->entries[s->count];
    const struct channel *c = channel_find(w->channels, row->channel);

    if (!c) /* of a channel this process does not have: not ours to open */
        return;
    e->opened = open_account(w, c,
                             arena_printf(&s->arena, "channel_account:%.*s:%.*s",
                                          SLICE_FMT(row->channel), SLICE_FMT(row->account)),
                             row);
    e->channel = arena_copy(&s->arena, row->channel);
    e->account = arena_copy(&s->arena, row->account);
    e->mchid = arena_copy(&s->arena, row->mchid);
    e->on = row->on;
    if (e->opened)
        channel_account_trust(e->opened, row->certificates);
    s->count++;
}

static uint64_t fingerprint(const struct store_account *rows, size_t n)
{
    uint64_t h = n + 1;

    for (size_t i = 0; i < n; i++) {
        const struct slice parts[] = {rows[i].channel,        rows[i].account,
                                      rows[i].mchid,          rows[i].config,
                                      rows[i].secrets_sealed, rows[i].certificates};
        for (size_t k = 0; k < sizeof(parts) / sizeof(parts[0]); k++)
            h = h * 0x9e3779b97f4a7c15ULL + slice_hash(parts[k]);
        h += rows[i].on;
    }
    return h;
}

/* ---- certificates that end ---- */

/* Those of the account's secrets; those that the channel publishes are fetched by themselves, which
 * is told when it fails (certificates.c). */
static void warn_ends(const struct accounts *a)
{
    const struct snapshot *s = a->current;
    pay_time_t now = worker_now(a->w);
    struct channel_secret secret;

    for (size_t i = 0; i < s->count; i++)
        for (size_t k = 0; s->entries[i].opened && s->entries[i].on &&
                           channel_account_secret(s->entries[i].opened, k, &secret);
             k++)
            if (secret.present && secret.until)
                certificate_warn(s->entries[i].channel, s->entries[i].account, secret.name,
                                 secret.until, now);
}

static void take(struct accounts *a, const struct store_account *rows, size_t n, uint64_t print)
{
    struct snapshot *s = calloc(1, sizeof(*s));

    if (!s)
        return;
    arena_init(&s->arena, ARENA_CAP);
    s->entries = arena_array(&s->arena, struct entry, n + 1);
    s->fingerprint = print;
    for (size_t i = 0; s->entries && i < n; i++)
        add_entry(a->w, s, &rows[i]);
    if (s->arena.failed) { /* some would be missing: the old ones stay, and it is tried again */
        snapshot_free(s);
        return;
    }
    if (a->current)
        loop_defer(a->w->loop, snapshot_free, a->current);
    a->current = s;
    a->warned_s = 0;
    warn_ends(a);
}

static void on_accounts(void *arg, enum store_result r, const struct store_account *rows, size_t n)
{
    struct accounts *a = arg;

    if (n > ACCOUNTS_MAX) {
        log_event(LOG_ALERT, "too_many_accounts", LOG_I("accounts", n), LOG_I("max", ACCOUNTS_MAX));
    } else if (r == STORE_DONE || r == STORE_NONE) {
        uint64_t print = fingerprint(rows, n);
        if (!a->current || a->current->fingerprint != print)
            take(a, rows, n, print);
    }
    arena_release(a->reading);
    free(a->reading);
    a->reading = NULL;
}

void accounts_tick(struct accounts *a)
{
    if (a->current && ++a->warned_s >= CERTIFICATE_WARN_EVERY_S) {
        a->warned_s = 0;
        warn_ends(a);
    }
    if (a->reading || (a->current && ++a->waited_s < READ_EVERY_S))
        return;
    a->reading = calloc(1, sizeof(*a->reading));
    if (!a->reading)
        return;
    a->waited_s = 0;
    arena_init(a->reading, ARENA_CAP);
    store_accounts_get(a->w->store, a->reading, on_accounts, a);
}

const struct channel_account *accounts_get(const struct accounts *a, struct slice channel,
                                           struct slice account)
{
    const struct snapshot *s = a->current;

    for (size_t i = 0; s && i < s->count; i++)
        if (slice_eq(s->entries[i].channel, channel) && slice_eq(s->entries[i].account, account))
            return s->entries[i].opened;
    return NULL;
}

/* Nothing is sent whose answer could not be believed. */
static bool can_verify(const struct worker *w, const struct entry *e)
{
    return !channel_account_refreshes(e->opened) ||
           channel_account_trusts_until(e->opened, worker_now(w)) > 0;
}

/* Of entries that pay alike the one that the channel's block names goes first. */
static const struct entry *better(const struct worker *w, const struct entry *a,
                                  const struct entry *b)
{
    const struct channel *c = channel_find(w->channels, b->channel);

    if (!b->on || !b->opened || !can_verify(w, b))
        return a;
    return !a || (c && slice_eq(channel_facts(c)->account, b->account)) ? b : a;
}

const struct channel_account *accounts_choose(const struct accounts *a, struct slice channel,
                                              struct slice mchid, struct slice *account)
{
    const struct snapshot *s = a->current;
    const struct entry *shared = NULL, *own = NULL, *e;
    bool owns = false;

    for (size_t i = 0; s && i < s->count; i++) {
        e = &s->entries[i];
        if (!slice_eq(e->channel, channel))
            continue;
        if (!e->mchid.n) {
            shared = better(a->w, shared, e);
        } else if (slice_eq(e->mchid, mchid)) {
            owns = true;
            own = better(a->w, own, e);
        }
    }
    e = owns ? own : shared;
    if (!e)
        return NULL;
    *account = e->account;
    return e->opened;
}

bool accounts_on(const struct accounts *a, size_t i)
{
    return a->current && i < a->current->count && a->current->entries[i].on;
}

bool accounts_at(const struct accounts *a, size_t i, struct slice *account,
                 const struct channel_account **opened)
{
    const struct snapshot *s = a->current;

    if (!s || i >= s->count)
        return false;
    *account = s->entries[i].opened ? s->entries[i].account : SLICE_NULL;
    *opened = s->entries[i].opened;
    return true;
}
