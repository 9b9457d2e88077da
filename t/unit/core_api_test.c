#include "core/api.h"
#include "core/api_index.h"

#include "core_test.h"

#define BODY(rest)                                                                                 \
    "{\"method\":\"native\",\"out_trade_no\":\"123456\",\"description\":\"t\"," rest "}"

static void test_matches(void **state)
{
    static const struct {
        const char *method, *target;
        enum api_id id;
        const char *path_id, *out_trade_no, *mchid;
    } good[] = {
        {"POST", "/v1/payments", API_PAYMENT_CREATE, "", "", ""},
        {"POST", "/v1/payments?mchid=1", API_PAYMENT_CREATE, "", "", "1"},
        {"GET", "/v1/payments?out_trade_no=abc%7Cde", API_PAYMENT_FIND, "", "abc|de", ""},
        {"GET", "/v1/payments?mchid=7&out_trade_no=abcdef", API_PAYMENT_FIND, "", "abcdef", "7"},
        {"GET", "/v1/payments/out-trade-no/a*%2a*bc", API_PAYMENT_FIND, "", "a***bc", ""},
        {"GET", "/v1/payments/P1", API_PAYMENT_GET, "P1", "", ""},
        {"POST", "/v1/payments/P1/close", API_PAYMENT_CLOSE, "P1", "", ""},
        {"GET", "/v1/certificates", API_CERTIFICATES, "", "", ""},
    };
    struct arena a;
    (void)state;

    arena_init(&a, 65536);
    for (size_t i = 0; i < COUNT(good); i++) {
        struct problem p;
        struct api_match m;

        assert_case(api_match(&a, slice_of(good[i].method), slice_of(good[i].target), &m, &p) == 0,
                    good[i].target);
        assert_case(m.api->id == good[i].id && api_of(m.api->id)->id == good[i].id, good[i].target);
        assert_slice(m.id, good[i].path_id);
        assert_slice(m.out_trade_no, good[i].out_trade_no);
        assert_slice(m.mchid, good[i].mchid);
    }
    arena_release(&a);
}

static void test_matches_refused(void **state)
{
    static const struct {
        const char *method, *target;
        enum problem_code code;
        const char *detail;
    } bad[] = {
        {"GET", "", PROBLEM_PATH_UNKNOWN, ""},
        {"GET", "/", PROBLEM_PATH_UNKNOWN, ""},
        {"GET", "/v1", PROBLEM_PATH_UNKNOWN, ""},
        {"GET", "/v1/payments/", PROBLEM_PATH_UNKNOWN, ""},
        {"GET", "/v1/paymentsx", PROBLEM_PATH_UNKNOWN, ""},
        {"GET", "/v1/payments/a/b", PROBLEM_PATH_UNKNOWN, ""},
        {"POST", "/v1/payments/a/close/", PROBLEM_PATH_UNKNOWN, ""},
        {"POST", "/v1/payments//close", PROBLEM_PATH_UNKNOWN, ""},
        {"PUT", "/v1/payments", PROBLEM_METHOD_NOT_ALLOWED, "POST, GET"},
        {"post", "/v1/payments", PROBLEM_METHOD_NOT_ALLOWED, "POST, GET"},
        {"GET", "/v1/payments/a/close", PROBLEM_METHOD_NOT_ALLOWED, "POST"},
        {"POST", "/v1/certificates", PROBLEM_METHOD_NOT_ALLOWED, "GET"},
    };
    static const struct {
        const char *target;
        enum problem_code code;
    } find[] = {
        {"/v1/payments", PROBLEM_FIELD_MISSING},
        {"/v1/payments?", PROBLEM_FIELD_MISSING},
        {"/v1/payments?out_trade_no=12345", PROBLEM_FIELD_INVALID},
        {"/v1/payments?out_trade_no=123456%", PROBLEM_FIELD_INVALID},
        {"/v1/payments?out_trade_no=123456%4", PROBLEM_FIELD_INVALID},
        {"/v1/payments?out_trade_no=123456%zz", PROBLEM_FIELD_INVALID},
        {"/v1/payments?out_trade_no=123456%00", PROBLEM_FIELD_INVALID},
        {"/v1/payments?out_trade_no=123456+7", PROBLEM_FIELD_INVALID},
        {"/v1/payments?out_trade_no=123456789012345678901234567890123", PROBLEM_FIELD_INVALID},
        {"/v1/payments?out_trade_no=123456&out_trade_no=123456", PROBLEM_FIELD_UNKNOWN},
        {"/v1/payments?out_trade_no=123456&mchid=", PROBLEM_FIELD_UNKNOWN},
        {"/v1/payments?out_trade_no=123456&x", PROBLEM_FIELD_UNKNOWN},
        {"/v1/payments/out-trade-no/123", PROBLEM_FIELD_INVALID},
        {"/v1/payments/out-trade-no/123456?out_trade_no=123456", PROBLEM_FIELD_UNKNOWN},
    };
    struct problem p;
    struct api_match m;
    struct arena a;
    (void)state;

    arena_init(&a, 65536);
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_case(api_match(&a, slice_of(bad[i].method), slice_of(bad[i].target), &m, &p) == -1,
                    bad[i].target);
        assert_case(p.code == bad[i].code, bad[i].target);
        assert_slice(p.detail, bad[i].detail);
    }
    for (size_t i = 0; i < COUNT(find); i++) {
        assert_case(api_match(&a, SLICE("GET"), slice_of(find[i].target), &m, &p) == -1,
                    find[i].target);
        assert_case(p.code == find[i].code, find[i].target);
    }
    arena_release(&a);
}

