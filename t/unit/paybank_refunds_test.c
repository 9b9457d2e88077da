/* The virtual bank's refunds and reversals, numbers with a stamp, bills, and scenarios. */
#include "paybank_desk.h"

#include "backends/paybank/books/bill.h"
#include "backends/paybank/faults/scenario.h"

#define DAY_US (86400 * USEC_PER_SEC)

static void open_desk(struct desk *d)
{
    open_desk_of(d, (struct merchant){.channel = CHANNEL_WECHAT_V2, .id = SLICE("1900000209")},
                 (struct merchant){.channel = CHANNEL_UNIONPAY, .id = SLICE("777290058110048")});
}

static struct order *barcode(struct desk *d, const char *no)
{
    struct order_terms t = {
        .merchant = &d->wechat,
        .out_trade_no = slice_of(no),
        .currency = SLICE("CNY"),
        .subject = SLICE("茶"),
        .method = METHOD_BARCODE,
        .payer = 7,
        .variant = 1,
        .amount = 888,
        .expire_at = NOW + DAY_US,
    };
    struct order *o;

    assert_int_equal(books_prepare(d->books, &t, NOW, &o), BOOKS_DONE);
    return o;
}

static struct order *paid(struct desk *d, const char *no)
{
    struct order *o = barcode(d, no);

    assert_int_equal(books_pay(d->books, o, NOW), BOOKS_DONE);
    return o;
}

static enum books_result refund(struct desk *d, struct order *o, const char *no, int64_t amount,
                                enum refund_state outcome, struct refund **out)
{
    struct refund_terms t = {.order = o,
                             .out_refund_no = slice_of(no),
                             .amount = amount,
                             .delay_us = 100,
                             .outcome = outcome};

    return books_refund(d->books, &t, NOW, out);
}

static void test_refunds_up_to_the_amount(void **state)
{
    struct refund *r, *again;
    struct order *o;
    struct desk d;

    (void)state;
    open_desk(&d);
    o = barcode(&d, "T00001");
    assert_int_equal(refund(&d, o, "R1", 1, REFUND_DONE, &r), BOOKS_NOT_PAID);
    assert_int_equal(books_pay(d.books, o, NOW), BOOKS_DONE);
    assert_int_equal(refund(&d, o, "R1", 300, REFUND_DONE, &r), BOOKS_DONE);
    assert_int_equal(refund(&d, o, "R1", 300, REFUND_DONE, &again), BOOKS_AGAIN);
    assert_ptr_equal(r, again);
    assert_int_equal(refund(&d, o, "R1", 301, REFUND_DONE, &again), BOOKS_OTHER_CONTENT);
    assert_int_equal(refund(&d, o, "R2", 589, REFUND_DONE, &again), BOOKS_TOO_MUCH);
    assert_int_equal(refund(&d, o, "R2", INT64_MAX, REFUND_DONE, &again), BOOKS_TOO_MUCH);
    assert_int_equal(refund_settle(r, NOW + 99), REFUND_PROCESSING);
    assert_int_equal(refund_settle(r, NOW + 100), REFUND_DONE);
    assert_int_equal(refund(&d, o, "R3", 588, REFUND_CLOSED, &r), BOOKS_DONE);
    assert_int_equal(order_refunded(o, NOW), 888); /* it counts while nobody knows */
    assert_int_equal(order_refunded(o, NOW + 100), 300);
    assert_int_equal(refund(&d, o, "R4", 588, REFUND_ABNORMAL, &r), BOOKS_DONE);
    assert_int_equal(order_refunded(o, NOW + 100), 888); /* cannot be credited: not free again */
    assert_int_equal(books_reverse(d.books, o, true, NOW), BOOKS_REFUNDED);
    close_desk(&d);
}

