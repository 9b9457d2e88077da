/*
 * Channels and pools at run time: asks the nginx of this machine. A switch acts on this node; each
 * of several nodes has its own.
 */
#include "control.h"
#include "print.h"

#include <pwd.h>
#include <stdio.h>

#define ARENA_MAX (8u << 20)

/* The name behind a switch's uid; the number where this machine knows none. */
static const char *who(struct arena *a, const struct json *sw)
{
    struct passwd *pw;
    int64_t uid;

    if (!sw)
        return NULL;
    if (json_int64(json_get(sw, "uid"), &uid) != 0)
        return "nginx";
    pw = getpwuid((uid_t)uid);
    return arena_cstr(a, pw ? slice_of(pw->pw_name) : arena_int64(a, uid));
}

static const char *text(struct arena *a, const struct json *v, const char *path)
{
    const struct json *found = json_get(v, path);

    return found && found->text.n ? arena_cstr(a, found->text) : NULL;
}

/* A member of what nginx tells; BY is the name behind its switch. */
#define BY "switch.uid"

struct column {
    const char *title, *path, *absent;
};

/* What can be switched. */
struct kind {
    const char *name; /* "channel"; in paths and lists with an s */
    const char *list;
    const struct column *columns;
    int n;
};

static const struct column channel_columns[] = {
    {"name", "name", NULL},
    {"state", "state", "(no block)"},
    {"configured", "configured", NULL},
    {"in_flight", "in_flight", NULL},
    {"cap", "cap", NULL},
    {"health", "health.state", NULL},
    {"switched", "switch.state", NULL},
    {"by", BY, NULL},
    {"at", "switch.at", NULL},
    {"reason", "switch.reason", NULL},
};

static const struct column pool_columns[] = {
    {"name", "name", NULL},
    {"state", "state", NULL},
    {"upstream", "upstream", NULL},
    {"in_flight", "in_flight", NULL},
    {"bound", "bound", NULL},
    {"compared_with", "compared_with", NULL},
    {"by", BY, NULL},
    {"at", "switch.at", NULL},
    {"reason", "switch.reason", NULL},
};

#define COUNT(array) (int)(sizeof(array) / sizeof((array)[0]))

static const struct kind channel = {"channel", "channels", channel_columns, COUNT(channel_columns)};
static const struct kind pool = {"pool", "pools", pool_columns, COUNT(pool_columns)};

static void print_rows(const struct kind *kind, struct arena *a, const struct json *first, int n)
{
    const char **cells = arena_array(a, const char *, (size_t)((n + 1) * kind->n)), **cell = cells;

    if (!cells)
        return;
    for (int i = 0; i < kind->n; i++)
        *cell++ = kind->columns[i].title;
    for (const struct json *row = first; row && cell < cells + (n + 1) * kind->n; row = row->next)
        for (int i = 0; i < kind->n; i++) {
            const struct column *c = &kind->columns[i];

            *cell =
                strcmp(c->path, BY) == 0 ? who(a, json_get(row, "switch")) : text(a, row, c->path);
            if (!*cell)
                *cell = c->absent;
            cell++;
        }
    print_cells(cells, n + 1, kind->n);
}

/* As nginx says it, with the user's name beside the number. */
static void put_row(struct arena *a, struct json_writer *w, const struct json *ch)
{
    json_begin_object(w);
    for (const struct json *m = ch->child; m; m = m->next) {
        json_key_slice(w, m->key);
        if (!slice_is(m->key, "switch")) {
            json_put_value(w, m);
            continue;
        }
        json_begin_object(w);
        for (const struct json *s = m->child; s; s = s->next) {
            json_key_slice(w, s->key);
            json_put_value(w, s);
        }
        json_member_str(w, "user", slice_of(who(a, m)));
        json_end_object(w);
    }
    json_end_object(w);
}

static void show(struct ctl *c, const struct kind *kind, struct arena *a, const struct json *v)
{
    const struct json *list = json_get(v, kind->list), *first = list ? list->child : v;
    struct json_writer w;
    struct buf b;

    if (!c->json) {
        print_rows(kind, a, first, list ? (int)list->count : 1);
        return;
    }
    buf_init(&b, ARENA_MAX);
    json_writer_init(&w, &b);
    if (list)
        json_begin_array(&w);
    for (const struct json *ch = first; ch; ch = list ? ch->next : NULL)
        put_row(a, &w, ch);
    if (list)
        json_end_array(&w);
    printf("%.*s\n", SLICE_FMT(buf_slice(&b)));
    buf_release(&b);
}

static int ask(struct ctl *c, const struct kind *kind, const char *method, struct slice target,
               struct slice body)
{
    struct arena a;
    const struct json *v, *kept;
    int status = CTL_REFUSED;

    arena_init(&a, ARENA_MAX);
    v = control_ask(c, &a, method, arena_cstr(&a, target), body);
    if (v) {
        show(c, kind, &a, v);
        kept = json_get(v, "kept");
        status = CTL_DONE;
        if (body.n && kept && kept->type == JSON_FALSE)
            status = ctl_refuse("in force, but nginx could not keep it: a restart forgets it (see "
                                "pay_state_file and nginx's error log)");
    }
    arena_release(&a);
    return status;
}

