/* R1.8: leases of a shared cap. A simulation of nodes, calls and a board that is late, stale, torn
 * or empty. */
#include "core/lease.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SEC   1000000LL
#define CALLS 512
#define OLD   24 /* versions that a stale board may show */

struct node {
    struct lease l;
    struct lease_terms t;
    int64_t offset;      /* its clock is another one */
    int64_t kept;        /* its file: promises bind until then */
    int64_t next;        /* beat */
    int64_t ends[CALLS]; /* open calls */
    uint32_t in_use, demand, refused;
    bool down;
};

struct world {
    struct node n[LEASE_NODES];
    struct lease_note board[LEASE_NODES][LEASE_NODES][OLD]; /* newest first */
    uint32_t nodes, cap, most;
    int64_t now;
    uint64_t dice;
    unsigned stale, lost; /* percent of reads, of writes */
};

static uint32_t roll(struct world *w, uint32_t n)
{
    w->dice = w->dice * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(w->dice >> 33) % n;
}

static int64_t clock_of(const struct world *w, const struct node *n)
{
    return w->now + n->offset;
}

static uint32_t beat_number(const struct world *w)
{
    return (uint32_t)(w->now / 50000);
}

static void boot(struct world *w, struct node *n)
{
    lease_init(&n->l, &n->t, n->kept > clock_of(w, n) ? n->kept : 0);
    n->in_use = 0;
    n->down = false;
    n->next = w->now;
}

static void setup(struct world *w, uint32_t nodes, uint32_t cap, int64_t call, uint64_t seed)
{
    memset(w, 0, sizeof(*w));
    w->nodes = nodes;
    w->cap = cap;
    w->dice = seed * 77 + 1;
    w->now = 1000 * SEC;
    for (uint32_t i = 0; i < nodes; i++) {
        w->n[i].t = (struct lease_terms){nodes, i, cap, call};
        w->n[i].offset = (int64_t)roll(w, 1000000) * 1000;
        boot(w, &w->n[i]);
        w->n[i].next += roll(w, LEASE_BEAT);
    }
}

static void beat(struct world *w, uint32_t i)
{
    struct node *n = &w->n[i];
    int64_t now = clock_of(w, n), until;
    uint32_t want = n->in_use + n->refused + n->demand / 4;

    for (uint32_t j = 0; j < w->nodes; j++) {
        uint32_t age = roll(w, 100) < w->stale ? roll(w, OLD) : 0;
        struct lease_note note = w->board[j][i][age];

        if (roll(w, 100) < w->stale)
            note.b = w->board[j][i][roll(w, OLD)].b; /* torn */
        if (j != i)
            lease_read(&n->l, &n->t, j, note, now);
    }
    lease_beat(&n->l, &n->t, now, beat_number(w), n->in_use, want);
    until = lease_bound_until(&n->l, &n->t, now);
    if (until > n->kept)
        n->kept = until;
    for (uint32_t j = 0; j < w->nodes; j++) {
        struct lease_note note = lease_write(&n->l, &n->t, j);

        if (j == i || roll(w, 100) < w->lost)
            continue;
        memmove(&w->board[i][j][1], &w->board[i][j][0], (OLD - 1) * sizeof(note));
        w->board[i][j][0] = note;
    }
    n->refused = 0;
    n->next = w->now + LEASE_BEAT + roll(w, 50000);
}

static void run_calls(struct world *w, struct node *n)
{
    int64_t now = clock_of(w, n);

    for (uint32_t k = 0; k < n->in_use; k++)
        if (n->ends[k] <= now)
            n->ends[k--] = n->ends[--n->in_use];
    while (n->in_use < n->demand) {
        if (n->in_use >= lease_limit(&n->l, &n->t, now)) {
            n->refused = n->demand - n->in_use;
            break;
        }
        /* most are short, some as long as they may be */
        n->ends[n->in_use++] = now + (roll(w, 10) ? (int64_t)roll(w, 300000) : n->t.call);
    }
}

/* One step of 20 ms: the sum of all open calls is never above the cap. */
static void step(struct world *w)
{
    uint32_t sum = 0;

    w->now += 20000;
    for (uint32_t i = 0; i < w->nodes; i++) {
        struct node *n = &w->n[i];

        if (n->down)
            continue;
        if (w->now >= n->next)
            beat(w, i);
        run_calls(w, n);
        sum += n->in_use;
    }
    w->most = sum > w->most ? sum : w->most;
    assert_true(sum <= w->cap);
}

static void run(struct world *w, int64_t time)
{
    for (int64_t end = w->now + time; w->now < end;)
        step(w);
}

static uint32_t limit(const struct world *w, uint32_t i)
{
    return lease_limit(&w->n[i].l, &w->n[i].t, clock_of(w, &w->n[i]));
}

static void shares(void **state)
{
    (void)state;
    for (uint32_t nodes = 2; nodes <= LEASE_NODES; nodes++)
        for (uint32_t cap = 1; cap < 50; cap++) {
            uint32_t sum = 0;

            for (uint32_t i = 0; i < nodes; i++)
                sum += lease_share(&(struct lease_terms){nodes, i, cap, SEC});
            assert_int_equal(sum, cap);
        }
    assert_int_equal(lease_term(&(struct lease_terms){2, 0, 10, 1}), 6 * SEC);
    assert_int_equal(lease_term(&(struct lease_terms){2, 0, 10, LEASE_CALL_MAX}), 105 * SEC);
}

