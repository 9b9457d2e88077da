/*
 * payd - one worker process: reads payd.conf, becomes ready, serves its roles, stops.
 *
 *   start:  options ▸ worker (store, egress, channels, accounts) ▸ ready ▸ sockets and timers
 *   stop:   SIGTERM ▸ sockets refuse new work, timers stop ▸ what is in flight ends, or is left to
 *           its timer after STOP_WITHIN ▸ exit 0
 *   replaced: a second process of the same name takes the sockets over, then the first is stopped;
 *           it serves the connections it has until nginx has closed them
 */
#include "api.h"
#include "backends/io/failpoint.h"
#include "backends/io/http_in.h"
#include "backends/io/log.h"
#include "bills.h"
#include "callbacks.h"
#include "certificates.h"
#include "flows.h"
#include "keys.h"
#include "metrics.h"
#include "notify.h"
#include "operate.h"
#include "relay.h"
#include "status.h"
#include "timers.h"
#include "worker.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define STOP_WITHIN_US (45 * USEC_PER_SEC)
#define DRAIN_LOOK_US  (20 * USEC_PER_MSEC)
#define EXIT_CONF      2

#ifndef PAY_VERSION
#define PAY_VERSION "0.1.0"
#endif

struct daemon {
    struct loop *loop;
    struct options options;
    struct worker worker;
    struct http_in *api, *notify, *operate;
    struct keys *keys;
    struct timers *timers;
    struct certificates *certificates; /* with the timers */
    struct bills *bills;               /* with them, too */
    struct callbacks *callbacks;
    struct relay *relay;
    struct status *status_page;
    struct loop_timer *drain;
    int64_t stop_at_us; /* 0 = running */
    int status;
};

static const char usage_text[] =
    "usage: payd -c FILE -n NAME\n"
    "\n"
    "One worker process of ngx_pay; its roles and sockets stand in FILE's `process NAME` block.\n"
    "\n"
    "  -c, --conf FILE    payd.conf (docs/configuration.md)\n"
    "  -n, --name NAME    process to be\n"
    "  -t, --test         read the configuration, channels and adapters, then exit\n"
    "      --directives   list every directive with its syntax and default\n"
    "  -h, --help         this text\n"
    "  -V, --version      version\n"
    "\n"
    "SIGTERM, SIGINT: finish what is in flight and exit. SIGUSR1: reopen the log file.\n"
    "Exit status: 0 stopped, 1 failed while running, 2 wrong configuration or usage.\n";

/* ---- stop ---- */

static size_t in_flight(const struct daemon *d)
{
    size_t n = flows_active(d->worker.flows);

    n += d->api ? http_in_active(d->api) : 0;
    n += d->notify ? http_in_active(d->notify) : 0;
    n += d->operate ? http_in_active(d->operate) : 0;
    n += d->callbacks ? (size_t)callbacks_active(d->callbacks) : 0;
    n += d->relay ? relay_active(d->relay) : 0;
    n += d->timers ? timers_leaving(d->timers) : 0;
    return n;
}

/* A successor has our sockets: what nginx sends over connections that it still holds is ours. */
static bool held(const struct daemon *d)
{
    return (d->api && http_in_held(d->api)) || (d->notify && http_in_held(d->notify));
}

static void on_drain(void *arg)
{
    struct daemon *d = arg;

    if ((in_flight(d) == 0 && !held(d)) || loop_now_us(d->loop) >= d->stop_at_us) {
        log_event(LOG_NOTICE, "stopped", LOG_I("left_to_timer", in_flight(d)));
        loop_stop(d->loop);
        return;
    }
    loop_timer_set(d->drain, DRAIN_LOOK_US);
}

static void on_term(void *arg)
{
    struct daemon *d = arg;

    if (d->stop_at_us)
        return;
    d->stop_at_us = loop_now_us(d->loop) + STOP_WITHIN_US;
    log_event(LOG_NOTICE, "stopping", LOG_I("in_flight", in_flight(d)));
    if (d->api)
        http_in_stop(d->api);
    if (d->notify)
        http_in_stop(d->notify);
    if (d->operate)
        http_in_stop(d->operate);
    if (d->timers)
        timers_stop(d->timers);
    if (d->certificates)
        certificates_stop(d->certificates);
    if (d->bills)
        bills_stop(d->bills);
    if (d->callbacks)
        callbacks_stop(d->callbacks);
    if (d->relay)
        relay_stop(d->relay);
    loop_timer_set(d->drain, 0);
}

