#include "bills.h"

#include "accounts.h"
#include "backends/io/child.h"
#include "backends/io/log.h"
#include "core/json.h" /* utf8_prefix */

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ROUND_US   (60 * USEC_PER_SEC)  /* at most, between looks at all accounts */
#define FETCH_US   (300 * USEC_PER_SEC) /* for payctl */
#define LEASE_US   (2 * FETCH_US)
#define REASON_MAX 400
#define NAME_MAX_  64
#define SERIES_MAX 4096

/* What is known of an account's bills. */
struct series {
    char channel[NAME_MAX_ + 1], account[NAME_MAX_ + 1];
    pay_time_t until;        /* end of the newest day that is stored; 0: none */
    uint64_t stored, failed; /* by this process */
};

/* One account at a time, one bill at a time: `now` is whose. */
struct bills {
    struct worker *w;
    struct loop_timer *timer;
    struct child *child;
    size_t next;
    bool asking, stopped;
    struct series *now;
    char day[CHANNEL_DAY_LEN + 1];
    struct series *all;
    size_t count;
    char payctl[PATH_MAX];
};

static void look(struct bills *b);

static const struct channel *channel_of(const struct bills *b)
{
    return channel_find(b->w->channels, slice_of(b->now->channel));
}

/* This account is done with; the next one. */
static void finish(struct bills *b)
{
    b->asking = false;
    if (!b->stopped)
        look(b);
}

/* ---- what came of it ---- */

static void on_noted(void *arg, enum store_result r)
{
    struct bills *b = arg;

    if (r == STORE_DONE)
        log_event(LOG_ALERT, "bill_late", LOG_S("channel", slice_of(b->now->channel)),
                  LOG_S("account", slice_of(b->now->account)), LOG_S("day", slice_of(b->day)));
    finish(b);
}

static void note_failure(struct bills *b, struct slice reason)
{
    const struct timer_options *o = &b->w->options->timers;
    const struct channel *c = channel_of(b);
    pay_time_t ready = c ? channel_bill_ready(c, slice_of(b->day)) : 0;
    const struct store_bill_failure f = {.channel = slice_of(b->now->channel),
                                         .account = slice_of(b->now->account),
                                         .day = slice_of(b->day),
                                         .reason = reason,
                                         .again_us = o->bills_us,
                                         .late =
                                             ready && worker_now(b->w) - ready > o->bills_late_us};

    b->now->failed++;
    log_event(LOG_WARN, "bill_failed", LOG_S("channel", f.channel), LOG_S("account", f.account),
              LOG_S("day", f.day), LOG_S("reason", f.reason));
    store_bill_failed(b->w->store, &f, on_noted, b);
}

static void on_child(void *arg, int status, struct slice said)
{
    struct bills *b = arg;
    struct slice name = SLICE("payctl: ");

    b->child = NULL;
    if (status == 0) {
        b->now->stored++;
        log_event(LOG_NOTICE, "bill_fetched", LOG_S("channel", slice_of(b->now->channel)),
                  LOG_S("account", slice_of(b->now->account)), LOG_S("day", slice_of(b->day)));
        b->next--; /* the account's next day, and what is stored now */
        finish(b);
        return;
    }
    if (slice_starts(said, name))
        said = slice_n(said.p + name.n, said.n - name.n);
    if (status < 0)
        said = SLICE("payctl was ended, or took too long");
    else if (said.n > REASON_MAX)
        said = slice_n(said.p, REASON_MAX);
    if (said.n == 0)
        said = SLICE("payctl failed and said nothing");
    note_failure(b, slice_n(said.p, utf8_prefix(said)));
}

/* ---- asking ---- */

static void set_day(struct series *s, struct slice day)
{
    pay_time_t start;

    if (day.n && channel_day_parse(day, &start) == 0)
        s->until = start + 24 * 3600 * USEC_PER_SEC;
}

static void on_claim(void *arg, enum store_result r, struct slice day, struct slice stored)
{
    struct bills *b = arg;
    const char *argv[] = {b->payctl,       "-c",   b->w->options->file, "bill",          "fetch",
                          b->now->channel, b->day, "--account",         b->now->account, NULL};

    if (r == STORE_DONE)
        set_day(b->now, stored);
    if (b->stopped || r != STORE_DONE || day.n != CHANNEL_DAY_LEN) {
        finish(b);
        return;
    }
    snprintf(b->day, sizeof(b->day), "%.*s", SLICE_FMT(day));
    b->child = child_run(b->w->loop, argv, FETCH_US, on_child, b);
    if (!b->child)
        note_failure(b, SLICE("payctl could not be started"));
}

/* Never moved while it is `now`: the array has its largest size from the start. */
static struct series *series_of(struct bills *b, struct slice channel, struct slice account)
{
    struct series *s;

