/* Long, deep, broken and random input, well signed: at worst `unknown`, never a wrong class. */
#include "channel_test.h"

#include "backends/channel/body.h"

#define PAID                                                                                       \
    "{\"code\":\"OK\",\"status\":\"PAID\",\"order_no\":\"" ORDER_NO                                \
    "\",\"bank_no\":\"B20260901000001\",\"amount\":888,\"currency\":\"CNY\",\"paid_at\":"          \
    "\"2026-09-01T12:00:00+08:00\"}"
#define EVENT                                                                                      \
    "{\"event\":\"ORDER_PAID\",\"mch_id\":\"M10001\",\"order_no\":\"T202609010001\","              \
    "\"bank_no\":\"B20260901000001\",\"amount\":888,\"currency\":\"CNY\","                         \
    "\"paid_at\":\"2026-09-01T12:00:00+08:00\"}"

static struct channel_result query(struct slice body)
{
    struct signed_headers h = bank_sign(body);

    return decode_at(fx.bank, CALL_QUERY, 200, &h, body, NOW);
}

static int notify(struct slice body, struct channel_result *r)
{
    struct signed_headers h = bank_sign(body);
    const char *why = NULL;
    int rc =
        channel_notification(fx.bank, fx.bank_account, h.h, h.n, body, NOW, &fx.arena, r, &why);

    assert_true((rc == 0) == (why == NULL));
    return rc;
}

/* PAID, but with `more` as a further member. */
static struct slice with(struct slice more)
{
    return arena_printf(&fx.arena, "%.*s,%.*s}", (int)sizeof(PAID) - 2, PAID, SLICE_FMT(more));
}

static struct slice repeat(const char *text, size_t times, const char *end)
{
    size_t n = strlen(text);
    char *p = arena_alloc(&fx.arena, n * times + strlen(end) + 1);

    for (size_t i = 0; i < times; i++)
        memcpy(p + i * n, text, n);
    memcpy(p + n * times, end, strlen(end));
    return slice_n(p, n * times + strlen(end));
}

static void test_sane_extras(void **state)
{
    (void)state;
    assert_class(query(SLICE(PAID)), CLASS_SUCCESS, "plain");
    assert_class(query(with(SLICE("\"more\":{\"a\":[1,2,{\"b\":null}]}"))), CLASS_SUCCESS, "more");
    assert_class(query(with(arena_printf(&fx.arena, "\"more\":\"%.*s\"",
                                         SLICE_FMT(repeat("x", 100000, ""))))),
                 CLASS_SUCCESS, "long text aside");
}

static void test_broken_bodies(void **state)
{
    const struct {
        const char *name;
        struct slice body;
    } cases[] = {
        {"duplicate member", with(SLICE("\"amount\":1"))},
        {"duplicate member, other spelling", with(SLICE("\"amo\\u0075nt\":1"))},
        {"duplicate far away", with(SLICE("\"x\":{\"y\":1,\"y\":2}"))},
        {"NUL", with(SLICE("\"x\":\"\\u0000\""))},
        {"raw NUL", slice_n(PAID "\0", sizeof(PAID))},
        {"not UTF-8", with(SLICE("\"x\":\"\xff\""))},
        {"lone surrogate", with(SLICE("\"x\":\"\\ud800\""))},
        {"deep arrays", with(repeat("\"x\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[", 1, ""))},
        {"very deep", repeat("[", 200000, "")},
        {"very deep objects", repeat("{\"a\":", 40000, "")},
        {"too many values", with(repeat("\"x\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", 1, ""))},
        {"two documents", SLICE(PAID PAID)},
        {"cut", slice_n(PAID, sizeof(PAID) - 2)},
        {"empty", SLICE("")},
        {"blank", SLICE("   ")},
        {"byte order mark", SLICE("\xef\xbb\xbf" PAID)},
        {"array around", SLICE("[" PAID "]")},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct channel_result r = query(cases[i].body);

        assert_class(r, CLASS_UNKNOWN, cases[i].name);
        assert_slice(r.code, "parse");
        assert_int_equal(notify(cases[i].body, &r), -1);
    }
}