static void on_usr1(void *arg)
{
    (void)arg;
    log_reopen();
}

/* ---- serve ---- */

static struct http_in *serve(struct daemon *d, const char *path, http_in_handler *handler)
{
    struct http_in_conf hc = {.unix_path = path,
                              .max_requests = (size_t)d->options.max_requests,
                              .handler = handler,
                              .arg = &d->worker};
    char err[256] = "";
    struct http_in *h = http_in_new(d->loop, &hc, err, sizeof(err));

    if (!h)
        fprintf(stderr, "payd: %s: %s\n", path, err);
    return h;
}

static int open_sockets(struct daemon *d)
{
    const struct process_options *p = d->worker.process;
    char err[256] = "out of memory";

    d->keys = keys_new(&d->worker, p->internal, err, sizeof(err));
    if (!d->keys) {
        fprintf(stderr, "payd: %s: %s\n", p->internal, err);
        return -1;
    }
    d->notify = serve(d, p->notify, notify_handle);
    d->api = d->notify ? serve(d, p->api, api_handle) : NULL;
    return d->api ? 0 : -1;
}

static int open_own_sockets(struct daemon *d)
{
    char err[256] = "out of memory";
    const char *path = d->worker.process->status, *operate = d->worker.process->operate;

    if (operate && !(d->operate = serve(d, operate, operate_handle)))
        return -1;
    if (!path)
        return 0;
    d->status_page = status_new(&d->worker, path, err, sizeof(err));
    if (!d->status_page) {
        fprintf(stderr, "payd: %s: %s\n", path, err);
        return -1;
    }
    if (d->worker.process->roles & (ROLE_ORDER | ROLE_TIMER))
        status_add(d->status_page, metrics_page, d->worker.metrics);
    if (d->bills)
        status_add(d->status_page, bills_metrics, d->bills);
    if (d->timers)
        status_add(d->status_page, timers_metrics, d->timers);
    if (d->callbacks)
        status_add(d->status_page, callbacks_metrics, d->callbacks);
    if (d->relay)
        status_add(d->status_page, relay_metrics, d->relay);
    return 0;
}

/* Serving starts only when everything needed is there, so a socket that exists is one that works.
 */
static void on_ready(void *arg)
{
    struct daemon *d = arg;
    unsigned roles = d->worker.process->roles;

    if (d->stop_at_us)
        return;
    if (((roles & ROLE_ORDER) && open_sockets(d) != 0) || open_own_sockets(d) != 0) {
        d->status = 1;
        loop_stop(d->loop);
        return;
    }
    if (d->timers) {
        timers_start(d->timers);
        certificates_start(d->certificates);
        bills_start(d->bills);
    }
    if (d->callbacks)
        callbacks_start(d->callbacks);
    if (d->relay)
        relay_start(d->relay);
}

/* ---- start ---- */

static void raise_fd_limit(void)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

static int open_log(const struct options *o, const char *name, struct conf_error *err)
{
    enum log_level level;
    char path[512];

    if (log_level_parse(slice_of(o->log_level), &level) != 0)
        return conf_fail(err, NULL, "log: unknown level \"%s\"", o->log_level);
    if (o->log_dir)
        snprintf(path, sizeof(path), "%s/%s.log", o->log_dir, name);
    if (log_open(o->log_dir ? path : NULL, name, level) != 0)
        return conf_fail(err, NULL, "log: cannot open %s", o->log_dir ? path : "stderr");
    return 0;
}

static int daemon_init(struct daemon *d, const char *file, const char *name, bool test,
                       struct conf_error *err)
{
    const struct process_options *p;

