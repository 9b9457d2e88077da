/*
 * payctl bill: fetches a channel's bill of a day through the egress, as payd's calls go, and stores
 * the file and its rows. A process of its own may wait and compute as long as it likes; a timer of
 * the system runs it each morning (docs/runbook.md).
 *
 * Everything of a bill is stored in one transaction, after the whole file was read and its sums
 * were right. The same file again changes nothing; another one for the day takes the old one's
 * place.
 */
#include "ctl.h"

#include "backends/channel/channel.h"
#include "backends/io/http_egress.h"
#include "backends/store/admin_bill.h"

#include <stdio.h>

#define ANSWER_MAX   (80u << 20)
#define MEMORY       (256u << 20)
#define CALL_US      (60 * USEC_PER_SEC)
#define SEND_US      (10 * USEC_PER_SEC)
#define HEADERS_MAX  64
#define PAY_HEADERS  4
#define NONCE_LENGTH 32

struct fetch {
    struct ctl *c;
    struct arena arena;
    struct loop *loop;
    struct http_egress *egress;
    struct ctl_account account;
    struct channel_order order;
    struct channel_result result; /* of the latest call */
    enum call_kind kind;
    const char *day;     /* 2026-09-01 */
    const char *problem; /* of the latest call, NULL: answered */
};

/* ---- one call, waited for ---- */

static void on_answer(void *arg, const struct http_answer *answer)
{
    struct fetch *f = arg;
    struct slice sent, body;

    f->problem = answer->outcome == HTTP_ANSWERED ? NULL : answer->reason;
    if (!f->problem) {
        sent = http_find(answer->headers, answer->nheaders, "Pay-Sent", NULL);
        body = arena_copy(&f->arena, answer->body);
        if (!slice_is(sent, "answered"))
            f->problem = arena_printf(&f->arena, "the egress says %d: %.*s", answer->status,
                                      (int)(body.n < 200 ? body.n : 200), body.p ? body.p : "")
                             .p;
        else
            channel_decode(f->account.channel, f->account.opened, f->kind, &f->order,
                           answer->status, answer->headers, answer->nheaders, body,
                           clock_read_wall(), &f->arena, &f->result);
    }
    loop_stop(f->loop);
}

static int64_t attempt_id(void)
{
    uint64_t n;

    random_bytes(&n, sizeof(n));
    return (int64_t)(n >> 2 | 1);
}

static int call(struct fetch *f, enum call_kind kind)
{
    struct arena *a = &f->arena;
    struct channel_request req;
    struct http_header headers[HEADERS_MAX];
    char nonce[NONCE_LENGTH];

    f->kind = kind;
    random_token(nonce, sizeof(nonce));
    if (channel_encode(f->account.channel, f->account.opened, kind, &f->order, clock_read_wall(),
                       slice_n(nonce, sizeof(nonce)), a, &req, &f->problem) != 0)
        return ctl_refuse("%s: %s", call_kind_name(kind), f->problem);
    headers[0] =
        (struct http_header){SLICE("Pay-Channel"), channel_facts(f->account.channel)->name};
    headers[1] = (struct http_header){SLICE("Pay-Attempt"), arena_int64(a, attempt_id())};
    headers[2] = (struct http_header){SLICE("Pay-Kind"), req.egress_kind};
    headers[3] = (struct http_header){SLICE("Pay-Send-Before"),
                                      arena_int64(a, clock_read_boot_us() + SEND_US)};
    memcpy(headers + PAY_HEADERS, req.headers, req.nheaders * sizeof(headers[0]));
    struct http_call hc = {.method = req.method,
                           .target = req.target,
                           .headers = headers,
                           .nheaders = PAY_HEADERS + req.nheaders,
                           .body = req.body,
                           .timeout_us = CALL_US};
    f->problem = "out of memory";
    if (!a->failed)
        http_egress_send(f->egress, &hc, on_answer, f);
    if (a->failed || loop_run(f->loop) != 0 || f->problem)
        return ctl_refuse("%s: %s", call_kind_name(kind), f->problem);
    return CTL_DONE;
}

/* ---- the file ---- */

static int understood(const struct fetch *f)
{
    const struct channel_result *r = &f->result;

    if (r->cls == CLASS_SUCCESS)
        return CTL_DONE;
    if (r->cls == CLASS_NOT_FOUND)
        return ctl_refuse("the channel has no bill of %s (%.*s)", f->day, SLICE_FMT(r->code));
    return ctl_refuse("%s: %s, %.*s %.*s", call_kind_name(f->kind), answer_class_name(r->cls),
                      SLICE_FMT(r->code), SLICE_FMT(r->message));
}

/* The bill itself, or where it lies and then it. */
static int get_file(struct fetch *f, struct slice *file, struct slice *sha1)
{
    const char *why;
    int status = call(f, CALL_BILL);

    if (status == CTL_DONE)
        status = understood(f);
    if (status != CTL_DONE)
        return status;
    *sha1 = f->result.bill_sha1;
    if (!f->result.bill.n) {
        if (channel_address(f->account.channel, f->result.bill_url, &f->order.download, &why) != 0)
            return ctl_refuse("where the bill lies: %s", why);
        status = call(f, CALL_DOWNLOAD);
        if (status == CTL_DONE)
            status = understood(f);
    }
    *file = f->result.bill;
    if (status == CTL_DONE && !file->n)
        status = ctl_refuse("the bill is empty");
    return status;
}

