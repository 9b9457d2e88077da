/*
 * proxy - stands between two parts of the system and makes the faults of a network on command
 * (t/lib/proxy.py; the fault campaign).
 *
 *     proxy NAME=LISTEN=TARGET ...        an address is unix:PATH or 127.0.0.1:PORT
 *
 * Commands come by lines on stdin, each is answered by a line; the end of stdin is the end.
 *
 *     pass NAME               as if it were not there. What a fault has broken stays broken.
 *     delay NAME MS           whatever comes is passed on so much later, in order
 *     reset NAME              every connection is reset, and each new one as soon as it says
 * something cut NAME up|down        of the next piece a connection carries to the target (up) or
 * back (down) the first half is passed on, then both ends are closed swallow NAME half-open:
 * nothing gets through any more and nobody is told. Those connections stay dead; when one end is
 * closed and the network is back, the other end is reset lose NAME N STATEMENT,...   PostgreSQL's
 * protocol: a unit that runs one of these prepared statements gets through whole; when the server
 * has said ReadyForQuery, so that it is committed, the connection is reset and not a byte of the
 * answer was passed on. N units, then as pass struck NAME             -> how many connections met a
 * fault since the start
 */
#define _GNU_SOURCE
#include "proxy.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PIECE      65536
#define QUEUED_MAX (1u << 20)
#define EVENTS     256
#define TICK_MS    2
#define LINKS_MAX  32

struct piece {
    struct piece *next;
    int64_t due_us;
    size_t n, at;
    char text[];
};

/* One direction of a connection: what came in at `from` waits for `to`. */
struct way {
    struct piece *first, **last;
    size_t queued;
    bool ended, told; /* `from` has ended; `to` was told */
};

/* Its two sockets: 0 towards who connected, 1 towards the target. ways[i] is read from socket i. */
struct conn {
    struct conn *next;
    struct link *link;
    struct door {
        struct conn *conn; /* NULL: a link's listener */
        struct link *link;
        int fd;
        uint32_t events;
    } doors[2];
    struct way ways[2];
    struct pg_follow pg;
    bool dead, losing, gone;
};

static struct link links[LINKS_MAX];
static struct door listeners[LINKS_MAX];
static size_t nlinks;
static struct conn *conns;
static size_t waiting; /* pieces that are not due yet */
static int epfd;

static int64_t now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000LL + ts.tv_nsec / 1000;
}

/* ---- connections ---- */

static void watch(struct conn *c, int i)
{
    struct door *d = &c->doors[i];
    const struct way *in = &c->ways[i], *out = &c->ways[1 - i];
    struct epoll_event e = {.data.ptr = d};

    if (!in->ended && in->queued < QUEUED_MAX)
        e.events |= EPOLLIN;
    if (out->first && out->first->due_us <= now_us())
        e.events |= EPOLLOUT;
    if (e.events != d->events && d->fd >= 0) {
        epoll_ctl(epfd, EPOLL_CTL_MOD, d->fd, &e);
        d->events = e.events;
    }
}

static void drop_pieces(struct way *w)
{
    for (struct piece *p = w->first, *next; p; p = next) {
        next = p->next;
        waiting--;
        free(p);
    }
    w->first = NULL;
    w->last = &w->first;
    w->queued = 0;
}

/* The struct itself is freed at the end of the turn: events may still name it. */
static void end(struct conn *c, bool reset)
{
    const struct linger hard = {.l_onoff = 1};

    for (int i = 0; i < 2 && !c->gone; i++) {
        if (reset && c->doors[i].fd >= 0)
            setsockopt(c->doors[i].fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
        if (c->doors[i].fd >= 0)
            close(c->doors[i].fd);
        c->doors[i].fd = -1;
        drop_pieces(&c->ways[i]);
    }
    c->gone = true;
}

static void strike(struct conn *c)
{
    c->link->struck++;
    end(c, true);
}

static void open_conn(struct link *l, int listener)
{
    struct epoll_event e = {.events = EPOLLIN};
    struct conn *c;
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return;
    c = calloc(1, sizeof(*c));
    if (!c)
        abort();
    c->link = l;
    c->doors[0].fd = fd;
    c->doors[1].fd = address_connect(&l->target);
    c->next = conns;
    conns = c;
    for (int i = 0; i < 2; i++) {
        c->doors[i].conn = c;
        c->doors[i].events = EPOLLIN;
        c->ways[i].last = &c->ways[i].first;
        e.data.ptr = &c->doors[i];
        if (c->doors[i].fd < 0 || epoll_ctl(epfd, EPOLL_CTL_ADD, c->doors[i].fd, &e) != 0) {
            end(c, true);
            return;
        }
    }
    c->dead = l->mode == MODE_SWALLOW;
}

/* ---- passing on ---- */

static void pass_on(struct conn *c, int from)
{
    struct way *w = &c->ways[from];
    int to = c->doors[1 - from].fd;
    int64_t now = now_us();

    while (w->first && w->first->due_us <= now) {
        struct piece *p = w->first;
        ssize_t n = send(to, p->text + p->at, p->n - p->at, MSG_NOSIGNAL);

        if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOTCONN))
            break;
        if (n < 0) {
            end(c, true);
            return;
        }
        p->at += (size_t)n;
        w->queued -= (size_t)n;
        if (p->at < p->n)
            break;
        w->first = p->next;
        if (!w->first)
            w->last = &w->first;
        waiting--;
        free(p);
    }
    if (w->ended && !w->first && !w->told) {
        shutdown(to, SHUT_WR);
        w->told = true;
    }
    if (c->ways[0].told && c->ways[1].told)
        end(c, false);
}

