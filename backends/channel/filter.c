#include "filter.h"

#include "adapter.h"
#include "filter_impl.h"

static const struct filter table[] = {
    {"yuan", FILTER_SEND, VALUE_INT, VALUE_TEXT, FILTER_ARG_NONE, apply_yuan,
     "888 becomes \"8.88\""},
    {"fen", FILTER_RECV, VALUE_TEXT, VALUE_INT, FILTER_ARG_NONE, apply_fen, "\"8.88\" becomes 888"},
    {"text", FILTER_SEND, VALUE_INT, VALUE_TEXT, FILTER_ARG_NONE, apply_text,
     "888 becomes \"888\""},
    {"int", FILTER_RECV, VALUE_TEXT, VALUE_INT, FILTER_ARG_NONE, apply_int, "\"888\" becomes 888"},
    {"time", FILTER_SEND, VALUE_TIME, VALUE_TEXT, FILTER_ARG_NONE, apply_time_out,
     "RFC 3339 in +08:00, whole seconds"},
    {"time", FILTER_RECV, VALUE_TEXT, VALUE_TIME, FILTER_ARG_NONE, apply_time_in, "from RFC 3339"},
    {"unix", FILTER_SEND, VALUE_TIME, VALUE_INT, FILTER_ARG_NONE, apply_unix_out,
     "seconds since 1970"},
    {"unix", FILTER_RECV, VALUE_INT, VALUE_TIME, FILTER_ARG_NONE, apply_unix_in,
     "from seconds since 1970"},
    {"day", FILTER_SEND, VALUE_TIME, VALUE_TEXT, FILTER_ARG_NONE, apply_day,
     "20260901, day in China"},
    {"stamp", FILTER_SEND, VALUE_TIME, VALUE_TEXT, FILTER_ARG_NONE, apply_stamp_out,
     "20260901120000 in China"},
    {"stamp", FILTER_RECV, VALUE_TEXT, VALUE_TIME, FILTER_ARG_NONE, apply_stamp_in,
     "from 20260901120000"},
    {"wall", FILTER_SEND, VALUE_TIME, VALUE_TEXT, FILTER_ARG_NONE, apply_wall_out,
     "2026-09-01 12:00:00 in China"},
    {"wall", FILTER_RECV, VALUE_TEXT, VALUE_TIME, FILTER_ARG_NONE, apply_wall_in,
     "from 2026-09-01 12:00:00"},
    {"date", FILTER_SEND, VALUE_TIME, VALUE_TEXT, FILTER_ARG_NONE, apply_date,
     "2026-09-01, day in China"},
    {"month_day", FILTER_SEND, VALUE_TIME, VALUE_TEXT, FILTER_ARG_NONE, apply_month_day,
     "0901, day in China"},
    {"iso4217", FILTER_SEND, VALUE_TEXT, VALUE_TEXT, FILTER_ARG_NONE, apply_currency_out,
     "CNY becomes 156"},
    {"iso4217", FILTER_RECV, VALUE_TEXT, VALUE_TEXT, FILTER_ARG_NONE, apply_currency_in,
     "156 becomes CNY"},
    {"upper", FILTER_BOTH, VALUE_TEXT, VALUE_TEXT, FILTER_ARG_NONE, apply_upper,
     "ASCII letters in upper case"},
    {"lower", FILTER_BOTH, VALUE_TEXT, VALUE_TEXT, FILTER_ARG_NONE, apply_lower,
     "ASCII letters in lower case"},
    {"urlenc", FILTER_SEND, VALUE_TEXT, VALUE_TEXT, FILTER_ARG_NONE, apply_urlenc,
     "percent-encoding of all but unreserved characters"},
    {"hex", FILTER_SEND, VALUE_TEXT, VALUE_TEXT, FILTER_ARG_NONE, apply_hex,
     "bytes as lower-case hex"},
    {"base64", FILTER_SEND, VALUE_TEXT, VALUE_TEXT, FILTER_ARG_NONE, apply_base64,
     "bytes as base64"},
    {"default", FILTER_BOTH, VALUE_TEXT, VALUE_TEXT, FILTER_ARG_TEXT, apply_default,
     "this text where there is none"},
    {"millifen", FILTER_RECV, VALUE_TEXT, VALUE_INT, FILTER_ARG_NONE, apply_millifen,
     "\"0.05000\" yuan becomes 5000 thousandths of a fen"},
    {"digits", FILTER_RECV, VALUE_TEXT, VALUE_INT, FILTER_ARG_NONE, apply_digits,
     "\"000000000888\" becomes 888"},
    {"debit", FILTER_RECV, VALUE_TEXT, VALUE_INT, FILTER_ARG_NONE, apply_debit,
     "\"D000000000005\" becomes 5, \"C000000000005\" -5"},
    {"abs", FILTER_RECV, VALUE_INT, VALUE_INT, FILTER_ARG_NONE, apply_abs, "without its sign"},
    {"negate", FILTER_RECV, VALUE_INT, VALUE_INT, FILTER_ARG_NONE, apply_negate,
     "with the other sign"},
    {"times", FILTER_RECV, VALUE_INT, VALUE_INT, FILTER_ARG_NUMBER, apply_times,
     "multiplied by the number"},
    {"append", FILTER_BOTH, VALUE_TEXT, VALUE_TEXT, FILTER_ARG_TEXT, apply_append,
     "this text behind it"},
    {"prepend", FILTER_BOTH, VALUE_TEXT, VALUE_TEXT, FILTER_ARG_TEXT, apply_prepend,
     "this text in front of it"},
    {"limit", FILTER_BOTH, VALUE_TEXT, VALUE_TEXT, FILTER_ARG_NUMBER, apply_limit,
     "refuses more than so many characters"},
    {"cut", FILTER_BOTH, VALUE_TEXT, VALUE_TEXT, FILTER_ARG_NUMBER, apply_cut,
     "cuts to so many characters"},
};
#define TABLE_SIZE (sizeof(table) / sizeof(*table))

