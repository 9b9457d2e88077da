/*
 * refunds - the merchant API's refunds: POST /v1/refunds, GET by id and by numbers.
 */
#ifndef PAYD_REFUNDS_H
#define PAYD_REFUNDS_H

#include "backends/io/http_in.h"
#include "core/api.h"
#include "worker.h"

/* doc: checked body; it lives only for this call. */
void refunds_create(struct worker *w, struct http_req *req, const struct json *doc);
void refunds_get(struct worker *w, struct http_req *req, struct slice id);
void refunds_find(struct worker *w, struct http_req *req, const struct api_match *m);

#endif
