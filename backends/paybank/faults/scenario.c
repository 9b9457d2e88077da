#include "scenario.h"

#include <stdlib.h>

#define STEPS_MAX    32
#define NAME_MAX_LEN 64
#define PLACES_FIRST 64
#define PLACES_MAX   (1u << 22)

/* Where one order stands; found by the hash of its number. */
struct place {
    uint64_t hash; /* 0: empty */
    uint32_t step;
    uint32_t done; /* requests that met this step */
};

struct scenario {
    struct fault_rule steps[STEPS_MAX];
    uint32_t nsteps;
    int channel;
    int64_t hits;
    struct place *places; /* a power of two of them, at most half full */
    uint32_t nplaces, used;
    uint8_t name_len, pattern_len;
    char name[NAME_MAX_LEN];
    char pattern[FAULT_NO_MAX];
};

bool pattern_fits(struct slice pattern, struct slice text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, mark = 0;

    while (t < text.n) {
        if (p < pattern.n && pattern.p[p] == '*') {
            star = p++;
            mark = t;
        } else if (p < pattern.n && pattern.p[p] == text.p[t]) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.n && pattern.p[p] == '*')
        p++;
    return p == pattern.n;
}

/* ---- making ---- */

static int refuse(const char **reason, const char *why)
{
    *reason = why;
    return -1;
}

static int read_steps(struct scenario *s, const struct json *list, const char **reason)
{
    if (!list || list->type != JSON_ARRAY || list->count == 0 || list->count > STEPS_MAX)
        return refuse(reason, "steps is a list of 1 to 32");
    for (const struct json *step = list->child; step; step = step->next)
        if (fault_rule_read(&s->steps[s->nsteps++], step, true, reason) < 0)
            return -1;
    return 0;
}

static int fill(struct scenario *s, const struct json *doc, const char **reason)
{
    struct slice name = json_str(doc, "scenario");
    struct slice pattern = json_str(doc, "pattern");
    struct slice channel = json_str(doc, "channel");

    for (const struct json *m = doc->child; m; m = m->next)
        if (!slice_is(m->key, "scenario") && !slice_is(m->key, "pattern") &&
            !slice_is(m->key, "channel") && !slice_is(m->key, "steps"))
            return refuse(reason, "unknown member");
    if (name.n == 0 || name.n > NAME_MAX_LEN)
        return refuse(reason, "scenario is a name of 1 to 64 bytes");
    if (pattern.n == 0 || pattern.n > FAULT_NO_MAX)
        return refuse(reason, "pattern has 1 to 64 bytes");
    s->channel = channel.p ? bank_channel_parse(channel) : FAULT_ANY;
    if (channel.p && s->channel < 0)
        return refuse(reason, "unknown channel");
    s->name_len = (uint8_t)name.n;
    s->pattern_len = (uint8_t)pattern.n;
    memcpy(s->name, name.p, name.n);
    memcpy(s->pattern, pattern.p, pattern.n);
    return read_steps(s, json_get(doc, "steps"), reason);
}

struct scenario *scenario_new(const struct json *doc, const char **reason)
{
    struct scenario *s = calloc(1, sizeof(*s));

    *reason = "no memory";
    if (s)
        s->places = calloc(PLACES_FIRST, sizeof(*s->places));
    if (!s || !s->places || fill(s, doc, reason) < 0) {
        scenario_free(s);
        return NULL;
    }
    s->nplaces = PLACES_FIRST;
    return s;
}

void scenario_free(struct scenario *s)
{
    if (s)
        free(s->places);
    free(s);
}

void scenario_write(const struct scenario *s, struct json_writer *w)
{
    json_begin_object(w);
    json_member_str(w, "scenario", slice_n(s->name, s->name_len));
    json_member_str(w, "pattern", slice_n(s->pattern, s->pattern_len));
    json_member_str(w, "channel",
                    s->channel < 0 ? SLICE("*")
                                   : slice_of(bank_channel_name((enum bank_channel)s->channel)));
    json_key(w, "steps");
    json_begin_array(w);
    for (uint32_t i = 0; i < s->nsteps; i++) {
        json_begin_object(w);
        fault_rule_write(&s->steps[i], true, w);
        json_end_object(w);
    }
    json_end_array(w);
    json_member_int64(w, "orders", s->used);
    json_member_int64(w, "hits", s->hits);
    json_end_object(w);
}

/* ---- places ---- */

static struct place *slot_of(struct place *places, uint32_t n, uint64_t hash)
{
    uint32_t i = (uint32_t)hash & (n - 1);

    while (places[i].hash && places[i].hash != hash)
        i = (i + 1) & (n - 1);
    return &places[i];
}

static int grow(struct scenario *s)
{
    uint32_t n = s->nplaces * 2;
    struct place *fresh = n <= PLACES_MAX ? calloc(n, sizeof(*fresh)) : NULL;

    if (!fresh)
        return -1;
    for (uint32_t i = 0; i < s->nplaces; i++)
        if (s->places[i].hash)
            *slot_of(fresh, n, s->places[i].hash) = s->places[i];
    free(s->places);
    s->places = fresh;
    s->nplaces = n;
    return 0;
}

static struct place *place_of(struct scenario *s, struct slice no)
{
    uint64_t hash = slice_hash(no) | 1;
    struct place *p = slot_of(s->places, s->nplaces, hash);

    if (p->hash)
        return p;
    if (2 * s->used >= s->nplaces) {
        if (grow(s) < 0)
            return NULL;
        p = slot_of(s->places, s->nplaces, hash);
    }
    p->hash = hash;
    s->used++;
    return p;
}

bool scenario_draw(struct scenario *s, enum bank_channel channel, enum bank_api api,
                   struct slice no, struct fault_draw *out)
{
    const struct fault_rule *step;
    struct place *p;

    if ((s->channel >= 0 && s->channel != (int)channel) || no.n == 0 ||
        !pattern_fits(slice_n(s->pattern, s->pattern_len), no))
        return false;
    p = place_of(s, no);
    if (!p || p->step == s->nsteps)
        return false;
    step = &s->steps[p->step];
    if (!fault_rule_fits(step, api))
        return false;
    *out = fault_rule_draw(step);
    s->hits++;
    if (++p->done == step->times) {
        p->step++;
        p->done = 0;
    }
    return true;
}
