#include "options.h"

#include "options_impl.h"

#define NAME_BYTES "abcdefghijklmnopqrstuvwxyz0123456789_-"

static const struct conf_directive top_table[] = {
    {"database", 1, 3, CONF_NEED, "CONNINFO [writers=N] [readers=N]", "",
     "PostgreSQL, as libpq's connection string; connections for commits and for reads (2 each)."},
    {"egress", 1, 1, CONF_NEED, "unix:PATH", "",
     "nginx's egress socket: the only way to channels."},
    {"control", 1, 1, 0, "unix:PATH", "", "nginx's control socket: payctl channel ..."},
    {"channels", 1, 1, CONF_NEED, "GLOB", "",
     "The pay_channel files, the same that nginx includes."},
    {"adapters", 1, 1, CONF_NEED, "FOLDER", "", "Where adapter NAME.conf files live."},
    {"master_key", 1, VAULT_KEYS_MAX, CONF_NEED, "FILE ...", "",
     "64 hex digits; secrets in the database are sealed under the first, and open with each."},
    {"platform", 3, 3, CONF_NEED, "SERIAL CERT KEY", "",
     "Our certificate that merchants verify callbacks with, and its private key (PEM files)."},
    {"watch_certificate", 2, 2, CONF_REPEAT, "NAME FILE", "",
     "A certificate in a file whose end is told by metrics and log."},
    {"platform_certificate", 2, 2, CONF_REPEAT, "SERIAL FILE", "",
     "Another certificate or public key (PEM) of ours that merchants are shown: Ed25519, ECDSA, or "
     "the next RSA one; at most 8."},
    {"log", 1, 2, 0, "stderr | FOLDER [level=LEVEL]", "stderr level=info",
     "One JSON object a line, one file per process (NAME.log); level debug info notice warn "
     "error."},
    {"answer_within", 1, 1, 0, "TIME", "38s",
     "A merchant's request is answered by then, at worst with `processing`; at most 39s."},
    {"send_window", 1, 1, 0, "TIME", "5s",
     "An attempt may leave the egress at most this long after it was committed."},
    {"query_interval", 1, 1, 0, "TIME", "30s", "First step of the growing status queries."},
    {"query_max", 1, 1, 0, "TIME", "1h", "Largest step of the growing status queries."},
    {"query_soon", 1, 1, 0, "TIME", "1s", "Query after a hint that the order is paid."},
    {"resend_interval", 1, 1, 0, "TIME", "2s",
     "First step before a call is tried again that was never passed on."},
    {"not_sent_limit", 1, 1, 0, "NUMBER", "3",
     "Attempts never passed on before a payment fails as not sent."},
    {"paying_interval", 1, 1, 0, "TIME", "5s", "Between queries while a barcode's payer acts."},
    {"paying_limit", 1, 1, 0, "TIME", "30s",
     "A barcode payment that is still open then is reversed."},
    {"reverse_limit", 1, 1, 0, "NUMBER", "10",
     "Attempts to reverse without a result before a case is opened."},
    {"reroute", 1, 1, 0, "NUMBER", "2",
     "Further channels that are tried when one refuses a new order."},
    {"late_success", 1, 1, 0, "case | refund", "case",
     "Money that comes for a failed or closed order: a person decides, or it is given back."},
    {"expire", 1, 1, 0, "TIME", "2h", "Life of orders that name no time_expire."},
    {"outcomes", 1, 1, 0, "TIME | off", "200ms",
     "How often the egress is told what was read in the channels' answers."},
    {"notify_misses", 1, 1, 0, "NUMBER", "20",
     "Genuine notifications of a channel account looked up in vain, a second."},
    {"max_requests", 1, 1, 0, "NUMBER", "8192",
     "Requests in progress per process; more are answered 503 OVERLOADED."},
    {"timers", 0, 0, CONF_BLOCK, "{ ... }", "", "The timer role."},
    {"callbacks", 0, 0, CONF_BLOCK, "{ ... }", "", "The callback role."},
    {"relay", 0, 0, CONF_BLOCK, "{ ... }", "",
     "The relay role: events of orders into Redis Streams."},
    {"process", 1, 1, CONF_BLOCK | CONF_REPEAT | CONF_NEED, "NAME { ... }", "",
     "One process, started as payd -n NAME."},
    {0}};

