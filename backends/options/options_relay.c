/* The relay block: where events of orders go, and how far back. */
#include "options_impl.h"

#include <arpa/inet.h>

#define NAME_MAX_LEN 64

const struct conf_directive options_relay_table[] = {
    {"redis", 1, 4, CONF_NEED, "unix:PATH | ADDRESS:PORT [db=N] [user=NAME] [password_file=FILE]",
     "", "The Redis that holds the streams."},
    {"stream", 1, 1, 0, "NAME", "pay:events", "Keys of the streams: NAME:0, NAME:1 ..."},
    {"streams", 1, 1, 0, "NUMBER", "1", "Streams that share the orders."},
    {"groups", 1, RELAY_GROUPS_MAX, 0, "NAME ...", "",
     "Consumer groups that are made on each stream, from its beginning."},
    {"maxlen", 1, 1, 0, "NUMBER", "1000000", "Entries that a stream keeps, about."},
    {"refill", 1, 1, 0, "TIME", "1d", "How far back an emptied stream is filled again, about."},
    {"poll", 1, 1, 0, "TIME", "200ms", "How often new events are looked for."},
    {"batch", 1, 1, 0, "NUMBER", "500", "Events appended at once, about."},
    {"timeout", 1, 1, 0, "TIME", "5s", "For an answer of Redis."},
    {0}};

void options_relay_defaults(struct relay_options *r)
{
    *r = (struct relay_options){.stream = "pay:events",
                                .streams = 1,
                                .maxlen = 1000000,
                                .batch = 500,
                                .poll_us = 200 * USEC_PER_MSEC,
                                .refill_us = 86400 * USEC_PER_SEC,
                                .timeout_us = 5 * USEC_PER_SEC};
}

/* Keys and groups: printable, without blanks. */
static int get_name(struct options *o, const struct conf_node *n, struct slice s, const char **out,
                    struct conf_error *err)
{
    bool fine = s.n >= 1 && s.n <= NAME_MAX_LEN;

    for (size_t i = 0; fine && i < s.n; i++)
        fine = s.p[i] > ' ' && s.p[i] < 127;
    if (!fine)
        return conf_fail(err, n, "%.*s: \"%.*s\" is not 1..%d printable characters",
                         SLICE_FMT(n->name), SLICE_FMT(s), NAME_MAX_LEN);
    *out = arena_cstr(&o->arena, s);
    return *out ? 0 : conf_fail(err, n, "out of memory");
}

static int read_password(struct options *o, const struct conf_node *n, struct slice path,
                         struct conf_error *err)
{
    const char *file;
    struct slice text;

    if (options_get_path(o, n, path, &file, err) != 0)
        return -1;
    text = options_read_file(&o->arena, file, err);
    if (!text.p)
        return -1;
    while (text.n && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r'))
        text.n--;
    if (text.n == 0)
        return conf_fail(err, n, "redis: %s is empty", file);
    o->relay.redis_password = arena_cstr(&o->arena, text);
    return o->relay.redis_password ? 0 : conf_fail(err, n, "redis: %s: not a text", file);
}

static int read_address(struct options *o, const struct conf_node *n, struct conf_error *err)
{
    struct relay_options *r = &o->relay;
    struct slice s = n->args[0];
    uint8_t bytes[16];
    size_t colon = s.n;
    int64_t port = 0;

    if (slice_starts(s, SLICE("unix:")))
        return options_get_socket(o, n, &r->redis_path, err);
    while (colon && s.p[colon - 1] != ':')
        colon--;
    if (colon > 1 && slice_int64(slice_n(s.p + colon, s.n - colon), &port) == 0)
        r->redis_address = arena_cstr(&o->arena, slice_n(s.p, colon - 1));
    if (!r->redis_address || port < 1 || port > UINT16_MAX ||
        inet_pton(AF_INET, r->redis_address, bytes) != 1)
        return conf_fail(err, n, "redis: \"%.*s\" is not unix:PATH or ADDRESS:PORT (IPv4)",
                         SLICE_FMT(s));
    r->redis_port = (uint16_t)port;
    return 0;
}

static int read_redis(struct options *o, const struct conf_node *n, struct conf_error *err)
{
    if (read_address(o, n, err) != 0)
        return -1;
    for (uint32_t i = 1; i < n->nargs; i++) {
        struct slice value = n->args[i], key = slice_cut(&value, '=');
        int rc = slice_is(key, "db")
                     ? options_get_number(n, value, 0, 65535, &o->relay.redis_db, err)
                 : slice_is(key, "user") ? get_name(o, n, value, &o->relay.redis_user, err)
                 : slice_is(key, "password_file")
                     ? read_password(o, n, value, err)
                     : conf_fail(err, n, "redis: unknown \"%.*s\"", SLICE_FMT(n->args[i]));
        if (rc != 0)
            return -1;
    }
    if (o->relay.redis_user && !o->relay.redis_password)
        return conf_fail(err, n, "redis: user= needs password_file=");
    return 0;
}

static int read_groups(struct options *o, const struct conf_node *n, struct conf_error *err)
{
    struct relay_options *r = &o->relay;

    for (r->ngroups = 0; r->ngroups < n->nargs; r->ngroups++)
        if (get_name(o, n, n->args[r->ngroups], &r->groups[r->ngroups], err) != 0)
            return -1;
    return 0;
}

int options_read_relay(struct options *o, const struct conf_node *block, struct conf_error *err)
{
    struct relay_options *r = &o->relay;

    if (conf_check(block, NULL, options_relay_table, err) != 0)
        return -1;
    for (const struct conf_node *n = block->child; n; n = n->next) {
        struct slice arg = n->args[0];
        int rc = slice_is(n->name, "redis")    ? read_redis(o, n, err)
                 : slice_is(n->name, "stream") ? get_name(o, n, arg, &r->stream, err)
                 : slice_is(n->name, "streams")
                     ? options_get_number(n, arg, 1, 64, &r->streams, err)
                 : slice_is(n->name, "groups") ? read_groups(o, n, err)
                 : slice_is(n->name, "maxlen")
                     ? options_get_number(n, arg, 100, 1000000000, &r->maxlen, err)
                 : slice_is(n->name, "refill") ? options_get_time(n, arg, 1000, &r->refill_us, err)
                 : slice_is(n->name, "poll")   ? options_get_time(n, arg, 10, &r->poll_us, err)
                 : slice_is(n->name, "batch")  ? options_get_number(n, arg, 1, 1000, &r->batch, err)
                                               : options_get_time(n, arg, 10, &r->timeout_us, err);
        if (rc != 0)
            return -1;
    }
    return 0;
}
