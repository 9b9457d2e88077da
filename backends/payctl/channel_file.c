/*
 * channel check, channel try - what people who write adapters need: all mistakes of a file at once;
 * the bytes that a call would send, and how an answer to it would be understood. Nothing is sent.
 */
#include "backends/channel/channel.h"
#include "backends/io/http_answer.h"
#include "core/clock.h"
#include "core/json.h"
#include "ctl.h"

#include <stdio.h>
#include <stdlib.h>

#define TRY_MEMORY (160u * 1024 * 1024)
#define TRY_NONCE  "0123456789abcdef0123456789ABCDEF"
#define ANSWER_MAX (80u * 1024 * 1024)

/* ------------------------------------------------------------------ check */

static void on_mistake(void *arg, const struct conf_error *err)
{
    struct conf_error placed = *err;

    (void)arg;
    conf_error_place(&placed);
    puts(placed.text);
}

/* FILE's neighbour: adapters/ beside channels/. */
static const char *neighbour(struct arena *a, const char *file)
{
    const char *slash = strrchr(file, '/');

    return arena_printf(a, "%.*s/../adapters", slash ? (int)(slash - file) : 1, slash ? file : ".")
        .p;
}

static int channel_check_files(struct ctl *c, int argc, char **argv)
{
    struct arena a;
    uint32_t mistakes = 0;

    if (argc < 1)
        return CTL_USAGE;
    arena_init(&a, 1 << 20);
    for (int i = 0; i < argc; i++)
        mistakes += channel_check(argv[i], c->conf ? c->options.adapters : neighbour(&a, argv[i]),
                                  on_mistake, NULL);
    arena_release(&a);
    if (mistakes)
        return ctl_refuse("%u %s", mistakes, mistakes == 1 ? "mistake" : "mistakes");
    puts(argc == 1 ? "good" : "all good");
    return CTL_DONE;
}

/* ------------------------------------------------------------------ what is tried */

struct
try {
    struct arena arena;
    struct channel_set *set;
    const struct channel *channel;
    struct channel_account *account;
    bool invented;
    enum call_kind kind; /* NONE: a notification */
    struct channel_order order;
};

/* Members of an order that can be given as NAME=VALUE. */
static const struct {
    const char *name;
    size_t offset;
    enum { A_TEXT, A_NUMBER, A_TIME } type;
    const char *value; /* when it is not given */
} order_members[] = {
#define MEMBER(name, type, value)                                                                  \
    {                                                                                              \
#name, offsetof(struct channel_order, name), type, value                                   \
    }
    MEMBER(request_no, A_TEXT, "P2609010000000000001"),
    MEMBER(channel_trade_no, A_TEXT, "C202609010001"),
    MEMBER(amount, A_NUMBER, "888"),
    MEMBER(currency, A_TEXT, "CNY"),
    MEMBER(description, A_TEXT, "测试"),
    MEMBER(attach, A_TEXT, NULL),
    MEMBER(payer_ip, A_TEXT, "8.8.8.8"),
    MEMBER(payer_id, A_TEXT, "payer-1"),
    MEMBER(auth_code, A_TEXT, "130061098828009406"),
    MEMBER(return_url, A_TEXT, NULL),
    MEMBER(store_id, A_TEXT, NULL),
    MEMBER(terminal_id, A_TEXT, NULL),
    MEMBER(prepay, A_TEXT, "prepay-1"),
    MEMBER(created_at, A_TIME, "2026-09-01T12:00:00+08:00"),
    MEMBER(time_expire, A_TIME, NULL),
    MEMBER(refund_no, A_TEXT, "R2609010000000000001"),
    MEMBER(refund_amount, A_NUMBER, "300"),
    MEMBER(refund_reason, A_TEXT, NULL),
    MEMBER(refund_created_at, A_TIME, "2026-09-01T13:00:00+08:00"),
    MEMBER(bill_day, A_TIME, "2026-09-01T12:00:00+08:00"),
#undef MEMBER
};
#define ORDER_MEMBERS (sizeof(order_members) / sizeof(*order_members))

static int set_member(struct try *t, size_t i, struct slice value)
{
    void *to = (char *)&t->order + order_members[i].offset;

    switch (order_members[i].type) {
    case A_TEXT:
        memcpy(to, &value, sizeof(value));
        return 0;
    case A_NUMBER:
        return slice_int64(value, to);
    default:
        return time_parse_rfc3339(value, to);
    }
}

