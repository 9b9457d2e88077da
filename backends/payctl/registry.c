/*
 * Merchants, apps and channel accounts; keys of apps are in keys.c. Secrets are read from files
 * only (a process list shows arguments) and sealed under the master key before they reach the
 * database.
 */
#include "ctl.h"

#include "backends/channel/channel.h"
#include "core/crypto.h"
#include "core/scheme.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

bool ctl_name_valid(const char *s, size_t max)
{
    size_t n = strlen(s);

    for (size_t i = 0; i < n; i++)
        if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'A' && s[i] <= 'Z') ||
              (s[i] >= 'a' && s[i] <= 'z') || s[i] == '_' || s[i] == '-'))
            return false;
    return n >= 1 && n <= max;
}

/* ---- merchants, apps ---- */

static int merchant_add(struct ctl *c, int argc, char **argv)
{
    const char *slot = ctl_option(&argc, argv, "--slot"), *span = ctl_option(&argc, argv, "--span");
    char chosen[16];
    int64_t v;

    if (argc != 2)
        return CTL_USAGE;
    if (!ctl_name_valid(argv[0], 32))
        return ctl_refuse("merchant: \"%s\" is not 1..32 of 0-9A-Za-z_-", argv[0]);
    if (slot && (slice_int64(slice_of(slot), &v) != 0 || v < 0 || v >= 1024))
        return ctl_refuse("--slot: \"%s\" is not 0..1023", slot);
    if (span && (slice_int64(slice_of(span), &v) != 0 || v < 1 || v > 64))
        return ctl_refuse("--span: \"%s\" is not 1..64", span);
    snprintf(chosen, sizeof(chosen), "%u", (unsigned)(slice_hash(slice_of(argv[0])) % 1024));
    const char *params[] = {argv[0], argv[1], slot ? slot : chosen, span ? span : "1"};
    return ctl_change(c, ADMIN_MERCHANT_ADD, params, "merchant exists already");
}

int ctl_set_state(struct ctl *c, enum admin_statement s, int argc, char **argv, const char *to)
{
    const char *params[] = {argv[0], to};

    return argc == 1 ? ctl_change(c, s, params, "no such row") : CTL_USAGE;
}

static int merchant_enable(struct ctl *c, int argc, char **argv)
{
    return ctl_set_state(c, ADMIN_MERCHANT_STATE, argc, argv, "on");
}

static int merchant_disable(struct ctl *c, int argc, char **argv)
{
    return ctl_set_state(c, ADMIN_MERCHANT_STATE, argc, argv, "off");
}

static int merchant_list(struct ctl *c, int argc, char **argv)
{
    (void)argv;
    return argc == 0 ? ctl_list(c, ADMIN_MERCHANT_LIST, NULL) : CTL_USAGE;
}

static int app_add(struct ctl *c, int argc, char **argv)
{
    if (argc < 2 || argc > 3)
        return CTL_USAGE;
    if (!ctl_name_valid(argv[0], 32))
        return ctl_refuse("app: \"%s\" is not 1..32 of 0-9A-Za-z_-", argv[0]);
    const char *params[] = {argv[0], argv[1], argc == 3 ? argv[2] : argv[0]};
    return ctl_change(c, ADMIN_APP_ADD, params, "app exists already, or no such merchant");
}

static int app_enable(struct ctl *c, int argc, char **argv)
{
    return ctl_set_state(c, ADMIN_APP_STATE, argc, argv, "on");
}

static int app_disable(struct ctl *c, int argc, char **argv)
{
    return ctl_set_state(c, ADMIN_APP_STATE, argc, argv, "off");
}

static int app_list(struct ctl *c, int argc, char **argv)
{
    const char *params[] = {argc ? argv[0] : NULL};

    return argc <= 1 ? ctl_list(c, ADMIN_APP_LIST, params) : CTL_USAGE;
}

/* ---- sealing ---- */

const char *ctl_seal(struct ctl *c, struct arena *a, struct slice context, struct slice plain)
{
    struct conf_error err = {.text = ""};
    uint8_t master[32];
    struct buf sealed, hex;
    const char *out = NULL;

    if (options_master_key(&c->options, master, &err) != 0) {
        ctl_refuse("%s", err.text);
        return NULL;
    }
    buf_init(&sealed, 1 << 20);
    buf_init(&hex, 2 << 20);
    if (vault_seal(slice_n(master, sizeof(master)), context, plain, &sealed) == 0) {
        hex_encode(&hex, buf_slice(&sealed), false);
        out = arena_cstr(a, buf_slice(&hex));
    }
    wipe(master, sizeof(master));
    buf_release(&sealed);
    buf_release(&hex);
    if (!out)
        ctl_refuse("cannot seal");
    return out;
}

