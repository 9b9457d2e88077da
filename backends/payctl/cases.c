/*
 * Cases: what a person has to look at, and what two persons decide. Looking is done in the
 * database; deciding at payd's `operate` socket, where the kernel says who asks.
 */
#include "control.h"
#include "print.h"
#include "target.h"

#include <stdio.h>

#define ARENA_MAX (1u << 20)

static int list(struct ctl *c, int argc, char **argv)
{
    bool all = ctl_flag(&argc, argv, "--all");
    const char *kind = ctl_option(&argc, argv, "--kind");
    const char *limit = ctl_option(&argc, argv, "--limit");
    int64_t v;

    if (argc != 0)
        return CTL_USAGE;
    if (limit && (slice_int64(slice_of(limit), &v) != 0 || v < 1 || v > 100000))
        return ctl_refuse("--limit: \"%s\" is not 1..100000", limit);
    const char *params[] = {limit ? limit : "200", all ? "t" : "f", kind};
    return ctl_list(c, ADMIN_CASE_LIST, params);
}

static int find(const char *text, struct target *t)
{
    int64_t id;

    if (target_parse(text, 'C', &id) != 0 || id <= 0) {
        ctl_refuse("\"%s\" is not the id of a case", text);
        return -1;
    }
    target_set(t, id);
    return 0;
}

static int show(struct ctl *c, int argc, char **argv)
{
    struct target t;
    int status;

    if (argc != 1)
        return CTL_USAGE;
    if (find(argv[0], &t) != 0)
        return CTL_REFUSED;
    status = ctl_change(c, ADMIN_CASE_SHOW, t.params, "no such case");
    return status == CTL_DONE ? ctl_list(c, ADMIN_CASE_DECISIONS, t.params) : status;
}

static const char *operate_socket(struct ctl *c)
{
    for (const struct process_options *p = c->options.processes; p; p = p->next)
        if (p->operate)
            return p->operate;
    ctl_refuse("no process of %s has an \"operate\" socket", c->conf);
    return NULL;
}

static struct slice body_of(struct arena *a, const char *decision, const char *reason)
{
    struct json_writer w;
    struct slice out;
    struct buf b;

    buf_init(&b, 64u << 10);
    json_writer_init(&w, &b);
    json_begin_object(&w);
    json_member_str(&w, "decision", slice_of(decision));
    json_member_str(&w, "reason", slice_of(reason));
    json_end_object(&w);
    out = arena_copy(a, buf_slice(&b));
    buf_release(&b);
    return out;
}

static void print_outcome(struct ctl *c, const struct json *v)
{
    struct slice outcome = json_str(v, "outcome"), decision = json_str(v, "decision");
    struct slice by = json_str(v, "by");

    if (c->json)
        printf("{\"outcome\":\"%.*s\",\"decision\":\"%.*s\",\"by\":\"%.*s\"}\n", SLICE_FMT(outcome),
               SLICE_FMT(decision), SLICE_FMT(by));
    else
        printf("%.*s: %.*s, by %.*s\n", SLICE_FMT(outcome), SLICE_FMT(decision), SLICE_FMT(by));
    if (!c->json && slice_is(outcome, "proposed"))
        puts("The case stays open until another person says the same.");
}

static int say(struct ctl *c, const char *id, const char *decision, const char *reason)
{
    const char *path = operate_socket(c);
    const struct json *v = NULL;
    struct target t;
    struct arena a;

    if (!path || find(id, &t) != 0)
        return CTL_REFUSED;
    arena_init(&a, ARENA_MAX);
    v = control_ask_at(path, &a, "POST", arena_cstr(&a, arena_printf(&a, "/cases/%s", t.id)),
                       body_of(&a, decision, reason));
    if (v)
        print_outcome(c, v);
    arena_release(&a);
    return v ? CTL_DONE : CTL_REFUSED;
}

static int resolve(struct ctl *c, int argc, char **argv)
{
    return argc == 3 ? say(c, argv[0], argv[1], argv[2]) : CTL_USAGE;
}

static int reject(struct ctl *c, int argc, char **argv)
{
    return argc == 2 ? say(c, argv[0], "reject", argv[1]) : CTL_USAGE;
}

const struct command case_commands[] = {
    {"cases", "list", "[--all] [--kind KIND] [--limit N]",
     "what a person has to look at; --all: closed ones too", list},
    {"cases", "show", "ID", "one case with its order's state, and what was decided", show},
    {"cases", "resolve", "ID refund|refunded|accepted|dismissed REASON",
     "propose a decision, or confirm another person's; refund: late money goes back", resolve},
    {"cases", "reject", "ID REASON", "take back what was proposed; the case stays open", reject},
    {0}};