/* ---- storing ---- */

static int on_row(void *arg, const struct channel_bill_line *row)
{
    const struct admin_bill_row r = {.kind = (int)row->kind + 1,
                                     .line = row->number,
                                     .request_no = row->request_no,
                                     .channel_trade_no = row->channel_trade_no,
                                     .refund_no = row->refund_no,
                                     .channel_refund_no = row->channel_refund_no,
                                     .state = row->state,
                                     .amount = row->amount,
                                     .fee = row->fee,
                                     .at = row->at};

    return admin_bill_row(arg, &r);
}

static int store(struct fetch *f, struct slice file, struct slice sha1)
{
    struct admin *admin = ctl_admin(f->c);
    struct admin_bill key = {.channel = channel_facts(f->account.channel)->name,
                             .account = channel_account_name(f->account.opened),
                             .day = slice_of(f->day),
                             .file = file};
    struct channel_bill_sum sum;
    struct conf_error err = {.text = ""};
    struct admin_bill_writer *w;
    char reason[ADMIN_ERROR_LEN] = "";
    int rc;

    if (!admin)
        return CTL_REFUSED;
    rc = admin_bill_begin(admin, &key, &w, reason);
    if (rc < 0)
        return ctl_refuse("%s", reason);
    if (rc == 0) {
        if (!f->c->json)
            printf("%.*s %s is stored already\n", SLICE_FMT(key.channel), f->day);
        return CTL_DONE;
    }
    rc = channel_bill_read(f->account.channel, file, sha1, on_row, w, &sum, &err);
    const struct admin_bill_sum total = {sum.rows, sum.paid, sum.returned};
    if (admin_bill_end(w, rc == 0 ? &total : NULL, reason) != 0)
        return ctl_refuse("%s", reason);
    if (rc != 0)
        return ctl_refuse("the bill is refused, nothing is stored: %s", err.text);
    return CTL_DONE;
}

/* ---- commands ---- */

static int run_fetch(struct fetch *f, const char *channel, const char *account)
{
    struct http_egress_conf ec = {
        .unix_path = f->c->options.egress, .max_connections = 4, .max_answer = ANSWER_MAX};
    struct slice file, sha1;
    int status = ctl_account_open(f->c, channel, account, &f->account);

    if (status != CTL_DONE)
        return status;
    f->loop = loop_new();
    f->egress = f->loop ? http_egress_new(f->loop, &ec) : NULL;
    if (!f->egress)
        return ctl_refuse("out of memory");
    status = get_file(f, &file, &sha1);
    return status == CTL_DONE ? store(f, file, sha1) : status;
}

static int show_sum(struct ctl *c, struct fetch *f)
{
    struct slice account = channel_account_name(f->account.opened);
    const char *params[] = {arena_cstr(&f->arena, channel_facts(f->account.channel)->name),
                            arena_cstr(&f->arena, account), f->day};

    return ctl_change(c, ADMIN_BILL_SHOW, params, "nothing stored");
}

static int read_day(struct ctl *c, const char *text, pay_time_t *day)
{
    struct slice t = arena_printf(&c->options.arena, "%sT12:00:00+08:00", text);

    return strlen(text) == 10 && time_parse_rfc3339(t, day) == 0
               ? CTL_DONE
               : ctl_refuse("\"%s\" is not a day such as 2026-09-01", text);
}

static int bill_fetch(struct ctl *c, int argc, char **argv)
{
    const char *account = ctl_option(&argc, argv, "--account");
    struct fetch f = {.c = c, .day = argc == 2 ? argv[1] : NULL};
    int status;

    if (argc != 2)
        return CTL_USAGE;
    if (read_day(c, argv[1], &f.order.bill_day) != CTL_DONE)
        return CTL_REFUSED;
    f.order.method = METHOD_NATIVE;
    arena_init(&f.arena, MEMORY);
    status = run_fetch(&f, argv[0], account);
    if (status == CTL_DONE)
        status = show_sum(c, &f);
    http_egress_free(f.egress);
    if (f.loop)
        loop_free(f.loop);
    ctl_account_close(&f.account);
    arena_release(&f.arena);
    return status;
}

static int bill_list(struct ctl *c, int argc, char **argv)
{
    const char *params[] = {argc ? argv[0] : NULL};

    return argc <= 1 ? ctl_list(c, ADMIN_BILL_LIST, params) : CTL_USAGE;
}

static int bill_rows(struct ctl *c, int argc, char **argv)
{
    const char *account = ctl_option(&argc, argv, "--account");
    pay_time_t day;

    if (argc != 2)
        return CTL_USAGE;
    if (read_day(c, argv[1], &day) != CTL_DONE)
        return CTL_REFUSED;
    const char *params[] = {argv[0], account, argv[1]};
    return ctl_list(c, ADMIN_BILL_ROWS, params);
}

const struct command bill_commands[] = {
    {"bill", "fetch", "CHANNEL DAY [--account ACCOUNT]",
     "fetch the channel's bill of that day (2026-09-01), check it, store file and rows",
     bill_fetch},
    {"bill", "list", "[CHANNEL]", "what is stored, with sums, newest first", bill_list},
    {"bill", "rows", "CHANNEL DAY [--account ACCOUNT]", "the rows of one", bill_rows},
    {0}};