static int read_members(struct try *t, int argc, char **argv)
{
    for (size_t i = 0; i < ORDER_MEMBERS; i++)
        if (order_members[i].value && set_member(t, i, slice_of(order_members[i].value)) < 0)
            return -1;
    for (int k = 0; k < argc; k++) {
        struct slice value = slice_of(argv[k]);
        struct slice name = slice_cut(&value, '=');
        const char *why = "no such member";
        size_t i = 0;

        if (slice_is(name, "bill_url")) {
            if (channel_address(t->channel, value, &t->order.download, &why) == 0)
                continue;
            return ctl_refuse("%s: %s", argv[k], why), -1;
        }
        while (i < ORDER_MEMBERS && !slice_is(name, order_members[i].name))
            i++;
        if (i == ORDER_MEMBERS || !value.p)
            return ctl_refuse("%s: %s", argv[k], why), -1;
        if (set_member(t, i, value) < 0)
            return ctl_refuse("%s: no such value", argv[k]), -1;
    }
    return 0;
}

/* "pay.native", "query.barcode", "bill", "notification". */
static int read_call(struct try *t, const char *text)
{
    struct slice method = slice_of(text);
    struct slice kind = slice_cut(&method, '.');
    int m = method.p ? payment_method_parse(method) : METHOD_NATIVE, k;

    if (m <= METHOD_NONE)
        return ctl_refuse("%s: no such payment method", text), -1;
    t->order.method = (enum payment_method)m;
    if (slice_is(kind, "pay"))
        k = m == METHOD_BARCODE ? CALL_CHARGE : CALL_PREPARE;
    else
        k = slice_is(kind, "notification") ? CALL_NONE : call_kind_parse(kind);
    if (k < 0 || (k == CALL_NONE && !slice_is(kind, "notification")))
        return ctl_refuse("%s: expected pay, charge, query, close, reverse, refund, refund_query, "
                          "bill, download or notification",
                          text),
               -1;
    t->kind = (enum call_kind)k;
    return 0;
}

static int open_account(struct ctl *c, struct try *t, const char *config, const char *secrets)
{
    struct conf_error err = {.text = ""};
    struct slice plain, secret;
    int rc;

    t->invented = !config && !secrets;
    if (t->invented) {
        rc = channel_account_invent(t->channel, &t->account, &err);
    } else {
        plain = config ? options_read_file(&c->options.arena, config, &err) : SLICE("{}");
        secret = secrets ? options_read_file(&c->options.arena, secrets, &err) : SLICE("{}");
        rc = !plain.p || !secret.p
                 ? -1
                 : channel_account_new(t->channel, SLICE("main"), plain, secret, &t->account, &err);
    }
    return rc < 0 ? (ctl_refuse("%s", err.text), -1) : 0;
}

static int open_channel(struct ctl *c, struct try *t, const char *name)
{
    struct conf_error err = {.text = ""};

    if (channel_set_load(c->options.channels, c->options.adapters, &t->set, &err) < 0)
        return ctl_refuse("%s", err.text), -1;
    t->channel = channel_find(t->set, slice_of(name));
    return t->channel ? 0 : (ctl_refuse("no channel \"%s\" in %s", name, c->options.channels), -1);
}

/* ------------------------------------------------------------------ what would be sent */

/* The payer's code is as good as money for a minute; it is shown to nobody. */
static void print_masked(const struct try *t, struct slice s)
{
    struct slice code = t->order.auth_code;

    while (s.n) {
        if (code.n && slice_starts(s, code)) {
            fputs("***", stdout);
            s = slice_n(s.p + code.n, s.n - code.n);
            continue;
        }
        putchar(s.p[0]);
        s = slice_n(s.p + 1, s.n - 1);
    }
}

static int show_request(struct try *t, pay_time_t now, struct slice nonce)
{
    struct channel_request r;
    const char *why;

    if (channel_encode(t->channel, t->account, t->kind, &t->order, now, nonce, &t->arena, &r,
                       &why) < 0)
        return ctl_refuse("cannot be sent: %s", why);
    printf("--- sent (%.*s; body %zu bytes)\n%.*s %.*s HTTP/1.1\n", SLICE_FMT(r.egress_kind),
           r.body.n, SLICE_FMT(r.method), SLICE_FMT(r.target));
    printf("Host: %.*s\n", SLICE_FMT(r.host.n ? r.host : SLICE("(endpoint)")));
    for (size_t i = 0; i < r.nheaders; i++)
        printf("%.*s: %.*s\n", SLICE_FMT(r.headers[i].name), SLICE_FMT(r.headers[i].value));
    putchar('\n');
    print_masked(t, r.body);
    if (r.body.n)
        putchar('\n');
    return CTL_DONE;
}

