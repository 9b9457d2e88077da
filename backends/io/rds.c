#include "rds.h"

#include "backends/io/log.h"

#include <hiredis/adapters/libevent.h>
#include <hiredis/async.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_FIRST_US (100 * USEC_PER_MSEC)
#define RETRY_MAX_US   (5 * USEC_PER_SEC)
#define LOOK_US        (100 * USEC_PER_MSEC)
#define ARGS_MAX       65536u

enum state { DOWN, CONNECTING, GREETING, READY };

/* DESIGN. hiredis 0.14 knows no time-outs: a timer looks at the oldest command under way, and one
 * over its time takes the connection with it, which tells everybody who waits. Commands of an old
 * connection are told before a new one is made. */
struct rds {
    struct loop *loop;
    struct rds_conf conf;
    enum state state;
    redisAsyncContext *ac;
    struct loop_timer *timer; /* next attempt, or the next look at deadlines */
    int64_t since_us;         /* of the attempt to connect */
    int64_t retry_us;
    struct pending *first, **end;
    char trouble[160];
    bool refused; /* by the greeting's answers */
    bool freeing;
};

struct pending {
    struct pending *next;
    struct rds *r;
    rds_cb *cb;
    void *arg;
    int64_t sent_us;
};

static void go_down(struct rds *r, const char *why)
{
    redisAsyncContext *ac = r->ac;

    if (r->state != DOWN && !r->freeing && strcmp(r->trouble, why) != 0)
        log_event(LOG_WARN, "redis_down", LOG_S("reason", slice_of(why)));
    snprintf(r->trouble, sizeof(r->trouble), "%s", why);
    r->state = DOWN;
    r->ac = NULL;
    if (ac)
        redisAsyncFree(ac); /* tells whoever waits, without an answer */
    if (!r->freeing)
        loop_timer_set(r->timer, r->retry_us);
    r->retry_us = r->retry_us * 2 < RETRY_MAX_US ? r->retry_us * 2 : RETRY_MAX_US;
}

/* ---- commands ---- */

/* Replies come in the order of the commands: it is always the first that is answered. */
static void on_reply(redisAsyncContext *ac, void *reply, void *arg)
{
    struct pending *p = arg;
    struct rds *r = p->r;

    (void)ac;
    r->first = p->next;
    if (!r->first)
        r->end = &r->first;
    p->cb(p->arg, reply);
    free(p);
}

static int send_command(struct rds *r, const struct slice *argv, size_t argc, rds_cb *cb, void *arg)
{
    struct pending *p = calloc(1, sizeof(*p));
    const char **texts = malloc(argc * sizeof(*texts));
    size_t *lengths = malloc(argc * sizeof(*lengths));
    int rc = -1;

    if (p && texts && lengths && argc <= ARGS_MAX) {
        for (size_t i = 0; i < argc; i++) {
            texts[i] = argv[i].n ? argv[i].p : "";
            lengths[i] = argv[i].n;
        }
        *p = (struct pending){.r = r, .cb = cb, .arg = arg, .sent_us = loop_now_us(r->loop)};
        rc = redisAsyncCommandArgv(r->ac, on_reply, p, (int)argc, texts, lengths) == REDIS_OK ? 0
                                                                                              : -1;
    }
    if (rc == 0) {
        *r->end = p;
        r->end = &p->next;
    } else {
        free(p);
    }
    free(texts);
    free(lengths);
    return rc;
}

int rds_command(struct rds *r, const struct slice *argv, size_t argc, rds_cb *cb, void *arg)
{
    return r->state == READY ? send_command(r, argv, argc, cb, arg) : -1;
}

/* ---- connecting ---- */

static void on_down(void *arg)
{
    struct rds *r = arg;

    if (r->state == GREETING)
        go_down(r, r->trouble);
}

/* Not from inside hiredis' callback: the connection is ended at the end of the turn. */
static void on_greeted(void *arg, const struct redisReply *reply)
{
    struct rds *r = arg;

    if (r->state != GREETING || !reply || reply->type != REDIS_REPLY_ERROR || r->refused)
        return;
    r->refused = true;
    snprintf(r->trouble, sizeof(r->trouble), "%s", reply->str);
    loop_defer(r->loop, on_down, r);
}

