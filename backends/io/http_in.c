/*
 * DESIGN. libmicrohttpd keeps its connections in an epoll descriptor of its own; that descriptor is
 * one event of our loop, and MHD_run does what is ready. A request that is not answered inside the
 * handler is suspended: the library then neither reads from nor times out its connection, so its
 * memory stays until the answer is there. Answers given during a turn are sent by one MHD_run at
 * the turn's end.
 *
 * The library hands out the target only decoded, and the raw one through its log callback alone; a
 * signature covers the raw one, so a request is born in that callback (on_target).
 */
#include "http_in.h"

#include "http_in_impl.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CONNECTION_SLACK   2048 /* idle keepalive connections beside those with a request */
#define FILE_MAX           1048576
#define ANSWER_HEADERS_MAX 65536

/* ---- running the library ---- */

static void on_run(void *arg);

void http_in_defer_run(struct http_in *h)
{
    if (h->run_deferred)
        return;
    h->run_deferred = true;
    loop_defer(h->loop, on_run, h);
}

static void run(struct http_in *h)
{
    MHD_UNSIGNED_LONG_LONG ms;

    MHD_run(h->daemon);
    if (MHD_get_timeout(h->daemon, &ms) != MHD_YES)
        loop_timer_clear(h->timer);
    else if (ms == 0)
        http_in_defer_run(h);
    else
        loop_timer_set(h->timer, (int64_t)ms * USEC_PER_MSEC);
}

static void on_run(void *arg)
{
    struct http_in *h = arg;

    h->run_deferred = false;
    if (h->dead) {
        buf_release(&h->scratch);
        free(h);
    } else {
        run(h);
    }
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    run(arg);
}

static void on_timeout(void *arg)
{
    run(arg);
}

/* ---- life ---- */

static char *read_file(const char *path, char *err, size_t n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *p = calloc(1, FILE_MAX + 1);
    ssize_t got = fd >= 0 && p ? read(fd, p, FILE_MAX) : -1;

    if (got <= 0) {
        snprintf(err, n, "read %s: %s", path, got == 0 ? "empty" : strerror(errno));
        free(p);
        p = NULL;
    }
    if (fd >= 0)
        close(fd);
    return p;
}

static void set_defaults(struct http_in_conf *c)
{
    if (c->max_body == 0)
        c->max_body = 65536;
    if (c->max_requests == 0)
        c->max_requests = 10000;
    if (c->arena_cap == 0)
        c->arena_cap = 262144;
    if (c->idle_timeout_s == 0)
        c->idle_timeout_s = 120;
}

static struct MHD_Daemon *start_daemon(struct http_in *h)
{
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_SUPPRESS_DATE_NO_CLOCK;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_KEY, 0, h->key},
        {MHD_OPTION_HTTPS_MEM_CERT, 0, h->cert},
        {h->conf.tls_clients ? MHD_OPTION_HTTPS_MEM_TRUST : MHD_OPTION_END, 0,
         (void *)(uintptr_t)h->conf.tls_clients},
        {MHD_OPTION_END, 0, NULL},
    };

    return MHD_start_daemon(h->cert ? flags | MHD_USE_TLS : flags, 0, NULL, NULL, on_request, h,
                            MHD_OPTION_LISTEN_SOCKET, (MHD_socket)h->listener.fd,
                            MHD_OPTION_URI_LOG_CALLBACK, on_target, h, MHD_OPTION_NOTIFY_COMPLETED,
                            on_completed, h, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                            (size_t)HTTP_IN_CONNECTION_MEMORY, MHD_OPTION_CONNECTION_LIMIT,
                            (unsigned)(h->conf.max_requests + CONNECTION_SLACK),
                            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)h->conf.idle_timeout_s,
                            MHD_OPTION_ARRAY, h->cert ? tls : tls + 3, MHD_OPTION_END);
}

/* The library's descriptor and timer become events of our loop. */
static int join_loop(struct http_in *h)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);

    h->timer = loop_timer_new(h->loop, on_timeout, h);
    if (!info || !h->timer)
        return -1;
    h->ready = event_new(loop_base(h->loop), info->epoll_fd, EV_READ | EV_PERSIST, on_ready, h);
    return h->ready && event_add(h->ready, NULL) == 0 ? 0 : -1;
}

static int open_listener(struct http_in *h, char *err, size_t n)
{
    const struct http_in_conf *c = &h->conf;

    if (c->tls_cert && c->tls_key) {
        h->cert = read_file(c->tls_cert, err, n);
        h->key = h->cert ? read_file(c->tls_key, err, n) : NULL;
        if (!h->key)
            return -1;
    }
    return c->unix_path ? listen_unix(&h->listener, c->unix_path, err, n)
                        : listen_tcp(&h->listener, c->listen, err, n);
}

struct http_in *http_in_new(struct loop *l, const struct http_in_conf *conf, char *err, size_t n)
{
    struct http_in *h = calloc(1, sizeof(*h));

    if (!h) {
        snprintf(err, n, "no memory");
        return NULL;
    }
    h->loop = l;
    h->conf = *conf;
    h->listener.fd = -1;
    buf_init(&h->scratch, ANSWER_HEADERS_MAX);
    set_defaults(&h->conf);
    if (open_listener(h, err, n) != 0)
        goto failed;
    h->port = h->listener.port;
    h->daemon = start_daemon(h);
    if (!h->daemon || join_loop(h) != 0) {
        snprintf(err, n, "libmicrohttpd does not start: %s", strerror(errno));
        goto failed;
    }
    return h;
failed:
    http_in_free(h);
    return NULL;
}

void http_in_stop(struct http_in *h)
{
    if (h->stopping)
        return;
    h->stopping = true;
    h->succeeded = listen_succeeded(&h->listener);
    MHD_run(h->daemon); /* who connected before the successor was there belongs to us */
    MHD_quiesce_daemon(h->daemon);
    listen_close(&h->listener);
}

size_t http_in_held(const struct http_in *h)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

    return h->succeeded && info ? info->num_connections : h->active;
}

void http_in_free(struct http_in *h)
{
    if (!h)
        return;
    if (h->ready)
        event_free(h->ready);
    loop_timer_free(h->timer);
    http_in_detach_all(h);
    if (h->daemon)
        MHD_stop_daemon(h->daemon);
    /* MHD_stop_daemon has closed the descriptor unless http_in_stop took it back before. */
    if (h->daemon && !h->stopping)
        h->listener.fd = -1;
    listen_close(&h->listener);
    free(h->cert);
    free(h->key);
    h->dead = true;
    if (!h->run_deferred)
        on_run(h);
}

size_t http_in_active(const struct http_in *h)
{
    return h->active;
}

uint16_t http_in_port(const struct http_in *h)
{
    return h->port;
}
