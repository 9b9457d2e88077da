/*
 * line_in - a server for a line protocol on a unix socket: lines end in '\n', at most
 * LINE_MAX_BYTES. A peer that sends a longer line, or does not read what it is sent, is cut off.
 */
#ifndef IO_LINE_IN_H
#define IO_LINE_IN_H

#include "backends/io/loop.h"
#include "core/slice.h"

#define LINE_MAX_BYTES 16384

struct line_in;
struct line_peer;

struct line_in_conf {
    const char *unix_path;
    /* line without its '\n', valid during the call */
    void (*on_line)(void *arg, struct line_peer *peer, struct slice line);
    /* after this the peer must not be used any more */
    void (*on_gone)(void *arg, struct line_peer *peer);
    void *arg;
};

struct line_in *line_in_new(struct loop *l, const struct line_in_conf *conf, char *err, size_t n);
void line_in_free(struct line_in *in);
/* `line` without '\n'. */
void line_send(struct line_peer *peer, struct slice line);
void line_send_all(struct line_in *in, struct slice line);
/* Ends all connections: whoever comes back knows that it missed something. */
void line_close_all(struct line_in *in);
/* A number that no other peer of this server ever has: remember it instead of the pointer. */
uint64_t line_peer_id(const struct line_peer *peer);
struct line_peer *line_peer_find(struct line_in *in, uint64_t id);

#endif