/* ---- channel accounts ---- */

/* As payd would open it, so that a wrong file is found here and not in its log. */
static int check_account(struct ctl *c, const char *channel, const char *account,
                         struct slice config, struct slice secrets)
{
    struct channel_set *set = NULL;
    struct channel_account *opened = NULL;
    const struct channel *ch;
    struct conf_error err = {.text = ""};
    int status = CTL_DONE;

    if (channel_set_load(c->options.channels, c->options.adapters, &set, &err) != 0)
        return ctl_refuse("%s", err.text);
    ch = channel_find(set, slice_of(channel));
    if (!ch)
        status = ctl_refuse("no channel \"%s\" in %s", channel, c->options.channels);
    else if (channel_account_new(ch, slice_of(account), config, secrets, &opened, &err) != 0)
        status = ctl_refuse("%s", err.text);
    channel_account_free(opened);
    channel_set_free(set);
    return status;
}

static int account_add(struct ctl *c, int argc, char **argv)
{
    const char *config_file = ctl_option(&argc, argv, "--config");
    const char *secrets_file = ctl_option(&argc, argv, "--secrets");
    const char *mchid = ctl_option(&argc, argv, "--merchant");
    struct arena *a = &c->options.arena;
    struct conf_error err = {.text = ""};
    struct slice config, secrets;
    const char *sealed;

    if (argc != 2 || !config_file || !secrets_file)
        return CTL_USAGE;
    if (!ctl_name_valid(argv[0], 32) || !ctl_name_valid(argv[1], 32))
        return ctl_refuse("channel and account are 1..32 of 0-9A-Za-z_-");
    config = options_read_file(a, config_file, &err);
    secrets = options_read_file(a, secrets_file, &err);
    if (!config.p || !secrets.p)
        return ctl_refuse("%s", err.text);
    if (check_account(c, argv[0], argv[1], config, secrets) != CTL_DONE)
        return CTL_REFUSED;
    sealed = ctl_seal(c, a, arena_printf(a, "channel_account:%s:%s", argv[0], argv[1]), secrets);
    if (!sealed)
        return CTL_REFUSED;
    const char *params[] = {argv[0], argv[1], mchid, arena_cstr(a, config), sealed};
    return ctl_change(c, ADMIN_ACCOUNT_PUT, params, "nothing stored");
}

static int account_state(struct ctl *c, int argc, char **argv, const char *to)
{
    const char *params[] = {argv[0], argc == 2 ? argv[1] : NULL, to};

    return argc == 2 ? ctl_change(c, ADMIN_ACCOUNT_STATE, params, "no such account") : CTL_USAGE;
}

static int account_enable(struct ctl *c, int argc, char **argv)
{
    return account_state(c, argc, argv, "on");
}

static int account_disable(struct ctl *c, int argc, char **argv)
{
    return account_state(c, argc, argv, "off");
}

static int account_list(struct ctl *c, int argc, char **argv)
{
    (void)argv;
    return argc == 0 ? ctl_list(c, ADMIN_ACCOUNT_LIST, NULL) : CTL_USAGE;
}

const struct command registry_commands[] = {
    {"merchant", "add", "MCHID NAME [--slot N] [--span N]",
     "a merchant; slot and span are fixed once it has an order", merchant_add},
    {"merchant", "enable", "MCHID", "let it call again", merchant_enable},
    {"merchant", "disable", "MCHID", "refuse its calls at every edge within 5 s", merchant_disable},
    {"merchant", "list", "", "all merchants", merchant_list},
    {"app", "add", "APP MCHID [NAME]", "one of a merchant's systems", app_add},
    {"app", "enable", "APP", "let it call again", app_enable},
    {"app", "disable", "APP", "refuse its calls at every edge within 5 s", app_disable},
    {"app", "list", "[MCHID]", "apps of all merchants or one", app_list},
    {"account", "add", "CHANNEL ACCOUNT --config FILE --secrets FILE [--merchant MCHID]",
     "add or replace credentials at a channel (JSON files; docs/channels.md)", account_add},
    {"account", "enable", "CHANNEL ACCOUNT", "use it again", account_enable},
    {"account", "disable", "CHANNEL ACCOUNT", "use it no more", account_disable},
    {"account", "list", "", "all accounts without their secrets", account_list},
    {0}};