static const struct conf_directive timers_table[] = {
    {"poll", 1, 1, 0, "TIME", "200ms", "How often due orders are looked for."},
    {"batch", 1, 1, 0, "NUMBER", "256", "Due orders taken at once."},
    {"active", 1, 1, 0, "NUMBER", "512", "Orders a process works on at once."},
    {"certificates", 1, 1, 0, "TIME", "12h",
     "How often channels are asked for the certificates that they publish."},
    {"bills", 1, 1, 0, "TIME|off", "10m",
     "Bills are fetched each day; one that was not to be had is asked for again so much later."},
    {"bills_late", 1, 1, 0, "TIME", "6h",
     "A bill that is not stored so long after the channel should have it is an alert."},
    {0}};

const struct conf_directive *options_table(const char *block)
{
    static const struct {
        const char *block;
        const struct conf_directive *table;
    } tables[] = {{"", top_table},
                  {"timers", timers_table},
                  {"callbacks", options_callbacks_table},
                  {"relay", options_relay_table},
                  {"process", options_process_table}};

    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
        if (strcmp(tables[i].block, block) == 0)
            return tables[i].table;
    return NULL;
}

/* conninfo's host=PATH may be relative to the file as well. */
static int read_database(struct options *o, const struct conf_node *n, struct conf_error *err)
{
    struct slice s = n->args[0];
    const char *slash = strrchr(o->file, '/');

    if (slice_starts(s, SLICE("host=")) && s.n > 5 && s.p[5] != '/' && slash &&
        memchr(s.p, '/', s.n))
        s = arena_printf(&o->arena, "host=%.*s/%.*s", (int)(slash - o->file), o->file,
                         (int)(s.n - 5), s.p + 5);
    o->database = arena_cstr(&o->arena, s);
    for (uint32_t i = 1; i < n->nargs; i++) {
        struct slice value = n->args[i], key = slice_cut(&value, '=');
        int64_t *to = slice_is(key, "writers")   ? &o->writers
                      : slice_is(key, "readers") ? &o->readers
                                                 : NULL;
        if (!to)
            return conf_fail(err, n, "database: unknown \"%.*s\"", SLICE_FMT(key));
        if (options_get_number(n, value, 1, 16, to, err) != 0)
            return -1;
    }
    return o->database ? 0 : conf_fail(err, n, "database: bad connection string");
}

static int read_master_keys(struct options *o, const struct conf_node *n, struct conf_error *err)
{
    for (uint32_t i = 0; i < n->nargs; i++)
        if (options_get_path(o, n, n->args[i], &o->master_keys[o->master_key_count++], err) != 0)
            return -1;
    return 0;
}

static int read_certificate(struct options *o, const struct conf_node *n, struct conf_error *err)
{
    size_t i = o->certificate_count;

    if (i == CERTIFICATES_MAX)
        return conf_fail(err, n, "platform_certificate: more than %d", CERTIFICATES_MAX);
    o->certificates[i].serial = arena_cstr(&o->arena, n->args[0]);
    if (!o->certificates[i].serial)
        return conf_fail(err, n, "platform_certificate: bad serial");
    o->certificate_count++;
    return options_get_path(o, n, n->args[1], &o->certificates[i].file, err);
}

static int read_watched(struct options *o, const struct conf_node *n, struct conf_error *err)
{
    struct slice name = n->args[0];
    size_t i = o->watched_count;

    if (i == WATCHED_FILES_MAX)
        return conf_fail(err, n, "watch_certificate: more than %d", WATCHED_FILES_MAX);
    for (size_t k = 0; k < name.n; k++)
        if (!memchr(NAME_BYTES, name.p[k], sizeof(NAME_BYTES) - 1))
            name.n = 0;
    if (name.n == 0 || name.n > 64)
        return conf_fail(err, n, "watch_certificate: a name is 1 to 64 of a-z, 0-9, _ and -");
    o->watched[i].name = arena_cstr(&o->arena, name);
    o->watched_count++;
    return options_get_path(o, n, n->args[1], &o->watched[i].file, err);
}