static void test_many_refunds(void **state)
{
    struct refund_terms late;
    struct refund *r;
    struct order *o;
    struct desk d;
    char no[16];

    (void)state;
    open_desk(&d);
    o = paid(&d, "T00001");
    for (int i = 0; i < REFUNDS_MAX; i++) {
        snprintf(no, sizeof(no), "R%d", i);
        assert_int_equal(refund(&d, o, no, 1, REFUND_DONE, &r), BOOKS_DONE);
    }
    assert_int_equal(refund(&d, o, "R99", 1, REFUND_DONE, &r), BOOKS_TOO_MANY);
    o = paid(&d, "T00002");
    assert_int_equal(refund(&d, o, "S1", 1, REFUND_DONE, &r), BOOKS_DONE);
    late = (struct refund_terms){
        .order = o, .out_refund_no = SLICE("S2"), .amount = 1, .gap_us = 60 * USEC_PER_SEC};
    assert_int_equal(books_refund(d.books, &late, NOW + 59 * USEC_PER_SEC, &r), BOOKS_TOO_SOON);
    assert_int_equal(books_refund(d.books, &late, NOW + 60 * USEC_PER_SEC, &r), BOOKS_DONE);
    close_desk(&d);
}

static void test_reversals(void **state)
{
    struct refund *r;
    struct order *o;
    struct desk d;

    (void)state;
    open_desk(&d);
    o = paid(&d, "T00001");
    assert_int_equal(books_reverse(d.books, o, false, NOW + 5), BOOKS_DONE);
    assert_int_equal(o->state, ORDER_REVOKED);
    assert_int_equal(o->paid_at, NOW); /* it was paid, and that stays known */
    assert_int_equal(books_reverse(d.books, o, false, NOW + 6), BOOKS_IS_REVOKED);
    assert_int_equal(refund(&d, o, "R1", 1, REFUND_DONE, &r), BOOKS_IS_REVOKED);
    assert_int_equal(books_pay(d.books, o, NOW), BOOKS_IS_REVOKED);
    o = barcode(&d, "T00002");
    assert_int_equal(books_await(d.books, o, NOW), BOOKS_DONE);
    assert_int_equal(books_await(d.books, o, NOW), BOOKS_IS_PAYING);
    assert_int_equal(books_reverse(d.books, o, false, NOW), BOOKS_IS_PAYING);
    assert_int_equal(books_reverse(d.books, o, true, NOW), BOOKS_DONE);
    assert_int_equal(o->paid_at, 0);
    o = barcode(&d, "T00003");
    books_await(d.books, o, NOW);
    assert_int_equal(order_settle(o, NOW + DAY_US), ORDER_CLOSED);
    assert_int_equal(books_reverse(d.books, o, true, NOW + DAY_US), BOOKS_IS_CLOSED);
    o = paid(&d, "T00004");
    d.broken = true; /* nothing changes unrecorded */
    assert_int_equal(books_reverse(d.books, o, false, NOW), BOOKS_BROKEN);
    assert_int_equal(refund(&d, o, "R9", 1, REFUND_DONE, &r), BOOKS_BROKEN);
    assert_int_equal(o->state, ORDER_SUCCESS);
    assert_null(o->refunds);
    close_desk(&d);
}

/* The number alone does not name UnionPay's transactions. */
static void test_stamps(void **state)
{
    struct order_terms t = {.out_trade_no = SLICE("U0000001"),
                            .stamp = SLICE("20260901120000"),
                            .currency = SLICE("CNY"),
                            .amount = 1,
                            .expire_at = NOW + DAY_US};
    struct order *first, *second;
    struct desk d;

    (void)state;
    open_desk(&d);
    t.merchant = &d.other;
    assert_int_equal(books_prepare(d.books, &t, NOW, &first), BOOKS_DONE);
    t.stamp = SLICE("20260902120000");
    assert_int_equal(books_prepare(d.books, &t, NOW, &second), BOOKS_DONE);
    assert_ptr_not_equal(first, second);
    assert_ptr_equal(books_find_stamped(d.books, &d.other, t.out_trade_no, SLICE("20260901120000")),
                     first);
    assert_null(books_find_stamped(d.books, &d.other, t.out_trade_no, SLICE("2026")));
    t.stamp = SLICE("202609021200000"); /* longer than any */
    assert_int_equal(books_prepare(d.books, &t, NOW, &second), BOOKS_BROKEN);
    close_desk(&d);
}