static void test_bodies(void **state)
{
    static const struct {
        const char *body;
        enum problem_code code;
        const char *pointer;
    } bodies[] = {
        {BODY("\"amount\":{\"total\":1}"), PROBLEM_NONE, ""},
        {BODY("\"amount\":{\"total\":100000000000,\"currency\":\"CNY\"}"), PROBLEM_NONE, ""},
        {BODY("\"amount\":{\"total\":100000000001}"), PROBLEM_AMOUNT_OUT_OF_RANGE, "/amount/total"},
        {BODY("\"amount\":{\"total\":-0}"), PROBLEM_AMOUNT_OUT_OF_RANGE, "/amount/total"},
        {BODY("\"amount\":{\"total\":99999999999999999999}"), PROBLEM_AMOUNT_OUT_OF_RANGE,
         "/amount/total"},
        {BODY("\"amount\":{\"total\":1.0}"), PROBLEM_FIELD_TYPE, "/amount/total"},
        {BODY("\"amount\":{\"total\":true}"), PROBLEM_FIELD_TYPE, "/amount/total"},
        {BODY("\"amount\":{\"total\":1,\"currency\":\"cny\"}"), PROBLEM_FIELD_INVALID,
         "/amount/currency"},
        {BODY("\"amount\":{}"), PROBLEM_FIELD_MISSING, "/amount/total"},
        {BODY("\"amount\":null"), PROBLEM_FIELD_TYPE, "/amount"},
        {BODY("\"amount\":[]"), PROBLEM_FIELD_TYPE, "/amount"},
        {BODY("\"a/b~c\":1"), PROBLEM_FIELD_UNKNOWN, "/a~1b~0c"},
        {BODY("\"\":1"), PROBLEM_FIELD_UNKNOWN, "/"},
        {BODY("\"amount\":{\"amount\":{\"total\":1}}"), PROBLEM_FIELD_UNKNOWN, "/amount/amount"},
        {BODY("\"amount.total\":1"), PROBLEM_FIELD_UNKNOWN, "/amount.total"},
        {BODY("\"total\":1"), PROBLEM_FIELD_UNKNOWN, "/total"},
        {BODY("\"attach\":\"\\u0000\""), PROBLEM_JSON_INVALID, NULL},
        {BODY("\"attach\":\"\\u007f\""), PROBLEM_FIELD_INVALID, "/attach"},
        {BODY("\"method\":\"native\""), PROBLEM_JSON_INVALID, "/method"},
        {"", PROBLEM_JSON_INVALID, ""},
        {"null", PROBLEM_JSON_INVALID, ""},
        {"{}", PROBLEM_FIELD_MISSING, "/method"},
        {"{} x", PROBLEM_JSON_INVALID, ""},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(bodies); i++) {
        struct problem p = {0};
        const struct json *doc;
        struct arena a;
        int rc;

        arena_init(&a, 65536);
        rc = api_check(&a, api_of(API_PAYMENT_CREATE), slice_of(bodies[i].body), &doc, &p);
        assert_case(rc == (bodies[i].code ? -1 : 0) && p.code == bodies[i].code, bodies[i].body);
        if (bodies[i].pointer)
            assert_slice(p.pointer, bodies[i].pointer);
        arena_release(&a);
    }
}

static void test_bodies_of_others(void **state)
{
    const struct json *doc;
    struct problem p;
    struct arena a;
    (void)state;

    arena_init(&a, 65536);
    assert_int_equal(api_check(&a, api_of(API_PAYMENT_CLOSE), SLICE_NULL, &doc, &p), 0);
    assert_null(doc);
    assert_int_equal(api_check(&a, api_of(API_PAYMENT_CLOSE), SLICE("{}"), &doc, &p), 0);
    assert_non_null(doc);
    assert_int_equal(api_check(&a, api_of(API_PAYMENT_CLOSE), SLICE("{\"x\":1}"), &doc, &p), -1);
    assert_int_equal(p.code, PROBLEM_FIELD_UNKNOWN);
    assert_int_equal(api_check(&a, api_of(API_PAYMENT_GET), SLICE_NULL, &doc, &p), 0);
    assert_int_equal(api_check(&a, api_of(API_PAYMENT_GET), SLICE("{}"), &doc, &p), -1);
    assert_int_equal(p.code, PROBLEM_JSON_INVALID);
    arena_release(&a);
}

