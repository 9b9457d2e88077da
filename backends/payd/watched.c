#include "watched.h"

#include "backends/io/log.h"

#include <stdlib.h>

#define WARN_DAYS    30
#define DAY_US       (86400 * USEC_PER_SEC)
#define READ_EVERY_S 60
#define FILE_MEMORY  (1u << 20)
#define WATCHED_MAX  256
#define ARENA_CAP    (1u << 20)

struct item {
    struct slice channel, name;
    const char *path;
    pay_time_t until; /* 0: none can be read */
};

struct watched {
    struct worker *w;
    struct arena arena; /* of the items' texts */
    struct item items[WATCHED_MAX];
    size_t count;
    unsigned read_s, warned_s; /* since the last reading, warning */
};

void certificate_warn(struct slice channel, struct slice account, struct slice name,
                      pay_time_t until, pay_time_t now)
{
    if (until - now > WARN_DAYS * DAY_US)
        return;
    log_event(until <= now ? LOG_ERROR : LOG_WARN, "certificate_ends", LOG_S("channel", channel),
              LOG_S("account", account), LOG_S("certificate", name),
              LOG_I("days", until > now ? (until - now) / DAY_US : 0));
}

/* ---- which ---- */

static void add(struct watched *v, struct slice channel, struct slice name, const char *path)
{
    if (path && v->count < WATCHED_MAX)
        v->items[v->count++] = (struct item){channel, name, path, 0};
}

/* As nginx finds it, when both have their configuration in one folder; NULL: in no file. */
static const char *beside_conf(struct watched *v, struct slice file)
{
    const char *conf = v->w->options->file, *slash = strrchr(conf, '/');

    if (file.n == 0 || slice_contains(file, SLICE("$")) || slice_starts(file, SLICE("data:")))
        return NULL;
    if (file.p[0] != '/' && slash)
        file = arena_printf(&v->arena, "%.*s/%.*s", (int)(slash - conf), conf, SLICE_FMT(file));
    return arena_cstr(&v->arena, file);
}

static void add_all(struct watched *v)
{
    const struct options *o = v->w->options;

    for (size_t i = 0; i < channel_count(v->w->channels); i++) {
        const struct channel_facts *f = channel_facts(channel_at(v->w->channels, i));

        add(v, f->name, SLICE("tls_certificate"), beside_conf(v, f->tls_certificate));
    }
    for (size_t i = 0; i < o->watched_count; i++)
        add(v, SLICE_NULL, slice_of(o->watched[i].name), o->watched[i].file);
}

/* Our own are keys as often as certificates: then there is no end to tell. */
static void add_platform(struct watched *v, const char *serial, const char *path, struct slice pem)
{
    int64_t from, until;

    if (cert_validity_all(pem, &from, &until) == 0)
        add(v, SLICE_NULL, arena_printf(&v->arena, "platform %s", serial), path);
}

/* ---- when ---- */

static pay_time_t read_end(const char *path)
{
    int64_t from, until = 0;
    struct conf_error err;
    struct arena a;
    struct slice pem;

    arena_init(&a, FILE_MEMORY);
    pem = options_read_file(&a, path, &err);
    if (!pem.p || cert_validity_all(pem, &from, &until) != 0)
        until = 0;
    arena_release(&a);
    return until * USEC_PER_SEC;
}

static void read_all(struct watched *v)
{
    for (size_t i = 0; i < v->count; i++)
        v->items[i].until = read_end(v->items[i].path);
}

static void warn_all(const struct watched *v)
{
    for (size_t i = 0; i < v->count; i++) {
        const struct item *t = &v->items[i];

        if (t->until)
            certificate_warn(t->channel, SLICE_NULL, t->name, t->until, worker_now(v->w));
        else
            log_event(LOG_WARN, "certificate_unreadable", LOG_S("channel", t->channel),
                      LOG_S("certificate", t->name), LOG_S("file", slice_of(t->path)));
    }
}

void watched_tick(struct watched *v)
{
    if (!v->w->clock_known)
        return;
    if (v->read_s++ % READ_EVERY_S == 0)
        read_all(v);
    if (v->warned_s++ % CERTIFICATE_WARN_EVERY_S == 0)
        warn_all(v);
}

bool watched_at(const struct watched *v, size_t i, struct slice *channel, struct slice *name,
                pay_time_t *until)
{
    if (i >= v->count || v->read_s == 0) /* not read yet */
        return false;
    *channel = v->items[i].channel;
    *name = v->items[i].name;
    *until = v->items[i].until;
    return true;
}

/* ---- life ---- */

struct watched *watched_new(struct worker *w)
{
    struct watched *v = calloc(1, sizeof(*v));

    if (!v)
        return NULL;
    v->w = w;
    arena_init(&v->arena, ARENA_CAP);
    add_all(v);
    add_platform(v, w->options->platform_serial, w->options->platform_cert, w->platform_cert);
    for (size_t i = 0; i < w->options->certificate_count; i++)
        add_platform(v, w->options->certificates[i].serial, w->options->certificates[i].file,
                     w->certificates[i]);
    if (!v->arena.failed)
        return v;
    watched_free(v);
    return NULL;
}

void watched_free(struct watched *v)
{
    if (!v)
        return;
    arena_release(&v->arena);
    free(v);
}