static void test_numbers(void **state)
{
    char id[TRANSACTION_ID_MAX];
    struct refund *r;
    struct desk d;

    (void)state;
    open_desk(&d);
    assert_int_equal(refund(&d, paid(&d, "T00001"), "R1", 1, REFUND_DONE, &r), BOOKS_DONE);
    refund_id(r, id);
    assert_string_equal(id, "50000000022026090100000000001");
    assert_ptr_equal(refunds_by_id(d.books, &d.wechat, slice_of(id)), r);
    assert_null(refunds_by_id(d.books, &d.other, slice_of(id)));
    assert_null(refunds_by_id(d.books, &d.wechat, SLICE("50000000022026090200000000001")));
    assert_null(refunds_by_id(d.books, &d.wechat, SLICE("1")));
    close_desk(&d);
}

static void test_replay(void **state)
{
    struct slice lines;
    struct books *copy;
    struct refund *r, *s;
    struct order *o;
    struct desk d;
    const char *reason;

    (void)state;
    open_desk(&d);
    o = paid(&d, "T00001");
    refund(&d, o, "R1", 300, REFUND_ABNORMAL, &r);
    assert_int_equal(refunds_tried(d.books, r, 500, false, NOW + 1), 0);
    books_reverse(d.books, paid(&d, "T00002"), false, NOW + 1);
    books_await(d.books, barcode(&d, "T00003"), NOW + 1);
    copy = books_new(&d.conf, NULL, NULL);
    for (lines = buf_slice(&d.lines); lines.n;)
        assert_int_equal(books_replay(copy, slice_cut(&lines, '\n'), &reason), 0);
    assert_int_equal(books_count(copy), 3);
    assert_int_equal(refunds_count(copy), 1);
    s = refunds_find(copy, &d.wechat, SLICE("R1"), SLICE_NULL);
    assert_non_null(s);
    assert_int_equal(s->amount, 300);
    assert_int_equal(s->notify_tries, 1);
    assert_int_equal(refund_settle(s, NOW + 100), REFUND_ABNORMAL);
    assert_int_equal(books_at(copy, 1)->payer, 7);
    assert_int_equal(books_at(copy, 1)->variant, 1);
    assert_slice(order_subject(books_at(copy, 1)), "茶");
    assert_int_equal(books_at(copy, 2)->state, ORDER_REVOKED);
    assert_int_equal(books_at(copy, 3)->state, ORDER_USERPAYING);
    /* what contradicts the books is no refund */
    assert_int_equal(books_replay(copy,
                                  SLICE("{\"op\":\"refund\",\"seq\":1,\"at\":1788235200000001,"
                                        "\"out_refund_no\":\"R2\",\"amount\":589,\"delay\":0,"
                                        "\"outcome\":1,\"undo\":false}"),
                                  &reason),
                     -1);
    assert_int_equal(books_replay(copy,
                                  SLICE("{\"op\":\"notify\",\"seq\":1,\"at\":1,\"refund\":2,"
                                        "\"status\":200,\"taken\":true}"),
                                  &reason),
                     -1);
    books_free(copy);
    close_desk(&d);
}

