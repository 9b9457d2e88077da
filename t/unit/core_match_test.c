/* R1.9: lines of conditions, compared with their plain meaning line by line. */
#include "core/match.h"

#include "core_test.h"

#define NAMES 12

static const struct slice names[NAMES] = {{"a", 1},  {"b", 1},  {"c", 1},  {"M1", 2},
                                          {"M2", 2}, {"M3", 2}, {"m1", 2}, {"", 0},
                                          {"aa", 2}, {"ab", 2}, {"z9", 2}, {"1900000001", 10}};

static uint64_t dice_state = 1;

static unsigned dice(unsigned n)
{
    dice_state = dice_state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(dice_state >> 33) % n;
}

/* What a line says, read aloud. */
static bool holds(const struct match_line *line, const struct match_facts *f)
{
    for (int k = 0; k < MATCH_NUMBERS; k++) {
        bool equal =
            f->numbers[k] < MATCH_ABSENT && match_set_has(&line->numbers[k], f->numbers[k]);
        if (line->given & MATCH_NUMBER_BIT(k) && equal == !!(line->negated & MATCH_NUMBER_BIT(k)))
            return false;
    }
    for (int k = 0; k < MATCH_NAMES; k++) {
        bool equal = false;
        for (size_t i = 0; i < line->nnames[k]; i++)
            equal |= f->names[k].n && slice_eq(line->names[k][i], f->names[k]);
        if (line->given & MATCH_NAME_BIT(k) && equal == !!(line->negated & MATCH_NAME_BIT(k)))
            return false;
    }
    if (line->given & MATCH_AMOUNT_BIT) {
        bool within = f->amount >= line->min && f->amount <= line->max;
        return within != !!(line->negated & MATCH_AMOUNT_BIT);
    }
    return true;
}

static void random_line(struct match_line *line, struct slice *store)
{
    *line = (struct match_line){0};
    for (int k = 0; k < MATCH_NUMBERS; k++) {
        if (dice(4))
            continue;
        line->given |= MATCH_NUMBER_BIT(k);
        for (unsigned n = 1 + dice(3); n; n--)
            match_set_add(&line->numbers[k], dice(2) ? dice(6) : 250 + dice(6));
    }
    for (int k = 0; k < MATCH_NAMES; k++) {
        if (dice(4))
            continue;
        line->given |= MATCH_NAME_BIT(k);
        line->names[k] = store;
        line->nnames[k] = 1 + dice(3);
        for (size_t i = 0; i < line->nnames[k]; i++) {
            do
                *store = names[dice(NAMES)];
            while (store->n == 0);
            store++;
        }
    }
    if (dice(3) == 0) {
        line->given |= MATCH_AMOUNT_BIT;
        line->min = dice(20);
        line->max = dice(5) ? line->min + dice(20) : INT64_MAX;
    }
    line->negated = line->given & (dice(2) ? 0 : dice(1u << 10));
}

static void random_facts(struct match_facts *f)
{
    match_facts_init(f);
    for (int k = 0; k < MATCH_NUMBERS; k++)
        f->numbers[k] = (uint16_t)(dice(2) ? dice(7) : 249 + dice(8)); /* 256: absent */
    for (int k = 0; k < MATCH_NAMES; k++)
        f->names[k] = names[dice(NAMES)];
    f->amount = (int64_t)dice(44) - 1;
}

static void test_against_meaning(void **state)
{
    static struct match_line lines[MATCH_LINES];
    static struct slice store[MATCH_LINES * MATCH_NAMES * 3];
    (void)state;

    for (int round = 0; round < 60; round++) {
        size_t n = round == 0 ? 0 : round == 1 ? MATCH_LINES : dice(MATCH_LINES + 1);
        struct arena a;
        struct match *m;
        unsigned held = 0;

        arena_init(&a, 1 << 22);
        for (size_t i = 0; i < n; i++)
            random_line(&lines[i], &store[i * MATCH_NAMES * 3]);
        m = match_compile(&a, lines, n);
        assert_non_null(m);
        for (int q = 0; q < 200; q++) {
            struct match_facts f;
            struct match_set set;

            random_facts(&f);
            match_find(m, &f, &set);
            for (unsigned i = 0; i < MATCH_LINES; i++) {
                bool want = i < n && holds(&lines[i], &f);
                if (match_set_has(&set, i) != want)
                    fail_msg("round %d, question %d, line %u: %d", round, q, i, want);
                held += want;
            }
        }
        assert_true(n < 20 || held > 0);
        arena_release(&a);
    }
}

