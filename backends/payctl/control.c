#include "control.h"

#include "backends/io/http_answer.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MAX   (1u << 20)
#define WAIT_SECONDS 10

static const char *socket_path(struct ctl *c)
{
    const char *path = c->control ? c->control : c->options.control;

    if (!path)
        ctl_refuse("no \"control\" in %s, and no --control", c->conf);
    else if (strncmp(path, "unix:", 5) == 0)
        path += 5;
    return path;
}

static int open_socket(const char *path)
{
    struct timeval wait = {.tv_sec = WAIT_SECONDS};
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof(addr.sun_path)) {
        ctl_refuse("%s: too long for a socket", path);
        return -1;
    }
    memcpy(addr.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) != 0 ||
        connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
        ctl_refuse("%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

static int send_all(int fd, struct slice s)
{
    while (s.n) {
        ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        s.p += n;
        s.n -= (size_t)n;
    }
    return 0;
}

static int read_answer(int fd, struct buf *in, struct answer_parser *p)
{
    enum answer_step step = ANSWER_MORE;

    while (step == ANSWER_MORE) {
        char *room = buf_reserve(in, 16384);
        ssize_t n = room ? recv(fd, room, 16384, 0) : -1;

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        in->n += (size_t)n;
        step = answer_parse(p, in->p, in->n, n == 0);
        if (n == 0 && step == ANSWER_MORE)
            return -1;
    }
    return step == ANSWER_DONE ? 0 : -1;
}

/* 0 with the whole answer in `in` */
static int exchange(const char *path, struct slice request, struct buf *in, struct answer_parser *p)
{
    int fd = open_socket(path), status;

    if (fd < 0)
        return -1;
    answer_parser_init(p, false, ANSWER_MAX);
    status = send_all(fd, request) == 0 && read_answer(fd, in, p) == 0 ? 0 : -1;
    if (status != 0)
        ctl_refuse("%s: no answer", path);
    close(fd);
    return status;
}

static const struct json *parse(struct arena *a, const char *path, int status, struct slice body)
{
    const struct json_limits limits = {.values = 65536};
    struct json_error err;
    const struct json *v;
    struct slice detail;

    if (json_parse(a, body, &limits, &v, &err) != 0) {
        ctl_refuse("%s: answered with status %d", path, status);
        return NULL;
    }
    if (status == 200)
        return v;
    detail = json_str(v, "detail");
    ctl_refuse("%.*s%s%.*s", SLICE_FMT(json_str(v, "title")), detail.n ? ": " : "",
               SLICE_FMT(detail));
    return NULL;
}

const struct json *control_ask_at(const char *path, struct arena *a, const char *method,
                                  const char *target, struct slice body)
{
    struct answer_parser p;
    struct buf in;
    const struct json *v = NULL;

    buf_init(&in, ANSWER_MAX);
    if (exchange(path,
                 arena_printf(a,
                              "%s %s HTTP/1.1\r\nHost: control\r\nConnection: close\r\n"
                              "Content-Length: %zu\r\n\r\n%.*s",
                              method, target, body.n, SLICE_FMT(body)),
                 &in, &p) == 0)
        v = parse(a, path, p.status, arena_copy(a, slice_n(in.p + p.body_start, p.body_n)));
    buf_release(&in);
    return v;
}

const struct json *control_ask(struct ctl *c, struct arena *a, const char *method,
                               const char *target, struct slice body)
{
    const char *path = socket_path(c);

    return path ? control_ask_at(path, a, method, target, body) : NULL;
}
