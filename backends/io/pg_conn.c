/*
 * DESIGN. A connection is a small state machine over libpq's pipeline mode; pg_impl.h lists its
 * states. Two questions decide how a unit ends when the connection breaks. Was its Sync handed to
 * libpq? Without it the server commits nothing, so the unit goes back into the queue. Did the
 * server's answer to the Sync come? Only then is the outcome known; all else is PG_LOST.
 *
 * The session is set up in one pipeline as well: settings, then every statement by PQsendPrepare,
 * then a Sync. One bad statement fails the whole, loudly, at the start.
 */
#include "pg_impl.h"

#include "core/crypto.h"
#include "log.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define BACKOFF_MAX_US (5 * USEC_PER_SEC)
#define FIXED_SETUP    2 /* statements that conn_setup sends before those of the configuration */

static void on_io(evutil_socket_t fd, short what, void *arg);
static void on_timer(evutil_socket_t fd, short what, void *arg);

static int64_t answer_limit_us(const struct pg_conn *c)
{
    return c->pool->conf.statement_timeout_ms * USEC_PER_MSEC + PG_ANSWER_SLACK_US;
}

static void set_timer(struct pg_conn *c, int64_t us)
{
    struct timeval tv = {us / USEC_PER_SEC, us % USEC_PER_SEC};

    evtimer_add(&c->timer, &tv);
}

static void unwatch(struct pg_conn *c)
{
    if (c->io_events)
        event_del(&c->io);
    c->io_events = 0;
}

static void watch(struct pg_conn *c, short events)
{
    int fd = PQsocket(c->pg);

    if (c->io_events == events && c->io_fd == fd)
        return;
    unwatch(c);
    c->io_fd = fd;
    c->io_events = events;
    event_assign(&c->io, loop_base(c->pool->loop), fd, events | EV_PERSIST, on_io, c);
    event_add(&c->io, NULL);
}

/* ---- losing the connection ---- */

/* Half of the delay is chance: processes that lost the server together shall not return together.
 */
static int64_t next_backoff(struct pg_conn *c)
{
    int64_t delay = c->backoff_us;
    uint32_t chance = 0;

    c->backoff_us = delay * 2 < BACKOFF_MAX_US ? delay * 2 : BACKOFF_MAX_US;
    random_bytes(&chance, sizeof(chance));
    return delay / 2 + (int64_t)(chance % (uint64_t)(delay / 2 + 1));
}

static struct slice first_line(const char *text)
{
    struct slice s = slice_of(text);

    return slice_trim(slice_cut(&s, '\n'));
}

static void conn_clear(struct pg_conn *c)
{
    unwatch(c);
    evtimer_del(&c->timer);
    PQclear(c->error);
    c->error = NULL;
    PQfinish(c->pg);
    c->pg = NULL;
    c->state = PG_CONN_DOWN;
}

/* The unit, if any, must have been taken off before. */
static void conn_down(struct pg_conn *c, const char *why)
{
    log_event(LOG_WARN, "pg_connection_down", LOG_I("connection", c->index),
              LOG_S("reason", slice_of(why)),
              LOG_S("message", c->pg ? first_line(PQerrorMessage(c->pg)) : SLICE_NULL),
              LOG_I("retry_ms", c->backoff_us / USEC_PER_MSEC));
    conn_clear(c);
    set_timer(c, next_backoff(c));
}

static void conn_lost(struct pg_conn *c, const char *why)
{
    struct pg_unit *u = c->unit;

    c->unit = NULL;
    if (u)
        pool_unit_fail(c->pool, u, PG_LOST, why);
    conn_down(c, why);
}

void pg_conn_shut(struct pg_conn *c)
{
    struct pg_unit *u = c->unit;

    c->unit = NULL;
    if (u)
        pool_unit_fail(c->pool, u, PG_LOST, "stopping");
    conn_clear(c);
}

/* ---- writing ---- */

/* -1: the connection is gone. */
static int conn_flush(struct pg_conn *c)
{
    int rc = PQflush(c->pg);

    if (rc < 0)
        return -1;
    watch(c, rc ? EV_READ | EV_WRITE : EV_READ);
    return 0;
}

static int send_statements(struct pg_conn *c, const struct pg_unit *u)
{
    struct pg_bound b;

    for (size_t i = 0; i < u->n; i++) {
        const struct pg_unit_statement *s = &u->statements[i];

        b.n = 0;
        if (s->params)
            pg_params_bind(s->params, &b);
        if (!PQsendQueryPrepared(c->pg, s->name, b.n, b.values, b.lengths, b.formats, 1))
            return -1;
    }
    return 0;
}

