/*
 * http - shapes shared by the HTTP server (http_in) and the two clients (http_egress, http_out).
 */
#ifndef IO_HTTP_H
#define IO_HTTP_H

#include "core/slice.h"

struct http_header {
    struct slice name;
    struct slice value;
};

/* First header of that name (case-insensitive), SLICE_NULL if none; *count (may be NULL) = how
 * many. */
struct slice http_find(const struct http_header *h, size_t n, const char *name, size_t *count);

#endif
