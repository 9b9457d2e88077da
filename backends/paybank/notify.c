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
    struct event event;
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

/* Where the books keep what is under way. */
static struct notification **place_of(const struct event *ev)
{
    return ev->refund ? &ev->refund->notification : &ev->order->notification;
}

static const char *url_of(const struct event *ev)
{
    return ev->refund ? ev->refund->notify_url : ev->order->notify_url;
}

static uint32_t *tries_of(const struct event *ev)
{
    return ev->refund ? &ev->refund->notify_tries : &ev->order->notify_tries;
}

static void forget(struct notification *n)
{
    if (n->prev)
        n->prev->next = n->next;
    else
        n->nf->all = n->next;
    if (n->next)
        n->next->prev = n->prev;
    *place_of(&n->event) = NULL;
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
    const struct order *o = n->event.order;

    log_event(level, event, LOG_S("out_trade_no", order_no(o)),
              LOG_S("channel", slice_of(bank_channel_name(o->merchant->channel))),
              LOG_S("refund", n->event.refund ? refund_no(n->event.refund) : SLICE_NULL),
              LOG_I("try", *tries_of(&n->event)), LOG_I("status", status),
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

static void book_try(const struct notification *n, int status, bool taken)
{
    struct bank *bank = n->nf->bank;

    if (n->event.refund)
        refunds_tried(bank->books, n->event.refund, status, taken, bank_now(bank));
    else
        books_tried(bank->books, n->event.order, status, taken, bank_now(bank));
}

static void on_result(void *arg, const struct http_out_result *r)
{
    struct notification *n = arg;
    struct notifier *nf = n->nf;
    const struct protocol *protocol = protocol_of(n->event.order->merchant->channel);
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
        book_try(n, status, taken);
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
    struct slice url = slice_of(url_of(&n->event));
    enum sign_how how = n->fault == FAULT_BAD_SIGNATURE ? SIGN_WRONG
                        : n->fault == FAULT_UNSIGNED    ? SIGN_NOT
                                                        : SIGN_RIGHT;
    const struct protocol *protocol = protocol_of(n->event.order->merchant->channel);
    struct notice notice = {.nheaders = 0};
    struct arena a;

    if (!stays_here(url)) {
        say(LOG_WARN, "notify_refused", n, 0, "notify_url is not on this machine");
        forget(n);
        return;
    }
    arena_init(&a, 65536);
    n->phase = ACTIVE;
    n->drawn = false;
    if (protocol->notice(nf->bank, &n->event, n->fault, how, &a, &notice) < 0 || a.failed) {
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
    struct order *o = n->event.order;
    struct fault_draw draw = {.kind = FAULT_NONE};

    if (!n->drawn)
        draw = faults_draw(nf->bank->faults, o->merchant->channel,
                           n->event.refund ? BANK_NOTIFY_REFUND : BANK_NOTIFY, order_no(o));
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
    if (draw.kind == FAULT_DUPLICATE_NOTIFY || draw.kind == FAULT_CONTRADICTORY)
        n->again = true;
    enqueue(n);
    pump(nf);
}

/* ---- beginning ---- */

static struct notification *begin(struct notifier *nf, const struct event *ev)
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
    n->event = *ev;
    n->next = nf->all;
    if (n->next)
        n->next->prev = n;
    nf->all = n;
    *place_of(ev) = n;
    return n;
}

static void begin_after(struct notifier *nf, const struct event *ev, int64_t delay_us)
{
    struct notification *n = *url_of(ev) ? begin(nf, ev) : NULL;

    if (n)
        wait(n, delay_us + nf->bank->conf.notify_delay_us);
}

void notify_paid(struct notifier *nf, struct order *o)
{
    struct event ev = {o, NULL};

    if (!o->notification)
        begin_after(nf, &ev, 0);
}

void notify_refund(struct notifier *nf, struct refund *r)
{
    struct event ev = {r->order, r};
    int64_t left = r->due_at - bank_now(nf->bank);

    begin_after(nf, &ev, left > 0 ? left : 0);
}

int notify_now(struct notifier *nf, struct order *o)
{
    struct notification *n = o->notification;
    struct event ev = {o, NULL};

    if (!o->paid_at || !*o->notify_url)
        return -1;
    if (!n) {
        n = begin(nf, &ev);
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

static void resume(struct notifier *nf, const struct event *ev, int64_t first_us)
{
    const struct bank_conf *conf = &nf->bank->conf;
    uint32_t sent = *tries_of(ev);
    struct notification *n;

    if (sent > conf->notify_retries || !*url_of(ev))
        return;
    n = begin(nf, ev);
    if (!n)
        return;
    n->sent = sent;
    wait(n, sent ? conf->notify_retry_us[sent - 1] : conf->notify_delay_us + first_us);
}

void notifier_resume(struct notifier *nf)
{
    struct books *books = nf->bank->books;
    pay_time_t now = bank_now(nf->bank);

    for (uint32_t seq = 1; seq <= books_count(books); seq++) {
        struct event ev = {books_at(books, seq), NULL};

        if (ev.order->paid_at && !ev.order->notified)
            resume(nf, &ev, 0);
    }
    for (uint32_t seq = 1; seq <= refunds_count(books); seq++) {
        struct refund *r = refunds_at(books, seq);
        struct event ev = {r->order, r};

        if (!r->notified)
            resume(nf, &ev, r->due_at > now ? r->due_at - now : 0);
    }
}
