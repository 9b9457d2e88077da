/*
 * What holds for every payment, event and moment: final states never move, one callback for each,
 * unknown never ends an order, a wrong amount never succeeds, timers never lie beyond the expiry.
 */
#include "domain_test.h"

static uint64_t seed = 88172645463325252ULL;

static unsigned random_below(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed % n);
}

static bool same_facts(const struct payment *a, const struct payment *b)
{
    return a->id == b->id && a->slot == b->slot && a->amount == b->amount &&
           slice_eq(a->currency, b->currency) && slice_eq(a->mchid, b->mchid) &&
           slice_eq(a->out_trade_no, b->out_trade_no) && a->created_at == b->created_at &&
           a->time_expire == b->time_expire;
}

static void check_final_entry(const struct payment *p, const struct payment_event *e)
{
    const struct payment *a = &step.after;
    bool answered = e->kind != PAYMENT_EVENT_ANSWER || e->sent == SENT_ANSWERED;
    bool unsent = a->prepare_last == MARK_UNSENT && a->prepare_past == MARK_UNSENT;

    assert_true(step.callback);
    assert_int_equal(a->due_at, 0);
    assert_true(a->final_at);
    assert_true(payment_move_allowed(p->state, a->state));
    if (a->state == PAYMENT_SUCCEEDED) {
        assert_true(answered);
        if (a->reversal == REVERSAL_SUCCEEDED) { /* paid, as was heard before, and it went back */
            assert_true(p->succeeded_at && a->succeeded_at == p->succeeded_at);
            return;
        }
        assert_true(e->cls == CLASS_SUCCESS && e->amount == p->amount);
        assert_true(p->reversal != REVERSAL_PROCESSING);
        assert_true(e->currency.n == 0 || slice_eq(e->currency, p->currency));
        return;
    }
    /* nothing known to the channel, or a definitive word of it */
    if (unsent)
        return;
    assert_true(answered);
    assert_true(e->kind == PAYMENT_EVENT_ANSWER);
    assert_true(e->cls == CLASS_FAILED || e->cls == CLASS_REFUSED || e->cls == CLASS_CLOSED ||
                (e->call == CALL_CHARGE && e->cls == CLASS_TOO_FREQUENT) ||
                ((e->call == CALL_CLOSE || e->call == CALL_REVERSE) && e->cls == CLASS_SUCCESS));
    assert_true(a->reversal != REVERSAL_PROCESSING);
}

static void check_timer(const struct payment *p, const struct payment_event *e, pay_time_t now)
{
    const struct payment *a = &step.after;

    assert_int_equal(step.timer_changed, a->due_at != p->due_at || a->due_kind != p->due_kind ||
                                             a->due_tries != p->due_tries);
    if (payment_state_final(a->state))
        return;
    assert_true(a->due_at && a->due_kind != CALL_NONE);
    if (now < a->time_expire && !payment_is_charge(a))
        assert_true(a->due_at <= a->time_expire + PAYMENT_EXPIRE_MARGIN);
    if (step.timer_changed)
        assert_true(a->due_at > now);
    if (e->kind == PAYMENT_EVENT_TIMER)
        assert_true(step.timer_changed);
    if (now >= a->time_expire && step.timer_changed && a->due_kind != CALL_CLOSE &&
        !payment_is_charge(a))
        assert_true(payment_rules[p->state][step.input].actions & ACTION_SOON_QUERY);
}

