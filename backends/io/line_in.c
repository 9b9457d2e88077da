#include "line_in.h"

#include "listen.h"
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define UNREAD_MAX (4u << 20)

struct line_peer {
    struct line_in *in;
    struct bufferevent *bev;
    uint64_t id;
    struct line_peer *next;
};

struct line_in {
    struct loop *loop;
    struct line_in_conf conf;
    struct listener socket;
    struct evconnlistener *listener;
    struct line_peer *peers;
    uint64_t last_id;
};

static void peer_close(struct line_peer *p)
{
    struct line_in *in = p->in;
    struct line_peer **at = &in->peers;

    while (*at && *at != p)
        at = &(*at)->next;
    if (*at)
        *at = p->next;
    in->conf.on_gone(in->conf.arg, p);
    bufferevent_free(p->bev);
    free(p);
}

static void on_read(struct bufferevent *bev, void *arg)
{
    struct line_peer *p = arg;
    struct line_in *in = p->in;
    struct evbuffer *input = bufferevent_get_input(bev);
    uint64_t id = p->id;
    size_t n;
    char *line;

    while ((line = evbuffer_readln(input, &n, EVBUFFER_EOL_LF))) {
        in->conf.on_line(in->conf.arg, p, slice_n(line, n));
        free(line);
        if (!line_peer_find(in, id))
            return;
    }
    if (evbuffer_get_length(input) > LINE_MAX_BYTES)
        peer_close(p);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    (void)bev;
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT))
        peer_close(arg);
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int len,
                      void *arg)
{
    struct line_in *in = arg;
    struct line_peer *p = calloc(1, sizeof(*p));

    (void)l;
    (void)sa;
    (void)len;
    if (p)
        p->bev = bufferevent_socket_new(loop_base(in->loop), fd, BEV_OPT_CLOSE_ON_FREE);
    if (!p || !p->bev) {
        free(p);
        close(fd);
        return;
    }
    p->in = in;
    p->id = ++in->last_id;
    p->next = in->peers;
    in->peers = p;
    bufferevent_setcb(p->bev, on_read, NULL, on_event, p);
    bufferevent_enable(p->bev, EV_READ | EV_WRITE);
}

struct line_in *line_in_new(struct loop *l, const struct line_in_conf *conf, char *err, size_t n)
{
    struct line_in *in = calloc(1, sizeof(*in));

    if (!in) {
        snprintf(err, n, "no memory");
        return NULL;
    }
    in->loop = l;
    in->conf = *conf;
    if (listen_unix(&in->socket, conf->unix_path, err, n) != 0) {
        free(in);
        return NULL;
    }
    in->listener =
        evconnlistener_new(loop_base(l), on_accept, in, LEV_OPT_CLOSE_ON_EXEC, 0, in->socket.fd);
    if (!in->listener) {
        snprintf(err, n, "%s: %s", conf->unix_path, strerror(errno));
        listen_close(&in->socket);
        free(in);
        return NULL;
    }
    return in;
}

void line_close_all(struct line_in *in)
{
    while (in->peers)
        peer_close(in->peers);
}

void line_in_free(struct line_in *in)
{
    if (!in)
        return;
    evconnlistener_free(in->listener);
    line_close_all(in);
    listen_close(&in->socket);
    free(in);
}

void line_send(struct line_peer *p, struct slice line)
{
    struct evbuffer *out = bufferevent_get_output(p->bev);

    /* a peer that does not read loses its connection at its next event, never our memory */
    if (evbuffer_get_length(out) > UNREAD_MAX) {
        bufferevent_trigger_event(p->bev, BEV_EVENT_ERROR, BEV_TRIG_DEFER_CALLBACKS);
        return;
    }
    evbuffer_add(out, line.p, line.n);
    evbuffer_add(out, "\n", 1);
}

void line_send_all(struct line_in *in, struct slice line)
{
    for (struct line_peer *p = in->peers; p; p = p->next)
        line_send(p, line);
}

uint64_t line_peer_id(const struct line_peer *p)
{
    return p->id;
}

struct line_peer *line_peer_find(struct line_in *in, uint64_t id)
{
    for (struct line_peer *p = in->peers; p; p = p->next)
        if (p->id == id)
            return p;
    return NULL;
}