static int show_present(struct try *t, pay_time_t now, struct slice nonce)
{
    struct channel_present p;
    const char *why;

    if (channel_present(t->channel, t->account, &t->order, now, nonce, &t->arena, &p, &why) < 0)
        return ctl_refuse("nothing for the payer: %s", why);
    if (p.h5_url.n)
        printf("--- for the payer: h5_url\n%.*s\n", SLICE_FMT(p.h5_url));
    if (p.pay_params.n)
        printf("--- for the payer: pay_params\n%.*s\n", SLICE_FMT(p.pay_params));
    return CTL_DONE;
}

/* ------------------------------------------------------------------ how it is understood */

static const char *const meanings[ANSWER_CLASS_COUNT] = {
    [CLASS_UNKNOWN] = "anything may have happened: ask again, never conclude",
    [CLASS_SUCCESS] = "done: paid, reversed, refunded, or here it is",
    [CLASS_ACCEPTED] = "the channel knows it and waits",
    [CLASS_USER_PAYING] = "the channel knows it and the payer acts",
    [CLASS_FAILED] = "final: nothing was done",
    [CLASS_REFUSED] = "definitely not accepted: another channel may try",
    [CLASS_CLOSED] = "the number is dead there, unpaid",
    [CLASS_NOT_FOUND] = "the channel knows no such number",
    [CLASS_TOO_FREQUENT] = "not executed: ask later",
    [CLASS_DUPLICATE] = "the number was used before: only a query decides",
};

static void show_text(const char *name, struct slice s)
{
    if (s.n > 200)
        printf("%-18s %zu bytes\n", name, s.n);
    else if (s.n)
        printf("%-18s %.*s\n", name, SLICE_FMT(s));
}

static void show_result(const struct try *t, const struct channel_result *r)
{
    char time[RFC3339_LEN + 1];

    printf("--- understood\n%-18s %s: %s\n", "class", answer_class_name(r->cls), meanings[r->cls]);
    printf("%-18s %s\n", "signature",
           t->invented   ? "not checked, the account is invented"
           : r->verified ? "good"
                         : "not good, or none");
    if (t->kind == CALL_NONE)
        printf("%-18s %s\n", "about", channel_about_name(r->about));
    show_text("code", r->code);
    show_text("message", r->message);
    show_text("request_no", r->request_no);
    show_text("channel_trade_no", r->channel_trade_no);
    if (r->amount >= 0)
        printf("%-18s %lld %.*s\n", "amount", (long long)r->amount, SLICE_FMT(r->currency));
    if (r->paid_at) {
        time_format_rfc3339(time, r->paid_at);
        show_text("paid_at", slice_of(time));
    }
    show_text("code_url", r->code_url);
    show_text("h5_url", r->h5_url);
    show_text("prepay", r->prepay);
    show_text("payer_id", r->payer_id);
    show_text("refund_no", r->refund_no);
    show_text("channel_refund_no", r->channel_refund_no);
    if (r->refund_amount >= 0)
        printf("%-18s %lld\n", "refund_amount", (long long)r->refund_amount);
    show_text("bill_url", r->bill_url);
    show_text("bill_sha1", r->bill_sha1);
    show_text("bill", r->bill);
}

static struct slice read_stream(struct arena *a, FILE *f)
{
    struct slice all;
    struct buf b;
    char part[65536];
    size_t n;

    buf_init(&b, ANSWER_MAX);
    while ((n = fread(part, 1, sizeof(part), f)) > 0)
        buf_add(&b, part, n);
    all = buf_ok(&b) ? arena_copy(a, buf_slice(&b)) : SLICE_NULL;
    buf_release(&b);
    return all;
}

/* Editors end lines with LF alone: those of the head become CRLF. */
static struct slice http_lines(struct arena *a, struct slice s)
{
    char *to = arena_alloc(a, 2 * s.n + 1);
    bool head = true;
    size_t n = 0;

    if (!to)
        return SLICE_NULL;
    for (size_t i = 0; i < s.n; i++) {
        if (head && s.p[i] == '\n' && (i == 0 || s.p[i - 1] != '\r'))
            to[n++] = '\r';
        to[n++] = s.p[i];
        if (head && n >= 4 && memcmp(to + n - 4, "\r\n\r\n", 4) == 0)
            head = false;
    }
    return slice_n(to, n);
}

struct message {
    int status;
    struct http_header headers[ANSWER_MAX_HEADERS];
    size_t nheaders;
    struct slice body;
};

