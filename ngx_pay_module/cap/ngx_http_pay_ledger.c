/*
 * See ngx_http_pay_ledger.h.
 */

#include "ngx_http_pay_ledger.h"

#include <sys/mman.h>


#define NGX_HTTP_PAY_LEDGER_ENV   "NGX_PAY_LEDGER"
#define NGX_HTTP_PAY_LEDGER_FILE  "ngx_pay_ledger"

#define NGX_HTTP_PAY_NO_PLACE     NGX_HTTP_PAY_LEDGER_PROCESSES
#define NGX_HTTP_PAY_UNKNOWN      ((uint64_t) -1)


static ngx_http_pay_ledger_t *ngx_http_pay_ledger_attach(ngx_log_t *log);
static ngx_http_pay_ledger_t *ngx_http_pay_ledger_create(ngx_log_t *log);
static void ngx_http_pay_ledger_sum(ngx_http_pay_ledger_t *l);


static u_char  ngx_http_pay_ledger_magic[] = "NGXPAYL";

/* of the master, inherited by its processes */
static ngx_http_pay_ledger_t  *ngx_http_pay_ledger;
static ngx_fd_t                ngx_http_pay_ledger_fd = NGX_INVALID_FILE;

/* of the process */
static ngx_uint_t              ngx_http_pay_ledger_place = NGX_HTTP_PAY_NO_PLACE;


ngx_http_pay_ledger_t *
ngx_http_pay_ledger_open(ngx_log_t *log)
{
    if (ngx_http_pay_ledger == NULL) {
        ngx_http_pay_ledger = ngx_http_pay_ledger_attach(log);
    }

    if (ngx_http_pay_ledger == NULL) {
        ngx_http_pay_ledger = ngx_http_pay_ledger_create(log);
    }

    return ngx_http_pay_ledger;
}


static ngx_http_pay_ledger_t *
ngx_http_pay_ledger_map(ngx_fd_t fd)
{
    void  *p;

    p = mmap(NULL, sizeof(ngx_http_pay_ledger_t), PROT_READ|PROT_WRITE,
             MAP_SHARED, fd, 0);

    return p == MAP_FAILED ? NULL : p;
}


/* the environment is anybody's: only a file that is a ledger is taken */

static ngx_http_pay_ledger_t *
ngx_http_pay_ledger_attach(ngx_log_t *log)
{
    char                   *value;
    u_char                  path[64], target[64];
    ssize_t                 n;
    ngx_int_t               fd;
    struct stat             sb;
    ngx_http_pay_ledger_t  *l;

    value = getenv(NGX_HTTP_PAY_LEDGER_ENV);

    if (value == NULL) {
        return NULL;
    }

    fd = ngx_atoi((u_char *) value, ngx_strlen(value));

    if (fd == NGX_ERROR) {
        return NULL;
    }

    *ngx_snprintf(path, sizeof(path) - 1, "/proc/self/fd/%i", fd) = '\0';
    n = readlink((char *) path, (char *) target, sizeof(target) - 1);
    target[n < 0 ? 0 : n] = '\0';

    if (ngx_strstr(target, NGX_HTTP_PAY_LEDGER_FILE) == NULL
        || fstat(fd, &sb) == -1)
    {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "pay: \"" NGX_HTTP_PAY_LEDGER_ENV "=%s\" is no ledger",
                      value);
        return NULL;
    }

    l = sb.st_size == sizeof(ngx_http_pay_ledger_t)
        ? ngx_http_pay_ledger_map(fd) : NULL;

    if (l == NULL || ngx_memcmp(l->magic, ngx_http_pay_ledger_magic, 8) != 0
        || l->version != NGX_HTTP_PAY_LEDGER_VERSION
        || l->size != sizeof(ngx_http_pay_ledger_t))
    {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "pay: the old binary counts in another way: until its "
                      "processes end, caps hold for old and new ones each");
        close(fd);
        return NULL;
    }

    ngx_http_pay_ledger_fd = fd;

    return l;
}


static ngx_int_t
ngx_http_pay_ledger_mutex(pthread_mutex_t *mutex)
{
    ngx_int_t            rc;
    pthread_mutexattr_t  attr;

    if (pthread_mutexattr_init(&attr) != 0) {
        return NGX_ERROR;
    }

    rc = (pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) == 0
          && pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) == 0
          && pthread_mutex_init(mutex, &attr) == 0)
         ? NGX_OK : NGX_ERROR;

    pthread_mutexattr_destroy(&attr);

    return rc;
}


