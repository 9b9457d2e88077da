/*
 * api - the merchant API behind the edge: dispatch, read, close, certificates. The edge verified
 * who asks; the Pay-* headers are its word (docs/interfaces.md).
 */
#ifndef PAYD_API_H
#define PAYD_API_H

#include "backends/io/http_in.h"

/* http_in handler; arg is the worker. */
void api_handle(void *arg, struct http_req *req);

#endif
