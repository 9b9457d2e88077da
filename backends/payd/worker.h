/*
 * worker - one payd process: everything its roles share. Made once by main, freed once.
 *
 * A process serves nothing before worker_start's conditions hold: database reached, a process
 * number leased (ids), PostgreSQL's clock measured, channel accounts read. `now` is that clock, as
 * measured each second; a jump of more than 2 s stops timers (and alerts) until it stands still
 * again.
 */
#ifndef PAYD_WORKER_H
#define PAYD_WORKER_H

#include "backends/channel/channel.h"
#include "backends/io/http_egress.h"
#include "backends/io/loop.h"
#include "backends/options/options.h"
#include "backends/store/store.h"
#include "core/ids.h"
#include "core/scheme.h"

struct accounts;
struct outcomes;
struct flows;
struct metrics;
struct notice_guard;
struct watched;

struct worker {
    const struct options *options;
    const struct process_options *process;
    struct loop *loop;
    struct store *store;
    struct http_egress *egress;
    struct channel_set *channels;
    struct accounts *accounts;
    struct outcomes *outcomes;
    struct flows *flows;
    struct metrics *metrics;
    struct notice_guard *notice_guard;
    struct watched *watched;
    struct verify_key platform_key;
    struct slice platform_cert; /* PEM */
    struct slice certificates[CERTIFICATES_MAX];
    struct vault vault;

    /* identity and clock, kept by worker.c */
    struct id_gen ids;
    bool leased, left;
    uint32_t left_process;  /* whose ids were made before the clock's last jump */
    int64_t lease_until_us; /* loop time */
    bool clock_known;
    int64_t clock_offset_us; /* PostgreSQL's clock - loop time */
    int64_t clock_jumped_us; /* loop time of the last jump; 0 = never */
    char holder[128];
    struct loop_timer *second;
    unsigned lease_wait_s;
    bool ready;
    bool ending;
    int64_t notices_at_s; /* loop time: refused notifications of this second (notify.c) */
    unsigned notices_told;
    void (*on_ready)(void *arg);
    void *ready_arg;
};

/* Connects everything; on_ready comes once when the process may serve. 0, or -1 with *err. */
int worker_init(struct worker *w, const struct options *o, const struct process_options *p,
                struct loop *loop, struct conf_error *err);
void worker_start(struct worker *w, void (*on_ready)(void *arg), void *arg);
/* Everything under way at the egress and in the store ends inside this call; then release. */
void worker_end(struct worker *w);
void worker_release(struct worker *w);

pay_time_t worker_now(const struct worker *w);
/* Timers may fire: the clock is known and has not jumped lately. */
bool worker_clock_steady(const struct worker *w);
/* 0, or -1 when no number is leased (then nothing new may be created). */
int worker_id(struct worker *w, uint32_t slot, int64_t *id);

#endif