static void test_huge_bodies(void **state)
{
    struct slice numbers = repeat("1,", 2000, "1");
    struct slice many = with(arena_printf(&fx.arena, "\"x\":[%.*s]", SLICE_FMT(numbers)));
    struct slice huge =
        with(arena_printf(&fx.arena, "\"x\":\"%.*s\"", SLICE_FMT(repeat("x", 1 << 20, ""))));
    struct channel_result r;

    (void)state;
    assert_class(query(many), CLASS_UNKNOWN, "too many values");
    assert_class(query(huge), CLASS_UNKNOWN, "a megabyte");
    assert_int_equal(notify(huge, &r), -1);
}

static void test_hostile_members(void **state)
{
    static const char *const orders[] = {
        "\"" ORDER_NO "\\u0000\"",
        "\"" ORDER_NO " \"",
        "\" " ORDER_NO "\"",
        "1",
        "true",
        "{}",
        "[\"" ORDER_NO "\"]",
        "null",
        "\"\"",
    };
    struct slice no = repeat("9", 65, "");

    (void)state;
    for (size_t i = 0; i < COUNT(orders); i++) {
        struct slice body = arena_printf(&fx.arena,
                                         "{\"code\":\"OK\",\"status\":\"PAID\",\"order_no\":%s,"
                                         "\"bank_no\":\"B1\",\"amount\":888,"
                                         "\"currency\":\"CNY\"}",
                                         orders[i]);

        assert_class(query(body), CLASS_UNKNOWN, orders[i]);
    }
    /* longer than what the database holds, and control characters for the log */
    assert_class(query(arena_printf(&fx.arena,
                                    "{\"code\":\"OK\",\"status\":\"PAID\",\"order_no\":\"" ORDER_NO
                                    "\",\"bank_no\":\"%.*s\",\"amount\":888,\"currency\":\"CNY\"}",
                                    SLICE_FMT(no))),
                 CLASS_UNKNOWN, "long bank_no");
    assert_class(query(SLICE("{\"code\":\"OK\",\"status\":\"PAID\",\"order_no\":\"" ORDER_NO
                             "\",\"bank_no\":\"B\\n1\",\"amount\":888,\"currency\":\"CNY\"}")),
                 CLASS_UNKNOWN, "control character");
    assert_class(query(SLICE("{\"code\":\"OK\",\"status\":\"PA\\nID\",\"order_no\":\"" ORDER_NO
                             "\",\"bank_no\":\"B1\",\"amount\":888,\"currency\":\"CNY\"}")),
                 CLASS_UNKNOWN, "control character in a state");
}

static void test_long_codes(void **state)
{
    struct slice code = repeat("PARAM_ERROR_", 100, "");
    struct slice body = arena_printf(&fx.arena, "{\"code\":\"%.*s\",\"message\":\"%.*s\"}",
                                     SLICE_FMT(code), SLICE_FMT(repeat("错", 1000, "")));
    struct channel_result r = decode_signed(fx.wechat, CALL_PREPARE, 400, body.p);

    (void)state;
    assert_class(r, CLASS_UNKNOWN, "long code");
    assert_true(r.code.n <= 64);
    assert_int_equal(r.message.n, 3 * 256);
    /* underscores alone do not make room for more */
    body =
        arena_printf(&fx.arena, "{\"code\":\"%.*sPARAMERROR\"}", SLICE_FMT(repeat("_", 500, "")));
    r = decode_signed(fx.wechat, CALL_PREPARE, 400, body.p);
    assert_class(r, CLASS_FAILED, "many underscores");
}

static void test_hostile_headers(void **state)
{
    struct slice body = SLICE(PAID);
    struct signed_headers good = bank_sign(body);
    struct slice value = *header_value(&good, "Bank-Signature");
    struct slice values[] = {
        repeat("t=1,n=2,", 10000, "s=3"),
        repeat(",n=", 1000, ""),
        SLICE("t="),
        SLICE("t=1,n="),
        arena_printf(&fx.arena, "%.*s,s=00", SLICE_FMT(value)),
        arena_printf(&fx.arena, "%.*s\r\nX: y", SLICE_FMT(value)),
        slice_n("t=1\0,n=2,s=3", 12),
    };
    struct http_header many[300];

    (void)state;
    for (size_t i = 0; i < COUNT(values); i++) {
        struct signed_headers h = {.n = 0};

        add_header(&h, "Bank-Signature", values[i]);
        assert_class(decode_at(fx.bank, CALL_QUERY, 200, &h, body, NOW), CLASS_UNKNOWN, "header");
    }
    for (size_t i = 0; i < COUNT(many); i++)
        many[i] = (struct http_header){SLICE("Bank-Signature"), value};
    {
        struct channel_order order = an_order();
        struct channel_result r;

        channel_decode(fx.bank, fx.bank_account, CALL_QUERY, &order, 200, many, COUNT(many), body,
                       NOW, &fx.arena, &r);
        assert_class(r, CLASS_UNKNOWN, "the same header 300 times");
        channel_decode(fx.bank, fx.bank_account, CALL_QUERY, &order, 200, many, 1, body, NOW,
                       &fx.arena, &r);
        assert_class(r, CLASS_SUCCESS, "once");
    }
}

