/*
 * Orders and their trace.
 */
#include "ctl.h"
#include "print.h"
#include "target.h"

#include "core/ids.h"
#include "core/terms.h"

#include <stdio.h>

static int find_by_number(struct ctl *c, const char *text, int64_t *id)
{
    struct slice no = slice_of(text), mchid = slice_cut(&no, '/');
    const char *merchant = arena_cstr(&c->options.arena, mchid);
    const char *number = arena_cstr(&c->options.arena, no);
    const char *who[] = {merchant};
    struct admin_rows *rows = ctl_run(c, ADMIN_MERCHANT_SLOTS, who);
    int64_t base, span;
    char slot[TARGET_TEXT];
    int rc = -1;

    if (!rows)
        return -1;
    if (admin_rows_count(rows) == 1 &&
        slice_int64(slice_of(admin_rows_value(rows, 0, 0)), &base) == 0 &&
        slice_int64(slice_of(admin_rows_value(rows, 0, 1)), &span) == 0) {
        snprintf(slot, sizeof(slot), "%u", slot_of((uint32_t)base, (uint32_t)span, no));
        rc = 0;
    }
    admin_rows_free(rows);
    if (rc != 0)
        return ctl_refuse("no merchant \"%s\"", merchant), -1;
    const char *params[] = {slot, merchant, number};
    rows = ctl_run(c, ADMIN_PAYMENT_FIND, params);
    rc = rows && admin_rows_count(rows) == 1
             ? slice_int64(slice_of(admin_rows_value(rows, 0, 0)), id)
             : -1;
    if (rows && rc != 0)
        ctl_refuse("no order \"%s\"", text);
    admin_rows_free(rows);
    return rc;
}

static int find_order(struct ctl *c, const char *text, struct target *t)
{
    int64_t id;

    if (strchr(text, '/')) {
        if (find_by_number(c, text, &id) != 0)
            return -1;
    } else if (target_parse(text, 'P', &id) != 0) {
        ctl_refuse("\"%s\" is neither P... nor MCHID/out_trade_no", text);
        return -1;
    }
    target_set(t, id);
    return 0;
}

static int show(struct ctl *c, enum admin_statement s, const struct target *t, const char *missing)
{
    return ctl_change(c, s, t->params, missing);
}

static int orders_show(struct ctl *c, int argc, char **argv)
{
    struct target t;

    if (argc != 1)
        return CTL_USAGE;
    return find_order(c, argv[0], &t) == 0 ? show(c, ADMIN_PAYMENT_SHOW, &t, "no such order")
                                           : CTL_REFUSED;
}

static int orders_query(struct ctl *c, int argc, char **argv)
{
    struct target t;

    if (argc != 1)
        return CTL_USAGE;
    return find_order(c, argv[0], &t) == 0
               ? show(c, ADMIN_PAYMENT_QUERY, &t, "the order is final or unknown: nothing to ask")
               : CTL_REFUSED;
}

static int orders_list(struct ctl *c, int argc, char **argv)
{
    const char *mchid = ctl_option(&argc, argv, "--merchant");
    const char *state = ctl_option(&argc, argv, "--state");
    const char *limit = ctl_limit(&argc, argv, "50");
    char number[TARGET_TEXT];

    if (argc != 0)
        return CTL_USAGE;
    if (!limit)
        return CTL_REFUSED;
    if (state) {
        if (payment_state_parse(slice_of(state)) < 0)
            return ctl_refuse("--state: \"%s\" is no state of a payment", state);
        snprintf(number, sizeof(number), "%d", payment_state_parse(slice_of(state)));
    }
    const char *params[] = {mchid, state ? number : NULL, limit};
    return ctl_list(c, ADMIN_PAYMENT_LIST, params);
}

/* ---- trace: the whole story ---- */

static const struct {
    const char *key, *title;
    enum admin_statement statement;
} trace_parts[] = {
    {"edge", "Edge (who signed, who judged, what was offered and chosen)", ADMIN_PAYMENT_EDGE},
    {"history", "History (each committed step)", ADMIN_PAYMENT_HISTORY},
    {"attempts", "Attempts (each call to the channel)", ADMIN_PAYMENT_ATTEMPTS},
    {"refunds", "Refunds", ADMIN_PAYMENT_REFUNDS},
    {"timer", "Timer (what happens next)", ADMIN_PAYMENT_TIMER},
    {"callbacks", "Callbacks", ADMIN_PAYMENT_CALLBACKS},
    {"tries", "Tries of callbacks", ADMIN_PAYMENT_TRIES},
    {"cases", "Cases", ADMIN_PAYMENT_CASES},
    {"decisions", "Decisions on cases", ADMIN_PAYMENT_DECISIONS},
    {"case_refunds", "Refunds that were decided", ADMIN_PAYMENT_CASE_REFUNDS}};
#define TRACE_PARTS (sizeof(trace_parts) / sizeof(trace_parts[0]))

static void trace_text(const struct admin_rows *order, struct admin_rows **parts)
{
    int64_t id = 0;
    char shown[ID_TEXT_LEN + 1];

    slice_int64(slice_of(admin_rows_value(order, 0, 0)), &id);
    id_format(shown, 'P', id);
    printf("Payment %s\n", shown);
    print_record(order, 0);
    for (size_t i = 0; i < TRACE_PARTS; i++) {
        if (admin_rows_count(parts[i]) == 0)
            continue;
        printf("\n%s\n", trace_parts[i].title);
        print_table(parts[i]);
    }
}

static void trace_json(const struct admin_rows *order, struct admin_rows **parts)
{
    struct json_writer w;
    struct buf b;

    buf_init(&b, 16u << 20);
    json_writer_init(&w, &b);
    json_begin_object(&w);
    json_key(&w, "payment");
    rows_to_json(&w, order, true);
    for (size_t i = 0; i < TRACE_PARTS; i++) {
        json_key(&w, trace_parts[i].key);
        rows_to_json(&w, parts[i], false);
    }
    json_end_object(&w);
    printf("%.*s\n", SLICE_FMT(buf_slice(&b)));
    buf_release(&b);
}

static int trace(struct ctl *c, int argc, char **argv)
{
    struct admin_rows *order, *parts[TRACE_PARTS] = {NULL};
    struct target t;
    int status = CTL_REFUSED;
    size_t n = 0;

    if (argc != 1)
        return CTL_USAGE;
    if (find_order(c, argv[0], &t) != 0)
        return CTL_REFUSED;
    order = ctl_run(c, ADMIN_PAYMENT_SHOW, t.params);
    if (order && admin_rows_count(order) == 0)
        ctl_refuse("no such order");
    else if (order) {
        while (n < TRACE_PARTS && (parts[n] = ctl_run(c, trace_parts[n].statement, t.params)))
            n++;
        if (n == TRACE_PARTS) {
            if (c->json)
                trace_json(order, parts);
            else
                trace_text(order, parts);
            status = CTL_DONE;
        }
    }
    for (size_t i = 0; i < n; i++)
        admin_rows_free(parts[i]);
    admin_rows_free(order);
    return status;
}

const struct command order_commands[] = {
    {"orders", "show", "ORDER", "one order as it is", orders_show},
    {"orders", "list", "[--merchant MCHID] [--state STATE] [--limit N]", "newest first",
     orders_list},
    {"orders", "query", "ORDER", "ask the channel now instead of at the timer's time",
     orders_query},
    {"trace", NULL, "ORDER",
     "the whole story: what the edge decided, steps, calls, timer, callbacks, cases", trace},
    {0}};
