/*
 * What happens when memory ends: each scenario runs again and again, with the first, the second and
 * so on allocation failing, until it needs no more. It must report failure, keep its invariants and
 * leak nothing (the sanitizer build checks that). The sources are included, so that their malloc
 * can be ours.
 */
#include "core_test.h"

#undef fail /* cmocka's name for it is in the way of the sources */

static unsigned allocations; /* so far */
static unsigned failing;     /* which one fails; 0 = none */

static bool fails(void)
{
    return ++allocations == failing;
}

static void *failing_malloc(size_t n)
{
    return fails() ? NULL : malloc(n);
}

static void *failing_realloc(void *p, size_t n)
{
    return fails() ? NULL : realloc(p, n);
}

#define malloc(n)     failing_malloc(n)
#define realloc(p, n) failing_realloc((p), (n))
#include "core/arena.c"
#include "core/buf.c"
#include "core/json.c"
#include "core/crypto.c"
#undef malloc
#undef realloc

/*
 * Runs the scenario with every step-th allocation failing in turn -> how many there were. Some of
 * OpenSSL's are optional (caches): `optional` says that the scenario may succeed nevertheless.
 */
static unsigned each_failure(bool (*scenario)(void), unsigned step, bool optional)
{
    for (failing = 1;; failing += step) {
        bool ok;

        allocations = 0;
        ok = scenario();
        if (allocations < failing) {
            failing = 0;
            assert_true(ok);
            return allocations;
        }
        assert_true(optional || !ok);
        assert_true(failing < 20000);
    }
}

static bool arena_scenario(void)
{
    struct arena a;
    bool ok = true;

    arena_init(&a, 1 << 20);
    for (size_t i = 0; i < 40; i++) {
        size_t used = a.used;
        char *p = arena_alloc(&a, 1000);

        if (p)
            memset(p, 'x', 1000);
        else
            assert_int_equal(a.used, used);
        ok = ok && p;
    }
    assert_int_equal(ok, !a.failed);
    arena_release(&a);
    return ok;
}

static void test_arena(void **state)
{
    (void)state;
    assert_in_range(each_failure(arena_scenario, 1, false), 3, 20);
}

static bool buf_scenario(void)
{
    struct buf b;
    bool ok;

    buf_init(&b, 10000);
    for (int i = 0; i < 2000; i++) {
        buf_add_str(&b, "abc");
        assert_true(b.n <= b.alloc);
    }
    ok = buf_ok(&b);
    /* what was there before stays readable */
    assert_true(b.n == 0 || (b.n % 3 == 0 && memcmp(b.p, "abc", 3) == 0));
    buf_release(&b);
    return ok;
}

static void test_buf(void **state)
{
    (void)state;
    assert_in_range(each_failure(buf_scenario, 1, false), 4, 12);
}

/* Of several chunks: values, a string that is decoded, one that is copied. */
static bool json_scenario(void)
{
    static char text[20000];
    const struct json *v = NULL;
    struct json_error err;
    struct arena a;
    int rc;

    memset(text, 'a', sizeof(text));
    memcpy(text, "[\"\\n", 4);
    memcpy(text + sizeof(text) - 9, "\",[1,{}]]", 9);
    arena_init(&a, 1 << 20);
    rc = json_parse(&a, slice_n(text, sizeof(text)), NULL, &v, &err);
    if (rc < 0) {
        assert_null(v);
        assert_string_equal(err.reason, "out of memory");
    } else {
        assert_int_equal(v->count, 2);
    }
    arena_release(&a);
    return rc == 0;
}

static void test_json(void **state)
{
    (void)state;
    assert_in_range(each_failure(json_scenario, 1, false), 3, 10);
}

static bool secret_scenario(void)
{
    struct secret s = {0};
    struct hmac_key *k = hmac_key_new(SLICE("key"));
    bool ok = secret_set(&s, SLICE("a")) == 0;
    bool replaced = secret_set(&s, SLICE("bc")) == 0;

    /* a failed replacement leaves the old secret, not half of a new one */
    assert_int_equal(s.n, replaced ? 2 : ok ? 1 : 0);
    ok = ok && replaced && k;
    hmac_key_free(k);
    secret_release(&s);
    return ok;
}

static void test_secrets(void **state)
{
    (void)state;
    assert_int_equal(each_failure(secret_scenario, 1, false), 3);
}

/* ------------------------------------------------------------------ OpenSSL's memory */

static struct slice private_pem, public_pem;

static void *openssl_malloc(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return failing_malloc(n);
}

static void *openssl_realloc(void *p, size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return failing_realloc(p, n);
}

static void openssl_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    free(p);
}

static bool pkey_scenario(void)
{
    struct pkey *private = pkey_private_from_pem(private_pem);
    struct pkey *pub = pkey_public_from_pem(public_pem);
    struct slice text = SLICE("text");
    uint8_t sig[256];
    size_t n = sizeof(sig);
    bool ok = private && pkey_sign_sha256(private, &text, 1, sig, &n) == 0;

    ok = ok && pub && pkey_verify_sha256(pub, &text, 1, slice_n(sig, n)) == 0;
    pkey_destroy(private);
    pkey_destroy(pub);
    return ok;
}

static bool vault_scenario(void)
{
    struct slice key = SLICE("0123456789abcdef0123456789ABCDEF");
    struct buf sealed, out;
    bool ok;

    buf_init(&sealed, 100);
    buf_init(&out, 100);
    ok = vault_seal(key, SLICE("c"), SLICE("secret"), &sealed) == 0 &&
         vault_open(key, SLICE("c"), buf_slice(&sealed), &out) == 0;
    assert_int_equal(out.n, ok ? 6 : 0);
    buf_release(&sealed);
    buf_release(&out);
    return ok;
}

static void test_vault(void **state)
{
    (void)state;
    assert_true(vault_scenario()); /* what is fetched once is not part of it */
    each_failure(vault_scenario, 1, true);
}

static void test_pkey(void **state)
{
    (void)state;
    private_pem = read_file("t/vectors/merchant.key.pem");
    public_pem = read_file("t/vectors/merchant.pub.pem");
    assert_true(pkey_scenario());
    /* thousands of them, most in decoding PEM: a sample keeps this test under a second */
    each_failure(pkey_scenario, 37, true);
    free((char *)private_pem.p);
    free((char *)public_pem.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena),   cmocka_unit_test(test_buf),   cmocka_unit_test(test_json),
        cmocka_unit_test(test_secrets), cmocka_unit_test(test_vault), cmocka_unit_test(test_pkey),
    };

    if (CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free) != 1)
        return 1;
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
