#include "metrics.h"

#include "accounts.h"
#include "watched.h"

#include <stdlib.h>

struct metrics {
    struct worker *w;
    uint64_t (*notices)[NOTICE_END_COUNT]; /* by channel */
    uint64_t stray;
};

struct metrics *metrics_new(struct worker *w)
{
    struct metrics *m = calloc(1, sizeof(*m));

    if (!m)
        return NULL;
    m->w = w;
    m->notices = calloc(channel_count(w->channels) + 1, sizeof(*m->notices));
    if (!m->notices) {
        free(m);
        return NULL;
    }
    return m;
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    free(m->notices);
    free(m);
}

void metrics_notice(struct metrics *m, const struct channel *c, enum notice_end end)
{
    for (size_t i = 0; i < channel_count(m->w->channels); i++)
        if (channel_at(m->w->channels, i) == c)
            m->notices[i][end]++;
}

void metrics_stray(struct metrics *m)
{
    m->stray++;
}

/* ---- the page; names of channels, accounts and secrets need no escaping ---- */

static void head(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_addf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_notices(const struct metrics *m, struct buf *b)
{
    static const char *const ends[] = {
#define X(name, text) [NOTICE_##name] = text,
        NOTICE_END_TABLE(X)
#undef X
    };

    head(b, "pay_worker_notifications_total", "counter", "Notifications of channels.");
    for (size_t i = 0; i < channel_count(m->w->channels); i++)
        for (int end = 0; end < NOTICE_END_COUNT; end++)
            buf_addf(b, "pay_worker_notifications_total{channel=\"%.*s\",end=\"%s\"} %llu\n",
                     SLICE_FMT(channel_facts(channel_at(m->w->channels, i))->name), ends[end],
                     (unsigned long long)m->notices[i][end]);
    head(b, "pay_worker_notifications_stray_total", "counter",
         "Notifications for no channel or account of ours.");
    buf_addf(b, "pay_worker_notifications_stray_total %llu\n", (unsigned long long)m->stray);
}

static void put_end(struct buf *b, struct slice channel, struct slice account, struct slice name,
                    pay_time_t until)
{
    buf_addf(b,
             "pay_worker_certificate_end_seconds{channel=\"%.*s\",account=\"%.*s\","
             "certificate=\"%.*s\"} %lld\n",
             SLICE_FMT(channel), SLICE_FMT(account), SLICE_FMT(name),
             (long long)(until / USEC_PER_SEC));
}

/* Of the secrets that are certificates; of those that the channel published the one that lasts. */
static void put_ends(const struct channel_account *a, pay_time_t now, struct buf *b)
{
    pay_time_t until = channel_account_trusts_until(a, now);
    struct slice channel = channel_account_channel(a), account = channel_account_name(a);
    struct channel_secret s;

    for (size_t i = 0; channel_account_secret(a, i, &s); i++)
        if (s.present && s.until)
            put_end(b, channel, account, s.name, s.until);
    if (channel_account_refreshes(a))
        put_end(b, channel, account, SLICE("published"), until);
}

static void put_accounts(const struct worker *w, struct buf *b)
{
    const struct channel_account *a;
    struct slice account, name;
    pay_time_t until;
    size_t usable = 0, all;

    head(b, "pay_worker_certificate_end_seconds", "gauge",
         "When a certificate ends, Unix time; 0: none is there.");
    for (all = 0; accounts_at(w->accounts, all, &account, &a); all++) {
        if (!a)
            continue;
        usable++;
        put_ends(a, worker_now(w), b);
    }
    for (size_t i = 0; watched_at(w->watched, i, &account, &name, &until); i++)
        put_end(b, account, SLICE_NULL, name, until);
    head(b, "pay_worker_accounts", "gauge", "Channel accounts, by whether they can be used.");
    buf_addf(b, "pay_worker_accounts{usable=\"yes\"} %zu\npay_worker_accounts{usable=\"no\"} %zu\n",
             usable, all - usable);
}

void metrics_page(const void *arg, struct buf *b)
{
    const struct metrics *m = arg;

    put_notices(m, b);
    put_accounts(m->w, b);
}
