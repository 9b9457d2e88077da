/*
 * See ngx_http_pay_wake.h.
 */

#include "ngx_http_pay_wake.h"


static ngx_connection_t  *waker;        /* NULL: nobody wakes this process */
static ngx_event_t       *turn;


static void
ngx_http_pay_wake_read(ngx_event_t *ev)
{
    char               byte[16];
    ngx_connection_t  *c;

    c = ev->data;

    while (recv(c->fd, byte, sizeof(byte), MSG_DONTWAIT) >= 0) { /* void */ }

    turn->handler(turn);
}


/* an address that the kernel chooses: nobody can take it before */

ngx_int_t
ngx_http_pay_wake_listen(ngx_cycle_t *cycle,
    ngx_http_pay_ledger_process_t *own, ngx_event_t *ev)
{
    int                 fd;
    socklen_t           len;
    ngx_connection_t   *c;
    struct sockaddr_un  addr;

    fd = socket(AF_UNIX, SOCK_DGRAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    if (fd == -1) {
        return NGX_ERROR;
    }

    addr.sun_family = AF_UNIX;

    if (bind(fd, (struct sockaddr *) &addr, sizeof(sa_family_t)) == -1) {
        goto failed;
    }

    len = sizeof(addr);

    if (getsockname(fd, (struct sockaddr *) &addr, &len) == -1) {
        goto failed;
    }

    len -= offsetof(struct sockaddr_un, sun_path);

    if (len > sizeof(own->wake)) {
        goto failed;
    }

    c = ngx_get_connection(fd, cycle->log);

    if (c == NULL) {
        goto failed;
    }

    c->read->handler = ngx_http_pay_wake_read;
    c->read->log = cycle->log;
    c->write->log = cycle->log;
    c->log = cycle->log;

    if (ngx_add_event(c->read, NGX_READ_EVENT, 0) != NGX_OK) {
        ngx_free_connection(c);
        goto failed;
    }

    ngx_memcpy(own->wake, addr.sun_path, len);
    own->wake_len = len;

    waker = c;
    turn = ev;

    return NGX_OK;

failed:

    (void) ngx_close_socket(fd);

    return NGX_ERROR;
}


void
ngx_http_pay_wake(ngx_http_pay_ledger_process_t *process)
{
    socklen_t           len;
    struct sockaddr_un  addr;

    len = process->wake_len;

    if (waker == NULL || len == 0 || len > sizeof(process->wake)) {
        return;
    }

    addr.sun_family = AF_UNIX;
    ngx_memcpy(addr.sun_path, process->wake, len);

    /* a full buffer is a process that will look anyway */

    (void) sendto(waker->fd, "", 1, MSG_DONTWAIT|MSG_NOSIGNAL,
                  (struct sockaddr *) &addr,
                  offsetof(struct sockaddr_un, sun_path) + len);
}


void
ngx_http_pay_wake_stop(void)
{
    if (waker) {
        ngx_close_connection(waker);
        waker = NULL;
    }
}
