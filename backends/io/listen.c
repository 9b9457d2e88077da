#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int fail(char *err, size_t n, const char *what, const char *name, int code)
{
    snprintf(err, n, "%s %s: %s", what, name, strerror(code));
    return -1;
}

static int new_socket(int family)
{
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* Whether nothing stands at `path` that we may not replace. */
static bool may_replace(const char *path)
{
    struct stat st;

    if (lstat(path, &st) != 0)
        return errno == ENOENT;
    errno = EADDRINUSE;
    return S_ISSOCK(st.st_mode);
}

/* The mask makes the file 0660 from its first moment; a chmod afterwards would leave a gap. */
static int bind_0660(int fd, const struct sockaddr_un *sa)
{
    mode_t old = umask(0117);
    int rc = bind(fd, (const struct sockaddr *)sa, sizeof(*sa));
    int code = errno;

    umask(old);
    errno = code;
    return rc;
}

/* Listening begins under a name of its own, which then takes the place of the old one: at no moment
 * is there a path that nobody listens on, so a process is replaced while connections come. */
int listen_unix(struct listener *s, const char *path, char *err, size_t n)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct stat st;
    int code;

    *s = (struct listener){.fd = -1};
    if (strlen(path) + strlen(LISTEN_NEW) >= sizeof(sa.sun_path))
        return fail(err, n, "socket path", path, ENAMETOOLONG);
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s" LISTEN_NEW, path);
    s->fd = new_socket(AF_UNIX);
    if (s->fd < 0)
        return fail(err, n, "socket", path, errno);
    if (!may_replace(path))
        goto failed;
    unlink(sa.sun_path);
    if (bind_0660(s->fd, &sa) != 0 || listen(s->fd, LISTEN_BACKLOG) != 0 ||
        rename(sa.sun_path, path) != 0)
        goto failed;
    s->path = strdup(path);
    if (s->path && lstat(path, &st) == 0) {
        s->dev = st.st_dev;
        s->ino = st.st_ino;
    }
    return 0;
failed:
    code = errno;
    listen_close(s);
    return fail(err, n, "listen on", path, code);
}

static int parse_address(const char *address, struct sockaddr_in *sa)
{
    struct slice rest = slice_of(address);
    struct slice host = slice_cut(&rest, ':');
    char text[INET_ADDRSTRLEN];
    int64_t port;

    if (slice_int64(rest, &port) != 0 || port < 0 || port > 65535 || host.n >= sizeof(text))
        return -1;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    *sa = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    return inet_pton(AF_INET, text, &sa->sin_addr) == 1 ? 0 : -1;
}

int listen_tcp(struct listener *s, const char *address, char *err, size_t n)
{
    struct sockaddr_in sa;
    socklen_t len = sizeof(sa);
    int on = 1;

    *s = (struct listener){.fd = -1};
    if (parse_address(address, &sa) != 0)
        return fail(err, n, "address", address, EINVAL);
    s->fd = new_socket(AF_INET);
    if (s->fd < 0)
        return fail(err, n, "socket", address, errno);
    setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(s->fd, (struct sockaddr *)&sa, sizeof(sa)) != 0 ||
        listen(s->fd, LISTEN_BACKLOG) != 0 ||
        getsockname(s->fd, (struct sockaddr *)&sa, &len) != 0) {
        int code = errno;

        listen_close(s);
        return fail(err, n, "listen on", address, code);
    }
    s->port = ntohs(sa.sin_port);
    return 0;
}

static bool is_ours(const struct listener *s, const struct stat *st)
{
    return st->st_dev == s->dev && st->st_ino == s->ino;
}

bool listen_succeeded(const struct listener *s)
{
    struct stat st;

    return s->path && lstat(s->path, &st) == 0 && S_ISSOCK(st.st_mode) && !is_ours(s, &st);
}

void listen_close(struct listener *s)
{
    struct stat st;

    if (s->path && lstat(s->path, &st) == 0 && is_ours(s, &st))
        unlink(s->path);
    free(s->path);
    s->path = NULL;
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}