const struct filter *filter_at(size_t i)
{
    return i < TABLE_SIZE ? &table[i] : NULL;
}

/* ------------------------------------------------------------------ compiling */

static const char *type_name(enum value_type t)
{
    switch (t) {
    case VALUE_TEXT:
        return "text";
    case VALUE_INT:
        return "a number";
    case VALUE_TIME:
        return "a time";
    default:
        return "nothing";
    }
}

static const struct filter *find(struct slice name, enum filter_direction direction)
{
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        if ((table[i].direction & direction) && slice_is(name, table[i].name))
            return &table[i];
    }
    return NULL;
}

static int compile_one(struct compiler *cp, const struct conf_node *at, struct slice word,
                       enum filter_direction direction, struct filter_step *step)
{
    bool has_arg = memchr(word.p, '=', word.n) != NULL;
    struct slice arg = word;
    struct slice name = slice_cut(&arg, '=');
    const struct filter *f = find(name, direction);

    if (!f)
        return conf_fail(cp->err, at, "\"%.*s\" is no filter for values that are %s",
                         SLICE_FMT(name), direction == FILTER_SEND ? "sent" : "received");
    if (has_arg != (f->arg != FILTER_ARG_NONE))
        return conf_fail(cp->err, at, "filter \"%s\" %s", f->name,
                         has_arg ? "takes no argument" : "needs an argument: name=VALUE");
    *step = (struct filter_step){.filter = f, .text = arg};
    if (f->arg == FILTER_ARG_NUMBER &&
        (slice_int64(arg, &step->num) < 0 || step->num < 1 || step->num > 65535))
        return conf_fail(cp->err, at, "filter \"%s\" needs a number of 1..65535", f->name);
    return 0;
}

int filters_compile(struct compiler *cp, const struct conf_node *at, const struct slice *args,
                    uint32_t n, enum filter_direction direction, enum value_type *type,
                    struct filter_list *out)
{
    struct filter_step *steps = arena_array(cp->arena, struct filter_step, n);

    if (!steps)
        return adapter_no_memory(cp);
    if (n > FILTERS_MAX)
        return conf_fail(cp->err, at, "more than %u filters", FILTERS_MAX);
    for (uint32_t i = 0; i < n; i++) {
        const struct filter *f;

        if (compile_one(cp, at, args[i], direction, &steps[i]) < 0)
            return -1;
        f = steps[i].filter;
        if (*type != VALUE_NONE && *type != f->from)
            return conf_fail(cp->err, at, "filter \"%s\" wants %s but gets %s", f->name,
                             type_name(f->from), type_name(*type));
        *type = f->to;
    }
    *out = (struct filter_list){steps, n};
    return 0;
}

int filters_apply(const struct filter_list *list, struct arena *arena, struct value *v)
{
    for (uint32_t i = 0; i < list->n; i++) {
        const struct filter_step *step = &list->steps[i];

        if (v->type == VALUE_NONE && step->filter->apply != apply_default)
            continue;
        if (step->filter->apply(step, arena, v) < 0)
            return -1;
    }
    return 0;
}
