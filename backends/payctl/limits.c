/*
 * What the edge holds against one app or merchant: its own rate (the degradation of one), and the
 * addresses an app may call from. The change feed brings it to every edge.
 */
#include "ctl.h"

#include "core/net.h"

#include <stdio.h>
#include <stdlib.h>

#define RATE_MAX     1000000
#define NETWORKS_MAX 64

/* "500r/s" -> "500" and "1" (seconds); "off" -> "0": nginx.conf's limit counts. */
static int parse_rate(const char *s, char rate[16], const char **window)
{
    struct slice text = slice_of(s), number = slice_cut(&text, 'r');
    int64_t v = 0;

    *window = slice_is(text, "/s")   ? "1"
              : slice_is(text, "/m") ? "60"
              : slice_is(text, "/h") ? "3600"
                                     : NULL;
    if (strcmp(s, "off") == 0)
        *window = "1";
    else if (!*window || slice_int64(number, &v) != 0 || v < 1 || v > RATE_MAX)
        return -1;
    snprintf(rate, 16, "%lld", (long long)v);
    return 0;
}

static int set_limit(struct ctl *c, enum admin_statement s, int argc, char **argv)
{
    const char *burst = ctl_option(&argc, argv, "--burst"), *window;
    char rate[16];
    int64_t v;

    if (argc != 2)
        return CTL_USAGE;
    if (parse_rate(argv[1], rate, &window) != 0)
        return ctl_refuse("rate: \"%s\" is not NUMBERr/s, r/m or r/h up to 1000000, or off",
                          argv[1]);
    if (burst && (slice_int64(slice_of(burst), &v) != 0 || v < 0 || v > RATE_MAX))
        return ctl_refuse("--burst: \"%s\" is not 0..1000000", burst);
    const char *params[] = {argv[0], rate, window, burst ? burst : "0"};
    return ctl_change(c, s, params, "no such row");
}

static int merchant_limit(struct ctl *c, int argc, char **argv)
{
    return set_limit(c, ADMIN_MERCHANT_LIMIT, argc, argv);
}

static int app_limit(struct ctl *c, int argc, char **argv)
{
    return set_limit(c, ADMIN_APP_LIMIT, argc, argv);
}

static int app_allow(struct ctl *c, int argc, char **argv)
{
    bool alert = ctl_flag(&argc, argv, "--alert");
    struct addr_rule rule;
    struct buf list;
    const char *networks;

    if (argc < 2)
        return CTL_USAGE;
    if (argc - 1 > NETWORKS_MAX)
        return ctl_refuse("an app has at most %d networks", NETWORKS_MAX);
    buf_init(&list, 8 << 10);
    buf_add_char(&list, '{');
    for (int i = 1; i < argc; i++) {
        if (argc == 2 && strcmp(argv[i], "any") == 0)
            break;
        if (addr_rule_parse(slice_of(argv[i]), &rule) != 0 || rule.port) {
            buf_release(&list);
            return ctl_refuse("\"%s\" is not an address or a network ADDRESS/BITS", argv[i]);
        }
        buf_addf(&list, "%s%s", i > 1 ? "," : "", argv[i]);
    }
    buf_add_char(&list, '}');
    networks = buf_ok(&list) ? arena_cstr(&c->options.arena, buf_slice(&list)) : NULL;
    buf_release(&list);
    if (!networks)
        return ctl_refuse("too long");
    const char *params[] = {argv[0], networks, alert ? "t" : "f"};
    return ctl_change(c, ADMIN_APP_ALLOW, params, "no such app");
}

const struct command limit_commands[] = {
    {"merchant", "limit", "MCHID RATE [--burst N]",
     "requests of all its apps, as 5r/s, 10r/m, 100r/h; off: what nginx.conf says", merchant_limit},
    {"app", "limit", "APP RATE [--burst N]", "requests of one app, in the same way", app_limit},
    {"app", "allow", "APP NETWORK... [--alert]",
     "addresses it may call from (any: all); others are refused, or only reported", app_allow},
    {0}};
