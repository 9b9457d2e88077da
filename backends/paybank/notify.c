/*
 * DESIGN. A notification exists from the payment until it was taken or given up: it waits for its
 * time (timer), then in the queue (so that thousands paid at once do not open thousands of
 * connections), then for its answer. Faults are drawn when its time has come; a delayed one is not
 * drawn again.
 */
#include "notify.h"

#include "backends/io/log.h"
#include "exchange.h"
#include <stdlib.h>

#define ACTIVE_MAX 128
#define ANSWER_US  (5 * USEC_PER_SEC)
#define BUSY_US    (100 * USEC_PER_MSEC)

enum phase { WAITING, QUEUED, ACTIVE };

struct notification {
    struct notifier *nf;
    struct order *order;
    struct loop_timer *timer;
    struct notification *prev, *next; /* all of them */
    struct notification *queue_next;
    enum phase phase;
    enum fault_kind fault;
    uint32_t sent; /* of the schedule */
    bool by_hand;  /* one try, no schedule */
    bool again;    /* send once more, taken or not */
    bool drawn;
    bool now; /* asked for by hand while it was active */
};

struct notifier {
    struct bank *bank;
    struct http_out *out;
    struct notification *all;
    struct notification *first, *last; /* queue */
    unsigned active;
    bool stopping;
};

struct notifier *notifier_new(struct bank *bank)
{
    struct notifier *nf = calloc(1, sizeof(*nf));
    struct http_out_conf conf = {
        .ca_file = bank->conf.ca_file,
        .max_active = ACTIVE_MAX * 2,
        .user_agent = "Mozilla/4.0",
    };
    struct addr_rule loopback;

    if (!nf || addr_rule_parse(SLICE("127.0.0.0/8"), &loopback) < 0) {
        free(nf);
        return NULL;
    }
    conf.allow = &loopback;
    conf.nallow = 1;
    nf->bank = bank;
    nf->out = http_out_new(bank->loop, &conf);
    if (!nf->out) {
        free(nf);
        return NULL;
    }
    return nf;
}

static void forget(struct notification *n)
{
    if (n->prev)
        n->prev->next = n->next;
    else
        n->nf->all = n->next;
    if (n->next)
        n->next->prev = n->prev;
    n->order->notification = NULL;
    loop_timer_free(n->timer);
    free(n);
}

void notifier_free(struct notifier *nf)
{
    if (!nf)
        return;
    nf->stopping = true;
    http_out_free(nf->out);
    while (nf->all)
        forget(nf->all);
    free(nf);
}

/* ---- sending ---- */

static void pump(struct notifier *nf);
static void on_due(void *arg);

static void say(enum log_level level, const char *event, const struct notification *n, int status,
                const char *reason)
{
    log_event(level, event, LOG_S("out_trade_no", order_no(n->order)),
              LOG_S("channel", slice_of(bank_channel_name(n->order->merchant->channel))),
              LOG_I("try", n->order->notify_tries), LOG_I("status", status),
              LOG_S("reason", slice_of(reason)));
}

static void enqueue(struct notification *n)
{
    struct notifier *nf = n->nf;

    n->phase = QUEUED;
    n->queue_next = NULL;
    if (nf->last)
        nf->last->queue_next = n;
    else
        nf->first = n;
    nf->last = n;
}

static void wait(struct notification *n, int64_t delay_us)
{
    n->phase = WAITING;
    loop_timer_set(n->timer, delay_us);
}

/* Not taken: the schedule says when again. */
static void try_later(struct notification *n, int status, const char *reason)
{
    const struct bank_conf *conf = &n->nf->bank->conf;

    if (n->by_hand || n->sent > conf->notify_retries) {
        say(LOG_NOTICE, "notify_given_up", n, status, reason);
        forget(n);
        return;
    }
    say(LOG_INFO, "notify_not_taken", n, status, reason);
    wait(n, conf->notify_retry_us[n->sent - 1]);
}

static void on_result(void *arg, const struct http_out_result *r)
{
    struct notification *n = arg;
    struct notifier *nf = n->nf;
    const struct protocol *protocol = protocol_of(n->order->merchant);
    int status = r->error == HTTP_OUT_OK ? r->status : 0;
    bool taken = r->error == HTTP_OUT_OK && protocol->taken(r->status, r->body);

    if (nf->stopping)
        return;
    nf->active--;
    if (r->error == HTTP_OUT_BUSY) {
        n->drawn = true;
        wait(n, BUSY_US);
    } else {
        n->sent++;
        books_tried(nf->bank->books, n->order, status, taken, clock_read_wall());
        n->fault = FAULT_NONE;
        if (n->again) {
            n->again = false;
            enqueue(n);
        } else if (n->now) {
            n->now = false;
            wait(n, 0);
        } else if (taken) {
            say(LOG_DEBUG, "notify_taken", n, status, "");
            forget(n);
        } else {
            try_later(n, status, r->reason ? r->reason : "answer says no");
        }
    }
    pump(nf);
}

