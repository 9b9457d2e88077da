/*
 * waiting - a merchant who waits for a flow, but not longer than the deadline: a channel's time-out
 * may be longer than that, and so may its answer's way into a database that is away. The flow goes
 * on.
 */
#ifndef PAYD_WAITING_H
#define PAYD_WAITING_H

#include "backends/io/http_in.h"
#include "flow.h"

/* Answers req; f->end is FLOW_RUNNING at the deadline. arg is the caller's, in req's arena. */
typedef void waiting_answer(struct http_req *req, const struct flow *f, const void *arg);

/* A flow to be started by the caller. NULL: answered already, there is no memory. */
struct flow *waiting_flow(struct worker *w, struct http_req *req, waiting_answer *answer,
                          const void *arg);

#endif
