#include "relay.h"

#include "backends/io/log.h"
#include "backends/io/rds.h"
#include "relay_entry.h"
#include "worker.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

#define LEASE_US    (5 * USEC_PER_SEC)
#define STREAMS_MAX 64
#define KEY_MAX     80
#define READ_ARENA  (16u << 20)
#define OPEN_ARENA  (256u << 10)
#define IDLE_STEP   1000 /* transactions without an event that are worth a save */
#define MARKS       24   /* in the time of a refill */

/* KEYS[1]: the stream. ARGV: the entry it must end with, how many it keeps; for each new entry the
 * number of its names and values, and these. */
static const char script[] =
    "local top = '0-0'\n"
    "local info = redis.pcall('XINFO', 'STREAM', KEYS[1])\n"
    "if not info.err then for i = 1, #info, 2 do\n"
    "  if info[i] == 'last-generated-id' then top = info[i + 1] end end end\n"
    "if top ~= ARGV[1] then return {'MOVED', top} end\n"
    "local i = 3\n"
    "while i <= #ARGV do\n"
    "  local n = tonumber(ARGV[i])\n"
    "  top = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', unpack(ARGV, i + 1, i + n))\n"
    "  i = i + n + 1\n"
    "end\n"
    "return {'DONE', top}\n";

/* A turn: claim (twice a lease) ▸ read ▸ append ▸ save; then the next one, or the next poll. The
 * position in memory is always one that the database has. */
struct stream {
    struct relay *r;
    struct relay_stream id;
    char key[KEY_MAX];
    bool busy, held, grouped;
    int64_t claimed_us;
    struct relay_position at, next;
    struct arena at_open, read; /* of at.open; of what is read, next.open with it */
    struct relay_events events;
    pay_time_t oldest; /* of what is not yet appended; 0 = nothing */
};

struct relay {
    struct worker *w;
    struct rds *rds;
    struct loop_timer *poll;
    struct stream *streams;
    size_t n;
    bool stopped, failing;
    int64_t told, batches, refills, again;
};

static void turn(struct stream *s);

static void turn_end(struct stream *s)
{
    s->busy = false;
    arena_clear(&s->read);
}

static void keep_position(struct stream *s, const struct relay_position *p)
{
    struct relay_position at = *p;

    at.open = arena_copy(&s->read, p->open); /* p's may be in the arena that is emptied next */
    arena_clear(&s->at_open);
    at.open = arena_copy(&s->at_open, at.open);
    s->at = at;
    if (s->at_open.failed || s->read.failed)
        s->held = false; /* claimed anew, and read again */
}

/* ---- save ---- */

static void on_saved(void *arg, enum store_result result, const struct relay_position *p)
{
    struct stream *s = arg;
    bool more = s->events.more;

    (void)p;
    if (result != STORE_DONE) {
        s->held = false;
        turn_end(s);
        return;
    }
    keep_position(s, &s->next);
    arena_clear(&s->read);
    if (more && s->held && !s->r->stopped)
        turn(s);
    else
        turn_end(s);
}

static void save(struct stream *s)
{
    int64_t refill = s->r->w->options->relay.refill_us;
    const struct relay_keep keep = {LEASE_US, refill / MARKS, refill};

    store_relay_save(s->r->w->store, &s->id, &s->at, &s->next, &keep, on_saved, s);
}

/* ---- the stream is not as we left it ---- */

static void on_rewound(void *arg, enum store_result result, const struct relay_position *p)
{
    struct stream *s = arg;

    if (result == STORE_DONE) {
        s->r->refills++;
        keep_position(s, p);
    } else {
        s->held = false;
    }
    turn_end(s);
}

static int compare_ids(int64_t ms, int64_t seq, const struct relay_position *p)
{
    return ms != p->last_ms ? (ms > p->last_ms) - (ms < p->last_ms)
                            : (seq > p->last_seq) - (seq < p->last_seq);
}

static void moved(struct stream *s, int64_t ms, int64_t seq)
{
    struct relay *r = s->r;
    bool lost = compare_ids(ms, seq, &s->at) < 0;

    log_event(lost ? LOG_WARN : LOG_NOTICE, lost ? "stream_lost" : "stream_ahead",
              LOG_S("stream", slice_of(s->key)), LOG_I("ends_ms", ms),
              LOG_I("expected_ms", s->at.last_ms));
    if (lost) {
        s->grouped = false;
        store_relay_rewind(r->w->store, &s->id, ms, seq, &s->read, on_rewound, s);
        return;
    }
    r->again++;
    s->events.more = true; /* the same batch at once, behind that entry */
    s->next = s->at;
    s->next.last_ms = ms;
    s->next.last_seq = seq;
    save(s);
}

