/* The virtual bank's smaller parts: faults and their dice, nonces, the log of requests. */
#include "core_test.h"

#include "backends/paybank/faults/faults.h"
#include "backends/paybank/wire/nonces.h"
#include "backends/paybank/desk/reqlog.h"

#define NOW 1788235200000000LL

static int add(struct faults *f, const char *text)
{
    const struct json *doc;
    struct json_error err;
    const char *reason;
    struct arena a;
    int rc;

    arena_init(&a, 65536);
    assert_int_equal(json_parse(&a, slice_of(text), NULL, &doc, &err), 0);
    rc = faults_add(f, doc, &reason);
    arena_release(&a);
    return rc;
}

static enum fault_kind draw(struct faults *f, enum bank_api api, const char *no)
{
    return faults_draw(f, CHANNEL_WECHAT_V3, api, slice_of(no)).kind;
}

static void test_faults_select(void **state)
{
    struct faults *f = faults_new(1);

    (void)state;
    assert_int_equal(draw(f, BANK_NATIVE, "T1"), FAULT_NONE);
    assert_int_equal(add(f, "{\"fault\":\"error_500\",\"channel\":\"bank_json\"}"), 0);
    assert_int_equal(draw(f, BANK_NATIVE, "T1"), FAULT_NONE);
    assert_int_equal(add(f, "{\"fault\":\"wrong_amount\"}"), 0);
    assert_int_equal(draw(f, BANK_QUERY, "T1"), FAULT_NONE); /* only notifications have it */
    assert_int_equal(draw(f, BANK_NOTIFY, "T1"), FAULT_WRONG_AMOUNT);
    assert_int_equal(add(f, "{\"fault\":\"garbage\",\"out_trade_no\":\"T2\",\"times\":2}"), 0);
    assert_int_equal(draw(f, BANK_QUERY, "T1"), FAULT_NONE);
    assert_int_equal(draw(f, BANK_QUERY, "T2"), FAULT_GARBAGE);
    assert_int_equal(draw(f, BANK_CLOSE, "T2"), FAULT_GARBAGE);
    assert_int_equal(draw(f, BANK_QUERY, "T2"), FAULT_NONE); /* twice is twice */
    assert_int_equal(add(f, "{\"fault\":\"delay\",\"api\":\"close\",\"delay_ms\":7}"), 0);
    assert_int_equal(faults_draw(f, CHANNEL_WECHAT_V3, BANK_CLOSE, SLICE("x")).delay_us, 7000);
    assert_int_equal(add(f, "{\"fault\":\"not_found\"}"), 0);
    assert_int_equal(draw(f, BANK_NATIVE, "T1"), FAULT_NONE);
    assert_int_equal(draw(f, BANK_QUERY, "T1"), FAULT_NOT_FOUND);
    faults_clear(f);
    assert_int_equal(draw(f, BANK_QUERY, "T1"), FAULT_NONE);
    faults_free(f);
}

static void test_faults_refused(void **state)
{
    static const char *const bad[] = {
        "{}",
        "[]",
        "{\"fault\":\"none\"}",
        "{\"fault\":\"delay\",\"times\":-1}",
        "{\"fault\":\"delay\",\"times\":1.5}",
        "{\"fault\":\"delay\",\"percent\":101}",
        "{\"fault\":\"delay\",\"delay_ms\":600001}",
        "{\"fault\":\"delay\",\"api\":\"?\"}",
        "{\"fault\":\"delay\",\"channel\":\"wechat\"}",
        "{\"fault\":\"no_notify\",\"api\":\"native\"}",
        "{\"fault\":\"timeout_after\",\"api\":\"notify\"}",
        "{\"fault\":\"delay\",\"api\":\"native\",\"tiems\":1}",
    };
    struct faults *f = faults_new(1);

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_case(add(f, bad[i]) == -1, bad[i]);
    faults_free(f);
}

static void test_dice(void **state)
{
    struct faults *a = faults_new(5), *b = faults_new(5);
    int hits = 0;

    (void)state;
    add(a, "{\"fault\":\"error_503\",\"percent\":10}");
    add(b, "{\"fault\":\"error_503\",\"percent\":10}");
    for (int i = 0; i < 10000; i++) {
        enum fault_kind k = draw(a, BANK_QUERY, "T1");

        assert_int_equal(k, draw(b, BANK_QUERY, "T1")); /* the same seed, the same luck */
        hits += k != FAULT_NONE;
    }
    assert_in_range(hits, 850, 1150);
    faults_free(a);
    faults_free(b);
}

static void test_nonces(void **state)
{
    struct nonces *s = nonces_new();
    char n[17];

    (void)state;
    for (int i = 0; i < 20000; i++) {
        snprintf(n, sizeof(n), "n%015d", i);
        assert_int_equal(nonces_use(s, SLICE("m"), slice_of(n), NOW), 0);
    }
    assert_int_equal(nonces_use(s, SLICE("m"), slice_of(n), NOW), -1);
    assert_int_equal(nonces_use(s, SLICE("other"), slice_of(n), NOW), 0);
    /* remembered for at least ten minutes, forgotten after twenty */
    assert_int_equal(nonces_use(s, SLICE("m"), slice_of(n), NOW + 601 * USEC_PER_SEC), -1);
    assert_int_equal(nonces_use(s, SLICE("m"), slice_of(n), NOW + 1202 * USEC_PER_SEC), 0);
    assert_int_equal(nonces_use(s, SLICE("m"), slice_of(n), NOW + 9999 * USEC_PER_SEC), 0);
    nonces_free(s);
}

static void test_request_ring(void **state)
{
    struct reqlog *l = reqlog_new();
    const struct json *doc;
    struct json_error err;
    struct json_limits limits = {.depth = 16, .values = 1 << 20};
    struct json_writer w;
    struct arena a;
    struct buf b;

    (void)state;
    for (int i = 0; i < REQLOG_SIZE + 5; i++)
        reqlog_add(l, NOW, CHANNEL_BANK_JSON, BANK_QUERY, i % 2 ? SLICE("T1") : SLICE("T\xff"), 200,
                   FAULT_NONE);
    buf_init(&b, 1 << 24);
    json_writer_init(&w, &b);
    reqlog_list(l, SLICE_NULL, &w);
    arena_init(&a, 1 << 26);
    assert_int_equal(json_parse(&a, buf_slice(&b), &limits, &doc, &err), 0);
    assert_int_equal(doc->count, REQLOG_SIZE);
    assert_slice(json_get(doc->child, "n")->text, "6"); /* the first five are gone */
    buf_clear(&b);
    json_writer_init(&w, &b);
    reqlog_list(l, SLICE("T1"), &w);
    assert_int_equal(json_parse(&a, buf_slice(&b), &limits, &doc, &err), 0);
    assert_int_equal(doc->count, REQLOG_SIZE / 2);
    arena_release(&a);
    buf_release(&b);
    reqlog_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults_select), cmocka_unit_test(test_faults_refused),
        cmocka_unit_test(test_dice),          cmocka_unit_test(test_nonces),
        cmocka_unit_test(test_request_ring),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