static int read_log(struct options *o, const struct conf_node *n, struct conf_error *err)
{
    if (!slice_is(n->args[0], "stderr") &&
        options_get_path(o, n, n->args[0], &o->log_dir, err) != 0)
        return -1;
    if (n->nargs == 2) {
        struct slice value = n->args[1], key = slice_cut(&value, '=');
        if (!slice_is(key, "level"))
            return conf_fail(err, n, "log: unknown \"%.*s\"", SLICE_FMT(n->args[1]));
        o->log_level = arena_cstr(&o->arena, value);
    }
    return 0;
}

static int read_times(struct options *o, const struct conf_node *n, struct conf_error *err)
{
    const struct {
        const char *name;
        int64_t *to;
    } times[] = {{"answer_within", &o->answer_within_us},
                 {"send_window", &o->send_window_us},
                 {"query_interval", &o->query_interval_us},
                 {"query_max", &o->query_max_us},
                 {"query_soon", &o->query_soon_us},
                 {"resend_interval", &o->resend_interval_us},
                 {"paying_interval", &o->paying_interval_us},
                 {"paying_limit", &o->paying_limit_us},
                 {"expire", &o->expire_us}};

    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
        if (slice_is(n->name, times[i].name))
            return options_get_time(n, n->args[0], 10, times[i].to, err);
    return 0;
}

static int read_outcomes(struct options *o, const struct conf_node *n, struct conf_error *err)
{
    o->outcomes_us = 0;
    return slice_is(n->args[0], "off") ? 0
                                       : options_get_time(n, n->args[0], 10, &o->outcomes_us, err);
}

static int read_late_success(struct options *o, const struct conf_node *n, struct conf_error *err)
{
    o->late_refund = slice_is(n->args[0], "refund");
    return o->late_refund || slice_is(n->args[0], "case")
               ? 0
               : conf_fail(err, n, "late_success: not case or refund");
}

static int read_bills(const struct conf_node *n, int64_t *us, struct conf_error *err)
{
    *us = 0;
    return slice_is(n->args[0], "off") ? 0 : options_get_time(n, n->args[0], 1000, us, err);
}

static int read_timers(struct options *o, const struct conf_node *block, struct conf_error *err)
{
    struct timer_options *t = &o->timers;

    if (conf_check(block, NULL, timers_table, err) != 0)
        return -1;
    for (const struct conf_node *n = block->child; n; n = n->next) {
        int rc = slice_is(n->name, "poll") ? options_get_time(n, n->args[0], 10, &t->poll_us, err)
                 : slice_is(n->name, "certificates")
                     ? options_get_time(n, n->args[0], 1000, &t->certificates_us, err)
                 : slice_is(n->name, "bills") ? read_bills(n, &t->bills_us, err)
                 : slice_is(n->name, "bills_late")
                     ? options_get_time(n, n->args[0], 1000, &t->bills_late_us, err)
                 : slice_is(n->name, "batch")
                     ? options_get_number(n, n->args[0], 1, 10000, &t->batch, err)
                     : options_get_number(n, n->args[0], 1, 100000, &t->active, err);
        if (rc != 0)
            return -1;
    }
    return 0;
}

