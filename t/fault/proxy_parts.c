#define _GNU_SOURCE
#include "proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG 1024

/* ---- addresses ---- */

int address_parse(struct address *a, const char *text)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&a->sa;
    const char *port;

    memset(a, 0, sizeof(*a));
    if (strncmp(text, "unix:", 5) == 0) {
        if (strlen(text + 5) >= sizeof(a->sa.sun_path))
            return -1;
        a->sa.sun_family = AF_UNIX;
        strcpy(a->sa.sun_path, text + 5);
        a->len = sizeof(a->sa);
        return 0;
    }
    port = strrchr(text, ':');
    if (!port)
        return -1;
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    in->sin_port = htons((uint16_t)strtoul(port + 1, NULL, 10));
    a->len = sizeof(*in);
    return in->sin_port ? 0 : -1;
}

static int open_socket(const struct address *a)
{
    int one = 1;
    int fd = socket(a->sa.sun_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd >= 0 && a->sa.sun_family == AF_INET) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    }
    return fd;
}

int address_listen(const char *text)
{
    struct address a;
    int fd;

    if (address_parse(&a, text) != 0) {
        errno = EINVAL;
        return -1;
    }
    fd = open_socket(&a);
    if (a.sa.sun_family == AF_UNIX)
        unlink(a.sa.sun_path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a.sa, a.len) != 0 || listen(fd, BACKLOG) != 0)
        return -1;
    if (a.sa.sun_family == AF_UNIX)
        chmod(a.sa.sun_path, 0666);
    return fd;
}

int address_connect(const struct address *a)
{
    int fd = open_socket(a);

    if (fd >= 0 && connect(fd, (const struct sockaddr *)&a->sa, a->len) != 0 &&
        errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

/* ---- PostgreSQL's messages ---- */

/* Takes bytes up to the end of a message; true: a whole one is there. */
static bool follow(struct pg_stream *s, bool typed, const char **text, size_t *n)
{
    size_t head = typed ? 5 : 4;

    while (*n && s->have < head) {
        s->head[s->have++] = (uint8_t) * (*text)++;
        --*n;
        if (s->have == head) {
            const uint8_t *len = s->head + head - 4;

            s->left = ((size_t)len[0] << 24 | (size_t)len[1] << 16 | (size_t)len[2] << 8 | len[3]);
            s->left = s->left >= 4 ? s->left - 4 : 0;
            s->kept = 0;
        }
    }
    if (s->have == head) {
        size_t take = s->left < *n ? s->left : *n;
        size_t keep = take < sizeof(s->content) - s->kept ? take : sizeof(s->content) - s->kept;

        memcpy(s->content + s->kept, *text, keep);
        s->kept += keep;
        s->left -= take;
        *text += take;
        *n -= take;
        if (s->left == 0) {
            s->have = 0;
            return true;
        }
    }
    return false;
}

/* Bind: the portal's name, the statement's name. */
static bool binds(const struct pg_stream *s, const char *statements)
{
    char wanted[PG_KEPT + 2];
    const char *portal_end = memchr(s->content, '\0', s->kept);
    const char *name = portal_end ? portal_end + 1 : NULL;
    size_t left = name ? s->kept - (size_t)(name - s->content) : 0;

    if (!name || !memchr(name, '\0', left))
        return false;
    snprintf(wanted, sizeof(wanted), ",%s,", name);
    return *name && strstr(statements, wanted);
}

bool pg_follow_client(struct pg_follow *f, const char *text, size_t n, const char *statements)
{
    bool found = false;

    while (n) {
        bool whole = follow(&f->client, f->started, &text, &n);

        if (whole && f->started && f->client.head[0] == 'B' && binds(&f->client, statements))
            found = true;
        if (whole)
            f->started = true;
    }
    return found;
}

bool pg_follow_server(struct pg_follow *f, const char *text, size_t n)
{
    bool ready = false;

    while (n)
        if (follow(&f->server, true, &text, &n) && f->server.head[0] == 'Z')
            ready = true;
    return ready;
}
