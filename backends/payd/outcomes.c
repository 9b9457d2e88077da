#include "outcomes.h"

#include "backends/io/log.h"
#include "core/json.h"

#include <stdlib.h>

#define CHANNEL_MAX 32u
#define SLOTS       512u /* a hash, three quarters of it used at most */
#define USED_MAX    384u
#define BODY_MAX    (60u << 10) /* below nginx's client_body_buffer_size */
#define TIMEOUT_US  (2 * USEC_PER_SEC)

/* One cell of the table: free while count is 0. */
struct cell {
    char channel[CHANNEL_MAX];
    uint8_t channel_n;
    uint8_t kind, cls;
    uint32_t count;
    int64_t took_us;
};

struct outcomes {
    struct worker *w;
    struct loop_timer *timer; /* set when there is something to send */
    struct cell cells[SLOTS];
    unsigned used;
    int64_t dropped; /* found no room since the last batch */
    bool sending;
    bool failing; /* the last batch was lost: said once */
    bool stopped;
};

static struct slice channel_of(const struct cell *c)
{
    return slice_n(c->channel, c->channel_n);
}

/* The cell of that key, or a free one; NULL when the table is full. */
static struct cell *find(struct outcomes *o, struct slice channel, enum call_kind kind,
                         enum answer_class cls)
{
    uint64_t h = slice_hash(channel) + (uint64_t)kind * 31 + (uint64_t)cls * 7;

    for (size_t i = h % SLOTS;; i = (i + 1) % SLOTS) {
        struct cell *c = &o->cells[i];

        if (c->count == 0)
            return o->used < USED_MAX ? c : NULL;
        if (c->kind == kind && c->cls == cls && slice_eq(channel_of(c), channel))
            return c;
    }
}

void outcomes_add(struct outcomes *o, struct slice channel, enum call_kind kind,
                  enum answer_class cls, int64_t took_us)
{
    struct cell *c;

    if (o->w->options->outcomes_us == 0 || o->stopped || channel.n > CHANNEL_MAX)
        return;
    c = find(o, channel, kind, cls);
    if (!c) {
        o->dropped++;
        return;
    }
    if (c->count == 0) {
        memcpy(c->channel, channel.p, channel.n);
        c->channel_n = (uint8_t)channel.n;
        c->kind = (uint8_t)kind;
        c->cls = (uint8_t)cls;
        c->took_us = 0;
        if (o->used++ == 0)
            loop_timer_set(o->timer, o->w->options->outcomes_us);
    }
    c->count++;
    c->took_us += took_us;
}

/* ---- sending ---- */

/* Pay-Kind of a call. */
static const char *egress_kind(enum call_kind kind)
{
    return kind == CALL_PREPARE ? "pay" : call_kind_name(kind);
}

static void write_cell(struct json_writer *w, const struct cell *c)
{
    json_begin_object(w);
    json_member_str(w, "channel", channel_of(c));
    json_member_str(w, "kind", slice_of(egress_kind((enum call_kind)c->kind)));
    json_member_str(w, "class", slice_of(answer_class_name((enum answer_class)c->cls)));
    json_member_int64(w, "count", c->count);
    json_member_int64(w, "ms", c->took_us / USEC_PER_MSEC);
    json_end_object(w);
}

static int by_channel(const void *a, const void *b)
{
    const struct cell *const *x = a, *const *y = b;
    size_t n = (*x)->channel_n < (*y)->channel_n ? (*x)->channel_n : (*y)->channel_n;
    int rc = memcmp((*x)->channel, (*y)->channel, n);

    return rc ? rc : (int)(*x)->channel_n - (int)(*y)->channel_n;
}

/* A channel's outcomes stand together: the breaker judges a batch of them at once. */
static void write_batch(struct outcomes *o, struct buf *b)
{
    const struct cell *cells[USED_MAX];
    struct json_writer w;
    size_t n = 0;

    for (size_t i = 0; i < SLOTS; i++)
        if (o->cells[i].count)
            cells[n++] = &o->cells[i];
    qsort(cells, n, sizeof(cells[0]), by_channel);
    json_writer_init(&w, b);
    json_begin_object(&w);
    json_key(&w, "outcomes");
    json_begin_array(&w);
    for (size_t i = 0; i < n; i++)
        write_cell(&w, cells[i]);
    json_end_array(&w);
    json_end_object(&w);
}

static void on_sent(void *arg, const struct http_answer *answer)
{
    struct outcomes *o = arg;
    bool taken = answer->outcome == HTTP_ANSWERED && answer->status == 200;

    o->sending = false;
    if (o->stopped)
        return;
    if (!taken && !o->failing)
        log_event(LOG_WARN, "outcomes_lost", LOG_I("status", answer->status),
                  LOG_S("reason", slice_of(answer->reason)));
    o->failing = !taken;
    if (o->used)
        loop_timer_set(o->timer, o->w->options->outcomes_us);
}

static void on_timer(void *arg)
{
    struct outcomes *o = arg;
    static const struct http_header headers[] = {
        {SLICE("Content-Type"), SLICE("application/json")}};
    struct buf b;

    if (o->sending || o->used == 0)
        return;
    buf_init(&b, BODY_MAX);
    write_batch(o, &b);
    if (o->dropped || !buf_ok(&b))
        log_event(LOG_WARN, "outcomes_dropped", LOG_I("count", o->dropped),
                  LOG_I("whole_batch", !buf_ok(&b)));
    memset(o->cells, 0, sizeof(o->cells));
    o->used = 0;
    o->dropped = 0;
    if (buf_ok(&b)) {
        struct http_call call = {.method = SLICE("POST"),
                                 .target = SLICE(OUTCOMES_TARGET),
                                 .headers = headers,
                                 .nheaders = 1,
                                 .body = buf_slice(&b),
                                 .timeout_us = TIMEOUT_US};

        o->sending = true;
        http_egress_send(o->w->egress, &call, on_sent, o);
    }
    buf_release(&b);
}

/* ---- life ---- */

struct outcomes *outcomes_new(struct worker *w)
{
    struct outcomes *o = calloc(1, sizeof(*o));

    if (!o)
        return NULL;
    o->w = w;
    o->timer = loop_timer_new(w->loop, on_timer, o);
    if (!o->timer) {
        free(o);
        return NULL;
    }
    return o;
}

void outcomes_stop(struct outcomes *o)
{
    if (!o || o->stopped)
        return;
    o->stopped = true;
    loop_timer_free(o->timer);
    o->timer = NULL;
}

void outcomes_free(struct outcomes *o)
{
    outcomes_stop(o);
    free(o);
}
