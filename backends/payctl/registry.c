/*
 * Merchants and apps; keys of apps are in keys.c, accounts at channels in accounts.c.
 */
#include "ctl.h"

#include <stdio.h>

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
    {0}};