/* ---- append ---- */

static int parse_entry_id(const redisReply *v, int64_t *ms, int64_t *seq)
{
    struct slice rest = v->type == REDIS_REPLY_STRING ? slice_n(v->str, (size_t)v->len) : SLICE("");
    struct slice first = slice_cut(&rest, '-');

    return slice_int64(first, ms) == 0 && slice_int64(rest, seq) == 0 ? 0 : -1;
}

static void failed(struct relay *r, struct slice why)
{
    if (!r->failing)
        log_event(LOG_WARN, "relay_failed", LOG_S("reason", why));
    r->failing = true;
}

static void on_appended(void *arg, const redisReply *reply)
{
    struct stream *s = arg;
    struct relay *r = s->r;
    int64_t ms, seq;

    if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        parse_entry_id(reply->element[1], &ms, &seq) != 0) {
        failed(r, reply && reply->type == REDIS_REPLY_ERROR ? slice_of(reply->str)
                                                            : SLICE("no answer"));
        turn_end(s);
        return;
    }
    r->failing = false;
    if (strcmp(reply->element[0]->str, "DONE") != 0) {
        moved(s, ms, seq);
        return;
    }
    r->told += (int64_t)s->events.n;
    r->batches += s->events.n > 0;
    s->oldest = 0;
    s->next = (struct relay_position){s->events.upto, s->events.open, ms, seq};
    if (s->events.n || s->events.more || s->next.upto - s->at.upto > IDLE_STEP)
        save(s);
    else
        turn_end(s);
}

static void on_grouped(void *arg, const redisReply *reply)
{
    struct stream *s = arg;

    if (reply && reply->type == REDIS_REPLY_ERROR &&
        !slice_starts(slice_of(reply->str), SLICE("BUSYGROUP")))
        failed(s->r, slice_of(reply->str));
    if (!reply)
        s->grouped = false;
}

/* From the beginning: a group that was lost with its stream reads what is filled again. */
static void make_groups(struct stream *s)
{
    const struct relay_options *o = &s->r->w->options->relay;

    for (uint32_t i = 0; i < o->ngroups; i++) {
        const struct slice argv[] = {SLICE("XGROUP"),        SLICE("CREATE"), slice_of(s->key),
                                     slice_of(o->groups[i]), SLICE("0"),      SLICE("MKSTREAM")};

        rds_command(s->r->rds, argv, sizeof(argv) / sizeof(argv[0]), on_grouped, s);
    }
    s->grouped = true;
}

static void append(struct stream *s)
{
    struct relay *r = s->r;
    size_t max = 6 + s->events.n * ENTRY_ARGS_MAX, n = 5;
    struct slice *argv = arena_array(&s->read, struct slice, max);

    if (argv) {
        argv[0] = SLICE("EVAL");
        argv[1] = slice_of(script);
        argv[2] = SLICE("1");
        argv[3] = slice_of(s->key);
        argv[4] = arena_printf(&s->read, "%lld-%lld", (long long)s->at.last_ms,
                               (long long)s->at.last_seq);
        argv[n++] = arena_int64(&s->read, r->w->options->relay.maxlen);
        for (size_t i = 0; i < s->events.n; i++)
            n += relay_entry(&s->read, &s->events.events[i], argv + n);
    }
    if (s->read.failed) {
        failed(r, SLICE("batch too large"));
        turn_end(s);
        return;
    }
    if (!s->grouped)
        make_groups(s);
    if (rds_command(r->rds, argv, n, on_appended, s) != 0)
        turn_end(s);
}

/* ---- read ---- */

static void on_read(void *arg, enum store_result result, const struct relay_events *e)
{
    struct stream *s = arg;

    if (result != STORE_DONE) {
        s->held = false;
        turn_end(s);
        return;
    }
    s->events = *e;
    s->oldest = e->n ? e->events[0].at : 0;
    if (rds_ready(s->r->rds)) {
        append(s);
        return;
    }
    s->grouped = false;
    if (e->n || !e->more) {
        turn_end(s);
        return;
    }
    /* nothing of this stream in there: how old what waits behind it is can be told without Redis */
    s->next = (struct relay_position){e->upto, e->open, s->at.last_ms, s->at.last_seq};
    save(s);
}

static void read_next(struct stream *s)
{
    store_relay_read(s->r->w->store, &s->id, &s->at, (unsigned)s->r->w->options->relay.batch,
                     &s->read, on_read, s);
}

