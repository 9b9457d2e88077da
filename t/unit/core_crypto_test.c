#include "core/crypto.h"

#include "core_test.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

static struct buf buf;

static int setup(void **state)
{
    (void)state;
    buf_init(&buf, 1 << 20);
    ERR_clear_error();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_release(&buf);
    /* errors left behind would be blamed on the next TLS connection */
    return ERR_peek_error() == 0 ? 0 : -1;
}

static struct slice bytes_of_hex(const char *hex)
{
    buf_clear(&buf);
    assert_int_equal(hex_decode(&buf, slice_of(hex)), 0);
    return buf_slice(&buf);
}

static void assert_hex(const void *p, size_t n, const char *want)
{
    struct buf b;

    buf_init(&b, 4096);
    hex_encode(&b, slice_n(p, n), false);
    assert_slice(buf_slice(&b), want);
    buf_release(&b);
}

/* ------------------------------------------------------------------ hashes */

static void test_sha256(void **state)
{
    uint8_t out[SHA256_LEN];
    (void)state;

    /* FIPS 180-4 examples */
    assert_int_equal(sha256(SLICE("abc"), out), 0);
    assert_hex(out, sizeof(out),
               "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(sha256(SLICE_NULL, out), 0);
    assert_hex(out, sizeof(out),
               "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void test_hmac_vectors(void **state)
{
    /* RFC 4231 cases 1, 2, 6; then keys of exactly one block and one more */
    static const struct {
        char fill;
        size_t n;
        const char *key;
        const char *data;
        const char *mac;
    } cases[] = {
        {0x0b, 20, NULL, "Hi There",
         "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {0, 4, "Jefe", "what do ya want for nothing?",
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {(char)0xaa, 131, NULL, "Test Using Larger Than Block-Size Key - Hash Key First",
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
        {'k', 64, NULL, "x", "f91c4c403625fb06910ef93999265bbd2d62baeaec6ff36455498cc124fe3e66"},
        {'k', 65, NULL, "x", "75092ca3ee2b307470c227697b42b3e65376aa3bae98fb5a1f7b7536daa9588a"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++) {
        uint8_t mac[SHA256_LEN];
        struct slice data = slice_of(cases[i].data);
        struct slice parts[3] = {slice_n(data.p, 1), SLICE_NULL, slice_n(data.p + 1, data.n - 1)};
        struct hmac_key *k;
        char key[131];

        memset(key, cases[i].fill, sizeof(key));
        if (cases[i].key)
            memcpy(key, cases[i].key, cases[i].n);
        k = hmac_key_new(slice_n(key, cases[i].n));
        assert_non_null(k);
        assert_int_equal(hmac_sign(k, &data, 1, mac), 0);
        assert_hex(mac, sizeof(mac), cases[i].mac);
        /* the same in parts, and again: the cached state is not used up */
        memset(mac, 0, sizeof(mac));
        assert_int_equal(hmac_sign(k, parts, 3, mac), 0);
        assert_hex(mac, sizeof(mac), cases[i].mac);
        hmac_key_free(k);
    }
}

static void test_hmac_verify(void **state)
{
    struct slice data = SLICE("data");
    uint8_t mac[SHA256_LEN + 1] = {0};
    struct hmac_key *k = hmac_key_new(SLICE("key"));
    struct hmac_key *other = hmac_key_new(SLICE("kez"));
    (void)state;

    assert_int_equal(hmac_sign(k, &data, 1, mac), 0);
    assert_int_equal(hmac_verify(k, &data, 1, slice_n(mac, SHA256_LEN)), 0);
    assert_int_equal(hmac_verify(other, &data, 1, slice_n(mac, SHA256_LEN)), -1);
    assert_int_equal(hmac_verify(k, &data, 0, slice_n(mac, SHA256_LEN)), -1);
    assert_int_equal(hmac_verify(k, &data, 1, slice_n(mac, SHA256_LEN - 1)), -1);
    assert_int_equal(hmac_verify(k, &data, 1, slice_n(mac, SHA256_LEN + 1)), -1);
    assert_int_equal(hmac_verify(k, &data, 1, SLICE_NULL), -1);
    for (int bit = 0; bit < 8 * SHA256_LEN; bit++) {
        mac[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(hmac_verify(k, &data, 1, slice_n(mac, SHA256_LEN)), -1);
        mac[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    hmac_key_free(k);
    hmac_key_free(other);
    hmac_key_free(NULL);
    assert_null(hmac_key_new(SLICE_NULL));
}

/* ------------------------------------------------------------------ secrets, random */

static void test_secret(void **state)
{
    struct secret s = {0};
    (void)state;

    assert_int_equal(secret_set(&s, SLICE("top")), 0);
    assert_int_equal(s.n, 3);
    assert_memory_equal(s.p, "top", 3);
    /* from itself, which is released on the way */
    assert_int_equal(secret_set(&s, slice_n(s.p + 1, 2)), 0);
    assert_int_equal(s.n, 2);
    assert_memory_equal(s.p, "op", 2);
    assert_int_equal(secret_set(&s, SLICE_NULL), 0);
    assert_int_equal(s.n, 0);
    secret_release(&s);
    assert_null(s.p);
    secret_release(&s);
}

static void test_equal_ct(void **state)
{
    (void)state;
    assert_true(equal_ct(SLICE("abc"), SLICE("abc")));
    assert_true(equal_ct(SLICE_NULL, SLICE("")));
    assert_false(equal_ct(SLICE("abc"), SLICE("abd")));
    assert_false(equal_ct(SLICE("abc"), SLICE("ab")));
    assert_false(equal_ct(SLICE("abc"), SLICE_NULL));
}

static void test_random(void **state)
{
    unsigned seen[256] = {0};
    static char token[620001];
    char again[32];
    uint8_t raw[32] = {0}, zero[32] = {0};
    (void)state;

    assert_int_equal(random_bytes(raw, sizeof(raw)), 0);
    assert_memory_not_equal(raw, zero, sizeof(raw));
    token[620000] = '!';
    random_token(token, 620000);
    assert_int_equal(token[620000], '!');
    for (int i = 0; i < 620000; i++)
        seen[(unsigned char)token[i]]++;
    for (int c = 0; c < 256; c++) {
        bool letter = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');

        /* 10000 each, give or take seven standard deviations; a plain modulo is at 12100 */
        assert_true(letter ? seen[c] > 9300 && seen[c] < 10700 : seen[c] == 0);
    }
    random_token(again, sizeof(again));
    assert_memory_not_equal(again, token, sizeof(again));
    random_token(again, 0);
}

/* ------------------------------------------------------------------ public keys */

static struct slice generate(EVP_PKEY *key, bool private)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *p;
    long n;

    assert_non_null(key);
    if (private)
        assert_int_equal(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
    else
        assert_int_equal(PEM_write_bio_PUBKEY(bio, key), 1);
    n = BIO_get_mem_data(bio, &p);
    buf_clear(&buf);
    buf_add(&buf, p, (size_t)n);
    BIO_free(bio);
    EVP_PKEY_free(key);
    return buf_slice(&buf);
}

static void test_pkey_round_trip(void **state)
{
    struct slice pem = read_file("t/vectors/merchant.key.pem");
    struct slice pub_pem = read_file("t/vectors/merchant.pub.pem");
    struct slice cert_pem = read_file("t/vectors/merchant.crt.pem");
    struct slice parts[] = {SLICE("a"), SLICE_NULL, SLICE("bc")};
    struct slice whole = SLICE("abc");
    struct pkey *private = pkey_private_from_pem(pem);
    struct pkey *pub = pkey_public_from_pem(pub_pem);
    struct pkey *cert = pkey_public_from_pem(cert_pem);
    uint8_t sig[256];
    size_t n = sizeof(sig);
    (void)state;

    assert_non_null(private);
    assert_non_null(pub);
    assert_non_null(cert);
    assert_int_equal(pkey_signature_len(private), 256);
    assert_int_equal(pkey_signature_len(pub), 256);
    assert_int_equal(pkey_sign_sha256(private, parts, 3, sig, &n), 0);
    assert_int_equal(n, 256);
    assert_int_equal(pkey_verify_sha256(pub, &whole, 1, slice_n(sig, n)), 0);
    assert_int_equal(pkey_verify_sha256(cert, parts, 3, slice_n(sig, n)), 0);
    assert_int_equal(pkey_verify_sha256(private, &whole, 1, slice_n(sig, n)), 0);

    assert_int_equal(pkey_verify_sha256(pub, parts, 2, slice_n(sig, n)), -1);
    assert_int_equal(pkey_verify_sha256(pub, &whole, 1, slice_n(sig, n - 1)), -1);
    assert_int_equal(pkey_verify_sha256(pub, &whole, 1, SLICE_NULL), -1);
    sig[100] ^= 1;
    assert_int_equal(pkey_verify_sha256(pub, &whole, 1, slice_n(sig, n)), -1);
    memset(sig, 0xff, sizeof(sig));
    assert_int_equal(pkey_verify_sha256(pub, &whole, 1, slice_n(sig, n)), -1);
    memset(sig, 0, sizeof(sig));
    assert_int_equal(pkey_verify_sha256(pub, &whole, 1, slice_n(sig, n)), -1);

    n = 255; /* no room */
    assert_int_equal(pkey_sign_sha256(private, parts, 3, sig, &n), -1);
    n = sizeof(sig);
    assert_int_equal(pkey_sign_sha256(pub, parts, 3, sig, &n), -1);
    pkey_destroy(private);
    pkey_destroy(pub);
    pkey_destroy(cert);
    pkey_destroy(NULL);
    free((char *)pem.p);
    free((char *)pub_pem.p);
    free((char *)cert_pem.p);
}

static void test_pkey_refuses_weak_and_other_keys(void **state)
{
    struct pkey *k;
    (void)state;

    assert_null(pkey_public_from_pem(generate(EVP_RSA_gen(1024), false)));
    assert_null(pkey_private_from_pem(generate(EVP_RSA_gen(1024), true)));
    assert_null(pkey_private_from_pem(generate(EVP_RSA_gen(2047), true)));
    assert_null(pkey_public_from_pem(generate(EVP_EC_gen("P-256"), false)));
    assert_null(pkey_private_from_pem(generate(EVP_EC_gen("P-256"), true)));
    k = pkey_private_from_pem(generate(EVP_RSA_gen(2048), true));
    assert_non_null(k);
    pkey_destroy(k);
}

/* An encrypted key must be refused without OpenSSL asking for the password on the terminal. */
static void test_pkey_refuses_encrypted(void **state)
{
    EVP_PKEY *key = EVP_RSA_gen(2048);
    BIO *bio = BIO_new(BIO_s_mem());
    char *p;
    long n;
    (void)state;

    assert_int_equal(
        PEM_write_bio_PKCS8PrivateKey(bio, key, EVP_aes_256_cbc(), "secret", 6, NULL, NULL), 1);
    n = BIO_get_mem_data(bio, &p);
    assert_null(pkey_private_from_pem(slice_n(p, (size_t)n)));
    BIO_free(bio);
    EVP_PKEY_free(key);
}

static void test_pkey_refuses_garbage(void **state)
{
    struct slice pem = read_file("t/vectors/merchant.pub.pem");
    struct slice private = read_file("t/vectors/merchant.key.pem");
    struct buf large;
    char *p;
    (void)state;

    assert_null(pkey_public_from_pem(SLICE_NULL));
    assert_null(pkey_private_from_pem(SLICE_NULL));
    assert_null(pkey_public_from_pem(SLICE("no pem")));
    assert_null(pkey_private_from_pem(pem));
    assert_null(pkey_public_from_pem(private));
    assert_null(pkey_public_from_pem(SLICE("-----BEGIN CERTIFICATE-----\nAAAA\n"
                                           "-----END CERTIFICATE-----\n")));
    for (size_t n = 0; n < pem.n - 30; n += 7)
        assert_null(pkey_public_from_pem(slice_n(pem.p, n)));
    p = (char *)pem.p;
    p[60] ^= 1; /* another key perhaps, but no crash and nothing left over */
    pkey_destroy(pkey_public_from_pem(pem));

    buf_init(&large, 1 << 20);
    for (int i = 0; i < 70000; i++)
        buf_add_char(&large, '\n');
    buf_add_slice(&large, private);
    assert_null(pkey_private_from_pem(buf_slice(&large)));
    buf_release(&large);
    free(p);
    free((char *)private.p);
}

static void test_certificate(void **state)
{
    struct slice pem = read_file("t/vectors/merchant.crt.pem");
    struct slice key = read_file("t/vectors/merchant.pub.pem");
    char serial[41] = "untouched";
    int64_t from = 42, to = 42;
    (void)state;

    assert_int_equal(cert_serial_hex(key, serial, sizeof(serial)), -1);
    assert_int_equal(cert_serial_hex(SLICE_NULL, serial, sizeof(serial)), -1);
    assert_int_equal(cert_serial_hex(pem, serial, 12), -1);
    assert_string_equal(serial, "untouched");
    assert_int_equal(cert_serial_hex(pem, serial, 13), 0);
    assert_string_equal(serial, "0A1B2C3D4E5F");
    assert_int_equal(cert_validity(key, &from, &to), -1);
    assert_true(from == 42 && to == 42);
    assert_int_equal(cert_validity(pem, &from, &to), 0);
    assert_true(from == 1795374175);
    assert_true(to == 2426094175);
    free((char *)pem.p);
    free((char *)key.p);
}

/* ------------------------------------------------------------------ AES-256-GCM, vault */

static void test_gcm_vector(void **state)
{
    uint8_t key[AES256_KEY_LEN], nonce[12], plain[64], aad[20];
    struct slice p = slice_n(plain, 60);
    struct buf out;
    (void)state;

    /* McGrew and Viega, test case 16 */
    memcpy(key,
           bytes_of_hex("feffe9928665731c6d6a8f9467308308"
                        "feffe9928665731c6d6a8f9467308308")
               .p,
           32);
    memcpy(nonce, bytes_of_hex("cafebabefacedbaddecaf888").p, 12);
    memcpy(plain,
           bytes_of_hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39")
               .p,
           60);
    memcpy(aad, bytes_of_hex("feedfacedeadbeeffeedfacedeadbeefabaddad2").p, 20);
    buf_init(&out, 200);
    assert_int_equal(gcm_seal(slice_n(key, 32), slice_n(nonce, 12), slice_n(aad, 20), p, &out), 0);
    assert_hex(out.p, out.n,
               "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
               "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
               "76fc6ece0f4e1768cddf8853bb2d551b");
    buf_release(&out);
}

static int open_with(struct slice key, struct slice nonce, struct slice aad, struct slice in)
{
    struct buf out;
    int rc;

    buf_init(&out, 4096);
    buf_add_str(&out, "before");
    rc = gcm_open(key, nonce, aad, in, &out);
    if (rc < 0) {
        assert_slice(buf_slice(&out), "before");
        /* and nothing of what a wrong tag was found behind */
        if (out.alloc >= 20)
            assert_memory_not_equal(out.p + 6, "the plain text", 14);
    } else {
        assert_slice(buf_slice(&out), "beforethe plain text");
    }
    buf_release(&out);
    return rc;
}

static void test_gcm_refuses_forgeries(void **state)
{
    struct slice key = SLICE("0123456789abcdef0123456789ABCDEF");
    struct slice nonce = SLICE("fdasflkja484");
    struct slice aad = SLICE("transaction");
    struct slice in;
    (void)state;

    assert_int_equal(gcm_seal(key, nonce, aad, SLICE("the plain text"), &buf), 0);
    in = buf_slice(&buf);
    assert_int_equal(in.n, 14 + GCM_TAG_LEN);
    assert_int_equal(open_with(key, nonce, aad, in), 0);
    for (size_t bit = 0; bit < 8 * in.n; bit++) {
        buf.p[bit / 8] ^= (char)(1 << bit % 8);
        assert_int_equal(open_with(key, nonce, aad, in), -1);
        buf.p[bit / 8] ^= (char)(1 << bit % 8);
    }
    for (size_t n = 0; n < in.n; n++)
        assert_int_equal(open_with(key, nonce, aad, slice_n(in.p, n)), -1);
    assert_int_equal(open_with(key, nonce, SLICE("transactio"), in), -1);
    assert_int_equal(open_with(key, nonce, SLICE_NULL, in), -1);
    assert_int_equal(open_with(key, SLICE("fdasflkja485"), aad, in), -1);
    assert_int_equal(open_with(key, SLICE("fdasflkja4840000"), aad, in), -1);
    assert_int_equal(open_with(key, SLICE("short"), aad, in), -1);
    assert_int_equal(open_with(key, SLICE("this one is far too long"), aad, in), -1);
    assert_int_equal(open_with(SLICE("0123456789abcdef0123456789ABCDEE"), nonce, aad, in), -1);
    assert_int_equal(open_with(slice_n(key.p, 31), nonce, aad, in), -1);
    assert_int_equal(open_with(slice_n(key.p, 16), nonce, aad, in), -1);
    assert_int_equal(open_with(key, nonce, aad, in), 0);
}

static void test_gcm_edges(void **state)
{
    struct slice key = SLICE("0123456789abcdef0123456789ABCDEF");
    struct slice nonce = SLICE("fdasflkja484");
    struct buf sealed, small;
    (void)state;

    /* nothing inside, nothing beside: only the tag */
    buf_init(&sealed, 64);
    assert_int_equal(gcm_seal(key, nonce, SLICE_NULL, SLICE_NULL, &sealed), 0);
    assert_int_equal(sealed.n, GCM_TAG_LEN);
    assert_int_equal(gcm_open(key, nonce, SLICE_NULL, buf_slice(&sealed), &buf), 0);
    assert_int_equal(buf.n, 0);

    buf_clear(&sealed);
    assert_int_equal(gcm_seal(slice_n(key.p, 31), nonce, SLICE_NULL, SLICE("x"), &sealed), -1);
    assert_int_equal(gcm_seal(key, slice_n(nonce.p, 11), SLICE_NULL, SLICE("x"), &sealed), -1);
    assert_int_equal(sealed.n, 0);
    assert_int_equal(gcm_seal(key, nonce, SLICE_NULL, SLICE("0123456789"), &sealed), 0);

    buf_init(&small, 9); /* the caps hold */
    assert_int_equal(gcm_open(key, nonce, SLICE_NULL, buf_slice(&sealed), &small), -1);
    buf_clear(&small);
    assert_int_equal(gcm_seal(key, nonce, SLICE_NULL, SLICE_NULL, &small), -1);
    assert_int_equal(small.n, 0);
    buf_release(&small);
    buf_release(&sealed);
}

static void test_vault(void **state)
{
    struct slice master = SLICE("0123456789abcdef0123456789ABCDEF");
    struct slice context = SLICE("app_key:SERIAL");
    struct slice sealed;
    struct buf again, out;
    (void)state;

    buf_init(&again, 100);
    buf_init(&out, 100);
    assert_int_equal(vault_seal(master, context, SLICE("secret"), &buf), 0);
    sealed = buf_slice(&buf);
    assert_int_equal(sealed.n, 1 + 12 + 6 + GCM_TAG_LEN);
    assert_int_equal(sealed.p[0], 1);
    assert_int_equal(vault_open(master, context, sealed, &out), 0);
    assert_slice(buf_slice(&out), "secret");
    assert_int_equal(vault_seal(master, context, SLICE("secret"), &again), 0);
    assert_memory_not_equal(sealed.p + 1, again.p + 1, 12);

    buf_clear(&out);
    assert_int_equal(vault_open(master, SLICE("app_key:OTHER"), sealed, &out), -1);
    assert_int_equal(vault_open(SLICE("0123456789abcdef0123456789ABCDEG"), context, sealed, &out),
                     -1);
    for (size_t n = 0; n < sealed.n; n++)
        assert_int_equal(vault_open(master, context, slice_n(sealed.p, n), &out), -1);
    buf.p[0] = 2;
    assert_int_equal(vault_open(master, context, sealed, &out), -1);
    assert_int_equal(out.n, 0);
    assert_true(buf_ok(&out));

    buf_clear(&again);
    assert_int_equal(vault_seal(slice_n(master.p, 16), context, SLICE("x"), &again), -1);
    assert_int_equal(again.n, 0);
    buf_release(&again);
    buf_release(&out);
}

/* ------------------------------------------------------------------ base64, hex */

static void test_base64(void **state)
{
    static const struct {
        const char *plain;
        const char *text;
    } cases[] = {
        /* RFC 4648 section 10 */
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xfb\xff\xbf", "+/+/"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++) {
        buf_clear(&buf);
        base64_encode(&buf, slice_of(cases[i].plain));
        assert_slice(buf_slice(&buf), cases[i].text);
        buf_clear(&buf);
        assert_int_equal(base64_decode(&buf, slice_of(cases[i].text)), 0);
        assert_slice(buf_slice(&buf), cases[i].plain);
    }
}

static void test_base64_refuses(void **state)
{
    static const char *const bad[] = {
        "=",     "==",   "====",   "Z",        "Zg",       "Zg=",
        "Zg===", "Z===", "Zm9",    "Zm9v=",    "Zg==Zg==", "Zh==" /* unused bits */,
        "Zm9=",  "Zm 9", "Zm9v\n", " Zm9",     "Zm-_",     "Zm9\xff",
        "=g==",  "Z=g=", "Zm=v",   "Zm8=Zm8=", "Zm9v===="};
    (void)state;

    for (size_t i = 0; i < COUNT(bad); i++) {
        char *copy = malloc(strlen(bad[i])); /* exact, for the sanitizer */

        memcpy(copy, bad[i], strlen(bad[i]));
        assert_case(base64_decode(&buf, slice_n(copy, strlen(bad[i]))) == -1, bad[i]);
        free(copy);
    }
    assert_int_equal(base64_decode(&buf, SLICE("Zm9\0")), -1);
    assert_int_equal(buf.n, 0);
}

static void test_every_length_returns(void **state)
{
    uint8_t raw[100];
    struct buf text;
    (void)state;

    buf_init(&text, 200);
    random_bytes(raw, sizeof(raw));
    for (size_t n = 0; n <= sizeof(raw); n++) {
        buf_clear(&text);
        buf_clear(&buf);
        base64_encode(&text, slice_n(raw, n));
        assert_int_equal(base64_decode(&buf, buf_slice(&text)), 0);
        assert_true(slice_eq(buf_slice(&buf), slice_n(raw, n)));
        buf_clear(&text);
        buf_clear(&buf);
        hex_encode(&text, slice_n(raw, n), n % 2);
        assert_int_equal(hex_decode(&buf, buf_slice(&text)), 0);
        assert_true(slice_eq(buf_slice(&buf), slice_n(raw, n)));
    }
    buf_release(&text);
}

static void test_hex(void **state)
{
    static const char *const bad[] = {"0", "0g", "g0", "0 ", " 0", "0x00", "00\n", "\xff\xff"};
    (void)state;

    hex_encode(&buf, SLICE("\x00\xab\xff"), true);
    assert_slice(buf_slice(&buf), "00ABFF");
    buf_clear(&buf);
    hex_encode(&buf, SLICE("\x00\xab\xff"), false);
    assert_slice(buf_slice(&buf), "00abff");
    buf_clear(&buf);
    assert_int_equal(hex_decode(&buf, SLICE("00aBFf")), 0);
    assert_true(slice_eq(buf_slice(&buf), SLICE("\x00\xab\xff")));
    buf_clear(&buf);
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_case(hex_decode(&buf, slice_of(bad[i])) == -1, bad[i]);
    assert_int_equal(buf.n, 0);
}

static void test_text_forms_keep_the_cap(void **state)
{
    struct buf small;
    (void)state;

    buf_init(&small, 7);
    base64_encode(&small, SLICE("fooba"));
    assert_false(buf_ok(&small));
    buf_clear(&small);
    hex_encode(&small, SLICE("foob"), false);
    assert_false(buf_ok(&small));
    buf_clear(&small);
    assert_int_equal(base64_decode(&small, SLICE("Zm9vYmFyZm9v")), -1);
    buf_clear(&small);
    assert_int_equal(hex_decode(&small, SLICE("0011223344556677")), -1);
    assert_int_equal(small.n, 0);
    buf_release(&small);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_sha256),
        TEST(test_hmac_vectors),
        TEST(test_hmac_verify),
        TEST(test_secret),
        TEST(test_equal_ct),
        TEST(test_random),
        TEST(test_pkey_round_trip),
        TEST(test_pkey_refuses_weak_and_other_keys),
        TEST(test_pkey_refuses_encrypted),
        TEST(test_pkey_refuses_garbage),
        TEST(test_certificate),
        TEST(test_gcm_vector),
        TEST(test_gcm_refuses_forgeries),
        TEST(test_gcm_edges),
        TEST(test_vault),
        TEST(test_base64),
        TEST(test_base64_refuses),
        TEST(test_every_length_returns),
        TEST(test_hex),
        TEST(test_text_forms_keep_the_cap),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