/* A fact nobody knows equals no value: only lines that do not ask, or negate, hold. */
static void test_absent(void **state)
{
    const struct slice m1 = SLICE("M1");
    struct match_line lines[] = {
        {0},
        {.given = MATCH_NAME_BIT(MATCH_MERCHANT),
         .names[MATCH_MERCHANT] = &m1,
         .nnames[MATCH_MERCHANT] = 1},
        {.given = MATCH_NAME_BIT(MATCH_MERCHANT),
         .negated = MATCH_NAME_BIT(MATCH_MERCHANT),
         .names[MATCH_MERCHANT] = &m1,
         .nnames[MATCH_MERCHANT] = 1},
        {.given = MATCH_NUMBER_BIT(MATCH_WALLET),
         .numbers[MATCH_WALLET] = {{~0ULL, ~0ULL, ~0ULL, ~0ULL}}},
        {.given = MATCH_AMOUNT_BIT, .min = 1, .max = INT64_MAX},
        {.given = MATCH_AMOUNT_BIT, .negated = MATCH_AMOUNT_BIT, .min = 1, .max = INT64_MAX},
    };
    struct match_facts f;
    struct match_set set;
    struct match *m;
    struct arena a;
    (void)state;

    arena_init(&a, 1 << 20);
    m = match_compile(&a, lines, COUNT(lines));
    assert_non_null(m);
    match_facts_init(&f);
    match_find(m, &f, &set);
    assert_int_equal(set.w[0], 1 << 0 | 1 << 2 | 1 << 5);
    f.names[MATCH_MERCHANT] = m1;
    f.numbers[MATCH_WALLET] = 255;
    f.amount = 1;
    match_find(m, &f, &set);
    assert_int_equal(set.w[0], 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4);
    assert_int_equal(match_given(m), MATCH_NAME_BIT(MATCH_MERCHANT) |
                                         MATCH_NUMBER_BIT(MATCH_WALLET) | MATCH_AMOUNT_BIT);
    arena_release(&a);
}

static void test_no_memory(void **state)
{
    const struct slice m1 = SLICE("M1");
    struct match_line line = {.given = MATCH_NAME_BIT(0) | MATCH_NUMBER_BIT(0) | MATCH_AMOUNT_BIT,
                              .names[0] = &m1,
                              .nnames[0] = 1,
                              .max = 7};
    struct arena a;
    size_t need;
    (void)state;

    arena_init(&a, 1 << 20);
    assert_non_null(match_compile(&a, &line, 1));
    need = a.used;
    arena_release(&a);
    for (size_t cap = 0; cap < need; cap += 16) {
        arena_init(&a, cap);
        assert_null(match_compile(&a, &line, 1));
        arena_release(&a);
    }
}

static void test_sets(void **state)
{
    struct match_set s = {{0}};
    unsigned seen[4], n = 0;
    (void)state;

    assert_true(match_set_empty(&s));
    for (unsigned i = 0; i < 4; i++)
        match_set_add(&s, (const unsigned[]){255, 0, 64, 63}[i]);
    match_set_each(i, &s)
    {
        assert_true(n < 4);
        seen[n++] = i;
    }
    assert_memory_equal(seen, ((unsigned[]){0, 63, 64, 255}), sizeof(seen));
    assert_int_equal(match_set_count(&s), 4);
    match_set_drop(&s, 64);
    assert_false(match_set_has(&s, 64));
    assert_true(match_set_has(&s, 255));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_meaning),
        cmocka_unit_test(test_absent),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_sets),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
