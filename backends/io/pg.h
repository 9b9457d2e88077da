/*
 * pg - asynchronous PostgreSQL: a few connections in libpq's pipeline mode inside our loop.
 *
 * A unit is one prepared statement (or a few) between two Syncs: one transaction. Units are queued;
 * each connection runs one unit at a time, so that what becomes ready meanwhile can be batched by
 * the caller (store). Order to keep with libpq: flush, wait readable, consume, results while not
 * busy.
 *
 * Parameters are binary. Arrays for unnest are built by pg_array_* into a pg_params.
 */
#ifndef IO_PG_H
#define IO_PG_H

#include "backends/io/loop.h"
#include "core/arena.h"
#include <libpq-fe.h>

struct pg_pool;
struct pg_params;

/* The statements of a process, prepared by name on each connection as it opens. */
struct pg_statement {
    const char *name;
    const char *sql;
};

struct pg_conf {
    const char *conninfo;
    unsigned connections;     /* 1..16 */
    const char *const *setup; /* SQL run on each new connection, NULL-terminated */
    const struct pg_statement *statements;
    size_t nstatements;
    unsigned queue_max;           /* units waiting, default 4096 */
    int64_t reconnect_us;         /* first delay, doubles to 5 s */
    int64_t statement_timeout_ms; /* default 10000 */
};

enum pg_outcome {
    PG_DONE,     /* all statements ran, the transaction is committed */
    PG_ERROR,    /* rolled back by an error: sqlstate and message are set */
    PG_RETRY,    /* rolled back by 40001 / 40P01: run it again */
    PG_NOT_SENT, /* no connection, or queue full: nothing happened */
    PG_LOST      /* the connection broke after sending: it may be committed */
};

struct pg_answer {
    enum pg_outcome outcome;
    PGresult *const *results; /* one per statement of the unit, valid during the callback */
    size_t nresults;
    char sqlstate[6];
    const char *message;
};
typedef void pg_cb(void *arg, const struct pg_answer *answer);

/* What conf points to must outlive the pool. */
struct pg_pool *pg_pool_new(struct loop *l, const struct pg_conf *conf);
/* Units still there end inside this call: PG_LOST when under way, else PG_NOT_SENT. */
void pg_pool_free(struct pg_pool *p);
bool pg_pool_ready(const struct pg_pool *p);
/* Connections that could start a unit at once. */
unsigned pg_pool_free_connections(const struct pg_pool *p);
/* Called (at the end of a turn) whenever a connection became free: store batches then. */
void pg_pool_on_free(struct pg_pool *p, loop_cb *cb, void *arg);

/* Parameters: add in the statement's order. Texts are copied. */
struct pg_params *pg_params_new(void);
void pg_params_free(struct pg_params *p);
void pg_add_null(struct pg_params *p);
void pg_add_int2(struct pg_params *p, int16_t v);
void pg_add_int4(struct pg_params *p, int32_t v);
void pg_add_int8(struct pg_params *p, int64_t v);
void pg_add_bool(struct pg_params *p, bool v);
void pg_add_text(struct pg_params *p, struct slice v); /* SLICE with p NULL = SQL NULL */
void pg_add_bytea(struct pg_params *p, struct slice v);
void pg_add_time(struct pg_params *p, pay_time_t t); /* timestamptz; 0 = NULL */
/* One-dimensional arrays: begin with the element type, add `count` elements, end. The same scalar
 * calls between begin and end add elements. */
enum pg_type { PG_INT2, PG_INT4, PG_INT8, PG_BOOL, PG_TEXT, PG_BYTEA, PG_TIMESTAMPTZ };
void pg_array_begin(struct pg_params *p, enum pg_type type, uint32_t count);
void pg_array_end(struct pg_params *p);

struct pg_unit_statement {
    const char *name;         /* of a prepared statement */
    struct pg_params *params; /* owned by the call, NULL = none */
};
/* Queues a unit. The callback comes exactly once, never from inside this function. */
void pg_run(struct pg_pool *p, const struct pg_unit_statement *statements, size_t n, pg_cb *cb,
            void *arg);

/* Reading binary results. */
bool pg_is_null(const PGresult *r, int row, int col);
int64_t pg_get_int(const PGresult *r, int row, int col); /* int2, int4, int8 */
bool pg_get_bool(const PGresult *r, int row, int col);
struct slice pg_get_text(const PGresult *r, int row, int col); /* text, bytea; into the result */
pay_time_t pg_get_time(const PGresult *r, int row, int col);

#endif
