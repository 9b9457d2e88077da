/* The virtual bank's books: every move, repetition, expiry, codes, and the same books from the
 * record. */
#include "paybank_desk.h"

#define LIFE (3600 * USEC_PER_SEC)

static void open_desk(struct desk *d)
{
    open_desk_of(d, (struct merchant){.channel = CHANNEL_WECHAT_V3, .id = SLICE("1900000109")},
                 (struct merchant){.channel = CHANNEL_BANK_JSON, .id = SLICE("M10001")});
}

static struct order_terms terms(const struct merchant *m, const char *no)
{
    return (struct order_terms){
        .merchant = m,
        .out_trade_no = slice_of(no),
        .appid = SLICE("wx8888888888888888"),
        .notify_url = SLICE("https://127.0.0.1/notify"),
        .attach = SLICE("a\"\\\n"),
        .currency = SLICE("CNY"),
        .amount = 888,
        .expire_at = NOW + LIFE,
        .digest = {1, 2, 3},
    };
}

static struct order *prepare(struct desk *d, const struct merchant *m, const char *no)
{
    struct order_terms t = terms(m, no);
    struct order *o;

    assert_int_equal(books_prepare(d->books, &t, NOW, &o), BOOKS_DONE);
    return o;
}

static void test_every_pair_of_states(void **state)
{
    static const bool want[ORDER_STATE_COUNT][ORDER_STATE_COUNT] = {
        /* to            NOTPAY USERPAYING SUCCESS CLOSED FAILED REVOKED */
        [ORDER_NOTPAY] = {false, true, true, true, true, true},
        [ORDER_USERPAYING] = {false, false, true, true, true, true},
        [ORDER_SUCCESS] = {false, false, false, false, false, true},
        [ORDER_CLOSED] = {false, false, false, false, false, false},
        [ORDER_FAILED] = {false, false, false, false, false, true},
        [ORDER_REVOKED] = {false, false, false, false, false, false},
    };

    (void)state;
    for (int from = 0; from < ORDER_STATE_COUNT; from++)
        for (int to = 0; to < ORDER_STATE_COUNT; to++)
            assert_int_equal(order_move_allowed((enum order_state)from, (enum order_state)to),
                             want[from][to]);
}

static void test_repetition(void **state)
{
    struct order *o, *again;
    struct order_terms t;
    struct desk d;

    (void)state;
    open_desk(&d);
    o = prepare(&d, &d.wechat, "T00001");
    again = prepare(&d, &d.wechat, "T00001");
    assert_ptr_equal(o, again);
    assert_int_equal(o->prepares, 2);
    t = terms(&d.wechat, "T00001");
    t.digest[0]++;
    assert_int_equal(books_prepare(d.books, &t, NOW, &again), BOOKS_OTHER_CONTENT);
    assert_ptr_not_equal(prepare(&d, &d.other, "T00001"), o); /* another merchant's number */
    assert_ptr_equal(books_find(d.books, &d.wechat, SLICE("T00001")), o);
    assert_int_equal(books_count(d.books), 2);
    close_desk(&d);
}

static void test_paid_once(void **state)
{
    struct order_terms t;
    struct order *o;
    struct desk d;

    (void)state;
    open_desk(&d);
    o = prepare(&d, &d.wechat, "T00001");
    t = terms(&d.wechat, "T00001");
    assert_int_equal(books_pay(d.books, o, NOW), BOOKS_DONE);
    assert_int_equal(books_pay(d.books, o, NOW), BOOKS_IS_PAID);
    assert_int_equal(books_close(d.books, o, NOW), BOOKS_IS_PAID);
    assert_int_equal(books_refuse(d.books, o, NOW), BOOKS_IS_PAID);
    assert_int_equal(books_prepare(d.books, &t, NOW, &o), BOOKS_IS_PAID);
    assert_int_equal(order_settle(o, NOW + 2 * LIFE), ORDER_SUCCESS); /* expiry is for the unpaid */
    assert_int_equal(o->charges, 1);
    close_desk(&d);
}

