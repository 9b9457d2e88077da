#include "faults.h"

#include "scenario.h"
#include <stdlib.h>

#define SCENARIOS_MAX 64

struct fault {
    struct fault *next;
    struct fault_rule rule;
    int64_t hits;
};

struct faults {
    struct fault *first;
    struct scenario *scenarios[SCENARIOS_MAX];
    uint32_t nscenarios;
    uint64_t dice;
};

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
    while (f->nscenarios)
        scenario_free(f->scenarios[--f->nscenarios]);
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

static int refuse(const char **reason, const char *why)
{
    *reason = why;
    return -1;
}

static int add_scenario(struct faults *f, const struct json *doc, const char **reason)
{
    if (f->nscenarios == SCENARIOS_MAX)
        return refuse(reason, "too many scenarios");
    f->scenarios[f->nscenarios] = scenario_new(doc, reason);
    if (!f->scenarios[f->nscenarios])
        return -1;
    f->nscenarios++;
    return 0;
}

int faults_add(struct faults *f, const struct json *doc, const char **reason)
{
    struct fault **end = &f->first;
    struct fault *t;

    if (json_get(doc, "scenario"))
        return add_scenario(f, doc, reason);
    t = calloc(1, sizeof(*t));
    if (!t)
        return refuse(reason, "no memory");
    if (fault_rule_read(&t->rule, doc, false, reason) < 0) {
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
        fault_rule_write(&t->rule, false, w);
        json_member_int64(w, "hits", t->hits);
        json_end_object(w);
    }
    json_end_array(w);
    json_key(w, "scenarios");
    json_begin_array(w);
    for (uint32_t i = 0; i < f->nscenarios; i++)
        scenario_write(f->scenarios[i], w);
    json_end_array(w);
    json_end_object(w);
}

/* ---- drawing ---- */

static bool fits(const struct fault_rule *r, enum bank_channel channel, enum bank_api api,
                 struct slice no)
{
    if (r->channel != FAULT_ANY && r->channel != (int)channel)
        return false;
    if (!fault_rule_fits(r, api))
        return false;
    return r->no_len == 0 || slice_eq(slice_n(r->no, r->no_len), no);
}

struct fault_draw faults_draw(struct faults *f, enum bank_channel channel, enum bank_api api,
                              struct slice out_trade_no)
{
    struct fault_draw draw = {FAULT_NONE, 0, 0, ""};

    for (uint32_t i = 0; i < f->nscenarios; i++)
        if (scenario_draw(f->scenarios[i], channel, api, out_trade_no, &draw))
            return draw;
    for (struct fault **link = &f->first; *link; link = &(*link)->next) {
        struct fault *t = *link;

        if (!fits(&t->rule, channel, api, out_trade_no))
            continue;
        if (t->rule.percent < 100 && (int64_t)(roll(f) % 100) >= t->rule.percent)
            continue;
        t->hits++;
        draw = fault_rule_draw(&t->rule);
        if (t->rule.times > 0 && --t->rule.times == 0) {
            *link = t->next;
            free(t);
        }
        break;
    }
    return draw;
}
