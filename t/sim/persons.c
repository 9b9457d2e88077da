/*
 * The persons whom a case is brought before. Each looks at it, and says some time later what he
 * thinks: meanwhile somebody else may have. Who does not hear what became of his word says it once
 * more.
 */
#include "sim.h"

static void go(struct world *w, int64_t in, enum event_kind k, unsigned which, unsigned person,
               enum word word)
{
    later(w, in, k, which * 256 + person, word, 0);
}

static int64_t minutes(struct world *w, unsigned most)
{
    return SEC + (int64_t)pick(w, SITE_person_rejects, (uint64_t)(most * 60 * SEC));
}

void persons_called(struct world *w, unsigned which)
{
    unsigned first = (unsigned)pick(w, SITE_person_rejects, PERSONS);

    go(w, minutes(w, 10), EVENT_look, which, first, WORD_NONE);
    go(w, minutes(w, 10), EVENT_look, which, (first + 1) % PERSONS, WORD_NONE);
}

static enum word any_word(struct world *w)
{
    return (enum word)(WORD_REFUNDED + pick(w, SITE_person_differs, 3));
}

void person_looks(struct world *w, unsigned which, unsigned person)
{
    const struct case_row *c = &w->rows.cases[which];
    const struct decision_row *d = c->ndecisions ? &c->decisions[c->ndecisions - 1] : NULL;
    enum word word;

    if (c->closed)
        return;
    if (!d || d->state == DECISION_REJECTED)
        word = any_word(w);
    else if (d->proposed_by == person && !chance(w, SITE_person_alone))
        word = chance(w, SITE_person_rejects) ? WORD_REJECT : WORD_NONE;
    else if (chance(w, SITE_person_rejects))
        word = WORD_REJECT;
    else
        word = chance(w, SITE_person_differs) ? any_word(w) : d->decision;
    if (word == WORD_NONE)
        go(w, minutes(w, 10), EVENT_look, which, (person + 1) % PERSONS, WORD_NONE);
    else
        go(w, minutes(w, 1), EVENT_word, which, person, word);
}

void person_speaks(struct world *w, unsigned which, unsigned person, enum word word)
{
    static const char *const words[] = {"", "refunded", "accepted", "dismissed", "reject"};
    static const char *const became[] = {"proposed",    "confirmed", "rejected", "closed",
                                         "same person", "differs",   "nothing"};
    const struct payment before = w->rows.p;
    const struct case_row was = w->rows.cases[which];
    enum said said;

    if (chance(w, SITE_store_busy)) {
        go(w, SEC, EVENT_word, which, person, word);
        return;
    }
    said = rows_say(w, which, person, word);
    check_word(w, which, word, &before, &was);
    if (chance(w, SITE_commit_lost)) {
        go(w, SEC, EVENT_word, which, person, word);
        return;
    }
    SAY(w, "person%u says %s of %.*s: %s", person, words[word],
        SLICE_FMT(w->rows.cases[which].kind), became[said]);
    if (said != SAID_CONFIRMED && said != SAID_CLOSED)
        go(w, minutes(w, 10), EVENT_look, which, (person + 1) % PERSONS, WORD_NONE);
}