static void queue(struct conn *c, int from, const char *text, size_t n)
{
    struct way *w = &c->ways[from];
    struct piece *p = malloc(sizeof(*p) + n);

    if (!p)
        abort();
    *p = (struct piece){.n = n, .due_us = now_us()};
    if (c->link->mode == MODE_DELAY)
        p->due_us += c->link->delay_us;
    memcpy(p->text, text, n);
    *w->last = p;
    w->last = &p->next;
    w->queued += n;
    waiting++;
}

/* A piece has come. False: the connection is gone. */
static bool take(struct conn *c, int from, const char *text, size_t n)
{
    struct link *l = c->link;
    int64_t ready;

    if (c->dead)
        return true;
    ready = from == 0 ? 0 : pg_follow_server(&c->pg, text, n);
    if (from == 0 && pg_follow_client(&c->pg, text, n, l->statements) && l->mode == MODE_LOSE &&
        l->lose > 0) {
        c->losing = true;
        l->lose--;
    }
    if (c->losing && from == 1) {
        if (ready)
            strike(c);
        return !ready;
    }
    if (l->mode == MODE_RESET) {
        strike(c);
        return false;
    }
    if (l->mode == (from == 0 ? MODE_CUT_UP : MODE_CUT_DOWN)) {
        queue(c, from, text, n / 2);
        pass_on(c, from);
        if (!c->gone) {
            l->struck++;
            end(c, false);
        }
        return false;
    }
    queue(c, from, text, n);
    return true;
}

static void read_door(struct conn *c, int i)
{
    static char text[PIECE];
    ssize_t n = recv(c->doors[i].fd, text, sizeof(text), 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0) {
        end(c, true);
    } else if (n == 0) {
        c->ways[i].ended = true;
        if (c->dead && c->link->mode != MODE_SWALLOW)
            end(c, true);
        else if (!c->dead)
            pass_on(c, i);
    } else if (take(c, i, text, (size_t)n)) {
        pass_on(c, i);
    }
}

static void serve_door(struct door *d, uint32_t events)
{
    struct conn *c = d->conn;
    int i = c && d == &c->doors[1];

    if (!c) {
        open_conn(d->link, d->fd);
        return;
    }
    if (!c->gone && (events & (EPOLLERR | EPOLLHUP)) && !(events & EPOLLIN)) {
        /* nothing more can be read: told at once, as the kernel would */
        if (!c->dead || c->link->mode != MODE_SWALLOW)
            end(c, true);
        else
            epoll_ctl(epfd, EPOLL_CTL_DEL, d->fd, NULL);
    }
    if (!c->gone && (events & EPOLLIN))
        read_door(c, i);
    if (!c->gone && (events & EPOLLOUT))
        pass_on(c, 1 - i);
    for (int k = 0; k < 2 && !c->gone; k++)
        watch(c, k);
}

/* ---- commands ---- */

static struct link *link_named(const char *name)
{
    for (size_t i = 0; i < nlinks; i++)
        if (name && strcmp(links[i].name, name) == 0)
            return &links[i];
    return NULL;
}

static void set_mode(struct link *l, enum mode mode)
{
    l->mode = mode;
    for (struct conn *c = conns; c; c = c->next) {
        if (c->link != l || c->gone)
            continue;
        if (mode == MODE_RESET) {
            strike(c);
        } else if (mode == MODE_SWALLOW && !c->dead) {
            c->dead = true;
            l->struck++;
            drop_pieces(&c->ways[0]);
            drop_pieces(&c->ways[1]);
        } else if (mode == MODE_PASS && c->dead && (c->ways[0].ended || c->ways[1].ended)) {
            end(c, true);
        }
    }
}