    for (size_t i = 0; i < b->count; i++)
        if (slice_is(channel, b->all[i].channel) && slice_is(account, b->all[i].account))
            return &b->all[i];
    if (b->count == SERIES_MAX || channel.n > NAME_MAX_ || account.n > NAME_MAX_)
        return NULL;
    s = &b->all[b->count++];
    snprintf(s->channel, sizeof(s->channel), "%.*s", SLICE_FMT(channel));
    snprintf(s->account, sizeof(s->account), "%.*s", SLICE_FMT(account));
    return s;
}

/* From `next` on: the first account that has bills. */
static void look(struct bills *b)
{
    const struct channel_account *a;
    char newest[CHANNEL_DAY_LEN + 1];
    struct slice account;

    while (accounts_at(b->w->accounts, b->next++, &account, &a)) {
        const struct channel *c =
            a ? channel_find(b->w->channels, channel_account_channel(a)) : NULL;

        if (!c || !accounts_on(b->w->accounts, b->next - 1) ||
            !channel_bill_newest(c, worker_now(b->w), newest))
            continue;
        b->now = series_of(b, channel_account_channel(a), account);
        if (!b->now)
            continue;
        b->asking = true;
        store_bill_claim(b->w->store, channel_account_channel(a), account, slice_of(newest),
                         LEASE_US, on_claim, b);
        return;
    }
}

static void on_timer(void *arg)
{
    struct bills *b = arg;
    int64_t again = b->w->options->timers.bills_us;

    loop_timer_set(b->timer, again < ROUND_US ? again : ROUND_US);
    if (b->asking || !worker_clock_steady(b->w))
        return;
    b->next = 0;
    look(b);
}

/* ---- metrics ---- */

void bills_metrics(const void *arg, struct buf *to)
{
    const struct bills *b = arg;

    buf_add_str(to, "# HELP pay_worker_bill_end_seconds Up to when the bills of a channel account "
                    "are stored, Unix time; 0: none.\n"
                    "# TYPE pay_worker_bill_end_seconds gauge\n");
    for (size_t i = 0; i < b->count; i++)
        buf_addf(to, "pay_worker_bill_end_seconds{channel=\"%s\",account=\"%s\"} %lld\n",
                 b->all[i].channel, b->all[i].account, (long long)(b->all[i].until / USEC_PER_SEC));
    buf_add_str(to, "# HELP pay_worker_bills_total Bills asked for, by what came of it.\n"
                    "# TYPE pay_worker_bills_total counter\n");
    for (size_t i = 0; i < b->count; i++)
        buf_addf(to,
                 "pay_worker_bills_total{channel=\"%s\",account=\"%s\",end=\"stored\"} %llu\n"
                 "pay_worker_bills_total{channel=\"%s\",account=\"%s\",end=\"failed\"} %llu\n",
                 b->all[i].channel, b->all[i].account, (unsigned long long)b->all[i].stored,
                 b->all[i].channel, b->all[i].account, (unsigned long long)b->all[i].failed);
}

/* ---- life ---- */

/* Both are installed side by side, and built so. */
static int find_payctl(struct bills *b)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *name;

    if (n <= 0)
        return -1;
    self[n] = '\0';
    name = strrchr(self, '/');
    if (!name)
        return -1;
    n = snprintf(b->payctl, sizeof(b->payctl), "%.*s/payctl", (int)(name - self), self);
    return n < (ssize_t)sizeof(b->payctl) && access(b->payctl, X_OK) == 0 ? 0 : -1;
}

struct bills *bills_new(struct worker *w, struct conf_error *err)
{
    struct bills *b = calloc(1, sizeof(*b));

    if (!b)
        return NULL;
    b->w = w;
    b->all = calloc(SERIES_MAX, sizeof(*b->all));
    b->timer = loop_timer_new(w->loop, on_timer, b);
    if (!b->all || !b->timer) {
        conf_fail(err, NULL, "out of memory");
    } else if (w->options->timers.bills_us && find_payctl(b) != 0) {
        conf_fail(err, NULL, "timers: bills: payctl is not beside payd, where it is looked for");
    } else {
        return b;
    }
    bills_free(b);
    return NULL;
}

void bills_start(struct bills *b)
{
    if (b->w->options->timers.bills_us)
        loop_timer_set(b->timer, 0);
}

void bills_stop(struct bills *b)
{
    if (b->stopped)
        return;
    b->stopped = true;
    loop_timer_clear(b->timer);
    child_end(b->child);
    b->child = NULL;
}

void bills_free(struct bills *b)
{
    if (!b)
        return;
    child_end(b->child);
    loop_timer_free(b->timer);
    free(b->all);
    free(b);
}