static void on_pong(void *arg, const struct redisReply *reply)
{
    struct rds *r = arg;

    on_greeted(r, reply);
    if (r->state != GREETING || !reply || r->refused)
        return;
    if (*r->trouble)
        log_event(LOG_NOTICE, "redis_up");
    *r->trouble = '\0';
    r->state = READY;
    r->retry_us = RETRY_FIRST_US;
}

static void greet(struct rds *r)
{
    char db[16];
    struct slice auth[3] = {SLICE("AUTH")}, select[2] = {SLICE("SELECT")}, ping = SLICE("PING");
    size_t n = 1;

    snprintf(db, sizeof(db), "%u", r->conf.db);
    select[1] = slice_of(db);
    r->state = GREETING;
    r->refused = false;
    if (r->conf.password) {
        if (r->conf.user)
            auth[n++] = slice_of(r->conf.user);
        auth[n++] = slice_of(r->conf.password);
        send_command(r, auth, n, on_greeted, r);
    }
    if (r->conf.db)
        send_command(r, select, 2, on_greeted, r);
    send_command(r, &ping, 1, on_pong, r);
}

static void on_connected(const redisAsyncContext *ac, int status)
{
    struct rds *r = ac->data;

    if (status == REDIS_OK) {
        greet(r);
        return;
    }
    r->ac = NULL; /* hiredis frees it */
    go_down(r, ac->errstr);
}

static void on_disconnected(const redisAsyncContext *ac, int status)
{
    struct rds *r = ac->data;

    if (r->ac != ac)
        return; /* we ended it */
    r->ac = NULL;
    go_down(r, status == REDIS_OK ? "closed" : ac->errstr);
}

static void connect_now(struct rds *r)
{
    redisAsyncContext *ac = r->conf.unix_path ? redisAsyncConnectUnix(r->conf.unix_path)
                                              : redisAsyncConnect(r->conf.address, r->conf.port);

    r->state = CONNECTING;
    r->since_us = loop_now_us(r->loop);
    if (!ac || ac->err) {
        char why[sizeof(r->trouble)];

        snprintf(why, sizeof(why), "%s", ac ? ac->errstr : "out of memory");
        if (ac)
            redisAsyncFree(ac);
        go_down(r, why);
        return;
    }
    ac->data = r;
    r->ac = ac;
    redisLibeventAttach(ac, loop_base(r->loop));
    redisAsyncSetConnectCallback(ac, on_connected);
    redisAsyncSetDisconnectCallback(ac, on_disconnected);
    loop_timer_set(r->timer, LOOK_US);
}

static void on_timer(void *arg)
{
    struct rds *r = arg;
    int64_t before = loop_now_us(r->loop) - r->conf.timeout_us;

    if (r->state == DOWN)
        connect_now(r);
    else if (r->state == CONNECTING && r->since_us < before)
        go_down(r, "no connection in time");
    else if (r->first && r->first->sent_us < before)
        go_down(r, "no answer in time");
    else
        loop_timer_set(r->timer, LOOK_US);
}

/* ---- life ---- */

struct rds *rds_new(struct loop *l, const struct rds_conf *conf)
{
    struct rds *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->loop = l;
    r->conf = *conf;
    r->retry_us = RETRY_FIRST_US;
    r->end = &r->first;
    r->timer = loop_timer_new(l, on_timer, r);
    if (!r->timer) {
        free(r);
        return NULL;
    }
    loop_timer_set(r->timer, 0);
    return r;
}

static void on_free(void *arg)
{
    free(arg);
}

void rds_free(struct rds *r)
{
    if (!r)
        return;
    r->freeing = true;
    go_down(r, "stopping");
    loop_timer_free(r->timer);
    r->timer = NULL;
    loop_defer(r->loop, on_free, r); /* behind an on_down that may be waiting */
}

bool rds_ready(const struct rds *r)
{
    return r->state == READY;
}

const char *rds_trouble(const struct rds *r)
{
    return r->trouble;
}
