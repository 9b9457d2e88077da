/*
 * The payment's table (R2.2): each state and input against a matrix written by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backends/domain/payment.h"
#include "payment_matrix.h"

static unsigned input_of(struct slice name)
{
    for (unsigned i = 0; i < PAYMENT_INPUT_COUNT; i++)
        if (slice_is(name, payment_input_name((enum payment_input)i)))
            return i;
    fail_msg("no input %.*s", SLICE_FMT(name));
    return 0;
}

static unsigned action_of(struct slice word)
{
    static const struct {
        const char *word;
        unsigned action;
    } words[] = {{"+prepare", ACTION_SEND_PREPARE},
                 {"+query", ACTION_SEND_QUERY},
                 {"+close", ACTION_SEND_CLOSE},
                 {"+reverse", ACTION_SEND_REVERSE},
                 {"reroute", ACTION_REROUTE},
                 {"giveback", ACTION_GIVE_BACK},
                 {"reversed", ACTION_REVERSED},
                 {"unreversed", ACTION_UNREVERSED},
                 {"@prepare", ACTION_LATER_PREPARE},
                 {"@query", ACTION_LATER_QUERY},
                 {"@close", ACTION_LATER_CLOSE},
                 {"soon", ACTION_SOON_QUERY},
                 {"take", ACTION_TAKE},
                 {"case", ACTION_CASE},
                 {"ignore", ACTION_IGNORE},
                 {"refuse", ACTION_REFUSE}};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (slice_is(word, words[i].word))
            return words[i].action;
    fail_msg("no action %.*s", SLICE_FMT(word));
    return 0;
}

/* cell = "[state|stay|action] action ..." */
static void check_cell(enum payment_state state, struct slice input, struct slice cell)
{
    const struct payment_rule *rule = &payment_rules[state][input_of(input)];
    struct slice rest = slice_trim(cell), word = slice_cut(&rest, ' ');
    enum payment_state to = state;
    unsigned actions = 0;
    int known = payment_state_parse(word);

    if (known >= 0)
        to = (enum payment_state)known;
    else if (!slice_is(word, "stay"))
        actions = action_of(word);
    while (rest.n)
        actions |= action_of(slice_cut(&rest, ' '));
    if (rule->to != to || rule->actions != actions)
        fail_msg("%s on %.*s: the table says %s %#x, the matrix %s %#x", payment_state_name(state),
                 SLICE_FMT(input), payment_state_name(rule->to), rule->actions,
                 payment_state_name(to), actions);
}

static void test_table_is_the_matrix(void **state)
{
    bool seen[PAYMENT_INPUT_COUNT] = {false};

    (void)state;
    for (size_t i = 0; i < sizeof(matrix) / sizeof(matrix[0]); i++) {
        struct slice rest = slice_of(matrix[i]), input = slice_trim(slice_cut(&rest, '|'));

        for (unsigned s = PAYMENT_PROCESSING; s < PAYMENT_STATE_COUNT; s++)
            check_cell((enum payment_state)s, input, slice_cut(&rest, '|'));
        assert_int_equal(rest.n, 0);
        assert_false(seen[input_of(input)]);
        seen[input_of(input)] = true;
        if (slice_is(input, "CREATE"))
            check_cell(PAYMENT_NONE, input, SLICE("processing +prepare @query"));
        else if (slice_starts(input, SLICE("MERCHANT")) || slice_starts(input, SLICE("OPERATOR")))
            check_cell(PAYMENT_NONE, input, SLICE("refuse"));
        else
            check_cell(PAYMENT_NONE, input, SLICE("ignore"));
    }
    for (unsigned i = 0; i < PAYMENT_INPUT_COUNT; i++)
        assert_true(seen[i]);
}

static void test_moves(void **state)
{
    static const char *const allowed[] = {
        "none processing",   "processing pending", "processing succeeded", "processing failed",
        "processing closed", "pending succeeded",  "pending failed",       "pending closed"};
    int count = 0;

    (void)state;
    for (unsigned from = 0; from < PAYMENT_STATE_COUNT; from++)
        for (unsigned to = 0; to < PAYMENT_STATE_COUNT; to++)
            count += payment_move_allowed((enum payment_state)from, (enum payment_state)to);
    assert_int_equal(count, 8);
    for (int i = 0; i < count; i++) {
        struct slice to = slice_of(allowed[i]), from = slice_cut(&to, ' ');

        assert_true(payment_move_allowed((enum payment_state)payment_state_parse(from),
                                         (enum payment_state)payment_state_parse(to)));
    }
    assert_false(payment_move_allowed(PAYMENT_STATE_COUNT, PAYMENT_PENDING));
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(payment_event_name(PAYMENT_EVENT_CREATE), "create");
    assert_string_equal(payment_event_name(PAYMENT_EVENT_OPERATOR_QUERY), "query");
    assert_string_equal(payment_event_name(PAYMENT_EVENT_KINDS), "?");
    assert_string_equal(payment_input_name(INPUT_SECOND_PAID), "SECOND_PAID");
    assert_string_equal(payment_input_name(PAYMENT_INPUT_COUNT), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_the_matrix),
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