/* A whole HTTP answer, or the body alone, which then came with 200. */
static int read_message(struct try *t, struct slice in, struct message *m)
{
    struct answer_parser p;
    char *data;

    *m = (struct message){.status = 200, .body = in};
    if (!slice_starts(in, SLICE("HTTP/")))
        return 0;
    in = http_lines(&t->arena, in);
    data = (char *)(uintptr_t)in.p;
    answer_parser_init(&p, false, ANSWER_MAX);
    if (answer_parse(&p, data, in.n, true) != ANSWER_DONE)
        return ctl_refuse("no HTTP answer: %s", p.reason ? p.reason : "it is not whole"), -1;
    m->status = p.status;
    m->nheaders = answer_headers(&p, data, m->headers);
    m->body = slice_n(data + p.body_start, p.body_n);
    return 0;
}

static int show_answer(struct try *t, const char *file, pay_time_t now)
{
    FILE *f = strcmp(file, "-") == 0 ? stdin : fopen(file, "rb");
    struct channel_result r;
    struct message m;
    struct slice in;
    const char *why;

    if (!f)
        return ctl_refuse("%s: cannot open it", file);
    in = read_stream(&t->arena, f);
    if (f != stdin)
        fclose(f);
    if (!in.p && t->arena.failed)
        return ctl_refuse("%s: too large", file);
    if (read_message(t, in, &m) < 0)
        return CTL_REFUSED;
    if (t->kind != CALL_NONE) {
        channel_decode(t->channel, t->account, t->kind, &t->order, m.status, m.headers, m.nheaders,
                       m.body, now, &t->arena, &r);
    } else if (channel_notification(t->channel, t->account, m.headers, m.nheaders, m.body, now,
                                    &t->arena, &r, &why) < 0) {
        return ctl_refuse("refused: %s", why);
    }
    show_result(t, &r);
    return CTL_DONE;
}

/* ------------------------------------------------------------------ try */

static int run_try(struct ctl *c, struct try *t, int argc, char **argv, const char *answer,
                   const char *at)
{
    struct channel_api api = {0};
    pay_time_t now = clock_read_wall();
    int status = CTL_DONE;

    (void)c;
    if (at && time_parse_rfc3339(slice_of(at), &now) < 0)
        return ctl_refuse("--at: expected a time such as 2026-09-01T12:00:00+08:00");
    if (read_call(t, argv[1]) < 0 || read_members(t, argc - 2, argv + 2) < 0)
        return CTL_REFUSED;
    if (t->kind == CALL_NONE && !answer)
        return ctl_refuse("a notification needs --answer FILE");
    if (t->kind != CALL_NONE) {
        if (!channel_api(t->channel, t->kind, t->order.method, &api))
            return ctl_refuse("the adapter has no %s for %s", call_kind_name(t->kind),
                              payment_method_name(t->order.method));
        if (!api.local)
            status = show_request(t, now, SLICE(TRY_NONCE));
        if (status == CTL_DONE && t->kind == CALL_PREPARE)
            status = show_present(t, now, SLICE(TRY_NONCE));
    }
    return status == CTL_DONE && answer ? show_answer(t, answer, now) : status;
}

static int channel_try(struct ctl *c, int argc, char **argv)
{
    const char *config = ctl_option(&argc, argv, "--config");
    const char *secrets = ctl_option(&argc, argv, "--secrets");
    const char *answer = ctl_option(&argc, argv, "--answer");
    const char *at = ctl_option(&argc, argv, "--at");
    struct try t = {.set = NULL};
    int status = CTL_REFUSED;

    if (argc < 2)
        return CTL_USAGE;
    arena_init(&t.arena, TRY_MEMORY);
    if (open_channel(c, &t, argv[0]) == 0 && open_account(c, &t, config, secrets) == 0)
        status = run_try(c, &t, argc, argv, answer, at);
    channel_account_free(t.account);
    channel_set_free(t.set);
    arena_release(&t.arena);
    return status;
}

const struct command channel_check_commands[] = {{"channel", "check", "FILE ...",
                                                  "all mistakes of adapter and channel files",
                                                  channel_check_files},
                                                 {0}};
const struct command channel_file_commands[] = {
    {"channel", "try",
     "NAME CALL[.METHOD] [MEMBER=VALUE ...] [--answer FILE|-] [--config FILE --secrets FILE] "
     "[--at TIME]",
     "the bytes of a call and how an answer would be understood; nothing is sent", channel_try},
    {0}};
