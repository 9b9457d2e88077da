/*
 * listen - listening sockets: a unix path (mode 0660) or 127.0.0.1:PORT, non-blocking, long
 * backlog.
 */
#ifndef IO_LISTEN_H
#define IO_LISTEN_H

#include "core/slice.h"
#include <sys/types.h>

/* A full backlog refuses connections at once on a unix socket, so it is longer than any burst. */
#define LISTEN_BACKLOG 4096

struct listener {
    int fd;
    uint16_t port; /* TCP only */
    char *path;    /* unix only */
    dev_t dev;
    ino_t ino;
};

/* What the path ends in while its socket is made: paths are so much shorter than the system allows.
 */
#define LISTEN_NEW "~"

/* 0, or -1 with a text in err. A socket at `path` is replaced in one step, so that a successor
 * takes over without a gap; any other file is not. */
int listen_unix(struct listener *s, const char *path, char *err, size_t n);
/* "ADDRESS:PORT", IPv4; port 0 takes a free one. */
int listen_tcp(struct listener *s, const char *address, char *err, size_t n);
/* Whether another process has taken the path over. */
bool listen_succeeded(const struct listener *s);
/* Closes; removes the path only if it is still this socket and not a successor's. */
void listen_close(struct listener *s);

#endif
