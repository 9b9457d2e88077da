/*
 * The ledger: what must be exact over all processes of a node, those of an old
 * and a new binary (USR2) included: calls in flight, and runtime switches.
 *
 * It lives in a memory file that the master passes on to the binary it starts,
 * by number, in NGX_PAY_LEDGER; nothing is left when the last process ends.
 * Its layout is versioned: a binary with another one starts with a ledger of
 * its own and says so.
 *
 * Everything in it changes under one robust mutex.  A process killed inside
 * leaves the sums one off; the next one to lock sums up anew.
 *
 * Rows belong to channels by name and are never moved.  Each process has an
 * entry per row, so that the calls of a killed one can be given back.
 */

#ifndef _NGX_HTTP_PAY_LEDGER_H_INCLUDED_
#define _NGX_HTTP_PAY_LEDGER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <pthread.h>

#include "core/lease.h"


#define NGX_HTTP_PAY_LEDGER_VERSION    1
#define NGX_HTTP_PAY_LEDGER_ROWS       256
#define NGX_HTTP_PAY_LEDGER_PROCESSES  1024
#define NGX_HTTP_PAY_NAME_MAX          32
#define NGX_HTTP_PAY_REASON_MAX        200

/* who switched, when nobody did: the state file could not be read */
#define NGX_HTTP_PAY_UID_NOBODY        ((uid_t) -1)


/* a channel's calls on this node; read without the lock where a hint will do */

#define NGX_HTTP_PAY_WAIT_PAY    0          /* new payments that wait */
#define NGX_HTTP_PAY_WAIT_OTHER  1          /* all other kinds */
#define NGX_HTTP_PAY_WAITS       2

typedef struct {
    ngx_atomic_t                 in_flight; /* all kinds */
    ngx_atomic_t                 in_pay;    /* kind pay only */
    ngx_atomic_t                 waiting[NGX_HTTP_PAY_WAITS];
    ngx_atomic_t                 limit;     /* of a shared cap, now */
    ngx_atomic_t                 refused;   /* seen by its keeper */
} ngx_http_pay_count_t;


/* who switched a channel at run time, when, why */

typedef struct {
    time_t                       at;
    uid_t                        uid;
    uint32_t                     len;
    u_char                       reason[NGX_HTTP_PAY_REASON_MAX];
} ngx_http_pay_switch_t;


typedef struct {
    uint32_t                     len;       /* 0: row is free */
    u_char                       name[NGX_HTTP_PAY_NAME_MAX];
    ngx_http_pay_switch_t        sw;        /* valid if states[] is set */
} ngx_http_pay_ledger_row_t;


/* calls of one process on one channel */

typedef struct {
    uint16_t                     all;
    uint16_t                     pay;
    uint16_t                     waiting[NGX_HTTP_PAY_WAITS];
    uint64_t                     first[NGX_HTTP_PAY_WAITS]; /* its ticket */
} ngx_http_pay_ledger_entry_t;


typedef struct {
    ngx_pid_t                    pid;       /* 0: place is free */
    ngx_pid_t                    master;
    uint64_t                     started;   /* tells it from a later process */
    ngx_msec_t                   seen;      /* looked at its queue */
    uint32_t                     wake_len;  /* address that wakes it, or 0 */
    u_char                       wake[20];
} ngx_http_pay_ledger_process_t;


typedef struct {
    u_char                         magic[8];
    uint32_t                       version;
    uint32_t                       size;

    pthread_mutex_t                mutex;
    pthread_mutex_t                file;    /* held to write the state file */

    time_t                         reaped;
    uint64_t                       ticket;  /* last one, of all queues */
    uint32_t                       top;     /* places in use are below it */
    ngx_atomic_t                   loaded;  /* the state file was read */
    ngx_atomic_t                   damaged; /* and made no sense */
    ngx_atomic_t                   unkept;  /* it does not say what we say */

    /* leases of shared caps: who keeps them, and of what life they are */
    ngx_pid_t                      keeper;
    int64_t                        kept_at; /* boot time, us */
    int64_t                        lent_until; /* says the file */
    uint32_t                       mark;

    ngx_http_pay_count_t           counts[NGX_HTTP_PAY_LEDGER_ROWS];

    /* runtime switches: 0 or 1 + NGX_HTTP_PAY_STATE_..., dense for routing */
    u_char                         states[NGX_HTTP_PAY_LEDGER_ROWS];

    ngx_http_pay_ledger_row_t      rows[NGX_HTTP_PAY_LEDGER_ROWS];
    struct lease                   leases[NGX_HTTP_PAY_LEDGER_ROWS];
    ngx_http_pay_ledger_process_t  processes[NGX_HTTP_PAY_LEDGER_PROCESSES];
    ngx_http_pay_ledger_entry_t    entries[NGX_HTTP_PAY_LEDGER_PROCESSES]
                                          [NGX_HTTP_PAY_LEDGER_ROWS];
} ngx_http_pay_ledger_t;


/*
 * In the master: the ledger that an older binary passed on, or a fresh one.
 * NULL with the reason logged.
 */
ngx_http_pay_ledger_t *ngx_http_pay_ledger_open(ngx_log_t *log);
/* in the master, for each cycle: the next binary gets it */
ngx_int_t ngx_http_pay_ledger_pass_on(ngx_cycle_t *cycle);

void ngx_http_pay_ledger_lock(ngx_http_pay_ledger_t *l);
void ngx_http_pay_ledger_unlock(ngx_http_pay_ledger_t *l);

/* a process counts between these two */
void ngx_http_pay_ledger_enter(ngx_http_pay_ledger_t *l);
void ngx_http_pay_ledger_leave(ngx_http_pay_ledger_t *l);


/* the functions below want the ledger locked */

/* this process' entry for a row; NULL: it has no place */
ngx_http_pay_ledger_entry_t *ngx_http_pay_ledger_entry(
    ngx_http_pay_ledger_t *l, ngx_uint_t row);
/* what there is about this process; NULL: it has no place */
ngx_http_pay_ledger_process_t *ngx_http_pay_ledger_process(
    ngx_http_pay_ledger_t *l);
/* gives back what dead processes left; at most once a second */
void ngx_http_pay_ledger_reap(ngx_http_pay_ledger_t *l);
/* index of the row of that name, or NGX_ERROR */
ngx_int_t ngx_http_pay_ledger_find(ngx_http_pay_ledger_t *l, u_char *name,
    size_t len);
/* takes a free row for it; NGX_ERROR: there is none */
ngx_int_t ngx_http_pay_ledger_add(ngx_http_pay_ledger_t *l, u_char *name,
    size_t len);
/* 1: all processes in the ledger are this master's */
ngx_uint_t ngx_http_pay_ledger_alone(ngx_http_pay_ledger_t *l);


#endif /* _NGX_HTTP_PAY_LEDGER_H_INCLUDED_ */
