#include "callback_stats.h"

#include "worker.h"

#include <stdlib.h>

#define ASK_US (10 * USEC_PER_SEC)

enum end { END_DONE, END_REFUSED, END_SILENT, ENDS };

struct callback_stats {
    struct worker *w;
    struct loop_timer *timer;
    int64_t tries[ENDS];
    int64_t given_up_here;
    int64_t waiting, given_up; /* -1: not known yet */
    pay_time_t oldest;         /* 0: nothing waits */
    bool asking;
};

static void on_backlog(void *arg, enum store_result r, int64_t waiting, int64_t given_up,
                       pay_time_t oldest)
{
    struct callback_stats *s = arg;

    s->asking = false;
    if (r != STORE_DONE)
        return;
    s->waiting = waiting;
    s->given_up = given_up;
    s->oldest = oldest;
}

static void on_timer(void *arg)
{
    struct callback_stats *s = arg;

    loop_timer_set(s->timer, ASK_US);
    if (s->asking)
        return;
    s->asking = true;
    store_callbacks_backlog(s->w->store, s->w->process->slot_from, s->w->process->slot_to,
                            on_backlog, s);
}

struct callback_stats *callback_stats_new(struct worker *w)
{
    struct callback_stats *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->w = w;
    s->waiting = s->given_up = -1;
    s->timer = loop_timer_new(w->loop, on_timer, s);
    if (!s->timer) {
        free(s);
        return NULL;
    }
    return s;
}

/* Only who shows figures asks for them. */
void callback_stats_start(struct callback_stats *s)
{
    if (s->w->process->status)
        loop_timer_set(s->timer, 0);
}

void callback_stats_stop(struct callback_stats *s)
{
    loop_timer_clear(s->timer);
}

void callback_stats_try(struct callback_stats *s, enum callback_state state, bool answered)
{
    s->tries[state == CALLBACK_DONE ? END_DONE : answered ? END_REFUSED : END_SILENT]++;
    s->given_up_here += state == CALLBACK_GIVEN_UP;
}

static void gauge(struct buf *b, const char *name, const char *help, int64_t v)
{
    if (v >= 0)
        buf_addf(b, "# HELP %s %s\n# TYPE %s gauge\n%s %lld\n", name, help, name, name,
                 (long long)v);
}

static int64_t overdue_s(const struct callback_stats *s)
{
    pay_time_t now = worker_now(s->w);

    return s->oldest && s->oldest < now ? (now - s->oldest) / USEC_PER_SEC : 0;
}

void callback_stats_metrics(const struct callback_stats *s, long active, long suspects,
                            struct buf *b)
{
    static const char *const ends[ENDS] = {"done", "refused", "silent"};

    buf_add_str(b, "# HELP pay_callback_tries_total calls to merchants by their end\n"
                   "# TYPE pay_callback_tries_total counter\n");
    for (int i = 0; i < ENDS; i++)
        buf_addf(b, "pay_callback_tries_total{end=\"%s\"} %lld\n", ends[i], (long long)s->tries[i]);
    buf_addf(b,
             "# HELP pay_callback_given_up_total callbacks given up by this process\n"
             "# TYPE pay_callback_given_up_total counter\n"
             "pay_callback_given_up_total %lld\n",
             (long long)s->given_up_here);
    gauge(b, "pay_callback_active", "calls to merchants open now", active);
    gauge(b, "pay_callback_suspects", "of them to merchants that did not answer lately", suspects);
    gauge(b, "pay_callback_overdue_seconds", "how late the oldest due callback is", overdue_s(s));
    gauge(b, "pay_callback_waiting", "callbacks in the database that wait for a try, 10000 at most",
          s->waiting);
    gauge(b, "pay_callback_given_up", "callbacks in the database that were given up, 10000 at most",
          s->given_up);
}

void callback_stats_free(struct callback_stats *s)
{
    if (!s)
        return;
    loop_timer_free(s->timer);
    free(s);
}