static ngx_http_pay_ledger_t *
ngx_http_pay_ledger_create(ngx_log_t *log)
{
    ngx_fd_t                fd;
    ngx_http_pay_ledger_t  *l;

    /* not closed by exec: that is how the next binary gets it */

    fd = memfd_create(NGX_HTTP_PAY_LEDGER_FILE, 0);

    if (fd == -1 || ftruncate(fd, sizeof(ngx_http_pay_ledger_t)) == -1) {
        ngx_log_error(NGX_LOG_EMERG, log, ngx_errno,
                      "pay: memory for the ledger failed");
        goto failed;
    }

    l = ngx_http_pay_ledger_map(fd);

    if (l == NULL
        || ngx_http_pay_ledger_mutex(&l->mutex) != NGX_OK
        || ngx_http_pay_ledger_mutex(&l->file) != NGX_OK)
    {
        ngx_log_error(NGX_LOG_EMERG, log, ngx_errno,
                      "pay: making the ledger failed");
        goto failed;
    }

    ngx_memcpy(l->magic, ngx_http_pay_ledger_magic, 8);
    l->version = NGX_HTTP_PAY_LEDGER_VERSION;
    l->size = sizeof(ngx_http_pay_ledger_t);

    ngx_http_pay_ledger_fd = fd;

    return l;

failed:

    if (fd != -1) {
        close(fd);
    }

    return NULL;
}


ngx_int_t
ngx_http_pay_ledger_pass_on(ngx_cycle_t *cycle)
{
    ngx_str_t        *env;
    ngx_core_conf_t  *ccf;

    if (ngx_http_pay_ledger_fd == NGX_INVALID_FILE) {
        return NGX_OK;
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    env = ngx_array_push(&ccf->env);
    if (env == NULL) {
        return NGX_ERROR;
    }

    env->data = ngx_pnalloc(cycle->pool, sizeof(NGX_HTTP_PAY_LEDGER_ENV "=")
                                         + NGX_INT_T_LEN);
    if (env->data == NULL) {
        return NGX_ERROR;
    }

    /* as the "env" directive leaves them: len is the name's */

    env->len = sizeof(NGX_HTTP_PAY_LEDGER_ENV) - 1;
    (void) ngx_sprintf(env->data, NGX_HTTP_PAY_LEDGER_ENV "=%d%Z",
                       ngx_http_pay_ledger_fd);

    return NGX_OK;
}


void
ngx_http_pay_ledger_lock(ngx_http_pay_ledger_t *l)
{
    if (pthread_mutex_lock(&l->mutex) == EOWNERDEAD) {
        ngx_http_pay_ledger_sum(l);
        (void) pthread_mutex_consistent(&l->mutex);
    }
}


void
ngx_http_pay_ledger_unlock(ngx_http_pay_ledger_t *l)
{
    (void) pthread_mutex_unlock(&l->mutex);
}


/*
 * When a process started, in clock ticks since boot; 0: it is gone, or a
 * zombie, whose sockets are closed; UNKNOWN: nobody can tell.
 */

static uint64_t
ngx_http_pay_ledger_started(ngx_pid_t pid)
{
    u_char      path[64], text[1024], *p;
    ssize_t     n;
    uint64_t    ticks;
    ngx_fd_t    fd;
    ngx_uint_t  field;

    *ngx_snprintf(path, sizeof(path) - 1, "/proc/%P/stat", pid) = '\0';

    fd = ngx_open_file(path, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        return kill(pid, 0) == -1 && ngx_errno == ESRCH
               ? 0 : NGX_HTTP_PAY_UNKNOWN;
    }

    n = ngx_read_fd(fd, text, sizeof(text) - 1);
    (void) ngx_close_file(fd);

    if (n <= 0) {
        return kill(pid, 0) == -1 && ngx_errno == ESRCH
               ? 0 : NGX_HTTP_PAY_UNKNOWN;
    }

    text[n] = '\0';

    /* the name, field 2, may contain anything: begin behind its ")" */

    p = (u_char *) strrchr((char *) text, ')');

    if (p == NULL || p[1] != ' ' || p[2] == 'Z' || p[2] == 'X') {
        return 0;
    }

    for (field = 2; field < 22; field++) {
        p = (u_char *) ngx_strchr(p + 1, ' ');

        if (p == NULL) {
            return 0;
        }
    }

    for (ticks = 0, p++; *p >= '0' && *p <= '9'; p++) {
        ticks = ticks * 10 + (*p - '0');
    }

    return ticks;
}


/* from the entries of the processes that have a place */

static void
ngx_http_pay_ledger_sum(ngx_http_pay_ledger_t *l)
{
    ngx_uint_t                    i, p;
    ngx_http_pay_count_t          sum;
    ngx_http_pay_ledger_entry_t  *entry;

    for (i = 0; i < NGX_HTTP_PAY_LEDGER_ROWS; i++) {

        if (l->rows[i].len == 0) {
            continue;
        }

        ngx_memzero(&sum, sizeof(ngx_http_pay_count_t));

        for (p = 0; p < l->top; p++) {

            if (l->processes[p].pid == 0) {
                continue;
            }

            entry = &l->entries[p][i];

            sum.in_flight += entry->all;
            sum.in_pay += entry->pay;
            sum.waiting[0] += entry->waiting[0];
            sum.waiting[1] += entry->waiting[1];
        }

        l->counts[i].in_flight = sum.in_flight;
        l->counts[i].in_pay = sum.in_pay;
        l->counts[i].waiting[0] = sum.waiting[0];
        l->counts[i].waiting[1] = sum.waiting[1];
    }
}


static ngx_uint_t
ngx_http_pay_ledger_bury(ngx_http_pay_ledger_t *l)
{
    uint64_t                        started;
    ngx_uint_t                      p, dead;
    ngx_http_pay_ledger_process_t  *process;

    dead = 0;

    for (p = 0; p < l->top; p++) {
        process = &l->processes[p];

        if (process->pid == 0) {
            continue;
        }

        started = ngx_http_pay_ledger_started(process->pid);

        if (started != process->started && started != NGX_HTTP_PAY_UNKNOWN) {
            process->pid = 0;
            ngx_memzero(l->entries[p], sizeof(l->entries[p]));
            dead++;
        }
    }

    return dead;
}


void
ngx_http_pay_ledger_reap(ngx_http_pay_ledger_t *l)
{
    if (l->reaped == ngx_time()) {
        return;
    }

    l->reaped = ngx_time();

    if (ngx_http_pay_ledger_bury(l)) {
        ngx_http_pay_ledger_sum(l);
    }
}


void
ngx_http_pay_ledger_enter(ngx_http_pay_ledger_t *l)
{
    ngx_uint_t  p;

    ngx_http_pay_ledger_lock(l);

    (void) ngx_http_pay_ledger_bury(l);
    ngx_http_pay_ledger_sum(l);

    for (p = 0; p < NGX_HTTP_PAY_LEDGER_PROCESSES; p++) {
        if (l->processes[p].pid == 0) {
            break;
        }
    }

    ngx_http_pay_ledger_place = p;

    if (p < NGX_HTTP_PAY_LEDGER_PROCESSES) {
        l->top = ngx_max(l->top, p + 1);
        ngx_memzero(&l->processes[p], sizeof(ngx_http_pay_ledger_process_t));
        ngx_memzero(l->entries[p], sizeof(l->entries[p]));
        l->processes[p].started = ngx_http_pay_ledger_started(ngx_pid);
        l->processes[p].master = ngx_parent;
        l->processes[p].pid = ngx_pid;

    } else {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "pay: more than %d processes: "
                      "this one lets no call through",
                      NGX_HTTP_PAY_LEDGER_PROCESSES);
    }

    ngx_http_pay_ledger_unlock(l);
}


