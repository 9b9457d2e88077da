#include "faults.h"

#include <stdlib.h>

#define ANY          (-1)
#define NO_MAX       64
#define DELAY_MAX_MS 600000
#define DELAY_MS     1000

struct fault {
    struct fault *next;
    enum fault_kind kind;
    int channel;   /* or ANY */
    int api;       /* or ANY */
    int64_t times; /* left; 0 = for ever */
    int64_t percent;
    int64_t delay_ms;
    int64_t hits;
    uint8_t no_len;
    char no[NO_MAX];
};

struct faults {
    struct fault *first;
    uint64_t dice;
};

static const struct {
    const char *text;
    unsigned strikes;
} kinds[FAULT_COUNT] = {
#define X(name, text, strikes) {text, strikes},
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

struct faults *faults_new(uint64_t seed)
{
    struct faults *f = calloc(1, sizeof(*f));

    if (f)
        f->dice = seed;
    return f;
}

void faults_clear(struct faults *f)
{
    struct fault *t;

    while ((t = f->first)) {
        f->first = t->next;
        free(t);
    }
}

void faults_free(struct faults *f)
{
    if (f)
        faults_clear(f);
    free(f);
}

/* splitmix64: the same seed gives the same misfortunes. */
static uint64_t roll(struct faults *f)
{
    uint64_t z = (f->dice += UINT64_C(0x9E3779B97F4A7C15));

    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* ---- making ---- */

static int refuse_rule(const char **reason, const char *why)
{
    *reason = why;
    return -1;
}

static int read_int(const struct json *doc, const char *key, int64_t dflt, int64_t max,
                    int64_t *out)
{
    const struct json *v = json_get(doc, key);

    *out = dflt;
    if (!v)
        return 0;
    return json_int64(v, out) < 0 || *out < 0 || *out > max ? -1 : 0;
}

static int read_kind(struct slice name, enum fault_kind *out)
{
    for (int k = FAULT_NONE + 1; k < FAULT_COUNT; k++)
        if (slice_is(name, kinds[k].text)) {
            *out = (enum fault_kind)k;
            return 0;
        }
    return -1;
}

static int read_api(struct slice name, int *out)
{
    *out = ANY;
    if (name.n == 0 || slice_is(name, "*"))
        return 0;
    for (int a = BANK_NATIVE; a < BANK_API_COUNT; a++)
        if (slice_is(name, apis[a])) {
            *out = a;
            return 0;
        }
    return -1;
}

static int read_rule_channel(struct slice name, int *out)
{
    *out = ANY;
    if (name.n == 0 || slice_is(name, "*"))
        return 0;
    *out = bank_channel_parse(name);
    return *out < 0 ? -1 : 0;
}

static bool strikes_at(enum fault_kind kind, int api)
{
    unsigned where = kinds[kind].strikes;

    if (api == ANY)
        return true;
    return (where & (api == BANK_NOTIFY ? STRIKE_NOTIFY : STRIKE_ANSWER)) != 0;
}

static int only_known_members(const struct json *doc)
{
    static const char *const known[] = {"fault", "channel", "api",     "out_trade_no",
                                        "times", "percent", "delay_ms"};

    for (const struct json *m = doc->child; m; m = m->next) {
        size_t i = 0;

        while (i < sizeof(known) / sizeof(known[0]) && !slice_is(m->key, known[i]))
            i++;
        if (i == sizeof(known) / sizeof(known[0]))
            return -1;
    }
    return 0;
}

/* A misspelt rule that never strikes would make a test pass for nothing: all is checked. */
static int fill(struct fault *t, const struct json *doc, const char **reason)
{
    struct slice no = json_str(doc, "out_trade_no");

    if (doc->type != JSON_OBJECT || only_known_members(doc) < 0)
        return refuse_rule(reason, "unknown member");
    if (read_kind(json_str(doc, "fault"), &t->kind) < 0)
        return refuse_rule(reason, "unknown fault");
    if (read_rule_channel(json_str(doc, "channel"), &t->channel) < 0)
        return refuse_rule(reason, "channel is wechat_v3, bank_json or *");
    if (read_api(json_str(doc, "api"), &t->api) < 0)
        return refuse_rule(reason, "api is native, query, close, notify or *");
    if (!strikes_at(t->kind, t->api))
        return refuse_rule(reason, "this fault does not fit this api");
    if (no.n > NO_MAX)
        return refuse_rule(reason, "out_trade_no too long");
    if (read_int(doc, "times", 0, INT32_MAX, &t->times) < 0)
        return refuse_rule(reason, "times is a whole number, 0 = for ever");
    if (read_int(doc, "percent", 100, 100, &t->percent) < 0)
        return refuse_rule(reason, "percent is 0 to 100");
    if (read_int(doc, "delay_ms", DELAY_MS, DELAY_MAX_MS, &t->delay_ms) < 0)
        return refuse_rule(reason, "delay_ms is 0 to 600000");
    t->no_len = (uint8_t)no.n;
    if (no.n)
        memcpy(t->no, no.p, no.n);
    return 0;
}

int faults_add(struct faults *f, const struct json *doc, const char **reason)
{
    struct fault *t = calloc(1, sizeof(*t));
    struct fault **end = &f->first;

    if (!t)
        return refuse_rule(reason, "no memory");
    if (fill(t, doc, reason) < 0) {
        free(t);
        return -1;
    }
    while (*end)
        end = &(*end)->next;
    *end = t;
    return 0;
}

void faults_list(const struct faults *f, struct json_writer *w)
{
    json_begin_object(w);
    json_key(w, "faults");
    json_begin_array(w);
    for (const struct fault *t = f->first; t; t = t->next) {
        json_begin_object(w);
        json_member_str(w, "fault", slice_of(kinds[t->kind].text));
        json_member_str(w, "channel",
                        t->channel == ANY
                            ? SLICE("*")
                            : slice_of(bank_channel_name((enum bank_channel)t->channel)));
        json_member_str(w, "api", t->api == ANY ? SLICE("*") : slice_of(apis[t->api]));
        json_member_str_opt(w, "out_trade_no", slice_n(t->no, t->no_len));
        json_member_int64(w, "times", t->times);
        json_member_int64(w, "percent", t->percent);
        json_member_int64(w, "delay_ms", t->delay_ms);
        json_member_int64(w, "hits", t->hits);
        json_end_object(w);
    }
    json_end_array(w);
    json_end_object(w);
}

/* ---- drawing ---- */

static bool fits(const struct fault *t, enum bank_channel channel, enum bank_api api,
                 struct slice no)
{
    if (t->channel != ANY && t->channel != (int)channel)
        return false;
    if (t->api != ANY && t->api != (int)api)
        return false;
    if (!strikes_at(t->kind, (int)api))
        return false;
    if (t->kind == FAULT_NOT_FOUND && api == BANK_NATIVE)
        return false;
    return t->no_len == 0 || slice_eq(slice_n(t->no, t->no_len), no);
}

struct fault_draw faults_draw(struct faults *f, enum bank_channel channel, enum bank_api api,
                              struct slice out_trade_no)
{
    struct fault_draw draw = {FAULT_NONE, 0};

    for (struct fault **link = &f->first; *link; link = &(*link)->next) {
        struct fault *t = *link;

        if (!fits(t, channel, api, out_trade_no))
            continue;
        if (t->percent < 100 && (int64_t)(roll(f) % 100) >= t->percent)
            continue;
        t->hits++;
        draw.kind = t->kind;
        draw.delay_us = t->delay_ms * 1000;
        if (t->times > 0 && --t->times == 0) {
            *link = t->next;
            free(t);
        }
        break;
    }
    return draw;
}
