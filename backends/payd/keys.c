#include "keys.h"

#include "backends/io/line_in.h"
#include "backends/io/log.h"
#include "core/json.h"
#include "worker.h"

#include <stdlib.h>

#define SERIAL_MAX    64
#define LOOKUPS_MAX   4096
#define LOOKUP_ARENA  (64u << 10)
#define CHANGES_ARENA (8u << 20)
#define CHANGES_MAX                                                                                \
    20000 /* told one by one; an edge that is behind loses its connection at 4 MiB */
/* A change is announced when it is first seen; the window covers transactions that commit late. */
#define OVERLAP_US (10 * USEC_PER_SEC)

struct keys {
    struct worker *w;
    struct line_in *in;
    struct loop_timer *second;
    size_t lookups;
    struct arena arena; /* of the change query in flight */
    bool asking;
    pay_time_t asked_at, since;
    pay_time_t floor; /* changes until then were too many to name; 0: none */
};

struct lookup {
    struct keys *k;
    uint64_t peer;
    struct arena arena;
    struct slice serial;
};

static void answer(struct keys *k, uint64_t peer, const char *word, struct slice serial,
                   struct slice record)
{
    struct line_peer *p = line_peer_find(k->in, peer);
    struct buf b;

    if (!p)
        return;
    buf_init(&b, LINE_MAX_BYTES);
    buf_addf(&b, "%s %.*s", word, SLICE_FMT(serial));
    if (record.n) {
        buf_add_char(&b, ' ');
        buf_add_slice(&b, record);
    }
    if (buf_ok(&b))
        line_send(p, buf_slice(&b));
    if (b.p)
        wipe(b.p, b.n);
    buf_release(&b);
}

static void write_limit(struct json_writer *w, const char *rate, const char *window,
                        const char *burst, const struct store_limit *l)
{
    if (l->rate == 0)
        return;
    json_member_int64(w, rate, l->rate);
    json_member_int64(w, window, l->window);
    json_member_int64(w, burst, l->burst);
}

static void write_allow(struct json_writer *w, const struct store_key *key)
{
    struct slice rest = key->allow;

    if (rest.n == 0)
        return;
    json_key(w, "allow");
    json_begin_array(w);
    while (rest.n)
        json_put_str(w, slice_cut(&rest, ' '));
    json_end_array(w);
    json_member_str(w, "allow_mode", key->allow_alert ? SLICE("alert") : SLICE("refuse"));
}

static int write_record(struct keys *k, const struct store_key *key, struct slice context,
                        struct buf *out)
{
    struct json_writer w;
    struct buf plain, text;
    int rc = -1;

    buf_init(&plain, 16 << 10);
    buf_init(&text, 24 << 10);
    if (vault_ring_open(&k->w->vault, context, key->material_sealed, &plain) >= 0) {
        base64_encode(&text, buf_slice(&plain));
        json_writer_init(&w, out);
        json_begin_object(&w);
        json_member_str(&w, "serial", key->serial);
        json_member_str(&w, "scheme", key->scheme);
        json_member_str(&w, "alg", key->alg);
        if (key->md5_allowed) {
            json_key(&w, "md5");
            json_put_bool(&w, true);
        }
        json_member_str(&w, "key", buf_slice(&text));
        json_member_str(&w, "mchid", key->mchid);
        json_member_str(&w, "app", key->app_id);
        json_member_str(&w, "state", key->on ? SLICE("on") : SLICE("off"));
        json_member_int64(&w, "base_slot", key->base_slot);
        json_member_int64(&w, "span", key->span);
        json_member_int64(&w, "valid_from", key->valid_from / USEC_PER_SEC);
        json_member_int64(&w, "valid_to", key->valid_to / USEC_PER_SEC);
        write_limit(&w, "rate", "window", "burst", &key->app_limit);
        write_limit(&w, "merchant_rate", "merchant_window", "merchant_burst", &key->merchant_limit);
        write_allow(&w, key);
        json_end_object(&w);
        rc = buf_ok(out) && buf_ok(&text) ? 0 : -1;
    }
    if (plain.p)
        wipe(plain.p, plain.n);
    if (text.p)
        wipe(text.p, text.n);
    buf_release(&plain);
    buf_release(&text);
    return rc;
}

static void lookup_free(void *arg)
{
    struct lookup *l = arg;

    arena_release(&l->arena);
    free(l);
}