/* Sent once; reversed only when the channel takes it, and then to the end. */
static void check_charge(const struct payment *p, pay_time_t now)
{
    const struct payment *a = &step.after;
    bool reverses = step.attempt.kind == CALL_REVERSE;

    assert_int_not_equal(step.attempt.kind, CALL_PREPARE);
    assert_int_not_equal(step.attempt.kind, CALL_CLOSE);
    if (p->state != PAYMENT_NONE)
        assert_int_not_equal(step.attempt.kind, CALL_CHARGE);
    assert_int_equal(a->reverse_tries, p->reverse_tries + reverses);
    if (reverses) {
        assert_true(now >= p->prepare_before + policy.reverse_earliest);
        assert_true(p->reversal == REVERSAL_NONE || p->reversal == REVERSAL_PROCESSING);
        assert_int_equal(a->reversal, REVERSAL_PROCESSING);
    }
    assert_int_equal(step.reversal_why.n != 0,
                     p->reversal == REVERSAL_NONE && a->reversal != REVERSAL_NONE);
    if (p->reversal == REVERSAL_SUCCEEDED || p->reversal == REVERSAL_FAILED)
        assert_int_equal(a->reversal, p->reversal);
    if (p->succeeded_at)
        assert_int_equal(a->succeeded_at, p->succeeded_at);
}

static void check_properties(const struct payment *p, const struct payment_event *e, pay_time_t now)
{
    const struct payment *a = &step.after;
    bool entered = payment_state_final(a->state) && !payment_state_final(p->state);

    assert_true(same_facts(p, a));
    assert_int_equal(step.callback, entered);
    assert_int_equal(a->attempts, p->attempts + (step.attempt.n != 0));
    if (step.verdict != STEP_COMMIT) {
        assert_memory_equal(p, a, sizeof(*p));
        assert_int_equal(step.attempt.n, 0);
        assert_int_equal(step.verdict == STEP_RECORD, step.open_case || step.outcome.n);
        return;
    }
    assert_false(payment_state_final(p->state));
    assert_int_equal(a->version, p->version + 1);
    if (a->state != p->state)
        assert_int_equal(a->prev_state, p->state);
    else
        assert_int_equal(a->prev_state, p->prev_state);
    assert_true(a->state == p->state || payment_move_allowed(p->state, a->state));
    assert_int_equal(a->maybe_sent,
                     a->prepare_last != MARK_UNSENT || a->prepare_past != MARK_UNSENT);
    if (step.attempt.n) {
        assert_int_equal(step.attempt.n, a->attempts);
        assert_int_equal(step.attempt.committed_at, now);
        assert_int_equal(a->busy_kind, step.attempt.kind);
    }
    if (step.attempt.kind == CALL_PREPARE && p->state != PAYMENT_NONE)
        assert_true(p->state == PAYMENT_PROCESSING && now < p->time_expire);
    check_timer(p, e, now);
    if (payment_is_charge(p))
        check_charge(p, now);
    else
        assert_int_equal(a->reversal, REVERSAL_NONE);
    if (entered)
        check_final_entry(p, e);
}

static struct payment_event random_event(const struct payment *p)
{
    static const char *const trade_nos[] = {"", "B1", "B2"};
    static const char *const currencies[] = {"", "CNY", "CNY", "USD"};
    static const enum call_kind calls[][3] = {{CALL_PREPARE, CALL_QUERY, CALL_CLOSE},
                                              {CALL_CHARGE, CALL_QUERY, CALL_REVERSE}};
    static const int64_t amounts[] = {888, 888, 888, -1, 0, 887};

    return (struct payment_event){
        .id = 7,
        .kind = (enum payment_event_kind)random_below(PAYMENT_EVENT_KINDS),
        .call = calls[payment_is_charge(p)][random_below(3)],
        .attempt_n = p->attempts ? 1 + random_below(p->attempts) : 1,
        .asked = p->version - random_below(2),
        .sent = random_below(4) ? SENT_ANSWERED : (enum sent)random_below(4),
        .cls = random_below(3) ? (enum answer_class)random_below(ANSWER_CLASS_COUNT)
                               : CLASS_USER_PAYING,
        .code = SLICE("X"),
        .channel_trade_no = slice_of(trade_nos[random_below(3)]),
        .amount = amounts[random_below(6)],
        .currency = slice_of(currencies[random_below(4)]),
        .code_url = random_below(2) ? SLICE("u") : SLICE_NULL};
}

