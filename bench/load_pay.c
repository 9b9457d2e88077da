#define _GNU_SOURCE
#include "load_pay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAYERS 16
#define CODE   128

struct payer {
    int fd;
    bool busy;
    char in[4096];
    size_t n;
};

static struct {
    int epfd;
    struct payer payers[PAYERS];
    char (*codes)[CODE];
    size_t first, end, most;
    long done;
} pay;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "load: paying: %s: %s\n", what, why);
    exit(1);
}

static int payer_open(struct payer *p, const struct sockaddr_in *sin)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = p};

    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->fd < 0 || connect(p->fd, (const struct sockaddr *)sin, sizeof(*sin)) != 0)
        return -1;
    return epoll_ctl(pay.epfd, EPOLL_CTL_ADD, p->fd, &ev);
}

int load_pay_open(const char *address, size_t payments)
{
    struct slice port = slice_of(address), host = slice_cut(&port, ':');
    struct sockaddr_in sin = {.sin_family = AF_INET};
    char text[64];
    int64_t number;

    snprintf(text, sizeof(text), "%.*s", SLICE_FMT(host));
    errno = EINVAL;
    if (inet_pton(AF_INET, text, &sin.sin_addr) != 1 || slice_int64(port, &number) != 0 ||
        number < 1 || number > 65535)
        return -1;
    sin.sin_port = htons((uint16_t)number);
    pay.epfd = epoll_create1(EPOLL_CLOEXEC);
    pay.codes = calloc(payments, sizeof(*pay.codes));
    pay.most = payments;
    if (pay.epfd < 0 || !pay.codes)
        return -1;
    for (size_t i = 0; i < PAYERS; i++)
        if (payer_open(&pay.payers[i], &sin) != 0)
            return -1;
    return 0;
}

int load_pay_fd(void)
{
    return pay.epfd;
}

long load_pay_done(void)
{
    return pay.done;
}

static void send_next(struct payer *p)
{
    char body[CODE + 32], request[512];
    int n;

    if (p->busy || pay.first == pay.end)
        return;
    n = snprintf(body, sizeof(body), "{\"code_url\":\"%s\"}", pay.codes[pay.first++]);
    n = snprintf(request, sizeof(request),
                 "POST /_control/pay HTTP/1.1\r\nHost: bank\r\nContent-Type: application/json\r\n"
                 "Content-Length: %d\r\n\r\n%s",
                 n, body);
    if (write(p->fd, request, (size_t)n) != n)
        die("write", strerror(errno));
    p->busy = true;
    p->n = 0;
}

void load_pay_add(struct slice code_url)
{
    if (pay.end == pay.most || code_url.n == 0 || code_url.n >= CODE)
        die("code_url", "none, or one too many");
    memcpy(pay.codes[pay.end++], code_url.p, code_url.n);
    for (size_t i = 0; i < PAYERS && pay.first < pay.end; i++)
        send_next(&pay.payers[i]);
}

/* The bank's answers are small and come whole, but for a split between head and body. */
static void receive(struct payer *p)
{
    ssize_t n = read(p->fd, p->in + p->n, sizeof(p->in) - 1 - p->n);
    char *end;

    if (n <= 0)
        die("read", n < 0 ? strerror(errno) : "closed");
    p->n += (size_t)n;
    p->in[p->n] = '\0';
    end = strstr(p->in, "\r\n\r\n");
    if (!end || !strchr(end, '}'))
        return;
    if (strncmp(p->in, "HTTP/1.1 200 ", 13) != 0)
        die("refused", p->in);
    pay.done++;
    p->busy = false;
    send_next(p);
}

void load_pay_step(void)
{
    struct epoll_event events[PAYERS];
    int n = epoll_wait(pay.epfd, events, PAYERS, 0);

    for (int i = 0; i < n; i++)
        receive(events[i].data.ptr);
}
