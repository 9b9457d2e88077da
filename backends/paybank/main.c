/*
 * paybank - the virtual bank: WeChat Pay v2 and v3, Alipay, UnionPay and bank_json from the other
 * side, with books of its own and faults on demand. One process, one loop, loopback only.
 */
#include "backends/io/log.h"
#include "backends/paybank/books/journal.h"
#include "backends/paybank/desk/control.h"
#include "backends/paybank/desk/payer.h"
#include "bank.h"
#include "exchange.h"
#include "notify.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define VERSION   "0.1"
#define EXIT_CONF 2
#define IN_FLIGHT 20000
#define ARENA_CAP ((size_t)64 << 20) /* UnionPay's answers carry bills */

static const char usage[] = "usage: paybank -c FILE\n"
                            "  -c FILE        configuration (sample: lua-free-conf/paybank.conf)\n"
                            "  --directives   list what may stand in it\n"
                            "  --help, --version\n";

/* ---- doors ---- */

static bool under(struct slice target, const char *folder)
{
    return slice_starts(target, slice_of(folder));
}

typedef void handler(struct bank *bank, struct http_req *req);

/* By the path alone: what are five hosts in the real world share one door here. */
static const struct {
    const char *folder;
    handler *handle;
    bool tls_only;
} doors[] = {
    {"/bank/", bank_json_handle, false},  {"/_control/", control_handle, false},
    {"/v3/", wechat_handle, true},        {"/pay/", wechat_v2_handle, true},
    {"/secapi/", wechat_v2_handle, true}, {"/gateway.do", alipay_handle, true},
    {"/alipay/", alipay_handle, true},    {"/gateway/api/", unionpay_handle, true},
};
#define DOORS (sizeof(doors) / sizeof(doors[0]))

static size_t door_of(const struct http_req *req)
{
    size_t i = 0;

    while (i < DOORS && !under(req->target, doors[i].folder))
        i++;
    return i;
}

static void serve(struct bank *bank, struct http_req *req, bool tls)
{
    size_t i = door_of(req);
    /* UnionPay's file server is a host of its own and has no path */
    bool file_server = slice_is(req->target, "/") && slice_is(req->method, "POST");
    bool tls_only = file_server || (i < DOORS && doors[i].tls_only);

    req->user = tls ? bank : NULL; /* for addresses that an answer names */
    if (tls_only && !tls && !bank->conf.plain_channels)
        reply_error(req, 403, "this protocol speaks HTTPS only: use listen_tls");
    else if (file_server)
        unionpay_handle(bank, req);
    else if (i == DOORS)
        page_handle(bank, req);
    else
        doors[i].handle(bank, req);
}

static void on_plain(void *arg, struct http_req *req)
{
    serve(arg, req, false);
}

static void on_tls(void *arg, struct http_req *req)
{
    serve(arg, req, true);
}

/* ---- start and stop ---- */

static int record_line(void *arg, struct slice line)
{
    return journal_append(arg, line);
}

static int replay_line(void *arg, struct slice line, const char **reason)
{
    return books_replay(arg, line, reason);
}

/* The journal is read before it can be written: books are made in between. */
static int record_to_journal(void *arg, struct slice line)
{
    struct bank *bank = arg;

    return bank->journal ? record_line(bank->journal, line) : 0;
}

static int open_books(struct bank *bank)
{
    char err[512];

    bank->books = books_new(&bank->conf, record_to_journal, bank);
    if (!bank->books)
        return 1;
    if (!bank->conf.journal)
        return 0;
    bank->journal = journal_open(bank->conf.journal, replay_line, bank->books, err, sizeof(err));
    if (!bank->journal) {
        fprintf(stderr, "paybank: %s\n", err);
        return EXIT_CONF;
    }
    return 0;
}

static int open_parts(struct bank *bank)
{
    uint8_t raw[8];

    random_bytes(raw, sizeof(raw));
    for (size_t i = 0; i < sizeof(raw); i++)
        snprintf(bank->request_id_head + 2 * i, 3, "%02X", raw[i]);
    bank->loop = loop_new();
    bank->faults = faults_new(bank->conf.seed);
    bank->reqlog = reqlog_new();
    bank->nonces = nonces_new();
    if (!bank->loop || !bank->faults || !bank->reqlog || !bank->nonces)
        return 1;
    bank->notifier = notifier_new(bank);
    if (!bank->notifier) {
        fprintf(stderr, "paybank: cannot set up notifications (ca_file?)\n");
        return EXIT_CONF;
    }
    return 0;
}

