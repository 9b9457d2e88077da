#include "fault_rule.h"

#define DELAY_MAX_MS 600000
#define DELAY_MS     1000

static const struct {
    const char *text;
    unsigned where;
} kinds[FAULT_COUNT] = {
#define X(name, text, where) {text, where},
    FAULT_TABLE(X)
#undef X
};

static const char *const apis[BANK_API_COUNT] = {
#define X(name, text) text,
    BANK_API_TABLE(X)
#undef X
};

const char *fault_name(enum fault_kind k)
{
    return kinds[k].text;
}

const char *bank_api_name(enum bank_api api)
{
    return apis[api];
}

int bank_api_parse(struct slice name)
{
    for (int a = BANK_NONE + 1; a < BANK_API_COUNT; a++)
        if (slice_is(name, apis[a]))
            return a;
    return -1;
}

int fault_parse(struct slice name)
{
    for (int k = 0; k < FAULT_COUNT; k++)
        if (slice_is(name, kinds[k].text))
            return k;
    return -1;
}

bool fault_strikes_at(enum fault_kind kind, enum bank_api api)
{
    return (kinds[kind].where & (1u << api)) != 0;
}

/* ---- reading ---- */

static int refuse(const char **reason, const char *why)
{
    *reason = why;
    return -1;
}

int fault_read_int(const struct json *doc, const char *key, int64_t dflt, int64_t max, int64_t *out)
{
    const struct json *v = json_get(doc, key);

    *out = dflt;
    if (!v)
        return 0;
    return json_int64(v, out) < 0 || *out < 0 || *out > max ? -1 : 0;
}

static bool any(struct slice name)
{
    return name.n == 0 || slice_is(name, "*");
}

static int only_known_members(const struct json *doc, bool step)
{
    static const char *const known[] = {"fault",  "api",     "times",   "delay_ms",    "code",
                                        "status", "percent", "channel", "out_trade_no"};
    size_t count = sizeof(known) / sizeof(known[0]) - (step ? 3 : 0);

    for (const struct json *m = doc->child; m; m = m->next) {
        size_t i = 0;

        while (i < count && !slice_is(m->key, known[i]))
            i++;
        if (i == count)
            return -1;
    }
    return 0;
}

static int read_numbers(struct fault_rule *r, const struct json *doc, bool step,
                        const char **reason)
{
    if (fault_read_int(doc, "times", step ? 1 : 0, INT32_MAX, &r->times) < 0 ||
        (step && r->times == 0))
        return refuse(reason, "times is a whole number, 0 = for ever (not in a scenario)");
    if (fault_read_int(doc, "percent", 100, 100, &r->percent) < 0)
        return refuse(reason, "percent is 0 to 100");
    if (fault_read_int(doc, "delay_ms", r->kind == FAULT_DELAY ? DELAY_MS : 0, DELAY_MAX_MS,
                       &r->delay_ms) < 0)
        return refuse(reason, "delay_ms is 0 to 600000");
    if (fault_read_int(doc, "status", 0, 599, &r->status) < 0 || (r->status > 0 && r->status < 200))
        return refuse(reason, "status is 200 to 599");
    return 0;
}

static int read_texts(struct fault_rule *r, const struct json *doc, const char **reason)
{
    struct slice no = json_str(doc, "out_trade_no");
    struct slice code = json_str(doc, "code");
    bool needs_code = r->kind == FAULT_CODE || r->kind == FAULT_CODE_AFTER;

    if (no.n > FAULT_NO_MAX)
        return refuse(reason, "out_trade_no too long");
    if (needs_code != (code.n > 0) || code.n >= FAULT_CODE_MAX)
        return refuse(reason, "code is the protocol's, and goes with fault code or code_after");
    r->no_len = (uint8_t)no.n;
    if (no.n)
        memcpy(r->no, no.p, no.n);
    if (code.n)
        memcpy(r->code, code.p, code.n);
    return 0;
}

int fault_rule_read(struct fault_rule *r, const struct json *doc, bool step, const char **reason)
{
    int kind = fault_parse(json_str(doc, "fault"));
    struct slice api = json_str(doc, "api");
    struct slice channel = json_str(doc, "channel");

    memset(r, 0, sizeof(*r));
    if (doc->type != JSON_OBJECT || only_known_members(doc, step) < 0)
        return refuse(reason, "unknown member");
    if (kind < 0 || (kind == FAULT_NONE && !step))
        return refuse(reason, "unknown fault");
    r->kind = (enum fault_kind)kind;
    r->channel = any(channel) ? FAULT_ANY : bank_channel_parse(channel);
    if (r->channel < 0 && !any(channel))
        return refuse(reason, "unknown channel");
    r->api = any(api) ? FAULT_ANY : bank_api_parse(api);
    if (r->api < 0 && !any(api))
        return refuse(reason, "unknown api");
    if (r->api >= 0 && !fault_strikes_at(r->kind, (enum bank_api)r->api))
        return refuse(reason, "this fault does not fit this api");
    return read_numbers(r, doc, step, reason) < 0 ? -1 : read_texts(r, doc, reason);
}

/* ---- the rest ---- */

void fault_rule_write(const struct fault_rule *r, bool step, struct json_writer *w)
{
    json_member_str(w, "fault", slice_of(kinds[r->kind].text));
    if (!step) {
        json_member_str(w, "channel",
                        r->channel == FAULT_ANY
                            ? SLICE("*")
                            : slice_of(bank_channel_name((enum bank_channel)r->channel)));
        json_member_str_opt(w, "out_trade_no", slice_n(r->no, r->no_len));
        json_member_int64(w, "percent", r->percent);
    }
    json_member_str(w, "api", r->api == FAULT_ANY ? SLICE("*") : slice_of(apis[r->api]));
    json_member_int64(w, "times", r->times);
    json_member_int64(w, "delay_ms", r->delay_ms);
    json_member_str_opt(w, "code", slice_of(r->code));
    if (r->status)
        json_member_int64(w, "status", r->status);
}

bool fault_rule_fits(const struct fault_rule *r, enum bank_api api)
{
    if (r->api == FAULT_ANY && r->kind == FAULT_WRONG_AMOUNT)
        return api == BANK_NOTIFY; /* an answer lies only when asked to by name */
    return (r->api == FAULT_ANY || r->api == (int)api) && fault_strikes_at(r->kind, api);
}

struct fault_draw fault_rule_draw(const struct fault_rule *r)
{
    struct fault_draw draw = {r->kind, r->delay_ms * 1000, (int)r->status, ""};

    memcpy(draw.code, r->code, sizeof(draw.code));
    return draw;
}
