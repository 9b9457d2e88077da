/*
 * rds - one connection to a Redis in our loop, over hiredis. Commands are pipelined; it connects by
 * itself, and again after a failure. What Redis says is a hint and never a fact: a lost command may
 * have run or not.
 */
#ifndef IO_RDS_H
#define IO_RDS_H

#include "backends/io/loop.h"
#include "core/slice.h"

struct redisReply;
struct rds;

struct rds_conf {
    const char *unix_path; /* either this ... */
    const char *address;   /* ... or an IP address and port */
    uint16_t port;
    const char *user, *password; /* NULL = none */
    unsigned db;
    int64_t timeout_us; /* to connect, and for each answer: over it the connection is dropped */
};

/* NULL: out of memory. What conf points to must outlive it. */
struct rds *rds_new(struct loop *l, const struct rds_conf *conf);
/* Commands under way end inside this call, without an answer. */
void rds_free(struct rds *r);
bool rds_ready(const struct rds *r);
/* Why it is not ready; "" while it is or has never failed. */
const char *rds_trouble(const struct rds *r);

/* reply: valid during the call; NULL: no answer. Errors of Redis are replies of their type. */
typedef void rds_cb(void *arg, const struct redisReply *reply);
/* argv is copied. 0, or -1 when not ready (then there is no callback). */
int rds_command(struct rds *r, const struct slice *argv, size_t argc, rds_cb *cb, void *arg);

#endif
