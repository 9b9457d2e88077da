#include "worker.h"

#include "accounts.h"
#include "backends/io/log.h"
#include "flows.h"
#include "metrics.h"
#include "notice_guard.h"
#include "outcomes.h"
#include "watched.h"

#include <stdio.h>
#include <unistd.h>

#define LEASE_US        (120 * USEC_PER_SEC)
#define RENEW_EVERY_S   20
#define CLOCK_JUMP_US   (2 * USEC_PER_SEC)
#define START_LOOK_US   (20 * USEC_PER_MSEC)
#define CLOCK_STEADY_US (30 * USEC_PER_SEC)

pay_time_t worker_now(const struct worker *w)
{
    return loop_now_us(w->loop) + w->clock_offset_us;
}

bool worker_clock_steady(const struct worker *w)
{
    return w->clock_known &&
           (w->clock_jumped_us == 0 || loop_now_us(w->loop) - w->clock_jumped_us > CLOCK_STEADY_US);
}

int worker_id(struct worker *w, uint32_t slot, int64_t *id)
{
    if (!w->leased || loop_now_us(w->loop) > w->lease_until_us)
        return -1;
    return id_next(&w->ids, slot, worker_now(w), id);
}

static void check_ready(struct worker *w)
{
    if (w->ready || !w->leased || !w->clock_known || !accounts_known(w->accounts))
        return;
    w->ready = true;
    log_event(LOG_NOTICE, "ready", LOG_I("process_number", w->ids.process));
    w->on_ready(w->ready_arg);
}

/* ---- clock ---- */

/* Each life anew: a container has the same pid after each start, and two may share their host's
 * name; a number taken over at once would give ids that its last holder gave already. */
static void name_holder(struct worker *w)
{
    char host[64] = "?", life[8];

    gethostname(host, sizeof(host) - 1);
    random_token(life, sizeof(life));
    snprintf(w->holder, sizeof(w->holder), "%s:%s:%d:%.*s", host, w->process->name, (int)getpid(),
             (int)sizeof(life), life);
}

/* Ids never go back, and none is later than its number's lease: when the clock has jumped, the
 * number is left to its lease, and another one is taken by the new time before an id is made with
 * it. */
static void leave_number(struct worker *w)
{
    if (w->leased) {
        w->left = true;
        w->left_process = w->ids.process;
    }
    name_holder(w);
    w->leased = false;
}

static void on_clock(void *arg, enum store_result r, pay_time_t pg_now, int64_t mono_us)
{
    struct worker *w = arg;
    int64_t offset = pg_now - mono_us, moved = offset - w->clock_offset_us;

    if (r != STORE_DONE)
        return;
    if (w->clock_known && (moved > CLOCK_JUMP_US || moved < -CLOCK_JUMP_US)) {
        w->clock_jumped_us = loop_now_us(w->loop);
        log_event(LOG_ALERT, "clock_jump", LOG_I("moved_ms", moved / USEC_PER_MSEC));
        leave_number(w);
    }
    w->clock_offset_us = offset;
    w->clock_known = true;
    check_ready(w);
}

/* ---- process number ---- */

static void on_lease(void *arg, enum store_result r, uint32_t process)
{
    struct worker *w = arg;

    if (r != STORE_DONE) {
        log_event(LOG_WARN, "lease_failed", LOG_I("result", r));
        return;
    }
    if (w->left && process == w->left_process)
        return; /* renewed on the way */
    if (!w->leased || w->ids.process != process) {
        if (id_gen_init(&w->ids, process) != 0) {
            log_event(LOG_ERROR, "lease_invalid", LOG_I("process_number", process));
            return;
        }
    }
    w->leased = true;
    /* stop using it well before anyone else may get it */
    w->lease_until_us = loop_now_us(w->loop) + LEASE_US / 2;
    check_ready(w);
}