    if (options_load(&d->options, file, err) != 0)
        return -1;
    p = options_process(&d->options, name);
    if (!p)
        return conf_fail(err, NULL, "%s: no process \"%s\"", file, name);
    d->loop = loop_new();
    if (!d->loop)
        return conf_fail(err, NULL, "no event loop");
    if (!test && open_log(&d->options, name, err) != 0)
        return -1;
    if (worker_init(&d->worker, &d->options, p, d->loop, err) != 0)
        return -1;
    d->timers = (p->roles & ROLE_TIMER) ? timers_new(&d->worker) : NULL;
    d->certificates = d->timers ? certificates_new(&d->worker) : NULL;
    if (d->timers && !(d->bills = bills_new(&d->worker, err)))
        return -1;
    d->callbacks = (p->roles & ROLE_CALLBACK) ? callbacks_new(&d->worker) : NULL;
    d->relay = (p->roles & ROLE_RELAY) ? relay_new(&d->worker) : NULL;
    d->drain = loop_timer_new(d->loop, on_drain, d);
    if (((!d->timers || !d->certificates) && (p->roles & ROLE_TIMER)) ||
        (!d->callbacks && (p->roles & ROLE_CALLBACK)) || (!d->relay && (p->roles & ROLE_RELAY)) ||
        !d->drain || loop_signal(d->loop, SIGTERM, on_term, d) != 0 ||
        loop_signal(d->loop, SIGINT, on_term, d) != 0 ||
        loop_signal(d->loop, SIGUSR1, on_usr1, d) != 0)
        return conf_fail(err, NULL, "out of memory");
    return 0;
}

/* Whoever waits for the channels or the database is told before it is freed: the roles last. */
static void daemon_release(struct daemon *d)
{
    http_in_free(d->api);
    http_in_free(d->notify);
    http_in_free(d->operate);
    status_free(d->status_page);
    callbacks_end(d->callbacks);
    relay_end(d->relay);
    if (d->certificates)
        certificates_stop(d->certificates);
    if (d->bills)
        bills_stop(d->bills);
    worker_end(&d->worker);
    keys_free(d->keys);
    certificates_free(d->certificates);
    bills_free(d->bills);
    timers_free(d->timers);
    callbacks_free(d->callbacks);
    relay_free(d->relay);
    loop_timer_free(d->drain);
    worker_release(&d->worker);
    loop_free(d->loop);
    options_free(&d->options);
}

static void print_directives(void)
{
    static const char *const blocks[] = {"", "timers", "callbacks", "relay", "process"};

    for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++)
        for (const struct conf_directive *t = options_table(blocks[i]); t->name; t++)
            printf("%s%s%s\t%s\t%s\n", blocks[i], *blocks[i] ? "." : "", t->name, t->syntax,
                   t->dflt);
}

static int run(const char *file, const char *name, bool test)
{
    static struct daemon d;
    struct conf_error err = {.text = ""};

    if (daemon_init(&d, file, name, test, &err) != 0) {
        fprintf(stderr, "payd: %s\n", err.text);
        return EXIT_CONF;
    }
    if (test) {
        printf("payd: %s is right\n", file);
    } else {
        worker_start(&d.worker, on_ready, &d);
        if (loop_run(d.loop) != 0)
            d.status = 1;
    }
    daemon_release(&d);
    return d.status;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {{"conf", required_argument, NULL, 'c'},
                                          {"name", required_argument, NULL, 'n'},
                                          {"test", no_argument, NULL, 't'},
                                          {"directives", no_argument, NULL, 'D'},
                                          {"help", no_argument, NULL, 'h'},
                                          {"version", no_argument, NULL, 'V'},
                                          {0}};
    const char *file = NULL, *name = NULL;
    bool test = false;
    int c;

    while ((c = getopt_long(argc, argv, "c:n:thV", longs, NULL)) != -1) {
        switch (c) {
        case 'c':
            file = optarg;
            break;
        case 'n':
            name = optarg;
            break;
        case 't':
            test = true;
            break;
        case 'D':
            print_directives();
            return 0;
        case 'h':
            fputs(usage_text, stdout);
            return 0;
        case 'V':
            puts("payd " PAY_VERSION);
            return 0;
        default:
            fputs(usage_text, stderr);
            return EXIT_CONF;
        }
    }
    if (!file || !name || optind < argc) {
        fputs(usage_text, stderr);
        return EXIT_CONF;
    }
    if (failpoint_arm() != 0) {
        fputs("payd: PAYD_FAILPOINT names no step of backends/io/failpoint.h\n", stderr);
        return EXIT_CONF;
    }
    signal(SIGPIPE, SIG_IGN);
    /* secrets live in this process: no core files, no ptrace by others */
    prctl(PR_SET_DUMPABLE, 0);
    raise_fd_limit();
    return run(file, name, test);
}
