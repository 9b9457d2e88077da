#define _GNU_SOURCE /* pipe2, close_range */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAID_MAX 512
#define REAP_US  (10 * USEC_PER_MSEC)
#define NO_EXEC  127
#define FIRST_FD 3

struct child {
    struct loop *loop;
    struct event *said_event;
    struct loop_timer *timer; /* its time is up; when it says nothing more: has it ended? */
    int64_t until_us;         /* loop time */
    child_cb *cb;
    void *arg;
    pid_t pid;
    int fd;
    bool closed; /* it says nothing more */
    char said[SAID_MAX];
    size_t nsaid;
};

static void release(void *arg)
{
    struct child *c = arg;

    if (c->said_event)
        event_free(c->said_event);
    loop_timer_free(c->timer);
    close(c->fd);
    free(c);
}

/* The last line that is not empty. */
static struct slice last_line(const struct child *c)
{
    size_t end = c->nsaid, from;

    while (end && c->said[end - 1] == '\n')
        end--;
    from = end;
    while (from && c->said[from - 1] != '\n')
        from--;
    return slice_n(c->said + from, end - from);
}

static void on_ended(struct child *c, int how)
{
    loop_timer_clear(c->timer);
    c->cb(c->arg, WIFEXITED(how) ? WEXITSTATUS(how) : -1, last_line(c));
    loop_defer(c->loop, release, c);
}

static void on_timer(void *arg)
{
    struct child *c = arg;
    int how;

    if (loop_now_us(c->loop) >= c->until_us)
        kill(c->pid, SIGKILL); /* and its end of the pipe closes */
    if (!c->closed)
        return;
    if (waitpid(c->pid, &how, WNOHANG) == c->pid)
        on_ended(c, how);
    else
        loop_timer_set(c->timer, REAP_US);
}

/* Of more than there is room for the end is kept. */
static void keep(struct child *c, const char *p, size_t n)
{
    if (n > SAID_MAX) {
        p += n - SAID_MAX;
        n = SAID_MAX;
    }
    if (c->nsaid + n > SAID_MAX) {
        size_t drop = c->nsaid + n - SAID_MAX;

        memmove(c->said, c->said + drop, c->nsaid - drop);
        c->nsaid -= drop;
    }
    memcpy(c->said + c->nsaid, p, n);
    c->nsaid += n;
}

static void on_said(evutil_socket_t fd, short what, void *arg)
{
    struct child *c = arg;
    char text[1024];
    ssize_t n;

    (void)what;
    while ((n = read(fd, text, sizeof(text))) > 0)
        keep(c, text, (size_t)n);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    event_del(c->said_event);
    c->closed = true;
    loop_timer_set(c->timer, 0);
}

/* In the child, between fork and exec: nothing but system calls. */
static void become(const char *const *argv, int said, pid_t parent)
{
    int null = open("/dev/null", O_RDWR);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || null < 0)
        _exit(NO_EXEC);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(said, STDERR_FILENO);
    close_range(FIRST_FD, ~0U, 0);
    signal(SIGPIPE, SIG_DFL);
    execv(argv[0], (char *const *)(uintptr_t)argv);
    _exit(NO_EXEC);
}

struct child *child_run(struct loop *l, const char *const *argv, int64_t timeout_us, child_cb *cb,
                        void *arg)
{
    struct child *c = calloc(1, sizeof(*c));
    pid_t parent = getpid();
    int ends[2];

    if (!c)
        return NULL;
    *c = (struct child){.loop = l, .cb = cb, .arg = arg, .pid = -1, .fd = -1};
    if (pipe2(ends, O_CLOEXEC) != 0) {
        free(c);
        return NULL;
    }
    c->fd = ends[0];
    c->timer = loop_timer_new(l, on_timer, c);
    c->said_event = event_new(loop_base(l), ends[0], EV_READ | EV_PERSIST, on_said, c);
    if (c->timer && c->said_event && fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0)
        c->pid = fork();
    if (c->pid == 0)
        become(argv, ends[1], parent);
    close(ends[1]);
    if (c->pid < 0) {
        release(c);
        return NULL;
    }
    event_add(c->said_event, NULL);
    c->until_us = loop_now_us(l) + timeout_us;
    loop_timer_set(c->timer, timeout_us);
    return c;
}

void child_end(struct child *c)
{
    int how;

    if (!c)
        return;
    kill(c->pid, SIGKILL);
    while (waitpid(c->pid, &how, 0) < 0 && errno == EINTR)
        ;
    release(c);
}