/* ------------------------------------------------------------------ random changes */

static uint64_t dice;

static uint32_t roll(uint32_t below)
{
    dice = dice * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(dice >> 33) % below;
}

/* A few bytes changed, left out or doubled. */
static struct slice mutate(const char *text)
{
    size_t n = strlen(text);
    char *p = arena_alloc(&fx.arena, n + 16);

    memcpy(p, text, n);
    for (uint32_t k = 1 + roll(3); k > 0 && n > 1; k--) {
        size_t at = roll((uint32_t)n);

        switch (roll(4)) {
        case 0:
            p[at] = (char)roll(256);
            break;
        case 1:
            memmove(p + at, p + at + 1, --n - at);
            break;
        case 2:
            memmove(p + at + 1, p + at, n++ - at);
            break;
        default:
            p[at] = "{}[]\":,0123456789\\"[roll(18)];
        }
    }
    return slice_n(p, n);
}

/* Whatever the text has become: a success is verified, about our order, and whole. */
static void check_success(const struct channel_result *r)
{
    if (r->cls != CLASS_SUCCESS)
        return;
    assert_true(r->verified);
    assert_true(r->amount > 0);
    assert_int_equal(r->currency.n, 3);
    assert_true(r->channel_trade_no.n > 0 && r->channel_trade_no.n <= 64);
    assert_true(r->request_no.n > 0);
}

static void test_random_bodies(void **state)
{
    struct arena keep = fx.arena;
    int success = 0;

    (void)state;
    dice = 1;
    for (int i = 0; i < 20000; i++) {
        struct channel_result r;

        arena_init(&fx.arena, 1 << 20);
        r = query(mutate(PAID));
        check_success(&r);
        if (r.cls == CLASS_SUCCESS)
            assert_slice(r.request_no, ORDER_NO);
        success += r.cls == CLASS_SUCCESS;
        assert_true(r.cls == CLASS_SUCCESS || r.cls == CLASS_UNKNOWN);
        if (notify(mutate(EVENT), &r) == 0)
            check_success(&r);
        else
            assert_int_equal(r.cls, CLASS_UNKNOWN);
        arena_release(&fx.arena);
    }
    fx.arena = keep;
    print_message("# %d of 20000 still a success\n", success);
    assert_true(success > 100); /* bank_no and paid_at may change; the rest may not */
}

/* ------------------------------------------------------------------ too little memory */

static void test_small_arenas(void **state)
{
    struct slice body = SLICE(PAID);
    struct signed_headers h = bank_sign(body);
    struct slice event = SLICE(EVENT);
    struct signed_headers he = bank_sign(event);
    struct channel_order order = an_order();
    int enough = 0;

    (void)state;
    for (size_t cap = 0; cap < 16384; cap += 16) {
        struct channel_request request;
        struct channel_result r;
        struct arena a;
        const char *why;
        int rc;

        arena_init(&a, cap);
        channel_decode(fx.bank, fx.bank_account, CALL_QUERY, &order, 200, h.h, h.n, body, NOW, &a,
                       &r);
        assert_true(r.cls == (a.failed ? CLASS_UNKNOWN : CLASS_SUCCESS));
        enough += r.cls == CLASS_SUCCESS;
        arena_clear(&a);
        rc = channel_notification(fx.bank, fx.bank_account, he.h, he.n, event, NOW, &a, &r, &why);
        assert_int_equal(rc, a.failed ? -1 : 0);
        arena_clear(&a);
        rc = channel_encode(fx.bank, fx.bank_account, CALL_PREPARE, &order, NOW, SLICE(NONCE), &a,
                            &request, &why);
        assert_int_equal(rc, a.failed ? -1 : 0);
        arena_release(&a);
    }
    assert_true(enough > 0);
}

