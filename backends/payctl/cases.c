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
    const char *limit = ctl_limit(&argc, argv, "200");

    if (argc != 0)
        return CTL_USAGE;
    if (!limit)
        return CTL_REFUSED;
    const char *params[] = {limit, all ? "t" : "f", kind};
    return ctl_list(c, ADMIN_CASE_LIST, params);
}

static const struct target_kind one_case = {'C', "case", ADMIN_CASE_SHOW, ADMIN_CASE_DECISIONS};

static int show(struct ctl *c, int argc, char **argv)
{
    return target_show(&one_case, c, argc, argv);
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

    if (!path || target_find(&one_case, id, &t) != 0)
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