static void test_bill(void **state)
{
    const struct bill_event *ev;
    struct buf events;
    struct refund *r;
    struct desk d;
    size_t n;

    (void)state;
    assert_int_equal(bill_day_state(SLICE("20260901"), 3, NOW), BILL_NOT_YET);
    assert_int_equal(bill_day_state(SLICE("20260901"), 3, NOW + 20 * 3600 * USEC_PER_SEC),
                     BILL_NOT_YET); /* 8 o'clock of the next day */
    assert_int_equal(bill_day_state(SLICE("20260901"), 3, NOW + 21 * 3600 * USEC_PER_SEC),
                     BILL_READY);
    assert_int_equal(bill_day_state(SLICE("20260901"), 3, NOW + 93 * DAY_US), BILL_BAD_DAY);
    assert_int_equal(bill_day_state(SLICE("20260931"), 3, NOW), BILL_BAD_DAY);
    assert_int_equal(bill_fee(888), 5);
    assert_int_equal(bill_fee(10000), 60);
    assert_int_equal(bill_fee(INT64_MAX / 2) > 0, true);
    open_desk(&d);
    refund(&d, paid(&d, "T00001"), "R1", 300, REFUND_DONE, &r);
    books_reverse(d.books, paid(&d, "T00002"), false, NOW + DAY_US); /* on the next day */
    barcode(&d, "T00003");                                           /* unpaid: nowhere */
    buf_init(&events, 1 << 16);
    bill_collect(d.books, &d.wechat, SLICE("20260901"), NOW + 2 * DAY_US, &events);
    ev = bill_events(&events, &n);
    assert_int_equal(n, 3);
    assert_int_equal(ev[2].kind, BILL_REFUND);
    buf_clear(&events);
    bill_collect(d.books, &d.wechat, SLICE("20260902"), NOW + 2 * DAY_US, &events);
    ev = bill_events(&events, &n);
    assert_int_equal(n, 1);
    assert_int_equal(ev[0].kind, BILL_REVERSAL);
    buf_release(&events);
    close_desk(&d);
}

static void test_patterns(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool fits;
    } cases[] = {
        {"*", "", true},
        {"*", "T1", true},
        {"T1", "T1", true},
        {"T1", "T12", false},
        {"T*", "T12", true},
        {"*2", "T12", true},
        {"*2", "T21", false},
        {"T*2*4", "T1234", true},
        {"T*2*4", "T1243", false},
        {"**", "x", true},
        {"", "", true},
        {"", "x", false},
        {"a*b*c", "abbbcbc", true},
        {"*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaa", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_case(pattern_fits(slice_of(cases[i].pattern), slice_of(cases[i].text)) ==
                        cases[i].fits,
                    cases[i].pattern);
}

/* Thousands of orders go through the steps, each on its own. */
static void test_scenario_places(void **state)
{
    struct slice text = SLICE("{\"scenario\":\"s\",\"pattern\":\"T*\",\"steps\":["
                              "{\"api\":\"barcode\",\"fault\":\"user_paying\"},"
                              "{\"api\":\"query\",\"fault\":\"none\",\"times\":2},"
                              "{\"api\":\"query\",\"fault\":\"error_503\"}]}");
    static const enum fault_kind want[] = {FAULT_NONE, FAULT_NONE, FAULT_ERROR_503};
    const struct json *doc;
    struct json_error err;
    struct fault_draw draw;
    struct scenario *s;
    const char *reason;
    struct arena a;
    char no[16];

    (void)state;
    arena_init(&a, 65536);
    assert_int_equal(json_parse(&a, text, NULL, &doc, &err), 0);
    s = scenario_new(doc, &reason);
    assert_non_null(s);
    for (int i = 0; i < 5000; i++) {
        snprintf(no, sizeof(no), "T%d", i);
        assert_false(scenario_draw(s, CHANNEL_ALIPAY, BANK_QUERY, slice_of(no), &draw));
        assert_true(scenario_draw(s, CHANNEL_ALIPAY, BANK_BARCODE, slice_of(no), &draw));
        assert_int_equal(draw.kind, FAULT_USER_PAYING);
    }
    for (int step = 0; step < 3; step++)
        for (int i = 0; i < 5000; i++) {
            snprintf(no, sizeof(no), "T%d", i);
            assert_true(scenario_draw(s, CHANNEL_ALIPAY, BANK_QUERY, slice_of(no), &draw));
            assert_int_equal(draw.kind, want[step]);
        }
    assert_false(scenario_draw(s, CHANNEL_ALIPAY, BANK_QUERY, SLICE("T1"), &draw));
    assert_false(scenario_draw(s, CHANNEL_ALIPAY, BANK_BARCODE, SLICE("X1"), &draw));
    scenario_free(s);
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refunds_up_to_the_amount),
        cmocka_unit_test(test_many_refunds),
        cmocka_unit_test(test_reversals),
        cmocka_unit_test(test_stamps),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_replay),
        cmocka_unit_test(test_bill),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_scenario_places),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