static bool obey(char *line)
{
    char *rest = NULL, *verb = strtok_r(line, " \n", &rest);
    struct link *l = link_named(strtok_r(NULL, " \n", &rest));
    char *word = strtok_r(NULL, " \n", &rest);

    if (!verb || !l)
        return false;
    if (strcmp(verb, "pass") == 0) {
        set_mode(l, MODE_PASS);
    } else if (strcmp(verb, "delay") == 0 && word) {
        l->delay_us = strtoll(word, NULL, 10) * 1000;
        set_mode(l, MODE_DELAY);
    } else if (strcmp(verb, "reset") == 0) {
        set_mode(l, MODE_RESET);
    } else if (strcmp(verb, "swallow") == 0) {
        set_mode(l, MODE_SWALLOW);
    } else if (strcmp(verb, "cut") == 0 && word) {
        set_mode(l, strcmp(word, "up") == 0 ? MODE_CUT_UP : MODE_CUT_DOWN);
    } else if (strcmp(verb, "lose") == 0 && word) {
        const char *names = strtok_r(NULL, " \n", &rest);

        if (!names)
            return false;
        l->lose = strtol(word, NULL, 10);
        snprintf(l->statements, sizeof(l->statements), ",%s,", names);
        set_mode(l, MODE_LOSE);
    } else if (strcmp(verb, "struck") != 0) {
        return false;
    }
    printf("%ld\n", l->struck);
    return true;
}

static void read_commands(void)
{
    static char text[4096];
    static size_t have;
    ssize_t n = read(STDIN_FILENO, text + have, sizeof(text) - 1 - have);
    char *end_of_line;

    if (n <= 0)
        exit(0);
    have += (size_t)n;
    text[have] = '\0';
    while ((end_of_line = strchr(text, '\n'))) {
        *end_of_line++ = '\0';
        if (!obey(text))
            printf("refused\n");
        have -= (size_t)(end_of_line - text);
        memmove(text, end_of_line, have + 1);
    }
    fflush(stdout);
}

/* ---- the loop ---- */

static void sweep(void)
{
    for (struct conn **p = &conns; *p;) {
        struct conn *c = *p;

        if (waiting && !c->gone) {
            pass_on(c, 0);
            if (!c->gone)
                pass_on(c, 1);
            for (int i = 0; i < 2 && !c->gone; i++)
                watch(c, i);
        }
        if (c->gone) {
            *p = c->next;
            free(c);
        } else {
            p = &c->next;
        }
    }
}

static void add_link(char *text)
{
    char *rest = NULL;
    struct link *l = &links[nlinks];
    struct door *d = &listeners[nlinks++];
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = d};
    const char *name = strtok_r(text, "=", &rest), *listen = strtok_r(NULL, "=", &rest),
               *target = strtok_r(NULL, "=", &rest);

    if (!name || !listen || !target || address_parse(&l->target, target) != 0) {
        fprintf(stderr, "proxy: NAME=LISTEN=TARGET, with unix:PATH or 127.0.0.1:PORT\n");
        exit(2);
    }
    snprintf(l->name, sizeof(l->name), "%s", name);
    *d = (struct door){.link = l, .fd = address_listen(listen)};
    if (d->fd < 0 || epoll_ctl(epfd, EPOLL_CTL_ADD, d->fd, &e) != 0) {
        fprintf(stderr, "proxy: %s: %s\n", listen, strerror(errno));
        exit(1);
    }
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS], in = {.events = EPOLLIN};

    signal(SIGPIPE, SIG_IGN);
    epfd = epoll_create1(EPOLL_CLOEXEC);
    if (epfd < 0 || argc < 2 || argc > LINKS_MAX ||
        epoll_ctl(epfd, EPOLL_CTL_ADD, STDIN_FILENO, &in) != 0) {
        fprintf(stderr, "usage: proxy NAME=LISTEN=TARGET ...\n");
        return 2;
    }
    for (int i = 1; i < argc; i++)
        add_link(argv[i]);
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(epfd, events, EVENTS, waiting ? TICK_MS : -1);

        for (int i = 0; i < n; i++) {
            if (!events[i].data.ptr)
                read_commands();
            else
                serve_door(events[i].data.ptr, events[i].events);
        }
        sweep();
    }
}