static int read_top(struct options *o, const struct conf_node *n, struct conf_error *err)
{
    struct arena *a = &o->arena;

    if (slice_is(n->name, "database"))
        return read_database(o, n, err);
    if (slice_is(n->name, "egress"))
        return options_get_socket(o, n, &o->egress, err);
    if (slice_is(n->name, "control"))
        return options_get_socket(o, n, &o->control, err);
    if (slice_is(n->name, "channels"))
        return options_get_path(o, n, n->args[0], &o->channels, err);
    if (slice_is(n->name, "adapters"))
        return options_get_path(o, n, n->args[0], &o->adapters, err);
    if (slice_is(n->name, "master_key"))
        return read_master_keys(o, n, err);
    if (slice_is(n->name, "platform")) {
        if (!(o->platform_serial = arena_cstr(a, n->args[0])))
            return conf_fail(err, n, "platform: bad serial");
        return options_get_path(o, n, n->args[1], &o->platform_cert, err) ||
                       options_get_path(o, n, n->args[2], &o->platform_key, err)
                   ? -1
                   : 0;
    }
    if (slice_is(n->name, "watch_certificate"))
        return read_watched(o, n, err);
    if (slice_is(n->name, "platform_certificate"))
        return read_certificate(o, n, err);
    if (slice_is(n->name, "log"))
        return read_log(o, n, err);
    if (slice_is(n->name, "not_sent_limit"))
        return options_get_number(n, n->args[0], 1, 100, &o->not_sent_limit, err);
    if (slice_is(n->name, "reverse_limit"))
        return options_get_number(n, n->args[0], 1, 1000, &o->reverse_limit, err);
    if (slice_is(n->name, "reroute"))
        return options_get_number(n, n->args[0], 0, 2, &o->reroute, err);
    if (slice_is(n->name, "late_success"))
        return read_late_success(o, n, err);
    if (slice_is(n->name, "notify_misses"))
        return options_get_number(n, n->args[0], 1, 100000, &o->notify_misses, err);
    if (slice_is(n->name, "max_requests"))
        return options_get_number(n, n->args[0], 1, 1000000, &o->max_requests, err);
    if (slice_is(n->name, "timers"))
        return read_timers(o, n, err);
    if (slice_is(n->name, "callbacks"))
        return options_read_callbacks(o, n, err);
    if (slice_is(n->name, "relay"))
        return options_read_relay(o, n, err);
    if (slice_is(n->name, "process"))
        return options_read_process(o, n, err);
    if (slice_is(n->name, "outcomes"))
        return read_outcomes(o, n, err);
    return read_times(o, n, err);
}

static void set_defaults(struct options *o)
{
    o->writers = o->readers = 2;
    o->log_level = "info";
    o->answer_within_us = 38 * USEC_PER_SEC;
    o->send_window_us = 5 * USEC_PER_SEC;
    o->query_interval_us = 30 * USEC_PER_SEC;
    o->query_max_us = 3600 * USEC_PER_SEC;
    o->query_soon_us = USEC_PER_SEC;
    o->resend_interval_us = 2 * USEC_PER_SEC;
    o->not_sent_limit = 3;
    o->paying_interval_us = 5 * USEC_PER_SEC;
    o->paying_limit_us = 30 * USEC_PER_SEC;
    o->reverse_limit = 10;
    o->reroute = 2;
    o->expire_us = 7200 * USEC_PER_SEC;
    o->outcomes_us = 200 * USEC_PER_MSEC;
    o->max_requests = 8192;
    o->notify_misses = 20;
    o->timers = (struct timer_options){.poll_us = 200 * USEC_PER_MSEC,
                                       .batch = 256,
                                       .active = 512,
                                       .certificates_us = 12 * 3600 * USEC_PER_SEC,
                                       .bills_us = 600 * USEC_PER_SEC,
                                       .bills_late_us = 6 * 3600 * USEC_PER_SEC};
    options_relay_defaults(&o->relay);
    options_callbacks_defaults(&o->callbacks);
}

int options_load(struct options *o, const char *file, struct conf_error *err)
{
    struct conf_node *first;

    memset(o, 0, sizeof(*o));
    arena_init(&o->arena, 4 << 20);
    set_defaults(o);
    o->file = arena_cstr(&o->arena, slice_of(file));
    if (!o->file)
        return conf_fail(err, NULL, "out of memory");
    if (conf_parse_file(&o->arena, o->file, &first, err) != 0 ||
        conf_check(NULL, first, top_table, err) != 0)
        return -1;
    for (const struct conf_node *n = first; n; n = n->next) {
        if (read_top(o, n, err) != 0)
            return -1;
        if (slice_is(n->name, "answer_within") && o->answer_within_us > 39 * USEC_PER_SEC)
            return conf_fail(err, n, "answer_within: more than 39s; merchants are promised 40s");
    }
    return 0;
}

void options_free(struct options *o)
{
    arena_release(&o->arena);
}

const struct process_options *options_process(const struct options *o, const char *name)
{
    for (const struct process_options *p = o->processes; p; p = p->next)
        if (strcmp(p->name, name) == 0)
            return p;
    return NULL;
}
