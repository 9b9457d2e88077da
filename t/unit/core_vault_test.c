/* R3.5: secrets under several master keys: the first seals, each opens. */
#include "core/vault.h"
#include "core_test.h"

#define HEX_A "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define HEX_B "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static void test_add(void **state)
{
    struct vault v = {.n = 0};

    (void)state;
    assert_int_equal(vault_add(&v, SLICE("")), -1);
    assert_int_equal(vault_add(&v, SLICE(HEX_A "0")), -1);
    assert_int_equal(vault_add(&v, slice_n(HEX_A, 63)), -1);
    assert_int_equal(vault_add(&v, SLICE("zz0102030405060708090a0b0c0d0e0f"
                                         "101112131415161718191a1b1c1d1e1f")),
                     -1);
    assert_int_equal(v.n, 0);
    for (uint32_t i = 0; i < VAULT_KEYS_MAX; i++)
        assert_int_equal(vault_add(&v, SLICE(HEX_A " \r\n")), 0);
    assert_int_equal(vault_add(&v, SLICE(HEX_A)), -1);
    vault_wipe(&v);
    assert_int_equal(v.n, 0);
}

static void test_ring(void **state)
{
    struct vault old = {.n = 0}, both = {.n = 0}, new = {.n = 0}, none = {.n = 0};
    struct slice context = SLICE("app_key:S1"), plain = SLICE("secret");
    struct buf was, anew, out;

    (void)state;
    vault_add(&old, SLICE(HEX_A));
    vault_add(&both, SLICE(HEX_B));
    vault_add(&both, SLICE(HEX_A));
    vault_add(&new, SLICE(HEX_B));
    buf_init(&was, 256);
    buf_init(&anew, 256);
    buf_init(&out, 256);
    assert_int_equal(vault_ring_seal(&none, context, plain, &was), -1);
    assert_int_equal(vault_ring_seal(&old, context, plain, &was), 0);
    assert_int_equal(vault_ring_seal(&both, context, plain, &anew), 0);
    assert_int_equal(vault_ring_open(&both, context, buf_slice(&was), &out), 1);
    assert_true(slice_eq(buf_slice(&out), plain));
    buf_clear(&out);
    assert_int_equal(vault_ring_open(&both, context, buf_slice(&anew), &out), 0);
    assert_true(slice_eq(buf_slice(&out), plain));
    buf_clear(&out);
    assert_int_equal(vault_ring_open(&new, context, buf_slice(&anew), &out), 0);
    buf_clear(&out);
    assert_int_equal(vault_ring_open(&new, context, buf_slice(&was), &out), -1);
    assert_int_equal(vault_ring_open(&old, context, buf_slice(&anew), &out), -1);
    assert_int_equal(vault_ring_open(&both, SLICE("app_key:S2"), buf_slice(&was), &out), -1);
    assert_int_equal(vault_ring_open(&none, context, buf_slice(&was), &out), -1);
    assert_int_equal(out.n, 0);
    buf_release(&was);
    buf_release(&anew);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_add), cmocka_unit_test(test_ring)};

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
