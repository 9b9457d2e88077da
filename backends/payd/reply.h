/*
 * reply - answers to merchants: a payment, or a problem.
 */
#ifndef PAYD_REPLY_H
#define PAYD_REPLY_H

#include "backends/domain/refund.h"
#include "backends/io/http_in.h"
#include "worker.h"

/* replayed: Idempotency-Replayed: true. status 201 adds Location. */
void reply_payment(const struct worker *w, struct http_req *req, int status,
                   const struct payment *p, bool replayed);
void reply_refund(struct http_req *req, int status, const struct payment *p, const struct refund *r,
                  bool replayed);
void reply_problem(struct http_req *req, enum problem_code code, const char *detail,
                   const char *pointer);
void reply_problem_full(struct http_req *req, const struct problem *problem);
void reply_json(struct http_req *req, int status, struct slice body);
/* The order's slot as the edge computed it. 0, or -1 with the request answered. */
int reply_slot(struct http_req *req, int64_t *slot);

#endif
