/*
 * reply - answers to merchants: a payment, or a problem.
 */
#ifndef PAYD_REPLY_H
#define PAYD_REPLY_H

#include "backends/domain/payment.h"
#include "backends/io/http_in.h"

/* replayed: Idempotency-Replayed: true. status 201 adds Location. */
void reply_payment(struct http_req *req, int status, const struct payment *p, bool replayed);
void reply_problem(struct http_req *req, enum problem_code code, const char *detail,
                   const char *pointer);
void reply_problem_full(struct http_req *req, const struct problem *problem);
void reply_json(struct http_req *req, int status, struct slice body);

#endif
