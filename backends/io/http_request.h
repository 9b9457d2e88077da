/*
 * http_request - the head of a request as http_egress sends it.
 */
#ifndef IO_HTTP_REQUEST_H
#define IO_HTTP_REQUEST_H

#include "core/buf.h"
#include "http_egress.h"

/* Replaces *b. -1 when a part could not stand in a head (blanks in the target, line ends in a
 * value) or when a header is one that is set here: Content-Length, Connection, Transfer-Encoding.
 */
int http_request_head(struct buf *b, const struct http_call *call);

#endif
