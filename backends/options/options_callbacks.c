/* The callbacks block: whom merchants' callbacks go to, when and how often. */
#include "options_impl.h"

const struct conf_directive options_callbacks_table[] = {
    {"schedule", 1, CALLBACK_STEPS_MAX, 0, "TIME ...",
     "15s 15s 30s 3m 10m 20m 30m 30m 30m 60m 3h 3h 3h 6h 6h",
     "Waiting times after each failed try; after the last one the callback is given up."},
    {"poll", 1, 1, 0, "TIME", "200ms", "How often due callbacks are looked for."},
    {"timeout", 1, 1, 0, "TIME", "10s", "For one whole call to a merchant."},
    {"active", 1, 1, 0, "NUMBER", "512", "Calls open at once per process."},
    {"per_merchant", 1, 1, 0, "NUMBER", "32", "Of which to one merchant."},
    {"allow", 1, ADDR_RULES_MAX, CONF_REPEAT, "ADDRESS[/BITS][:PORT] ...", "",
     "Addresses that may be called although they are not public."},
    {"deny", 1, ADDR_RULES_MAX, CONF_REPEAT, "ADDRESS[/BITS][:PORT] ...", "",
     "Addresses that are never called, public or allowed."},
    {"retry_after", 1, 1, 0, "TIME", "1h", "The longest wait that a merchant's Retry-After gets."},
    {"ca_file", 1, 1, 0, "FILE", "",
     "CA certificates merchants' servers are verified with; the system's if absent."},
    {0}};

void options_callbacks_defaults(struct callback_options *c)
{
    static const int schedule_s[] = {15,   15,   30,    180,   600,   1200,  1800, 1800,
                                     1800, 3600, 10800, 10800, 10800, 21600, 21600};

    *c = (struct callback_options){.poll_us = 200 * USEC_PER_MSEC,
                                   .timeout_us = 10 * USEC_PER_SEC,
                                   .retry_after_us = 3600 * USEC_PER_SEC,
                                   .active = 512,
                                   .per_merchant = 32,
                                   .steps = sizeof(schedule_s) / sizeof(schedule_s[0])};
    for (uint32_t i = 0; i < c->steps; i++)
        c->schedule_us[i] = schedule_s[i] * USEC_PER_SEC;
}

static int read_schedule(struct callback_options *c, const struct conf_node *n,
                         struct conf_error *err)
{
    c->steps = 0;
    for (uint32_t i = 0; i < n->nargs; i++)
        if (options_get_time(n, n->args[i], 10, &c->schedule_us[c->steps++], err) != 0)
            return -1;
    return 0;
}

static int read_rules(const struct conf_node *n, struct addr_rule *rules, uint32_t *count,
                      struct conf_error *err)
{
    for (uint32_t i = 0; i < n->nargs; i++) {
        if (*count == ADDR_RULES_MAX)
            return conf_fail(err, n, "%.*s: more than %d addresses", SLICE_FMT(n->name),
                             ADDR_RULES_MAX);
        if (addr_rule_parse(n->args[i], &rules[(*count)++]) != 0)
            return conf_fail(err, n, "%.*s: \"%.*s\" is not ADDRESS[/BITS][:PORT]",
                             SLICE_FMT(n->name), SLICE_FMT(n->args[i]));
    }
    return 0;
}

int options_read_callbacks(struct options *o, const struct conf_node *block, struct conf_error *err)
{
    struct callback_options *c = &o->callbacks;

    if (conf_check(block, NULL, options_callbacks_table, err) != 0)
        return -1;
    for (const struct conf_node *n = block->child; n; n = n->next) {
        struct slice arg = n->args[0];
        int rc = slice_is(n->name, "schedule")  ? read_schedule(c, n, err)
                 : slice_is(n->name, "allow")   ? read_rules(n, c->allow, &c->nallow, err)
                 : slice_is(n->name, "deny")    ? read_rules(n, c->deny, &c->ndeny, err)
                 : slice_is(n->name, "ca_file") ? options_get_path(o, n, arg, &c->ca_file, err)
                 : slice_is(n->name, "poll")    ? options_get_time(n, arg, 10, &c->poll_us, err)
                 : slice_is(n->name, "timeout") ? options_get_time(n, arg, 10, &c->timeout_us, err)
                 : slice_is(n->name, "retry_after")
                     ? options_get_time(n, arg, 10, &c->retry_after_us, err)
                 : slice_is(n->name, "active")
                     ? options_get_number(n, arg, 1, 100000, &c->active, err)
                     : options_get_number(n, arg, 1, 100000, &c->per_merchant, err);
        if (rc != 0)
            return -1;
    }
    return 0;
}