static bool name_valid(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_-");

    return n >= 1 && n <= 32 && !s[n];
}

/* "/channels/NAME" and what is behind it. 0, or a refusal. */
static int path_of(const struct kind *kind, char *target, size_t n, const char *name,
                   const char *behind)
{
    if (!name_valid(name))
        return ctl_refuse("%s: \"%s\" is not 1..32 of a-z0-9_-", kind->name, name);
    snprintf(target, n, "/%s/%s%s", kind->list, name, behind);
    return 0;
}

static int list_all(struct ctl *c, const struct kind *kind, int argc)
{
    char target[16];

    if (argc != 0)
        return CTL_USAGE;
    snprintf(target, sizeof(target), "/%s", kind->list);
    return ask(c, kind, "GET", slice_of(target), SLICE_NULL);
}

static int show_one(struct ctl *c, const struct kind *kind, int argc, char **argv)
{
    char target[64];
    int status;

    if (argc != 1)
        return CTL_USAGE;
    status = path_of(kind, target, sizeof(target), argv[0], "");
    return status ? status : ask(c, kind, "GET", slice_of(target), SLICE_NULL);
}

static int set_state(struct ctl *c, const struct kind *kind, int argc, char **argv,
                     const char *state)
{
    const char *reason = ctl_option(&argc, argv, "--reason");
    struct json_writer w;
    char target[64];
    struct buf body;
    int status;

    if (argc != 1)
        return CTL_USAGE;
    status = path_of(kind, target, sizeof(target), argv[0], "/state");
    if (status)
        return status;
    buf_init(&body, 65536);
    json_writer_init(&w, &body);
    json_begin_object(&w);
    json_member_str(&w, "state", slice_of(state));
    json_member_str_opt(&w, "reason", slice_of(reason));
    json_end_object(&w);
    status = buf_ok(&body) ? ask(c, kind, "PUT", slice_of(target), buf_slice(&body))
                           : ctl_refuse("--reason: too long");
    buf_release(&body);
    return status;
}

static int channel_list(struct ctl *c, int argc, char **argv)
{
    (void)argv;
    return list_all(c, &channel, argc);
}

static int channel_show(struct ctl *c, int argc, char **argv)
{
    return show_one(c, &channel, argc, argv);
}

static int channel_on(struct ctl *c, int argc, char **argv)
{
    return set_state(c, &channel, argc, argv, "on");
}

static int channel_off(struct ctl *c, int argc, char **argv)
{
    return set_state(c, &channel, argc, argv, "off");
}

static int channel_drain(struct ctl *c, int argc, char **argv)
{
    return set_state(c, &channel, argc, argv, "drain");
}

static int channel_block(struct ctl *c, int argc, char **argv)
{
    return set_state(c, &channel, argc, argv, "block");
}

static int channel_reset(struct ctl *c, int argc, char **argv)
{
    return set_state(c, &channel, argc, argv, "config");
}

static int channel_well(struct ctl *c, int argc, char **argv)
{
    char target[64];
    int status;

    if (argc != 1)
        return CTL_USAGE;
    status = path_of(&channel, target, sizeof(target), argv[0], "/health");
    return status ? status
                  : ask(c, &channel, "PUT", slice_of(target), SLICE("{\"state\":\"closed\"}"));
}

static int pool_list(struct ctl *c, int argc, char **argv)
{
    (void)argv;
    return list_all(c, &pool, argc);
}

static int pool_show(struct ctl *c, int argc, char **argv)
{
    return show_one(c, &pool, argc, argv);
}

static int pool_on(struct ctl *c, int argc, char **argv)
{
    return set_state(c, &pool, argc, argv, "on");
}

static int pool_off(struct ctl *c, int argc, char **argv)
{
    return set_state(c, &pool, argc, argv, "off");
}

const struct command channel_commands[] = {
    {"channel", "list", "", "all channels of this node, and who switched them", channel_list},
    {"channel", "show", "NAME", "one channel", channel_show},
    {"channel", "on", "NAME [--reason TEXT]", "takes all calls, whatever its file says",
     channel_on},
    {"channel", "off", "NAME [--reason TEXT]",
     "no new payments; queries, closes, reversals, refunds go on", channel_off},
    {"channel", "drain", "NAME [--reason TEXT]", "the same, on the way to off", channel_drain},
    {"channel", "block", "NAME [--reason TEXT]", "no call at all", channel_block},
    {"channel", "reset", "NAME [--reason TEXT]", "as its file says again", channel_reset},
    {"channel", "well", "NAME", "closes its breaker; it opens again if it is still sick",
     channel_well},
    {0}};

const struct command pool_commands[] = {
    {"pool", "list", "", "all pools of this node, and who or what switched them", pool_list},
    {"pool", "show", "NAME", "one pool", pool_show},
    {"pool", "on", "NAME [--reason TEXT]", "takes requests again; also a canary that stepped back",
     pool_on},
    {"pool", "off", "NAME [--reason TEXT]", "its requests go to the next pool that takes them",
     pool_off},
    {0}};
