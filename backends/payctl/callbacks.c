/*
 * Callbacks to merchants: what became of them, sending them again, and how an app's are signed.
 */
#include "ctl.h"
#include "target.h"

#include "core/clock.h"

#include <stdio.h>

/* 0 with the state's number as text, or -1 after saying what is wrong. NULL: any state. */
static int parse_state(const char *state, char *number)
{
    static const char *const states[] = {"waiting", "done", "given_up", "skipped"};

    *number = '\0';
    for (int i = 0; state && i < 4; i++)
        if (strcmp(state, states[i]) == 0)
            snprintf(number, TARGET_TEXT, "%d", i + 1);
    if (!state || *number)
        return 0;
    ctl_refuse("--state: \"%s\" is not waiting, done, given_up or skipped", state);
    return -1;
}

static int parse_time(const char *option, const char *text)
{
    pay_time_t at;

    if (!text || time_parse_rfc3339(slice_of(text), &at) == 0)
        return 0;
    ctl_refuse("%s: \"%s\" is not an RFC 3339 time", option, text);
    return -1;
}

static int list(struct ctl *c, int argc, char **argv)
{
    const char *state = ctl_option(&argc, argv, "--state");
    const char *mchid = ctl_option(&argc, argv, "--merchant");
    const char *limit = ctl_limit(&argc, argv, "100");
    char number[TARGET_TEXT];

    if (argc != 0)
        return CTL_USAGE;
    if (!limit || parse_state(state, number) != 0)
        return CTL_REFUSED;
    const char *params[] = {state ? number : NULL, mchid, limit};
    return ctl_list(c, ADMIN_CALLBACK_LIST, params);
}

static const struct target_kind callback = {'E', "callback", ADMIN_CALLBACK_SHOW,
                                            ADMIN_CALLBACK_TRIES};

static int show(struct ctl *c, int argc, char **argv)
{
    return target_show(&callback, c, argc, argv);
}

/* ---- sending again ---- */

static int resend_many(struct ctl *c, const char *since, const char *until, const char *mchid,
                       const char *state)
{
    char number[TARGET_TEXT];

    if (parse_time("--since", since) != 0 || parse_time("--until", until) != 0 ||
        parse_state(state, number) != 0)
        return CTL_REFUSED;
    const char *params[] = {since, until, mchid, state ? number : NULL};
    return ctl_change(c, ADMIN_CALLBACK_RESEND_MANY, params, "nothing counted");
}

/* All ids are read before anything is sent. */
static int resend_these(struct ctl *c, int argc, char **argv)
{
    struct target t;
    int status = CTL_DONE;

    for (int i = 0; i < argc; i++)
        if (target_find(&callback, argv[i], &t) != 0)
            return CTL_REFUSED;
    for (int i = 0; i < argc; i++) {
        target_find(&callback, argv[i], &t);
        if (ctl_change(c, ADMIN_CALLBACK_RESEND, t.params,
                       "no such callback, or it has no address") != CTL_DONE)
            status = CTL_REFUSED;
    }
    return status;
}

static int resend(struct ctl *c, int argc, char **argv)
{
    const char *since = ctl_option(&argc, argv, "--since");
    const char *until = ctl_option(&argc, argv, "--until");
    const char *mchid = ctl_option(&argc, argv, "--merchant");
    const char *state = ctl_option(&argc, argv, "--state");
    bool all = ctl_flag(&argc, argv, "--all-merchants");

    if (!since)
        return argc == 0 || until || mchid || state || all ? CTL_USAGE
                                                           : resend_these(c, argc, argv);
    /* a forgotten name must not call every merchant */
    return argc != 0 || !!mchid == all ? CTL_USAGE : resend_many(c, since, until, mchid, state);
}

/* ---- how an app's are signed ---- */

static int app_callbacks(struct ctl *c, int argc, char **argv)
{
    if (argc != 2)
        return CTL_USAGE;
    if (strcmp(argv[1], "header") != 0 && strcmp(argv[1], "webhook") != 0)
        return ctl_refuse("callbacks are signed as header or webhook, not \"%s\"", argv[1]);
    const char *params[] = {argv[0], argv[1]};
    return ctl_change(c, ADMIN_APP_CALLBACKS, params,
                      "no such app, or it has no valid HMAC key to sign webhooks with");
}

const struct command callback_commands[] = {
    {"callbacks", "list", "[--state waiting|done|given_up|skipped] [--merchant MCHID] [--limit N]",
     "newest first", list},
    {"callbacks", "show", "ID", "one callback with its tries", show},
    {"callbacks", "resend",
     "ID... | --since TIME [--until TIME] --merchant MCHID|--all-merchants [--state STATE]",
     "send these, or those made from TIME on, once more, now", resend},
    {"app", "callbacks", "APP header|webhook",
     "sign its callbacks as answers are, or as Standard Webhooks", app_callbacks},
    {0}};
