/*
 * notify - channels' notifications at /notify/{channel}/{account}: verified, decrypted, checked
 * against the order, committed, and only then acknowledged.
 */
#ifndef PAYD_NOTIFY_H
#define PAYD_NOTIFY_H

#include "backends/io/http_in.h"

/* http_in handler; arg is the worker. */
void notify_handle(void *arg, struct http_req *req);

#endif