static void on_second(void *arg)
{
    struct worker *w = arg;

    loop_timer_set(w->second, w->ready ? USEC_PER_SEC : START_LOOK_US);
    if (!store_ready(w->store))
        return;
    store_clock(w->store, on_clock, w);
    if (!w->leased || w->lease_wait_s++ >= RENEW_EVERY_S) {
        w->lease_wait_s = 0;
        store_lease(w->store, slice_of(w->holder), LEASE_US, false, on_lease, w);
    }
    accounts_tick(w->accounts);
    watched_tick(w->watched);
    check_ready(w);
}

void worker_start(struct worker *w, void (*on_ready)(void *arg), void *arg)
{
    w->on_ready = on_ready;
    w->ready_arg = arg;
    loop_timer_set(w->second, 0);
}

/* ---- life ---- */

static int load_platform(struct worker *w, struct conf_error *err)
{
    struct arena *a = (struct arena *)(uintptr_t)&w->options->arena;
    struct slice key;

    w->platform_cert = options_read_file(a, w->options->platform_cert, err);
    if (!w->platform_cert.p)
        return -1;
    key = options_read_file(a, w->options->platform_key, err);
    if (!key.p)
        return -1;
    if (verify_key_load(&w->platform_key, KEY_RSA_SHA256, key) != 0)
        return conf_fail(err, NULL, "%s: not an RSA private key of at least 2048 bits",
                         w->options->platform_key);
    for (size_t i = 0; i < w->options->certificate_count; i++) {
        w->certificates[i] = options_read_file(a, w->options->certificates[i].file, err);
        if (!w->certificates[i].p)
            return -1;
        if (key_alg_of_public(w->certificates[i]) == KEY_ALG_NONE)
            return conf_fail(err, NULL, "%s: not a certificate or public key",
                             w->options->certificates[i].file);
    }
    return 0;
}

static int open_store(struct worker *w, struct conf_error *err)
{
    struct store_conf sc = {.conninfo = w->options->database,
                            .writers = (unsigned)w->options->writers,
                            .readers = (unsigned)w->options->readers};
    char text[256] = "";

    w->store = store_new(w->loop, &sc, text, sizeof(text));
    return w->store ? 0 : conf_fail(err, NULL, "database: %s", text);
}

int worker_init(struct worker *w, const struct options *o, const struct process_options *p,
                struct loop *loop, struct conf_error *err)
{
    struct http_egress_conf ec = {.unix_path = o->egress,
                                  .max_connections = (size_t)o->max_requests + 64};

    memset(w, 0, sizeof(*w));
    w->options = o;
    w->process = p;
    w->loop = loop;
    name_holder(w);
    if (options_vault(o, &w->vault, err) != 0 || load_platform(w, err) != 0 ||
        channel_set_load(o->channels, o->adapters, &w->channels, err) != 0 ||
        open_store(w, err) != 0)
        return -1;
    w->egress = http_egress_new(loop, &ec);
    w->accounts = accounts_new(w);
    w->outcomes = outcomes_new(w);
    w->flows = flows_new();
    w->metrics = metrics_new(w);
    w->notice_guard = notice_guard_new(o->notify_misses);
    w->watched = watched_new(w);
    w->second = loop_timer_new(loop, on_second, w);
    if (!w->notice_guard || !w->watched || !w->egress || !w->accounts || !w->outcomes ||
        !w->flows || !w->metrics || !w->second)
        return conf_fail(err, NULL, "out of memory");
    return 0;
}

/* The channels' calls first: what they end with still goes to the store. */
void worker_end(struct worker *w)
{
    w->ending = true;
    loop_timer_free(w->second);
    w->second = NULL;
    outcomes_stop(w->outcomes);
    http_egress_free(w->egress);
    store_free(w->store);
}

void worker_release(struct worker *w)
{
    flows_free(w->flows);
    accounts_free(w->accounts);
    outcomes_free(w->outcomes);
    metrics_free(w->metrics);
    notice_guard_free(w->notice_guard);
    watched_free(w->watched);
    channel_set_free(w->channels);
    verify_key_release(&w->platform_key);
    vault_wipe(&w->vault);
}
