/*
 * create - POST /v1/payments: one order per (merchant, out_trade_no), whoever asks and how often.
 *
 * The first request of a number starts a creation; equal ones that arrive while it is in flight
 * join it and get the same order (`Idempotency-Replayed`); unequal ones get 409. What the database
 * already has is answered as it now is. Everyone is answered within answer_within.
 */
#ifndef PAYD_CREATE_H
#define PAYD_CREATE_H

#include "backends/io/http_in.h"
#include "core/json.h"
#include "worker.h"

struct flow;

/* doc: the checked body. */
void create_payment(struct worker *w, struct http_req *req, const struct json *doc);
/* Joins the creation whose flow this is, as an asker of the same order (GET while it is made). */
void create_join(struct flow *creating, struct http_req *req);

#endif