/*
 * Calls that are still open end with the process: whoever finds it dead gives
 * them back, not a moment before.
 */

void
ngx_http_pay_ledger_leave(ngx_http_pay_ledger_t *l)
{
    ngx_uint_t                    i;
    ngx_http_pay_ledger_entry_t  *entries;

    if (ngx_http_pay_ledger_place == NGX_HTTP_PAY_NO_PLACE) {
        return;
    }

    ngx_http_pay_ledger_lock(l);

    entries = l->entries[ngx_http_pay_ledger_place];

    for (i = 0; i < NGX_HTTP_PAY_LEDGER_ROWS; i++) {
        if (entries[i].all) {
            break;
        }
    }

    if (i == NGX_HTTP_PAY_LEDGER_ROWS) {
        l->processes[ngx_http_pay_ledger_place].pid = 0;
    }

    ngx_http_pay_ledger_unlock(l);

    ngx_http_pay_ledger_place = NGX_HTTP_PAY_NO_PLACE;
}


ngx_http_pay_ledger_entry_t *
ngx_http_pay_ledger_entry(ngx_http_pay_ledger_t *l, ngx_uint_t row)
{
    return ngx_http_pay_ledger_place == NGX_HTTP_PAY_NO_PLACE
           ? NULL : &l->entries[ngx_http_pay_ledger_place][row];
}


ngx_http_pay_ledger_process_t *
ngx_http_pay_ledger_process(ngx_http_pay_ledger_t *l)
{
    return ngx_http_pay_ledger_place == NGX_HTTP_PAY_NO_PLACE
           ? NULL : &l->processes[ngx_http_pay_ledger_place];
}


ngx_int_t
ngx_http_pay_ledger_find(ngx_http_pay_ledger_t *l, u_char *name, size_t len)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_PAY_LEDGER_ROWS; i++) {
        if (l->rows[i].len == len
            && ngx_memcmp(l->rows[i].name, name, len) == 0)
        {
            return i;
        }
    }

    return NGX_ERROR;
}


ngx_int_t
ngx_http_pay_ledger_add(ngx_http_pay_ledger_t *l, u_char *name, size_t len)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_PAY_LEDGER_ROWS; i++) {
        if (l->rows[i].len == 0) {
            ngx_memcpy(l->rows[i].name, name, len);
            l->rows[i].len = len;
            return i;
        }
    }

    return NGX_ERROR;
}


ngx_uint_t
ngx_http_pay_ledger_alone(ngx_http_pay_ledger_t *l)
{
    ngx_uint_t  p;

    for (p = 0; p < l->top; p++) {
        if (l->processes[p].pid && l->processes[p].master != ngx_pid) {
            return 0;
        }
    }

    return 1;
}