static void on_key(void *arg, enum store_result r, const struct store_key *key)
{
    struct lookup *l = arg;
    struct slice context = arena_printf(&l->arena, "app_key:%.*s", SLICE_FMT(l->serial));
    struct buf record;

    buf_init(&record, LINE_MAX_BYTES);
    if (r == STORE_NONE)
        answer(l->k, l->peer, "NONE", l->serial, SLICE_NULL);
    else if (r != STORE_DONE)
        answer(l->k, l->peer, "LATER", l->serial, SLICE_NULL);
    else if (write_record(l->k, key, context, &record) == 0)
        answer(l->k, l->peer, "KEY", l->serial, buf_slice(&record));
    else {
        log_event(LOG_ERROR, "key_unusable", LOG_S("serial", l->serial));
        answer(l->k, l->peer, "NONE", l->serial, SLICE_NULL);
    }
    if (record.p)
        wipe(record.p, record.n);
    buf_release(&record);
    l->k->lookups--;
    loop_defer(l->k->w->loop, lookup_free, l); /* k may be gone by then */
}

static bool serial_valid(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              c == '_' || c == '-'))
            return false;
    }
    return s.n >= 1 && s.n <= SERIAL_MAX;
}

static void on_line(void *arg, struct line_peer *peer, struct slice line)
{
    struct keys *k = arg;
    struct slice serial = line, word = slice_cut(&serial, ' ');
    struct lookup *l;

    if (!slice_is(word, "KEY") || !serial_valid(serial)) {
        log_event(LOG_WARN, "internal_line",
                  LOG_S("line", slice_n(line.p, line.n > 80 ? 80 : line.n)));
        return;
    }
    l = k->lookups < LOOKUPS_MAX ? calloc(1, sizeof(*l)) : NULL;
    if (!l) {
        answer(k, line_peer_id(peer), "LATER", serial, SLICE_NULL);
        return;
    }
    k->lookups++;
    l->k = k;
    l->peer = line_peer_id(peer);
    arena_init(&l->arena, LOOKUP_ARENA);
    l->serial = arena_copy(&l->arena, serial);
    store_key_get(k->w->store, l->serial, &l->arena, on_key, l);
}

static void on_gone(void *arg, struct line_peer *peer)
{
    (void)arg;
    (void)peer;
}

/* ---- change feed ---- */

/* More changes in one window than can be named, as after a bulk load: instead of that
 * every edge is told to ask for everything again, and the window begins anew. What commits late
 * with an older stamp is covered by doing so once more when the window has moved on. */
static void forget_all(struct keys *k, size_t n)
{
    log_event(LOG_WARN, "keys_changed_all", LOG_I("changes", n));
    line_close_all(k->in);
    k->floor = k->asked_at;
}

static void window_moved(struct keys *k)
{
    if (k->floor && k->since >= k->floor) {
        line_close_all(k->in);
        k->floor = 0;
    }
}

/* TICK follows only a successful look: without it the edge stops trusting what it knows. A serial
 * is announced again as long as its change lies in the overlap; forgetting twice costs a look-up.
 */
static void on_changes(void *arg, enum store_result r, const struct slice *serials, size_t n,
                       pay_time_t newest)
{
    struct keys *k = arg;
    struct buf line;

    (void)newest;
    buf_init(&line, SERIAL_MAX + 16);
    k->asking = false;
    if (n > CHANGES_MAX) {
        forget_all(k, n);
    } else if (r == STORE_DONE || r == STORE_NONE) {
        for (size_t i = 0; i < n; i++) {
            buf_clear(&line);
            buf_addf(&line, "CHANGED %.*s", SLICE_FMT(serials[i]));
            line_send_all(k->in, buf_slice(&line));
        }
        line_send_all(k->in, SLICE("TICK"));
        k->since = k->asked_at - OVERLAP_US;
        window_moved(k);
    }
    buf_release(&line);
    arena_clear(&k->arena);
}

static void on_second(void *arg)
{
    struct keys *k = arg;

    loop_timer_set(k->second, USEC_PER_SEC);
    if (k->asking || !k->w->clock_known)
        return;
    k->asked_at = worker_now(k->w);
    if (k->since == 0)
        k->since = k->asked_at - OVERLAP_US;
    k->asking = true;
    store_keys_changed(k->w->store, k->since > k->floor ? k->since : k->floor, &k->arena,
                       on_changes, k);
}

struct keys *keys_new(struct worker *w, const char *unix_path, char *err, size_t n)
{
    struct keys *k = calloc(1, sizeof(*k));
    struct line_in_conf lc = {
        .unix_path = unix_path, .on_line = on_line, .on_gone = on_gone, .arg = k};

    if (!k)
        return NULL;
    k->w = w;
    arena_init(&k->arena, CHANGES_ARENA);
    k->in = line_in_new(w->loop, &lc, err, n);
    k->second = loop_timer_new(w->loop, on_second, k);
    if (!k->in || !k->second) {
        keys_free(k);
        return NULL;
    }
    loop_timer_set(k->second, 0);
    return k;
}

void keys_free(struct keys *k)
{
    if (!k)
        return;
    line_in_free(k->in);
    loop_timer_free(k->second);
    arena_release(&k->arena);
    free(k);
}
