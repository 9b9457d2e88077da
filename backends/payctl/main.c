/*
 * payctl - the operator's command line.
 */
#include "ctl.h"
#include "print.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#ifndef PAY_VERSION
#define PAY_VERSION "0.1.0"
#endif

static const struct command *const tables[] = {
    migrate_commands,      registry_commands,      account_commands, bill_commands,
    master_commands,       key_commands,           limit_commands,   order_commands,
    case_commands,         callback_commands,      channel_commands, pool_commands,
    channel_file_commands, channel_check_commands, verify_commands};
#define TABLES (sizeof(tables) / sizeof(tables[0]))

static void usage(FILE *to)
{
    fputs("usage: payctl -c FILE [--json] COMMAND ...\n\n"
          "  -c, --conf FILE   payd.conf\n"
          "      --control SOCKET  nginx's control socket; channel and pool commands need no FILE "
          "then\n"
          "      --json        machine-readable output\n"
          "  -h, --help        this text\n"
          "  -V, --version     version\n\n"
          "ORDER is the shown id (P...) or MCHID/out_trade_no.\n\n",
          to);
    for (size_t t = 0; t < TABLES; t++)
        for (const struct command *c = tables[t]; c->group; c++)
            fprintf(to, "  %s%s%s %s\n      %s\n", c->group, c->verb ? " " : "",
                    c->verb ? c->verb : "", c->synopsis, c->help);
    fputs("\nExit status: 0 done, 1 refused or failed, 2 usage or configuration.\n", to);
}

int ctl_refuse(const char *fmt, ...)
{
    va_list ap;

    fflush(stdout); /* what was said before stands before, in a pipe, too */
    fputs("payctl: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return CTL_REFUSED;
}

static void drop(int *argc, char **argv, int at, int n)
{
    for (int i = at; i + n <= *argc; i++)
        argv[i] = argv[i + n];
    *argc -= n;
}

const char *ctl_option(int *argc, char **argv, const char *name)
{
    for (int i = 0; i + 1 < *argc; i++)
        if (strcmp(argv[i], name) == 0) {
            const char *value = argv[i + 1];
            drop(argc, argv, i, 2);
            return value;
        }
    return NULL;
}

const char *ctl_limit(int *argc, char **argv, const char *dflt)
{
    const char *limit = ctl_option(argc, argv, "--limit");
    int64_t v;

    if (!limit)
        return dflt;
    if (slice_int64(slice_of(limit), &v) == 0 && v >= 1 && v <= 100000)
        return limit;
    ctl_refuse("--limit: \"%s\" is not 1..100000", limit);
    return NULL;
}

bool ctl_flag(int *argc, char **argv, const char *name)
{
    for (int i = 0; i < *argc; i++)
        if (strcmp(argv[i], name) == 0) {
            drop(argc, argv, i, 1);
            return true;
        }
    return false;
}

struct admin *ctl_admin(struct ctl *c)
{
    char err[ADMIN_ERROR_LEN];

    if (!c->admin && !(c->admin = admin_open(c->options.database, err)))
        ctl_refuse("database: %s", err);
    return c->admin;
}

struct admin_rows *ctl_run(struct ctl *c, enum admin_statement s, const char *const *params)
{
    struct admin *a = ctl_admin(c);
    struct admin_rows *rows = NULL;
    char err[ADMIN_ERROR_LEN];

    if (a && admin_run(a, s, params, &rows, err) != 0)
        ctl_refuse("%s", err);
    return rows;
}

int ctl_list(struct ctl *c, enum admin_statement s, const char *const *params)
{
    struct admin_rows *rows = ctl_run(c, s, params);

    if (!rows)
        return CTL_REFUSED;
    if (c->json)
        print_json(rows, false);
    else
        print_table(rows);
    admin_rows_free(rows);
    return CTL_DONE;
}

int ctl_change(struct ctl *c, enum admin_statement s, const char *const *params,
               const char *missing)
{
    struct admin_rows *rows = ctl_run(c, s, params);
    int status = CTL_DONE;

    if (!rows)
        return CTL_REFUSED;
    if (admin_rows_count(rows) == 0)
        status = ctl_refuse("%s", missing);
    else if (c->json)
        print_json(rows, true);
    else
        print_record(rows, 0);
    admin_rows_free(rows);
    return status;
}

static const struct command *find_command(int argc, char **argv)
{
    for (size_t t = 0; t < TABLES; t++)
        for (const struct command *c = tables[t]; c->group; c++)
            if (argc > 0 && strcmp(argv[0], c->group) == 0 &&
                (!c->verb || (argc > 1 && strcmp(argv[1], c->verb) == 0)))
                return c;
    return NULL;
}

static int dispatch(struct ctl *c, int argc, char **argv)
{
    const struct command *cmd = find_command(argc, argv);
    int skip, status;

    if (!cmd) {
        usage(stderr);
        return CTL_USAGE;
    }
    skip = cmd->verb ? 2 : 1;
    status = cmd->run(c, argc - skip, argv + skip);
    if (status == CTL_USAGE)
        fprintf(stderr, "usage: payctl -c FILE %s%s%s %s\n", cmd->group, cmd->verb ? " " : "",
                cmd->verb ? cmd->verb : "", cmd->synopsis);
    return status;
}

/* Does the command do without payd.conf? */
static bool is_bare(const struct ctl *c, int argc, char **argv)
{
    const struct command *cmd = find_command(argc, argv);

    return cmd == channel_check_commands ||
           (c->control && (strcmp(argv[0], "channel") == 0 || strcmp(argv[0], "pool") == 0));
}

int main(int argc, char **argv)
{
    struct ctl c = {.json = false};
    struct conf_error err = {.text = ""};
    int status;

    argc--;
    argv++;
    if (argc > 0 && (strcmp(argv[0], "-V") == 0 || strcmp(argv[0], "--version") == 0)) {
        puts("payctl " PAY_VERSION);
        return 0;
    }
    if (ctl_flag(&argc, argv, "-h") || ctl_flag(&argc, argv, "--help")) {
        usage(stdout);
        return 0;
    }
    c.json = ctl_flag(&argc, argv, "--json");
    c.conf = ctl_option(&argc, argv, "-c");
    if (!c.conf)
        c.conf = ctl_option(&argc, argv, "--conf");
    c.control = ctl_option(&argc, argv, "--control");
    if (argc == 0 || (!c.conf && !is_bare(&c, argc, argv))) {
        usage(stderr);
        return CTL_USAGE;
    }
    if (c.conf && options_load(&c.options, c.conf, &err) != 0) {
        fprintf(stderr, "payctl: %s\n", err.text);
        options_free(&c.options);
        return CTL_USAGE;
    }
    status = dispatch(&c, argc, argv);
    admin_close(c.admin);
    vault_wipe(&c.vault);
    options_free(&c.options);
    return status;
}