static void test_small_arenas_wechat(void **state)
{
    struct slice body = SLICE("{\"code_url\":\"weixin://wxpay/bizpayurl?pr=abc\"}");
    struct signed_headers h = wechat_sign(body);
    struct channel_order order = an_order();

    (void)state;
    for (size_t cap = 0; cap < 8192; cap += 256) {
        struct channel_request request;
        struct channel_result r;
        struct arena a;
        const char *why;
        int rc;

        arena_init(&a, cap);
        channel_decode(fx.wechat, fx.wechat_account, CALL_PREPARE, &order, 200, h.h, h.n, body, NOW,
                       &a, &r);
        assert_true(r.cls == (a.failed ? CLASS_UNKNOWN : CLASS_ACCEPTED));
        arena_clear(&a);
        rc = channel_encode(fx.wechat, fx.wechat_account, CALL_PREPARE, &order, NOW, SLICE(NONCE),
                            &a, &request, &why);
        assert_int_equal(rc, a.failed ? -1 : 0);
        arena_release(&a);
    }
}

/* Whatever stands in the order's texts, the body is JSON and says the same again. */
static void test_hostile_orders(void **state)
{
    static const char *const texts[] = {
        "\"},{\"x\":\"", "\\", "\\u0000", "a\nb\tc\x01", "</script>", "\xf0\x9f\x98\x80",
        "$order.amount",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct channel_order order = an_order();
        struct channel_request r;
        const struct json *v;
        struct json_error err;
        const char *why;

        order.description = slice_of(texts[i]);
        order.attach = slice_of(texts[i]);
        assert_int_equal(channel_encode(fx.wechat, fx.wechat_account, CALL_PREPARE, &order, NOW,
                                        SLICE(NONCE), &fx.arena, &r, &why),
                         0);
        assert_int_equal(json_parse(&fx.arena, r.body, NULL, &v, &err), 0);
        assert_true(slice_eq(json_str(v, "description"), order.description));
        assert_true(slice_eq(json_str(v, "attach"), order.attach));
        for (size_t k = 0; k < r.nheaders; k++)
            assert_null(memchr(r.headers[k].value.p, '\n', r.headers[k].value.n));
    }
}

static void test_long_orders(void **state)
{
    struct channel_order order = an_order();
    struct channel_request r;
    const char *why;

    (void)state;
    order.description = repeat("\x01", 100000, "");
    assert_int_equal(channel_encode(fx.wechat, fx.wechat_account, CALL_PREPARE, &order, NOW,
                                    SLICE(NONCE), &fx.arena, &r, &why),
                     0);
    assert_true(r.body.n < 2000);
    order.attach = repeat("a", 129, "");
    assert_int_equal(channel_encode(fx.wechat, fx.wechat_account, CALL_PREPARE, &order, NOW,
                                    SLICE(NONCE), &fx.arena, &r, &why),
                     -1);
    assert_string_equal(why, "attach: value is too long or malformed");
}

/* What is signed must have one reading. */
static void test_sorted_names(void **state)
{
    static const struct {
        const char *body, *text;
    } cases[] = {{"{\"b\":\"2\",\"a\":\"1\",\"sign\":\"x\"}", "a=1&b=2"},
                 {"{\"b\":\"2\",\"a=1\":\"1\"}", NULL},
                 {"{\"b\":\"2\",\"sign=x&a\":\"1\"}", NULL},
                 {"{\"b\":\"2\",\"&\":\"1\"}", NULL}};
    const struct slice leave = SLICE("sign");

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct json *v;
        struct slice got;

        assert_int_equal(body_parse(ENCODING_JSON, slice_of(cases[i].body), &fx.arena, &v), 0);
        got = body_sorted(v, &leave, 1, &fx.arena);
        if (cases[i].text)
            assert_true(slice_is(got, cases[i].text));
        else
            assert_null(got.p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sane_extras),         cmocka_unit_test(test_broken_bodies),
        cmocka_unit_test(test_huge_bodies),         cmocka_unit_test(test_hostile_members),
        cmocka_unit_test(test_long_codes),          cmocka_unit_test(test_hostile_headers),
        cmocka_unit_test(test_random_bodies),       cmocka_unit_test(test_small_arenas),
        cmocka_unit_test(test_small_arenas_wechat), cmocka_unit_test(test_hostile_orders),
        cmocka_unit_test(test_sorted_names),        cmocka_unit_test(test_long_orders),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