static void idle_node_lends(void **state)
{
    struct world w;

    (void)state;
    setup(&w, 2, 100, 3 * SEC, 1);
    assert_int_equal(limit(&w, 0), 50);
    w.n[0].demand = 100;
    run(&w, 5 * SEC);
    assert_true(w.n[0].in_use > 90); /* nearly all, while the other wants nothing */
    w.n[1].demand = 50;
    run(&w, 3 * SEC);
    assert_true(w.n[1].in_use >
                40); /* and it has its share back before TERM: the calls are short */
}

static void board_gone(void **state)
{
    struct world w;

    (void)state;
    setup(&w, 2, 101, 3 * SEC, 2);
    w.n[0].demand = 101;
    run(&w, 5 * SEC);
    assert_true(limit(&w, 0) > 80);
    w.lost = 100;
    w.n[1].demand = 101;
    run(&w, lease_term(&w.n[0].t) + 3 * SEC);
    assert_int_equal(limit(&w, 0), 51); /* each has its share, the whole of it */
    assert_int_equal(limit(&w, 1), 50);
    assert_int_equal(w.n[0].in_use + w.n[1].in_use, 101);
    w.lost = 0;
    w.n[1].demand = 0;
    run(&w, 5 * SEC);
    assert_true(limit(&w, 0) > 80); /* and lends again when the board is back */
}

static void restarts(void **state)
{
    struct world w;

    (void)state;
    setup(&w, 2, 100, 3 * SEC, 3);
    w.n[0].demand = 100;
    run(&w, 5 * SEC);
    assert_true(w.n[1].l.own < 50);
    /* the lender forgets what it lent: nothing until the borrower says what it holds */
    boot(&w, &w.n[1]);
    assert_int_equal(limit(&w, 1), 0);
    w.n[1].demand = 50;
    run(&w, 5 * SEC);
    assert_true(w.n[1].in_use > 40);
    /* the borrower dies: its loans are over after TERM at the latest */
    w.n[1].demand = 0;
    run(&w, 5 * SEC);
    assert_true(limit(&w, 0) > 80);
    w.n[0].down = true;
    w.n[0].in_use = 0;
    w.n[1].demand = 100;
    run(&w, lease_term(&w.n[0].t) + SEC);
    assert_int_equal(limit(&w, 1), 50);
    /* the lender forgets, and nobody answers it: after TERM it has its share */
    w.n[1].kept = clock_of(&w, &w.n[1]) + lease_term(&w.n[1].t);
    boot(&w, &w.n[1]);
    run(&w, lease_term(&w.n[1].t) - SEC);
    assert_int_equal(limit(&w, 1), 0);
    run(&w, 2 * SEC);
    assert_int_equal(limit(&w, 1), 50);
}

/* A note that is read late lends for as much less. */
static void late_note(void **state)
{
    struct lease_terms tb = {2, 0, 100, 3 * SEC}, tl = {2, 1, 100, 3 * SEC};
    struct lease b, l;
    int64_t term = lease_term(&tb), t0 = 50 * SEC, now;

    (void)state;
    for (int64_t late = 0; late <= term + SEC; late += SEC / 10) {
        lease_init(&b, &tb, 0);
        lease_init(&l, &tl, 0);
        lease_beat(&b, &tb, t0, 7, 0, 100);
        lease_read(&l, &tl, 0, lease_write(&b, &tb, 1), t0);
        lease_beat(&l, &tl, t0, 9, 0, 0);
        assert_int_equal(l.own, 0);
        lease_read(&b, &tb, 1, lease_write(&l, &tl, 0), t0 + late);
        now = t0 + late;
        assert_int_equal(lease_limit(&b, &tb, now),
                         late + tb.call < term - term / 100 - LEASE_BEAT ? 100 : 50);
        /* a call that starts now is over before the lender has its places back */
        lease_beat(&l, &tl, t0 + term, 10, 0, 0);
        assert_int_equal(l.own, 50);
        assert_true(late + tb.call < term || lease_limit(&b, &tb, now) == 50);
    }
}

/* Anything may happen; what may not is asserted in step(). */
static void chaos(struct world *w, uint32_t turns)
{
    for (uint32_t k = 0; k < turns; k++) {
        struct node *n = &w->n[roll(w, w->nodes)];

        switch (roll(w, 9)) {
        case 0:
            memset(w->board, 0, sizeof(w->board));
            break;
        case 1:
            w->stale = roll(w, 3) * 30;
            break;
        case 2:
            w->lost = roll(w, 3) * 50;
            break;
        case 3:
            n->down = !n->down;
            if (n->down)
                n->in_use = 0;
            else
                boot(w, n);
            break;
        case 4:
            if (!n->down)
                boot(w, n);
            break;
        default:
            n->demand = roll(w, w->cap + 1);
        }
        run(w, roll(w, 3000) * 1000);
    }
}

static void never_above(void **state)
{
    struct world w;

    (void)state;
    for (uint64_t seed = 0; seed < 120; seed++) {
        setup(&w, 2 + (uint32_t)(seed % 3), 2 + (uint32_t)(seed * 7 % 200),
              (1 + (int64_t)seed % 4) * SEC, seed);
        chaos(&w, 60);
        /* and in peace the whole cap is used */
        w.stale = w.lost = 0;
        for (uint32_t i = 0; i < w.nodes; i++) {
            if (w.n[i].down)
                boot(&w, &w.n[i]);
            w.n[i].demand = w.cap;
        }
        run(&w, 12 * SEC);
        w.most = 0;
        run(&w, 2 * SEC);
        assert_int_equal(w.most, w.cap);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares),     cmocka_unit_test(idle_node_lends),
        cmocka_unit_test(board_gone), cmocka_unit_test(restarts),
        cmocka_unit_test(late_note),  cmocka_unit_test(never_above),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