/* Each member is the field whose path it has, and no other object's member is. */
static void test_fields_found(void **state)
{
    size_t count;
    const struct api *api = api_table(&count);
    (void)state;

    for (size_t i = 0; i < count; i++) {
        const struct api_index *x = api_index_of(&api[i]);

        assert_ptr_equal(x->fields, api[i].fields);
        for (int n = 0; n < (int)x->count; n++) {
            const struct api_name *name = &x->names[n];
            char path[64];

            snprintf(path, sizeof(path), "%s%s%.*s",
                     name->parent < 0 ? "" : x->fields[name->parent].path,
                     name->parent < 0 ? "" : ".", (int)name->text.n, name->text.p);
            assert_string_equal(path, x->fields[n].path);
            assert_case(api_index_find(x, name->parent, name->text) == n, path);
            assert_case(api_index_find(x, n, name->text) == -1, path);
            assert_case(api_index_find(x, name->parent, slice_n(path, strlen(path) - 1)) == -1,
                        path);
        }
    }
}

/* Which of all ASCII characters a field takes, sixteen of them at a time. */
static void test_characters(void **state)
{
    static const struct {
        const char *field, *letters;
    } rows[] = {
        {"out_trade_no", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-|*"},
        {"product", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-."},
        {"auth_code", "0123456789"},
        {"channel", "0123456789abcdefghijklmnopqrstuvwxyz_-"},
        {"payer_id", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        for (char c = ' '; c < 127; c++) {
            char value[17], body[64];
            const struct json *doc;
            struct problem p;
            struct arena a;
            bool refused;

            memset(value, c, 16);
            value[16] = '\0';
            if (c == '"' || c == '\\')
                continue; /* not plain JSON */
            snprintf(body, sizeof(body), "{\"%s\":\"%s\"}", rows[i].field, value);
            arena_init(&a, 65536);
            assert_int_equal(api_check(&a, api_of(API_PAYMENT_CREATE), slice_of(body), &doc, &p),
                             -1);
            refused = p.code == PROBLEM_FIELD_INVALID;
            assert_case(refused || p.code == PROBLEM_FIELD_MISSING, body); /* the others */
            assert_case(refused == !strchr(rows[i].letters, c), body);
            arena_release(&a);
        }
    }
}

/* The walk keeps one bit per field. */
static void test_tables_fit(void **state)
{
    size_t count;
    const struct api *api = api_table(&count);
    (void)state;

    for (size_t i = 0; i < count; i++) {
        size_t n = 0;

        while (api[i].fields && api[i].fields[n].path)
            n++;
        assert_case(n <= 64, api[i].path);
        assert_case((api[i].max_body == 0) == (api[i].fields == NULL), api[i].path);
    }
}

static void test_problems(void **state)
{
    struct problem p = {
        .code = PROBLEM_FIELD_TYPE, .detail = SLICE("a \"b\""), .pointer = SLICE("/x")};
    struct buf b;
    (void)state;

    buf_init(&b, 4096);
    problem_write(&b, &p, SLICE("t1"));
    assert_slice(
        buf_slice(&b),
        "{\"type\":\"about:blank\",\"title\":\"Field has the wrong type\",\"status\":400,"
        "\"code\":\"FIELD_TYPE\",\"detail\":\"a \\\"b\\\"\","
        "\"errors\":[{\"pointer\":\"/x\",\"detail\":\"a \\\"b\\\"\"}],\"trace_id\":\"t1\"}");
    buf_clear(&b);
    p = (struct problem){.code = PROBLEM_REQUEST_INVALID, .status = 414};
    problem_write(&b, &p, SLICE_NULL);
    assert_slice(buf_slice(&b),
                 "{\"type\":\"about:blank\",\"title\":\"Not a valid request\",\"status\":414,"
                 "\"code\":\"REQUEST_INVALID\"}");
    buf_release(&b);

    for (int code = PROBLEM_NONE + 1; code < PROBLEM_COUNT; code++) {
        int status = problem_status((enum problem_code)code);

        assert_case(status >= 400 && status < 600, problem_name((enum problem_code)code));
    }
    assert_string_equal(problem_name((enum problem_code)9999), "INTERNAL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matches),      cmocka_unit_test(test_matches_refused),
        cmocka_unit_test(test_bodies),       cmocka_unit_test(test_bodies_of_others),
        cmocka_unit_test(test_fields_found), cmocka_unit_test(test_characters),
        cmocka_unit_test(test_tables_fit),   cmocka_unit_test(test_problems),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
