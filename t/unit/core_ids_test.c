#include "core/ids.h"

#include "core_test.h"

#define AT(seconds) ((ID_EPOCH_S + (seconds)) * USEC_PER_SEC)
#define SECONDS_MAX 0x7fffffffLL
#define PER_SECOND  16384

static void test_fields(void **state)
{
    struct id_gen g;
    int64_t id;
    (void)state;

    assert_int_equal(id_gen_init(&g, 7), 0);
    assert_int_equal(id_next(&g, 5, AT(1000) + 999999, &id), 0);
    assert_true(id == (1000LL << 32 | 5 << 22 | 7 << 14));
    assert_int_equal(id_next(&g, 6, AT(1000), &id), 0);
    assert_true(id == (1000LL << 32 | 6 << 22 | 7 << 14 | 1));
    assert_int_equal(id_slot(id), 6);
    assert_int_equal(id_process(id), 7);
    assert_true(id_time(id) == AT(1000));
}

static void test_widths(void **state)
{
    struct id_gen g;
    int64_t id;
    (void)state;

    assert_int_equal(id_gen_init(&g, ID_PROCESS_MAX), 0);
    assert_int_equal(id_next(&g, SLOT_COUNT - 1, AT(SECONDS_MAX - 1), &id), 0);
    for (int i = 1; i < PER_SECOND; i++)
        assert_int_equal(id_next(&g, SLOT_COUNT - 1, AT(SECONDS_MAX - 1), &id), 0);
    assert_true(id == (INT64_MAX & ~(1LL << 32)));
    assert_int_equal(id_slot(id), 1023);
    assert_int_equal(id_process(id), 255);
    assert_true(id_time(id) == AT(SECONDS_MAX - 1));
    /* the last second can be borrowed, and then it is over */
    for (int i = 0; i < PER_SECOND; i++)
        assert_int_equal(id_next(&g, SLOT_COUNT - 1, AT(SECONDS_MAX - 1), &id), 0);
    assert_true(id == INT64_MAX);
    id = 42;
    assert_int_equal(id_next(&g, SLOT_COUNT - 1, AT(SECONDS_MAX - 1), &id), -1);
    assert_int_equal(id_next(&g, SLOT_COUNT - 1, AT(SECONDS_MAX), &id), -1);
    assert_true(id == 42);
}

static void test_refuses(void **state)
{
    struct id_gen g;
    int64_t id = 42;
    (void)state;

    assert_int_equal(id_gen_init(&g, ID_PROCESS_MAX + 1), -1);
    assert_int_equal(id_gen_init(&g, 0), 0);
    assert_int_equal(id_next(&g, SLOT_COUNT, AT(1), &id), -1);
    assert_int_equal(id_next(&g, 0, AT(-1), &id), -1);
    assert_int_equal(id_next(&g, 0, 0, &id), -1);
    assert_int_equal(id_next(&g, 0, INT64_MIN, &id), -1);
    assert_int_equal(id_next(&g, 0, AT(SECONDS_MAX + 1), &id), -1);
    assert_int_equal(id_next(&g, 0, INT64_MAX, &id), -1);
    assert_true(id == 42);
    /* none of these moved the generator */
    assert_int_equal(id_next(&g, 0, AT(0), &id), 0);
    assert_true(id == 0);
}

static void test_overflow_borrows(void **state)
{
    struct id_gen g;
    int64_t id, last = -1;
    (void)state;

    id_gen_init(&g, 1);
    /* this second and the 60 after it, then no more */
    for (int i = 0; i < 61 * PER_SECOND; i++) {
        assert_int_equal(id_next(&g, 3, AT(50), &id), 0);
        assert_true(id > last);
        assert_int_equal(id_slot(id), 3);
        assert_int_equal(id_process(id), 1);
        last = id;
    }
    assert_true(id_time(last) == AT(110));
    assert_int_equal(id_next(&g, 3, AT(50), &id), -1);
    assert_true(id == last);
    assert_int_equal(id_next(&g, 3, AT(51), &id), 0);
    assert_true(id > last && id_time(id) == AT(111));
}

static void test_clock_going_back(void **state)
{
    struct id_gen g;
    int64_t a, b;
    (void)state;

    id_gen_init(&g, 1);
    assert_int_equal(id_next(&g, 3, AT(1000), &a), 0);
    assert_int_equal(id_next(&g, 3, AT(940), &b), 0);
    assert_true(b > a);
    /* more than a minute back is no borrowing any more: stop, do not guess */
    assert_int_equal(id_next(&g, 3, AT(939), &b), -1);
    assert_int_equal(id_next(&g, 3, AT(999), &a), 0);
    assert_true(a > b);
    assert_int_equal(id_next(&g, 3, AT(1001), &b), 0);
    assert_true(b == (1001LL << 32 | 3 << 22 | 1 << 14));
}

