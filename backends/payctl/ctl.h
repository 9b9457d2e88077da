/*
 * ctl - what payctl's commands share. A command prints its own result and returns the exit status:
 * CTL_DONE, CTL_REFUSED (with a reason on stderr) or CTL_USAGE.
 */
#ifndef PAYCTL_CTL_H
#define PAYCTL_CTL_H

#include "backends/channel/channel.h"
#include "backends/options/options.h"
#include "backends/store/admin.h"
#include "core/vault.h"

enum { CTL_DONE = 0, CTL_REFUSED = 1, CTL_USAGE = 2 };

struct ctl {
    struct options options;
    struct admin *admin; /* opened by ctl_admin */
    struct vault vault;  /* filled by ctl_vault */
    const char *conf;
    const char *control; /* socket of --control, else the configuration's */
    bool json;
};

struct command {
    const char *group;    /* "merchant" */
    const char *verb;     /* "add"; NULL: the group is the command */
    const char *synopsis; /* "MCHID NAME [--slot N] [--span N]" */
    const char *help;
    int (*run)(struct ctl *c, int argc, char **argv);
};

extern const struct command registry_commands[]; /* merchants, apps */
extern const struct command account_commands[];
extern const struct command master_commands[];
extern const struct command bill_commands[];
extern const struct command key_commands[];
extern const struct command limit_commands[]; /* limits of merchants and apps */
extern const struct command order_commands[]; /* orders, trace */
extern const struct command case_commands[];
extern const struct command callback_commands[]; /* callbacks, and how an app's are signed */
extern const struct command verify_commands[];
extern const struct command migrate_commands[];
extern const struct command channel_commands[]; /* nginx's control socket */
extern const struct command pool_commands[];    /* the same */
extern const struct command channel_file_commands[];
extern const struct command channel_check_commands[]; /* need no payd.conf */

/* Value of `--name VALUE` among argv (removed from it), NULL if absent. */
const char *ctl_option(int *argc, char **argv, const char *name);
/* `--limit N`, or dflt where it is absent; NULL after saying what is wrong. */
const char *ctl_limit(int *argc, char **argv, const char *dflt);
bool ctl_flag(int *argc, char **argv, const char *name);
/* Opens the configured database once. NULL after printing why. */
struct admin *ctl_admin(struct ctl *c);
/* Runs a statement; NULL after printing why. */
struct admin_rows *ctl_run(struct ctl *c, enum admin_statement s, const char *const *params);
/* Runs and prints: a list as a table or JSON array. */
int ctl_list(struct ctl *c, enum admin_statement s, const char *const *params);
/* Runs a change; `missing` is said when it touched no row. */
int ctl_change(struct ctl *c, enum admin_statement s, const char *const *params,
               const char *missing);
/* Sets the row named by the one argument to "on" or "off". */
int ctl_set_state(struct ctl *c, enum admin_statement s, int argc, char **argv, const char *to);
/* 1..max of 0-9A-Za-z_- */
bool ctl_name_valid(const char *s, size_t max);
/* The master keys, read once; main wipes them. NULL after saying why. */
const struct vault *ctl_vault(struct ctl *c);
/* Sealed under the first master key for `context`, as hex for the statement. NULL after saying why.
 */
const char *ctl_seal(struct ctl *c, struct arena *a, struct slice context, struct slice plain);
/* The reverse, into *plain, which the caller wipes: the number of the key that opened it, or -1. */
int ctl_open(struct ctl *c, struct slice context, const char *hex, struct buf *plain);
/* An account of the database as payd would open it. account NULL: the one that the channel's block
 * names first. ctl_account_close in any case. */
struct ctl_account {
    struct channel_set *set;
    const struct channel *channel;
    struct channel_account *opened;
};
int ctl_account_open(struct ctl *c, const char *channel, const char *account,
                     struct ctl_account *out);
void ctl_account_close(struct ctl_account *a);
int ctl_refuse(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