static void test_dead_numbers(void **state)
{
    struct order *closed, *failed, *expired, *old;
    struct order_terms t;
    struct desk d;

    (void)state;
    open_desk(&d);
    closed = prepare(&d, &d.wechat, "T00001");
    failed = prepare(&d, &d.other, "T00002");
    expired = prepare(&d, &d.other, "T00003");
    assert_int_equal(books_close(d.books, closed, NOW), BOOKS_DONE);
    assert_int_equal(books_refuse(d.books, failed, NOW), BOOKS_DONE);
    assert_int_equal(order_settle(expired, NOW + LIFE - 1), ORDER_NOTPAY);
    assert_int_equal(books_pay(d.books, expired, NOW + LIFE), BOOKS_IS_CLOSED);
    assert_int_equal(expired->ended_at, expired->expire_at);
    assert_int_equal(books_pay(d.books, closed, NOW), BOOKS_IS_CLOSED);
    assert_int_equal(books_pay(d.books, failed, NOW), BOOKS_IS_CLOSED);
    assert_int_equal(books_close(d.books, closed, NOW), BOOKS_IS_CLOSED);
    t = terms(&d.wechat, "T00004");
    t.expire_at = NOW + 24 * LIFE;
    assert_int_equal(books_prepare(d.books, &t, NOW, &old), BOOKS_DONE);
    assert_int_equal(books_pay(d.books, old, NOW + 2 * LIFE), BOOKS_CODE_OLD);
    assert_int_equal(books_prepare(d.books, &t, NOW + 2 * LIFE, &old), BOOKS_DONE);
    assert_int_equal(books_pay(d.books, old, NOW + 2 * LIFE), BOOKS_DONE);
    close_desk(&d);
}

static void test_nothing_changes_unrecorded(void **state)
{
    struct order_terms t;
    struct order *o, *none;
    struct desk d;

    (void)state;
    open_desk(&d);
    o = prepare(&d, &d.other, "T00001");
    d.broken = true;
    assert_int_equal(books_pay(d.books, o, NOW), BOOKS_BROKEN);
    assert_int_equal(books_close(d.books, o, NOW), BOOKS_BROKEN);
    assert_int_equal(books_tried(d.books, o, 200, true, NOW), -1);
    t = terms(&d.other, "T00001");
    assert_int_equal(books_prepare(d.books, &t, NOW, &none), BOOKS_BROKEN);
    t = terms(&d.other, "T00002");
    assert_int_equal(books_prepare(d.books, &t, NOW, &none), BOOKS_BROKEN);
    assert_int_equal(books_count(d.books), 1);
    assert_int_equal(o->state, ORDER_NOTPAY);
    assert_int_equal(o->prepares, 1);
    assert_false(o->notified);
    close_desk(&d);
}

static void test_codes_and_numbers(void **state)
{
    char code[ORDER_CODE_LEN + 1], id[TRANSACTION_ID_MAX], no[16];
    struct desk d;

    (void)state;
    open_desk(&d);
    for (int i = 0; i < 5000; i++) { /* beyond the first buckets and array */
        snprintf(no, sizeof(no), "T%05d", i);
        prepare(&d, &d.wechat, no);
    }
    for (uint32_t seq = 1; seq <= 5000; seq++) {
        struct order *o = books_at(d.books, seq);

        order_code(o, code);
        assert_ptr_equal(books_by_code(d.books, slice_of(code)), o);
        assert_ptr_equal(books_find(d.books, &d.wechat, order_no(o)), o);
    }
    assert_null(books_by_code(d.books, SLICE("zzzzzzzzz")));
    assert_null(books_by_code(d.books, SLICE("000000000")));
    assert_null(books_by_code(d.books, SLICE("0000000")));
    assert_null(books_by_code(d.books, SLICE("00000000?")));
    order_transaction_id(books_at(d.books, 1), id);
    assert_string_equal(id, ""); /* not paid */
    books_pay(d.books, books_at(d.books, 7), NOW);
    order_transaction_id(books_at(d.books, 7), id);
    assert_string_equal(id, "4200000001202609010000000007");
    assert_ptr_equal(books_by_transaction_id(d.books, &d.wechat, slice_of(id)),
                     books_at(d.books, 7));
    assert_null(books_by_transaction_id(d.books, &d.other, slice_of(id)));
    assert_null(books_by_transaction_id(d.books, &d.wechat, SLICE("4200000001202609020000000007")));
    assert_null(books_by_transaction_id(d.books, &d.wechat, SLICE("7")));
    close_desk(&d);
}