/* The payment bank of a test stack has no business with the world outside. An address and no name:
 * 127.example.com is elsewhere. */
static bool stays_here(struct slice s)
{
    const char *reason;
    struct url url;

    if (url_parse(s, &url, &reason) < 0)
        return false;
    if (slice_eq_nocase(url.host, SLICE("localhost")))
        return true;
    for (size_t i = 0; i < url.host.n; i++)
        if (url.host.p[i] != '.' && (url.host.p[i] < '0' || url.host.p[i] > '9'))
            return false;
    return slice_starts(url.host, SLICE("127."));
}

static void send_one(struct notification *n)
{
    struct notifier *nf = n->nf;
    struct slice url = slice_of(n->order->notify_url);
    struct notice notice;
    struct arena a;

    if (!stays_here(url)) {
        say(LOG_WARN, "notify_refused", n, 0, "notify_url is not on this machine");
        forget(n);
        return;
    }
    arena_init(&a, 65536);
    n->phase = ACTIVE;
    n->drawn = false;
    if (protocol_of(n->order->merchant)
            ->notice(nf->bank, n->order, n->fault, clock_read_wall(), &a, &notice) < 0) {
        say(LOG_ERROR, "notify_not_made", n, 0, "out of memory, or the key failed");
        forget(n);
    } else {
        nf->active++;
        http_out_post(nf->out, url, notice.headers, notice.nheaders, notice.body, ANSWER_US,
                      on_result, n);
    }
    arena_release(&a);
}

static void pump(struct notifier *nf)
{
    while (nf->first && nf->active < ACTIVE_MAX) {
        struct notification *n = nf->first;

        nf->first = n->queue_next;
        if (!nf->first)
            nf->last = NULL;
        send_one(n);
    }
}

static void on_due(void *arg)
{
    struct notification *n = arg;
    struct notifier *nf = n->nf;
    struct fault_draw draw = {FAULT_NONE, 0};

    if (!n->drawn)
        draw = faults_draw(nf->bank->faults, n->order->merchant->channel, BANK_NOTIFY,
                           order_no(n->order));
    n->drawn = true;
    if (draw.kind == FAULT_NO_NOTIFY) {
        forget(n);
        return;
    }
    if (draw.kind == FAULT_DELAY) {
        wait(n, draw.delay_us);
        return;
    }
    if (draw.kind != FAULT_NONE)
        n->fault = draw.kind;
    if (draw.kind == FAULT_DUPLICATE_NOTIFY)
        n->again = true;
    enqueue(n);
    pump(nf);
}

/* ---- beginning ---- */

static struct notification *begin(struct notifier *nf, struct order *o)
{
    struct notification *n = calloc(1, sizeof(*n));

    if (!n)
        return NULL;
    n->timer = loop_timer_new(nf->bank->loop, on_due, n);
    if (!n->timer) {
        free(n);
        return NULL;
    }
    n->nf = nf;
    n->order = o;
    n->next = nf->all;
    if (n->next)
        n->next->prev = n;
    nf->all = n;
    o->notification = n;
    return n;
}

void notify_paid(struct notifier *nf, struct order *o)
{
    struct notification *n = begin(nf, o);

    if (n)
        wait(n, nf->bank->conf.notify_delay_us);
}

int notify_now(struct notifier *nf, struct order *o)
{
    struct notification *n = o->notification;

    if (o->state != ORDER_SUCCESS)
        return -1;
    if (!n) {
        n = begin(nf, o);
        if (!n)
            return -1;
        n->by_hand = true;
    }
    if (n->phase == WAITING)
        wait(n, 0);
    else if (n->phase == ACTIVE)
        n->now = true;
    return 0;
}

void notifier_resume(struct notifier *nf)
{
    const struct bank_conf *conf = &nf->bank->conf;

    for (uint32_t seq = 1; seq <= books_count(nf->bank->books); seq++) {
        struct order *o = books_at(nf->bank->books, seq);
        struct notification *n;

        if (o->state != ORDER_SUCCESS || o->notified || o->notify_tries > conf->notify_retries)
            continue;
        n = begin(nf, o);
        if (!n)
            return;
        n->sent = o->notify_tries;
        wait(n, n->sent ? conf->notify_retry_us[n->sent - 1] : conf->notify_delay_us);
    }
}