static void test_different_slots_never_clash(void **state)
{
    struct id_gen g;
    int64_t a, b;
    (void)state;

    id_gen_init(&g, 1);
    assert_int_equal(id_next(&g, 1023, AT(5), &a), 0);
    assert_int_equal(id_next(&g, 0, AT(5), &b), 0);
    assert_true(a != b && (a & (PER_SECOND - 1)) != (b & (PER_SECOND - 1)));
}

static void test_shadow(void **state)
{
    struct id_gen g;
    int64_t id;
    (void)state;

    id_gen_init(&g, ID_SHADOW_MIN - 1);
    id_next(&g, 1023, AT(9), &id);
    assert_false(id_is_shadow(id));
    id_gen_init(&g, ID_SHADOW_MIN);
    id_next(&g, 0, AT(9), &id);
    assert_true(id_is_shadow(id));
}

static void test_slot_of(void **state)
{
    bool seen[SLOT_COUNT] = {false};
    unsigned spread = 0;
    (void)state;

    assert_int_equal(slot_of(1020, 1, SLICE("T202609010001")), 1020);
    assert_int_equal(slot_of(1020, 2, SLICE("T202609010001")), 1021);
    assert_int_equal(slot_of(1020, 64, SLICE("T202609010001")), 25); /* around the end */
    for (int i = 0; i < 2000; i++) {
        char no[16];
        uint32_t slot;

        snprintf(no, sizeof(no), "T%d", i);
        slot = slot_of(1000, 64, slice_of(no));
        assert_true(slot >= 1000 || slot < 40);
        spread += !seen[slot];
        seen[slot] = true;
    }
    assert_int_equal(spread, 64);
}

static void test_text(void **state)
{
    char text[ID_TEXT_LEN + 1];
    int64_t id = 59922000LL << 32 | 1023LL << 22 | 255 << 14 | 16383;
    int64_t back = 0;
    (void)state;

    id_format(text, 'P', id);
    assert_string_equal(text, "P202611250257363034605879295");
    assert_int_equal(id_parse(slice_of(text), 'P', &back), 0);
    assert_true(back == id);
    id_format(text, 'R', 0);
    assert_string_equal(text, "R202501010000000000000000000");
    assert_int_equal(id_parse(slice_of(text), 'R', &back), 0);
    assert_true(back == 0);
    id_format(text, 'A', INT64_MAX);
    assert_int_equal(strlen(text), ID_TEXT_LEN);
    assert_int_equal(id_parse(slice_of(text), 'A', &back), 0);
    assert_true(back == INT64_MAX);
}

static void test_text_refuses(void **state)
{
    static const char *const bad[] = {"",
                                      "P",
                                      "P20250101000000000000000000",
                                      "P2025010100000000000000000000",
                                      "R202501010000000000000000000",
                                      "p202501010000000000000000000",
                                      "P202501020000000000000000000",
                                      "P202401010000000000000000000",
                                      "P20250101000000000000000000a",
                                      "P20250101 000000000000000000",
                                      "P20250101-000000000000000001",
                                      "P2025010a0000000000000000000",
                                      "P209301199223372036854775808",
                                      "P209301199999999999999999999",
                                      " 202501010000000000000000000"};
    int64_t id = 42;
    (void)state;

    for (size_t i = 0; i < COUNT(bad); i++)
        assert_case(id_parse(slice_of(bad[i]), 'P', &id) == -1, bad[i]);
    assert_int_equal(id_parse(SLICE_NULL, 'P', &id), -1);
    assert_true(id == 42);
}

static void test_request_no(void **state)
{
    char text[REQUEST_NO_LEN + 1];
    int64_t id = 0;
    uint32_t seq = 0;
    (void)state;

    request_no_format(text, 1LL << 32, 1);
    assert_string_equal(text, "P20250101000000000429496729601");
    assert_int_equal(request_no_parse(slice_of(text), &id, &seq), 0);
    assert_true(id == 1LL << 32 && seq == 1);
    request_no_format(text, INT64_MAX, 99);
    assert_int_equal(request_no_parse(slice_of(text), &id, &seq), 0);
    assert_true(id == INT64_MAX && seq == 99);
    id = 42;
    assert_int_equal(request_no_parse(SLICE("P20250101000000000429496729600"), &id, &seq), -1);
    assert_int_equal(request_no_parse(SLICE("P2025010100000000042949672960a"), &id, &seq), -1);
    assert_int_equal(request_no_parse(SLICE("P202501010000000004294967296/1"), &id, &seq), -1);
    assert_int_equal(request_no_parse(SLICE("R20250101000000000429496729601"), &id, &seq), -1);
    assert_int_equal(request_no_parse(SLICE("P2025010100000000042949672960"), &id, &seq), -1);
    assert_int_equal(request_no_parse(SLICE("P202501010000000004294967296011"), &id, &seq), -1);
    assert_true(id == 42 && seq == 99);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_widths),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_overflow_borrows),
        cmocka_unit_test(test_clock_going_back),
        cmocka_unit_test(test_different_slots_never_clash),
        cmocka_unit_test(test_shadow),
        cmocka_unit_test(test_slot_of),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_text_refuses),
        cmocka_unit_test(test_request_no),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