static void replay_all(struct books *b, struct slice lines)
{
    while (lines.n) {
        struct slice line = slice_cut(&lines, '\n');
        const char *reason = "";

        if (books_replay(b, line, &reason) < 0)
            fail_msg("%.*s: %s", SLICE_FMT(line), reason);
    }
}

static void test_replay_gives_the_same_books(void **state)
{
    struct books *copy;
    struct order *o;
    struct desk d;

    (void)state;
    open_desk(&d);
    o = prepare(&d, &d.wechat, "T00001");
    prepare(&d, &d.wechat, "T00001");
    books_pay(d.books, o, NOW + 5);
    books_tried(d.books, o, 500, false, NOW + 6);
    books_tried(d.books, o, 200, true, NOW + 7);
    books_close(d.books, prepare(&d, &d.other, "T00002"), NOW + 8);
    books_refuse(d.books, prepare(&d, &d.other, "T00003"), NOW + 9);
    prepare(&d, &d.other, "T00004");
    copy = books_new(&d.conf, NULL, NULL);
    replay_all(copy, buf_slice(&d.lines));
    assert_int_equal(books_count(copy), books_count(d.books));
    for (uint32_t seq = 1; seq <= books_count(copy); seq++) {
        const struct order *a = books_at(d.books, seq), *b = books_at(copy, seq);

        assert_int_equal(a->state, b->state);
        assert_int_equal(a->amount, b->amount);
        assert_int_equal(a->prepares, b->prepares);
        assert_int_equal(a->charges, b->charges);
        assert_int_equal(a->notify_tries, b->notify_tries);
        assert_int_equal(a->notified, b->notified);
        assert_int_equal(a->ended_at, b->ended_at);
        assert_int_equal(a->expire_at, b->expire_at);
        assert_ptr_equal(a->merchant, b->merchant);
        assert_true(slice_eq(order_no(a), order_no(b)));
        assert_true(slice_eq(order_attach(a), order_attach(b)));
        assert_memory_equal(a->digest, b->digest, sizeof(a->digest));
        assert_string_equal(a->notify_url, b->notify_url);
    }
    books_free(copy);
    close_desk(&d);
}

static void test_replay_refuses(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{\"op\":\"order\",\"seq\":3,\"at\":1}",
        "{\"op\":\"pay\",\"at\":1}",
        "{\"op\":\"pay\",\"seq\":1}",
        "{\"op\":\"pay\",\"seq\":0,\"at\":1}",
        "{\"op\":\"pay\",\"seq\":3,\"at\":1}",
        "{\"op\":\"pay\",\"seq\":4294967297,\"at\":1}",
        "{\"op\":\"pay\",\"seq\":1,\"at\":1}", /* paid already */
        "{\"op\":\"close\",\"seq\":1,\"at\":1}",
        "{\"op\":\"open\",\"seq\":1,\"at\":1}",
        "{\"op\":\"order\",\"seq\":3,\"at\":1,\"channel\":\"bank_json\",\"mchid\":\"M9\"}",
        "{\"op\":\"pay\",\"seq\":2,\"at\":1798235200000000}", /* after its expiry */
    };
    const char *reason;
    struct desk d;

    (void)state;
    open_desk(&d);
    books_pay(d.books, prepare(&d, &d.other, "T00001"), NOW);
    prepare(&d, &d.other, "T00002");
    for (size_t i = 0; i < COUNT(bad); i++) {
        reason = NULL;
        assert_case(books_replay(d.books, slice_of(bad[i]), &reason) == -1, bad[i]);
        assert_non_null(reason);
    }
    assert_int_equal(books_count(d.books), 2);
    close_desk(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair_of_states),
        cmocka_unit_test(test_repetition),
        cmocka_unit_test(test_paid_once),
        cmocka_unit_test(test_dead_numbers),
        cmocka_unit_test(test_nothing_changes_unrecorded),
        cmocka_unit_test(test_codes_and_numbers),
        cmocka_unit_test(test_replay_gives_the_same_books),
        cmocka_unit_test(test_replay_refuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