static void on_claimed(void *arg, enum store_result result, const struct relay_position *p)
{
    struct stream *s = arg;

    s->held = result == STORE_DONE;
    if (!s->held) {
        s->oldest = 0; /* whoever has it tells */
        turn_end(s);
        return;
    }
    s->claimed_us = loop_now_us(s->r->w->loop);
    keep_position(s, p);
    read_next(s);
}

static void turn(struct stream *s)
{
    struct relay *r = s->r;

    s->busy = true;
    if (!s->held || loop_now_us(r->w->loop) - s->claimed_us > LEASE_US / 2)
        store_relay_claim(r->w->store, &s->id, LEASE_US, &s->read, on_claimed, s);
    else
        read_next(s);
}

static void on_poll(void *arg)
{
    struct relay *r = arg;

    loop_timer_set(r->poll, r->w->options->relay.poll_us);
    for (size_t i = 0; i < r->n; i++)
        if (!r->streams[i].busy)
            turn(&r->streams[i]);
}

/* ---- metrics ---- */

static void metric(struct buf *b, const char *name, const char *type, const char *help, int64_t v)
{
    buf_addf(b, "# HELP %s %s\n# TYPE %s %s\n%s %lld\n", name, help, name, type, name,
             (long long)v);
}

void relay_metrics(const void *relay, struct buf *b)
{
    const struct relay *r = relay;
    int64_t held = 0, lag = 0, now = worker_now(r->w);

    for (size_t i = 0; i < r->n; i++) {
        const struct stream *s = &r->streams[i];

        held += s->held;
        if (s->oldest && now - s->oldest > lag)
            lag = now - s->oldest;
    }
    metric(b, "pay_relay_streams", "gauge", "streams that this process fills", held);
    metric(b, "pay_relay_lag_seconds", "gauge", "age of the oldest event that is not appended yet",
           lag / USEC_PER_SEC);
    metric(b, "pay_relay_redis_up", "gauge", "1 while Redis answers",
           rds_ready(r->rds) && !r->failing);
    metric(b, "pay_relay_events_total", "counter", "events appended", r->told);
    metric(b, "pay_relay_batches_total", "counter", "batches of them", r->batches);
    metric(b, "pay_relay_again_total", "counter", "batches appended once more, after a lost answer",
           r->again);
    metric(b, "pay_relay_refills_total", "counter",
           "times a stream had lost entries and was filled again", r->refills);
}

/* ---- life ---- */

static void stream_init(struct relay *r, struct stream *s, uint32_t i)
{
    const struct relay_options *o = &r->w->options->relay;
    uint32_t streams = (uint32_t)o->streams;

    s->r = r;
    s->id = (struct relay_stream){.streams = streams,
                                  .stream = i,
                                  .slot_from = i * SLOT_COUNT / streams,
                                  .slot_to = (i + 1) * SLOT_COUNT / streams - 1,
                                  .holder = slice_of(r->w->holder)};
    snprintf(s->key, sizeof(s->key), "%s:%u", o->stream, i);
    arena_init(&s->at_open, OPEN_ARENA);
    arena_init(&s->read, READ_ARENA);
}

struct relay *relay_new(struct worker *w)
{
    const struct relay_options *o = &w->options->relay;
    const struct rds_conf rc = {.unix_path = o->redis_path,
                                .address = o->redis_address,
                                .port = o->redis_port,
                                .user = o->redis_user,
                                .password = o->redis_password,
                                .db = (unsigned)o->redis_db,
                                .timeout_us = o->timeout_us};
    struct relay *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->w = w;
    r->streams = calloc((size_t)o->streams, sizeof(*r->streams));
    r->rds = rds_new(w->loop, &rc);
    r->poll = loop_timer_new(w->loop, on_poll, r);
    if (!r->streams || !r->rds || !r->poll) {
        relay_end(r);
        relay_free(r);
        return NULL;
    }
    for (r->n = 0; r->n < (size_t)o->streams; r->n++)
        stream_init(r, &r->streams[r->n], (uint32_t)r->n);
    return r;
}

void relay_start(struct relay *r)
{
    loop_timer_set(r->poll, 0);
}

void relay_stop(struct relay *r)
{
    r->stopped = true;
    loop_timer_clear(r->poll);
}

void relay_end(struct relay *r)
{
    if (!r)
        return;
    r->stopped = true;
    rds_free(r->rds);
    r->rds = NULL;
}

size_t relay_active(const struct relay *r)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n; i++)
        n += r->streams[i].busy;
    return n;
}

void relay_free(struct relay *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n; i++) {
        arena_release(&r->streams[i].at_open);
        arena_release(&r->streams[i].read);
    }
    loop_timer_free(r->poll);
    free(r->streams);
    free(r);
}
