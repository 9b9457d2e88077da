/*
 * payctl migrate: sql/NNNN_name.sql in order, each in one transaction.
 */
#include "ctl.h"

#include <glob.h>
#include <stdio.h>

#define NUMBER_LEN 4

static const char *file_name(const char *path)
{
    return strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
}

/* Of two files with one number the second would never be applied. */
static int check_numbers(const glob_t *files)
{
    for (size_t i = 1; i < files->gl_pathc; i++) {
        const char *before = file_name(files->gl_pathv[i - 1]),
                   *name = file_name(files->gl_pathv[i]);

        if (memcmp(before, name, NUMBER_LEN) == 0)
            return ctl_refuse("%s: %s has the same number", name, before);
    }
    return CTL_DONE;
}

static int apply(struct ctl *c, struct admin *a, const char *path)
{
    struct conf_error err = {.text = ""};
    char reason[ADMIN_ERROR_LEN];
    const char *name = file_name(path);
    struct slice sql = options_read_file(&c->options.arena, path, &err);
    int number, rc;

    if (!sql.p)
        return ctl_refuse("%s", err.text);
    number =
        (name[0] - '0') * 1000 + (name[1] - '0') * 100 + (name[2] - '0') * 10 + (name[3] - '0');
    rc = admin_migrate(a, number, name, arena_cstr(&c->options.arena, sql), reason);
    if (rc < 0)
        return ctl_refuse("%s: %s", name, reason);
    if (!c->json)
        printf("%-32s %s\n", name, rc ? "applied" : "was applied");
    return CTL_DONE;
}

static int migrate(struct ctl *c, int argc, char **argv)
{
    const char *owner = ctl_option(&argc, argv, "--owner");
    const char *dir = ctl_option(&argc, argv, "--sql");
    char pattern[512], reason[ADMIN_ERROR_LEN];
    struct admin *a;
    glob_t files = {0};
    int status;

    if (argc != 0 || !owner || !dir)
        return CTL_USAGE;
    snprintf(pattern, sizeof(pattern), "%s/[0-9][0-9][0-9][0-9]_*.sql", dir);
    if (glob(pattern, 0, NULL, &files) != 0)
        return ctl_refuse("%s: no migrations", pattern);
    status = check_numbers(&files);
    a = status == CTL_DONE ? admin_open(owner, reason) : NULL;
    if (status == CTL_DONE && !a)
        status = ctl_refuse("database: %s", reason);
    for (size_t i = 0; status == CTL_DONE && i < files.gl_pathc; i++)
        status = apply(c, a, files.gl_pathv[i]);
    admin_close(a);
    globfree(&files);
    return status;
}

const struct command migrate_commands[] = {
    {"migrate", NULL, "--owner CONNINFO --sql DIR",
     "bring the schema up to date; CONNINFO may create roles and schemas", migrate},
    {0}};
