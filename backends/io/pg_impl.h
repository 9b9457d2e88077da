/*
 * pg_impl - what pg.c (pool and queue), pg_conn.c (connections) and pg_params.c share. Nobody else
 * includes it.
 *
 * A unit is in the queue, or on one connection, or among the failed ones; pg_conn gives it back to
 * the pool by exactly one of pool_unit_done, pool_unit_requeue and pool_unit_fail.
 */
#ifndef IO_PG_IMPL_H
#define IO_PG_IMPL_H

#include "pg.h"
#include <event2/event_struct.h>

#define PG_MAX_CONNECTIONS 16
#define PG_MAX_PARAMS      256
#define PG_ANSWER_SLACK_US                                                                         \
    (2 * USEC_PER_SEC) /* beyond statement_timeout the server is not there                         \
                        */
#define PG_QUEUE_SLACK_US (5 * USEC_PER_SEC)

struct pg_unit {
    struct pg_unit *next;
    pg_cb *cb;
    void *arg;
    int64_t expires_us; /* in the queue */
    enum pg_outcome outcome;
    const char *reason; /* static, of PG_NOT_SENT and PG_LOST */
    PGresult *error;    /* of PG_ERROR and PG_RETRY */
    size_t n;
    PGresult **results; /* n, behind the statements */
    struct pg_unit_statement statements[];
};

enum pg_conn_state {
    PG_CONN_DOWN, /* waits to connect again */
    PG_CONN_CONNECTING,
    PG_CONN_SETUP, /* session settings and statements are being prepared */
    PG_CONN_IDLE,
    PG_CONN_BUSY
};

struct pg_conn {
    struct pg_pool *pool;
    unsigned index;
    enum pg_conn_state state;
    PGconn *pg;
    struct event io;
    short io_events; /* what `io` waits for; 0 = not added */
    int io_fd;
    struct event timer; /* reconnect, connect or answer, by state */
    int64_t backoff_us;
    int64_t began_us;
    struct pg_unit *unit; /* when busy */
    size_t at;            /* statement whose results come next */
    PGresult *error;      /* first one since the last Sync */
};

struct pg_pool {
    struct loop *loop;
    struct pg_conf conf;
    struct pg_conn conns[PG_MAX_CONNECTIONS];
    struct pg_unit *queue, **queue_end;
    unsigned nqueue;
    struct pg_unit *failed, **failed_end;
    bool failed_deferred;
    struct loop_timer *expiry;
    loop_cb *on_free_cb;
    void *on_free_arg;
    bool on_free_deferred;
    bool freeing;
};

/* pg_conn.c */
void pg_conn_init(struct pg_conn *c, struct pg_pool *p, unsigned index);
/* Connects; what comes of it is seen in the loop. */
void pg_conn_open(struct pg_conn *c);
/* For an idle connection. */
void pg_conn_run(struct pg_conn *c, struct pg_unit *u);
void pg_conn_shut(struct pg_conn *c);

/* pg.c; after pool_unit_done the caller touches nothing any more. */
void pool_conn_idle(struct pg_pool *p);
void pool_unit_done(struct pg_pool *p, struct pg_unit *u);
void pool_unit_requeue(struct pg_pool *p, struct pg_unit *u);
void pool_unit_fail(struct pg_pool *p, struct pg_unit *u, enum pg_outcome outcome,
                    const char *reason);
void pool_unit_free_params(struct pg_unit *u);

/* pg_params.c: as libpq wants them. The values point into p. */
struct pg_bound {
    const char *values[PG_MAX_PARAMS];
    int lengths[PG_MAX_PARAMS];
    int formats[PG_MAX_PARAMS];
    int n;
};
bool pg_params_ok(const struct pg_params *p);
void pg_params_bind(const struct pg_params *p, struct pg_bound *out);

#endif
