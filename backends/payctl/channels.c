/*
 * Channels at run time: asks the nginx of this machine. A switch acts on this node; each of several
 * nodes has its own.
 */
#include "control.h"
#include "print.h"

#include <pwd.h>
#include <stdio.h>

#define ARENA_MAX (8u << 20)
#define COLUMNS   10

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
    return arena_cstr(a, pw ? slice_of(pw->pw_name) : arena_printf(a, "%lld", (long long)uid));
}

static const char *text(struct arena *a, const struct json *v, const char *path)
{
    const struct json *found = json_get(v, path);

    return found && found->text.n ? arena_cstr(a, found->text) : NULL;
}

static void fill_row(struct arena *a, const struct json *ch, const char **cells)
{
    const struct json *sw = json_get(ch, "switch");
    const char *state = text(a, ch, "state");

    cells[0] = text(a, ch, "name");
    cells[1] = state ? state : "(no block)";
    cells[2] = text(a, ch, "configured");
    cells[3] = text(a, ch, "in_flight");
    cells[4] = text(a, ch, "cap");
    cells[5] = text(a, ch, "health.state");
    cells[6] = text(a, ch, "switch.state");
    cells[7] = who(a, sw);
    cells[8] = text(a, ch, "switch.at");
    cells[9] = text(a, ch, "switch.reason");
}

static void print_channels(struct arena *a, const struct json *first, int n)
{
    static const char *const names[COLUMNS] = {"name", "state",  "configured", "in_flight",
                                               "cap",  "health", "switched",   "by",
                                               "at",   "reason"};
    const char **cells = arena_array(a, const char *, (size_t)(n + 1) * COLUMNS);
    int row = 1;

    if (!cells)
        return;
    memcpy(cells, names, sizeof(names));
    for (const struct json *ch = first; ch && row <= n; ch = ch->next)
        fill_row(a, ch, cells + (size_t)row++ * COLUMNS);
    print_cells(cells, n + 1, COLUMNS);
}

/* As nginx says it, with the user's name beside the number. */
static void put_channel(struct arena *a, struct json_writer *w, const struct json *ch)
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

static void show(struct ctl *c, struct arena *a, const struct json *v)
{
    const struct json *list = json_get(v, "channels"), *first = list ? list->child : v;
    struct json_writer w;
    struct buf b;

    if (!c->json) {
        print_channels(a, first, list ? (int)list->count : 1);
        return;
    }
    buf_init(&b, ARENA_MAX);
    json_writer_init(&w, &b);
    if (list)
        json_begin_array(&w);
    for (const struct json *ch = first; ch; ch = list ? ch->next : NULL)
        put_channel(a, &w, ch);
    if (list)
        json_end_array(&w);
    printf("%.*s\n", SLICE_FMT(buf_slice(&b)));
    buf_release(&b);
}

static int ask(struct ctl *c, const char *method, struct slice target, struct slice body)
{
    struct arena a;
    const struct json *v, *kept;
    int status = CTL_REFUSED;

    arena_init(&a, ARENA_MAX);
    v = control_ask(c, &a, method, arena_cstr(&a, target), body);
    if (v) {
        show(c, &a, v);
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

static int channel_list(struct ctl *c, int argc, char **argv)
{
    (void)argv;
    return argc == 0 ? ask(c, "GET", SLICE("/channels"), SLICE_NULL) : CTL_USAGE;
}

static int channel_show(struct ctl *c, int argc, char **argv)
{
    char target[64];

    if (argc != 1)
        return CTL_USAGE;
    if (!name_valid(argv[0]))
        return ctl_refuse("channel: \"%s\" is not 1..32 of a-z0-9_-", argv[0]);
    snprintf(target, sizeof(target), "/channels/%s", argv[0]);
    return ask(c, "GET", slice_of(target), SLICE_NULL);
}

static int set_state(struct ctl *c, int argc, char **argv, const char *state)
{
    const char *reason = ctl_option(&argc, argv, "--reason");
    struct json_writer w;
    char target[64];
    struct buf body;
    int status;

    if (argc != 1)
        return CTL_USAGE;
    if (!name_valid(argv[0]))
        return ctl_refuse("channel: \"%s\" is not 1..32 of a-z0-9_-", argv[0]);
    snprintf(target, sizeof(target), "/channels/%s/state", argv[0]);
    buf_init(&body, 65536);
    json_writer_init(&w, &body);
    json_begin_object(&w);
    json_member_str(&w, "state", slice_of(state));
    json_member_str_opt(&w, "reason", slice_of(reason));
    json_end_object(&w);
    status = buf_ok(&body) ? ask(c, "PUT", slice_of(target), buf_slice(&body))
                           : ctl_refuse("--reason: too long");
    buf_release(&body);
    return status;
}

static int channel_on(struct ctl *c, int argc, char **argv)
{
    return set_state(c, argc, argv, "on");
}

static int channel_off(struct ctl *c, int argc, char **argv)
{
    return set_state(c, argc, argv, "off");
}

static int channel_drain(struct ctl *c, int argc, char **argv)
{
    return set_state(c, argc, argv, "drain");
}

static int channel_block(struct ctl *c, int argc, char **argv)
{
    return set_state(c, argc, argv, "block");
}

static int channel_reset(struct ctl *c, int argc, char **argv)
{
    return set_state(c, argc, argv, "config");
}

static int channel_well(struct ctl *c, int argc, char **argv)
{
    char target[64];

    if (argc != 1)
        return CTL_USAGE;
    if (!name_valid(argv[0]))
        return ctl_refuse("channel: \"%s\" is not 1..32 of a-z0-9_-", argv[0]);
    snprintf(target, sizeof(target), "/channels/%s/health", argv[0]);
    return ask(c, "PUT", slice_of(target), SLICE("{\"state\":\"closed\"}"));
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