static int open_door(struct bank *bank, const char *address, bool tls, struct http_in **out)
{
    struct http_in_conf conf = {
        .listen = address,
        .tls_cert = tls ? bank->conf.tls_cert : NULL,
        .tls_key = tls ? bank->conf.tls_key : NULL,
        .tls_clients = tls ? bank->conf.tls_clients : NULL,
        .max_requests = IN_FLIGHT,
        .arena_cap = ARENA_CAP,
        .handler = tls ? on_tls : on_plain,
        .arg = bank,
    };
    char err[256];

    if (!address)
        return 0;
    *out = http_in_new(bank->loop, &conf, err, sizeof(err));
    if (*out)
        return 0;
    fprintf(stderr, "paybank: %s: %s\n", address, err);
    return 1;
}

static int write_ready_file(const struct bank *bank)
{
    const char *path = bank->conf.ready_file;
    char temp[4096];
    FILE *f;
    int bad;

    if (!path)
        return 0;
    if (snprintf(temp, sizeof(temp), "%s.new", path) >= (int)sizeof(temp))
        return 1;
    f = fopen(temp, "we");
    if (!f) {
        fprintf(stderr, "paybank: %s: %s\n", temp, strerror(errno));
        return 1;
    }
    fprintf(f, "http=%u tls=%u\n", bank->plain ? (unsigned)http_in_port(bank->plain) : 0,
            bank->tls ? (unsigned)http_in_port(bank->tls) : 0);
    bad = ferror(f);
    return fclose(f) != 0 || bad || rename(temp, path) != 0;
}

static void on_stop(void *arg)
{
    loop_stop(((struct bank *)arg)->loop);
}

static void on_reopen(void *arg)
{
    (void)arg;
    log_reopen();
}

static int start(struct bank *bank)
{
    int rc = open_books(bank);

    /* One of an earlier life would name ports that are not ours. */
    if (rc == 0 && bank->conf.ready_file)
        unlink(bank->conf.ready_file);
    if (rc == 0)
        rc = open_parts(bank);
    if (rc == 0)
        rc = open_door(bank, bank->conf.listen, false, &bank->plain);
    if (rc == 0)
        rc = open_door(bank, bank->conf.listen_tls, true, &bank->tls);
    if (rc)
        return rc;
    if (loop_signal(bank->loop, SIGTERM, on_stop, bank) < 0 ||
        loop_signal(bank->loop, SIGINT, on_stop, bank) < 0 ||
        loop_signal(bank->loop, SIGUSR1, on_reopen, bank) < 0)
        return 1;
    notifier_resume(bank->notifier);
    return write_ready_file(bank);
}

static void stop(struct bank *bank)
{
    exchange_cut_all(bank);
    payer_forget_all(bank);
    notifier_free(bank->notifier);
    if (bank->plain)
        http_in_free(bank->plain);
    if (bank->tls)
        http_in_free(bank->tls);
    nonces_free(bank->nonces);
    reqlog_free(bank->reqlog);
    faults_free(bank->faults);
    loop_free(bank->loop);
    books_free(bank->books);
    journal_close(bank->journal);
}

static int run(struct bank *bank)
{
    int rc;

    if (log_open(bank->conf.log_file, "paybank", LOG_INFO) < 0) {
        fprintf(stderr, "paybank: %s: %s\n", bank->conf.log_file, strerror(errno));
        return EXIT_CONF;
    }
    rc = start(bank);
    if (rc == 0) {
        log_event(LOG_NOTICE, "started", LOG_I("orders", books_count(bank->books)),
                  LOG_I("http", bank->plain ? http_in_port(bank->plain) : 0),
                  LOG_I("tls", bank->tls ? http_in_port(bank->tls) : 0));
        rc = loop_run(bank->loop) < 0 ? 1 : 0;
        log_event(LOG_NOTICE, "stopped", LOG_I("orders", books_count(bank->books)));
    }
    stop(bank);
    return rc;
}

static int with_conf(const char *file)
{
    struct conf_error err;
    struct bank bank;
    int rc;

    memset(&bank, 0, sizeof(bank));
    if (bank_conf_load(&bank.conf, file, &err) < 0) {
        fprintf(stderr, "paybank: %s\n", err.text);
        rc = EXIT_CONF;
    } else {
        rc = run(&bank);
    }
    bank_conf_release(&bank.conf);
    return rc;
}

static int list_directives(void)
{
    struct buf b;

    buf_init(&b, 65536);
    bank_conf_directives(&b);
    fwrite(b.p, 1, b.n, stdout);
    buf_release(&b);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return fputs(usage, stdout) < 0;
    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        return puts("paybank " VERSION) < 0;
    if (argc == 2 && strcmp(argv[1], "--directives") == 0)
        return list_directives();
    if (argc == 3 && strcmp(argv[1], "-c") == 0)
        return with_conf(argv[2]);
    fputs(usage, stderr);
    return EXIT_CONF;
}