/* Whole lives made of anything at any time, in any order, told twice or never. */
static void test_properties_on_random_lives(void **state)
{
    unsigned finals[PAYMENT_STATE_COUNT] = {0};
    bool seen[PAYMENT_STATE_COUNT][PAYMENT_INPUT_COUNT] = {{false}};
    unsigned reached = 0;

    (void)state;
    for (int life = 0; life < 12000; life++) {
        struct payment p = order();
        const struct payment_policy *pol = random_below(4) || life % 2 ? &policy : &no_resend;
        pay_time_t now = T0;
        int callbacks = 0;

        p.id = 1000 + life;
        p.method = life % 2 ? METHOD_BARCODE : METHOD_NATIVE;
        p.time_expire = T0 + (60 + random_below(7200)) * SEC;
        for (int i = 0; i < 40; i++) {
            struct payment_event e = random_event(&p);
            struct payment before = p;

            e.asked_at = now - random_below(60) * SEC;
            if (i == 0)
                e.kind = PAYMENT_EVENT_CREATE;
            if (random_below(3) == 0 && p.due_at > now) {
                now = p.due_at;
                e.kind = PAYMENT_EVENT_TIMER;
            }
            payment_decide(&p, &e, now, pol, &step);
            seen[p.state][step.input] = true;
            check_properties(&before, &e, now);
            callbacks += step.callback;
            p = step.after;
            now += random_below(20) ? random_below(life % 2 ? 12 : 30) * SEC
                                    : random_below(4000) * SEC;
        }
        finals[p.state]++;
        assert_int_equal(callbacks, payment_state_final(p.state));
    }
    for (unsigned s = PAYMENT_PROCESSING; s < PAYMENT_STATE_COUNT; s++)
        for (unsigned in = 0; in < PAYMENT_INPUT_COUNT; in++)
            reached += seen[s][in];
    assert_true(finals[PAYMENT_SUCCEEDED] && finals[PAYMENT_FAILED] && finals[PAYMENT_CLOSED]);
    /* the lives wander through most of the table, so the properties were tried on it */
    assert_in_range(reached, 5 * PAYMENT_INPUT_COUNT * 7 / 10, 5 * PAYMENT_INPUT_COUNT);
}

/* Every image of a grid, not only those that lives lead to, under every event: total and sound. */
static void test_final_states_never_move(void **state)
{
    (void)state;
    for (unsigned s = PAYMENT_SUCCEEDED; s <= PAYMENT_CLOSED; s++) {
        for (int i = 0; i < 30000; i++) {
            struct payment p = order();
            struct payment_event e;

            p.state = (enum payment_state)s;
            p.prev_state = PAYMENT_PENDING;
            p.version = 5;
            p.attempts = 1 + random_below(4);
            p.prepare_n = 1 + random_below(p.attempts);
            p.prepare_last = (enum send_mark)random_below(3);
            p.prepare_past = (enum send_mark)random_below(3);
            p.maybe_sent = p.prepare_last || p.prepare_past;
            p.method = random_below(2) ? METHOD_BARCODE : METHOD_NATIVE;
            if (payment_is_charge(&p))
                p.reversal = (enum reversal_state)random_below(REVERSAL_STATE_COUNT);
            p.channel_trade_no = random_below(2) ? SLICE("B1") : SLICE_NULL;
            p.due_at = random_below(2) ? T0 : 0;
            p.due_kind = (enum call_kind)random_below(4);
            p.final_at = T0;
            e = random_event(&p);
            payment_decide(&p, &e, T0 + random_below(9000) * SEC, &policy, &step);
            assert_int_not_equal(step.verdict, STEP_COMMIT);
            check_properties(&p, &e, T0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_properties_on_random_lives),
        cmocka_unit_test(test_final_states_never_move),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