/* A server that went away while we were idle has said so already, only this turn has not come to it
 * yet. Noticed here, the unit is merely late; noticed after its Sync it would be lost. */
static bool still_there(struct pg_conn *c)
{
    char byte;
    ssize_t n;

    do {
        n = recv(PQsocket(c->pg), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    } while (n > 0 && PQconsumeInput(c->pg));
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

void pg_conn_run(struct pg_conn *c, struct pg_unit *u)
{
    if (!still_there(c)) {
        pool_unit_requeue(c->pool, u);
        conn_down(c, "connection closed by the server");
        return;
    }
    if (send_statements(c, u) != 0) {
        if (PQstatus(c->pg) == CONNECTION_OK) /* libpq refuses it and would do so again */
            pool_unit_fail(c->pool, u, PG_NOT_SENT, "statement refused by libpq");
        else
            pool_unit_requeue(c->pool, u);
        conn_down(c, "sending failed");
        return;
    }
    c->unit = u;
    c->state = PG_CONN_BUSY;
    c->at = 0;
    set_timer(c, answer_limit_us(c));
    if (!PQpipelineSync(c->pg) || conn_flush(c) != 0) {
        conn_lost(c, "sending failed");
        return;
    }
    pool_unit_free_params(u);
}

/* ---- session ---- */

static int send_plain(struct pg_conn *c, const char *sql)
{
    return PQsendQueryParams(c->pg, sql, 0, NULL, NULL, NULL, NULL, 1) ? 0 : -1;
}

static int send_setup(struct pg_conn *c)
{
    const struct pg_conf *conf = &c->pool->conf;
    char timeout[64];

    snprintf(timeout, sizeof(timeout), "SET statement_timeout = %lld",
             (long long)conf->statement_timeout_ms);
    if (send_plain(c, timeout) != 0 || send_plain(c, "SET client_encoding = 'UTF8'") != 0)
        return -1;
    for (size_t i = 0; conf->setup && conf->setup[i]; i++)
        if (send_plain(c, conf->setup[i]) != 0)
            return -1;
    for (size_t i = 0; i < conf->nstatements; i++)
        if (!PQsendPrepare(c->pg, conf->statements[i].name, conf->statements[i].sql, 0, NULL))
            return -1;
    return PQpipelineSync(c->pg) ? conn_flush(c) : -1;
}

static void conn_setup(struct pg_conn *c)
{
    c->state = PG_CONN_SETUP;
    c->at = 0;
    if (PQsetnonblocking(c->pg, 1) != 0 || !PQenterPipelineMode(c->pg) || send_setup(c) != 0)
        conn_down(c, "session setup failed");
}

/* What the statement number c->at of the setup is called, for the log. */
static const char *setup_name(const struct pg_conn *c)
{
    const struct pg_conf *conf = &c->pool->conf;
    size_t settings = FIXED_SETUP;

    while (conf->setup && conf->setup[settings - FIXED_SETUP])
        settings++;
    if (c->at < settings)
        return c->at < FIXED_SETUP ? "session" : conf->setup[c->at - FIXED_SETUP];
    return c->at - settings < conf->nstatements ? conf->statements[c->at - settings].name : "?";
}

static void setup_done(struct pg_conn *c)
{
    evtimer_del(&c->timer);
    if (c->error) {
        conn_down(c, "session setup refused");
        return;
    }
    log_event(LOG_INFO, "pg_connected", LOG_I("connection", c->index),
              LOG_I("backend", PQbackendPID(c->pg)),
              LOG_I("ms", (loop_now_us(c->pool->loop) - c->began_us) / USEC_PER_MSEC));
    c->backoff_us = c->pool->conf.reconnect_us;
    c->state = PG_CONN_IDLE;
    pool_conn_idle(c->pool);
}

static void on_notice(void *arg, const char *message)
{
    struct pg_conn *c = arg;

    log_event(LOG_DEBUG, "pg_notice", LOG_I("connection", c->index),
              LOG_S("message", first_line(message)));
}

/* libpq may close its socket and get the same number again: the event must not stay on the old one.
 */
static void conn_poll(struct pg_conn *c)
{
    unwatch(c);
    switch (PQconnectPoll(c->pg)) {
    case PGRES_POLLING_READING:
        watch(c, EV_READ);
        break;
    case PGRES_POLLING_WRITING:
        watch(c, EV_WRITE);
        break;
    case PGRES_POLLING_OK:
        conn_setup(c);
        break;
    default:
        conn_down(c, "cannot connect");
        break;
    }
}

void pg_conn_open(struct pg_conn *c)
{
    c->began_us = loop_now_us(c->pool->loop);
    c->pg = PQconnectStart(c->pool->conf.conninfo);
    if (!c->pg || PQstatus(c->pg) == CONNECTION_BAD) {
        conn_down(c, "cannot connect");
        return;
    }
    PQsetNoticeProcessor(c->pg, on_notice, c);
    c->state = PG_CONN_CONNECTING;
    set_timer(c, answer_limit_us(c));
    watch(c, EV_WRITE); /* libpq: behave as if the last poll had said WRITING */
}

/* ---- reading ---- */

static void unit_done(struct pg_conn *c)
{
    struct pg_unit *u = c->unit;
    const char *state = c->error ? PQresultErrorField(c->error, PG_DIAG_SQLSTATE) : NULL;

    evtimer_del(&c->timer);
    u->outcome = c->error ? PG_ERROR : PG_DONE;
    if (state && (strcmp(state, "40001") == 0 || strcmp(state, "40P01") == 0))
        u->outcome = PG_RETRY;
    u->error = c->error;
    c->error = NULL;
    c->unit = NULL;
    c->state = PG_CONN_IDLE;
    pool_unit_done(c->pool, u);
}

static void take_error(struct pg_conn *c, PGresult *r)
{
    if (c->state == PG_CONN_SETUP)
        log_event(LOG_ERROR, "pg_setup_error", LOG_S("statement", slice_of(setup_name(c))),
                  LOG_S("message", first_line(PQresultErrorMessage(r))));
    if (c->error)
        PQclear(r);
    else
        c->error = r;
}

/* False: the end (Sync), or something no unit of ours asks for. */
static bool take_result(struct pg_conn *c, PGresult *r)
{
    switch (PQresultStatus(r)) {
    case PGRES_PIPELINE_SYNC:
        PQclear(r);
        if (c->state == PG_CONN_SETUP)
            setup_done(c);
        else
            unit_done(c);
        return false;
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY:
        if (c->unit && c->at < c->unit->n && !c->unit->results[c->at])
            c->unit->results[c->at] = r;
        else
            PQclear(r);
        return true;
    case PGRES_PIPELINE_ABORTED: /* after the error; the Sync ends it */
        PQclear(r);
        return true;
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
        PQclear(r);
        conn_lost(c, "COPY in a unit");
        return false;
    default:
        take_error(c, r);
        return true;
    }
}

/* Results while libpq is not busy. NULL ends one statement's results; a second one in a row only
 * comes when the connection is gone. */
static void read_results(struct pg_conn *c)
{
    bool ended = false;

    while (!PQisBusy(c->pg)) {
        PGresult *r = PQgetResult(c->pg);

        if (r) {
            ended = false;
            if (!take_result(c, r))
                return;
            continue;
        }
        if (ended || PQstatus(c->pg) == CONNECTION_BAD)
            break;
        ended = true;
        c->at++;
        set_timer(c, answer_limit_us(c));
    }
    if (PQstatus(c->pg) == CONNECTION_BAD)
        conn_lost(c, "connection closed by the server");
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
    struct pg_conn *c = arg;

    (void)fd;
    if (c->state == PG_CONN_CONNECTING) {
        conn_poll(c);
        return;
    }
    if ((what & EV_READ) && !PQconsumeInput(c->pg)) {
        conn_lost(c, "connection closed by the server");
        return;
    }
    if ((c->io_events & EV_WRITE) && conn_flush(c) != 0) {
        conn_lost(c, "sending failed");
        return;
    }
    if (c->state == PG_CONN_SETUP || c->state == PG_CONN_BUSY)
        read_results(c);
    else
        PQisBusy(c->pg); /* notices and settings of an idle session are worked off */
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct pg_conn *c = arg;

    (void)fd;
    (void)what;
    if (c->state == PG_CONN_DOWN)
        pg_conn_open(c);
    else
        conn_lost(c, c->state == PG_CONN_BUSY ? "no answer in time" : "connecting took too long");
}

void pg_conn_init(struct pg_conn *c, struct pg_pool *p, unsigned index)
{
    *c = (struct pg_conn){.pool = p, .index = index, .backoff_us = p->conf.reconnect_us};
    evtimer_assign(&c->timer, loop_base(p->loop), on_timer, c);
}
