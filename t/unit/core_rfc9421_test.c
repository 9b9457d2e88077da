/* R1.1: RFC 9421 and RFC 9530 against the vectors of t/vectors/rfc9421.json, negatives included. */
#include "core/json.h"
#include "core/scheme_rfc9421.h"
#include "core_test.h"

static struct arena arena;
static const struct json *vectors;

#define KEYS 8
static struct {
    struct slice keyid;
    struct verify_key verify, sign;
} keys[KEYS];
static size_t key_count;

static enum key_alg alg_of(struct slice name)
{
    for (enum key_alg alg = KEY_RSA_SHA256; alg <= KEY_MD5; alg++)
        if (slice_is(name, httpsig_alg_name(alg)))
            return alg;
    fail_msg("unknown algorithm %.*s", SLICE_FMT(name));
    return KEY_ALG_NONE;
}

static void load_key(const struct json *k)
{
    enum key_alg alg = alg_of(json_get(k, "algs")->child->text);
    struct buf secret;

    keys[key_count].keyid = json_str(k, "keyid");
    if (alg == KEY_HMAC_SHA256) {
        buf_init(&secret, 256);
        assert_int_equal(base64_decode(&secret, json_str(k, "secret_b64")), 0);
        assert_int_equal(verify_key_load(&keys[key_count].verify, alg, buf_slice(&secret)), 0);
        assert_int_equal(verify_key_load(&keys[key_count].sign, alg, buf_slice(&secret)), 0);
        buf_release(&secret);
    } else {
        assert_int_equal(
            verify_key_load(&keys[key_count].verify, alg, json_str(k, "public_spki_pem")), 0);
        assert_int_equal(
            verify_key_load(&keys[key_count].sign, alg, json_str(k, "private_pkcs8_pem")), 0);
    }
    key_count++;
}

static int load_vectors(void **state)
{
    const struct json_limits limits = {.depth = 16, .values = 20000};
    struct slice text = read_file("t/vectors/rfc9421.json");
    struct json_error err;
    (void)state;

    arena_init(&arena, 16 << 20);
    if (json_parse(&arena, text, &limits, &vectors, &err) < 0)
        fail_msg("rfc9421.json: %s at %zu", err.reason, err.offset);
    free((char *)text.p);
    for (const struct json *k = json_get(vectors, "keys")->child; k; k = k->next)
        load_key(k);
    assert_int_equal(key_count, 5);
    return 0;
}

static int unload_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < key_count; i++) {
        verify_key_release(&keys[i].verify);
        verify_key_release(&keys[i].sign);
    }
    arena_release(&arena);
    return 0;
}

static size_t key_of(struct slice keyid)
{
    for (size_t i = 0; i < key_count; i++)
        if (slice_eq(keys[i].keyid, keyid))
            return i;
    fail_msg("no key %.*s", SLICE_FMT(keyid));
    return 0;
}

/* ------------------------------------------------------------------ messages */

static void take_fields(const struct json *headers, struct http_message *m)
{
    struct http_field *f = arena_array(&arena, struct http_field, headers ? headers->count : 0);
    size_t n = 0;

    for (const struct json *h = headers ? headers->child : NULL; h; h = h->next, n++) {
        f[n] = (struct http_field){h->child->text, h->child->next->text};
        if (slice_eq_nocase(f[n].name, SLICE("host")))
            m->authority = f[n].value;
    }
    m->fields = f;
    m->field_count = n;
}

static struct http_message message_of(const struct json *v)
{
    struct http_message m = {0};
    int64_t status = 0;

    m.method = json_str(v, "method");
    m.scheme = json_str(v, "scheme");
    m.target = json_str(v, "request_target");
    take_fields(json_get(v, "headers"), &m);
    if (json_get(v, "host"))
        m.authority = json_str(v, "host");
    if (json_get(v, "status") && json_int64(json_get(v, "status"), &status) == 0)
        m.status = (int)status;
    return m;
}

static const struct json *member(const char *object, struct slice name)
{
    for (const struct json *v = json_get(vectors, object)->child; v; v = v->next)
        if (slice_eq(v->key, name))
            return v;
    fail_msg("no %s %.*s", object, SLICE_FMT(name));
    return NULL;
}

/* ------------------------------------------------------------------ the spec's vectors */

/* Signature-Input and Signature as they would stand in the message. */
static void check_vector(const struct json *v)
{
    struct slice label = json_str(v, "label");
    struct slice input = arena_printf(&arena, "%.*s=%.*s", SLICE_FMT(label),
                                      SLICE_FMT(json_str(v, "signature_input_value")));
    struct slice sig = arena_printf(&arena, "%.*s=:%.*s:", SLICE_FMT(label),
                                    SLICE_FMT(json_str(v, "signature_b64")));
    const struct json *answered = json_get(v, "request_message");
    struct http_message m = message_of(member("messages", json_str(v, "message"))), request;
    const struct verify_key *key = &keys[key_of(json_str(v, "keyid"))].verify;
    bool valid = slice_is(json_str(v, "expect"), "valid");
    const char *id = json_str(v, "id").p, *reason;
    struct slice base;
    struct httpsig s;
    struct buf b;

    if (answered) {
        request = message_of(member("messages", answered->text));
        m.request = &request;
    }
    if (httpsig_parse(&arena, input, sig, SLICE_NULL, &s, &reason) < 0)
        fail_msg("%s: %s", id, reason);
    buf_init(&b, 65536);
    if (httpsig_base(&arena, &m, s.input, &b, &reason) < 0)
        fail_msg("%s: %s", id, reason);
    base = buf_slice(&b);
    if (valid)
        assert_slice(base, arena_cstr(&arena, json_str(v, "signature_base")));
    assert_case(alg_of(json_str(v, "alg")) == key->alg, id);
    assert_case((key_verify(key, &base, 1, s.signature) == 0) == valid, id);
    buf_release(&b);
}

static void test_vectors(void **state)
{
    size_t n = 0;
    (void)state;

    for (const struct json *v = json_get(vectors, "vectors")->child; v; v = v->next, n++)
        check_vector(v);
    assert_int_equal(n, 20);
}

/* What we sign ourselves verifies; the deterministic algorithms give the spec's bytes. */
static void test_own_signatures(void **state)
{
    (void)state;
    for (const struct json *v = json_get(vectors, "vectors")->child; v; v = v->next) {
        size_t i = key_of(json_str(v, "keyid")), n;
        struct slice base = json_str(v, "signature_base");
        uint8_t sig[SIGNATURE_MAX];
        struct buf b;

        if (!slice_is(json_str(v, "expect"), "valid"))
            continue;
        assert_int_equal(key_sign(&keys[i].sign, &base, 1, sig, &n), 0);
        assert_int_equal(key_verify(&keys[i].verify, &base, 1, slice_n(sig, n)), 0);
        buf_init(&b, 4096);
        base64_encode(&b, slice_n(sig, n));
        if (json_get(v, "deterministic")->type == JSON_TRUE)
            assert_true(slice_eq(buf_slice(&b), json_str(v, "signature_b64")));
        buf_release(&b);
        sig[n / 2] ^= 1;
        assert_int_equal(key_verify(&keys[i].verify, &base, 1, slice_n(sig, n)), -1);
        assert_int_equal(key_sign(&keys[i].verify, &base, 1, sig, &n),
                         keys[i].verify.alg == KEY_HMAC_SHA256 ? 0 : -1);
    }
}

static void test_negative_signatures(void **state)
{
    size_t n = 0;
    (void)state;

    for (const struct json *v = json_get(vectors, "negative_signatures")->child; v;
         v = v->next, n++) {
        struct slice base = json_str(v, "signature_base");
        struct buf sig;

        buf_init(&sig, 4096);
        assert_int_equal(base64_decode(&sig, json_str(v, "signature_b64")), 0);
        assert_case(
            key_verify(&keys[key_of(json_str(v, "keyid"))].verify, &base, 1, buf_slice(&sig)) == -1,
            json_str(v, "id").p);
        buf_release(&sig);
    }
    assert_int_equal(n, 73);
}

/* ------------------------------------------------------------------ components */

static struct slice component_text(const struct json *v)
{
    struct slice text = arena_printf(&arena, "\"%.*s\"", SLICE_FMT(json_str(v, "component")));

    for (const struct json *p = json_get(v, "params")->child; p; p = p->next)
        text = p->type == JSON_TRUE
                   ? arena_printf(&arena, "%.*s;%.*s", SLICE_FMT(text), SLICE_FMT(p->key))
                   : arena_printf(&arena, "%.*s;%.*s=\"%.*s\"", SLICE_FMT(text), SLICE_FMT(p->key),
                                  SLICE_FMT(p->text));
    return text;
}

static void check_component(const struct json *v)
{
    struct slice input = arena_printf(&arena, "a=(%.*s);created=1", SLICE_FMT(component_text(v)));
    struct http_message m = message_of(v);
    const char *id = json_str(v, "id").p, *reason;
    struct slice line = json_str(v, "line");
    struct httpsig s;
    struct buf b;
    int rc;

    buf_init(&b, 65536);
    rc = httpsig_parse(&arena, input, SLICE("a=:AAAA:"), SLICE_NULL, &s, &reason);
    if (rc == 0)
        rc = httpsig_base(&arena, &m, s.input, &b, &reason);
    if (json_get(v, "expect_error")) {
        assert_case(rc == -1 && reason, id);
    } else {
        if (rc < 0)
            fail_msg("%s: %s", id, reason);
        assert_case(slice_starts(buf_slice(&b), line), id);
        assert_case(b.p[line.n] == '\n', id);
    }
    buf_release(&b);
}

static void test_components(void **state)
{
    size_t n = 0;
    (void)state;

    for (const struct json *v = json_get(vectors, "component_canonicalization")->child; v;
         v = v->next, n++)
        check_component(v);
    assert_int_equal(n, 43);
}

static void test_parse_cases(void **state)
{
    (void)state;
    for (const struct json *v = json_get(vectors, "parse_cases")->child; v; v = v->next) {
        struct slice sig =
            json_get(v, "signature") ? json_str(v, "signature") : SLICE("sig1=:AAAA:");
        bool ok = slice_is(json_str(v, "expect"), "ok");
        const char *reason;
        struct httpsig s;
        int rc =
            httpsig_parse(&arena, json_str(v, "signature_input"), sig, SLICE_NULL, &s, &reason);

        assert_case((rc == 0) == ok, json_str(v, "id").p);
        assert_case((reason == NULL) == ok, json_str(v, "id").p);
    }
}

/* ------------------------------------------------------------------ digests */

static void check_digest(struct slice body, struct slice value, bool match, const char *id)
{
    const char *reason;
    int rc = content_digest_check(&arena, value, body, &reason);

    assert_case((rc == 0) == match, id);
}

static void test_content_digest(void **state)
{
    const struct json *swapped = json_get(vectors, "negative_digest")->child;
    struct slice own;
    struct buf b;
    (void)state;

    for (const struct json *v = json_get(vectors, "content_digest")->child; v; v = v->next) {
        buf_init(&b, 4096);
        assert_int_equal(base64_decode(&b, json_str(v, "body_b64")), 0);
        check_digest(buf_slice(&b), json_str(v, "content_digest"),
                     slice_is(json_str(v, "expect"), "match"), json_str(v, "id").p);
        buf_release(&b);
    }
    check_digest(json_str(swapped, "body"),
                 json_get(member("messages", json_str(swapped, "message")), "headers")
                     ->child->next->next->next->child->next->text,
                 false, "b23-body-swap");

    buf_init(&b, 4096);
    content_digest_write(&b, SLICE("{\"hello\": \"world\"}"));
    own = buf_slice(&b);
    assert_slice(own, "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:");
    check_digest(SLICE("{\"hello\": \"world\"}"), own, true, "our own");
    check_digest(SLICE("{}"), SLICE(""), false, "empty");
    check_digest(SLICE("{}"), SLICE("sha-256"), false, "no value");
    check_digest(SLICE("{}"), SLICE("sha-256=:AAAA:"), false, "short");
    buf_release(&b);
}

/* ------------------------------------------------------------------ our rules for requests */

#define PARAMS ";created=1;keyid=\"K1\";nonce=\"0123456789abcdef\""

static const char *checked(const char *input, const char *target, bool has_body)
{
    struct http_message m = {.method = SLICE("POST"), .target = slice_of(target)};
    struct slice text = arena_printf(&arena, "s=%s", input);
    const char *reason;
    struct httpsig s;

    if (httpsig_parse(&arena, text, SLICE("s=:AAAA:"), SLICE_NULL, &s, &reason) < 0)
        fail_msg("%s: %s", input, reason);
    return httpsig_check(&s, &m, has_body, &reason) == 0 ? "ok" : reason;
}

static void test_what_must_be_covered(void **state)
{
    static const struct {
        const char *input, *target;
        bool has_body;
        const char *want;
    } cases[] = {
        {"(\"@method\" \"@target-uri\")" PARAMS, "/v1/x?y=1", false, "ok"},
        {"(\"@method\" \"@request-target\")" PARAMS, "/v1/x?y=1", false, "ok"},
        {"(\"@method\" \"@path\")" PARAMS, "/v1/x", false, "ok"},
        {"(\"@method\" \"@path\" \"@query\" \"content-digest\")" PARAMS, "/v1/x?y", true, "ok"},
        {"(\"@path\")" PARAMS, "/v1/x", false, "@method is not covered"},
        {"(\"@method\")" PARAMS, "/v1/x", false, "@path or @target-uri is not covered"},
        {"(\"@method\" \"@path\")" PARAMS, "/v1/x?y", false, "@query is not covered"},
        {"(\"@method\" \"@path\")" PARAMS, "/v1/x?", false, "@query is not covered"},
        {"(\"@method\" \"@path\" \"@query-param\";name=\"y\")" PARAMS, "/v1/x?y=1", false,
         "@query is not covered"},
        {"(\"@method\" \"@path\")" PARAMS, "/v1/x", true, "content-digest is not covered"},
        {"(\"@method\" \"@path\" \"content-digest\";key=\"sha-256\")" PARAMS, "/v1/x", true,
         "content-digest is not covered"},
        {"(\"@method\" \"@path\");keyid=\"K1\";nonce=\"0123456789abcdef\"", "/v1/x", false,
         "created is missing"},
        {"(\"@method\" \"@path\");created=-5;keyid=\"K1\";nonce=\"0123456789abcdef\"", "/v1/x",
         false, "created is missing"},
        {"(\"@method\" \"@path\");created=1;keyid=\"K1\"", "/v1/x", false,
         "nonce is missing or malformed"},
        {"(\"@method\" \"@path\");created=1;keyid=\"K1\";nonce=\"0123456789abcde\"", "/v1/x", false,
         "nonce is missing or malformed"},
        {"(\"@method\" \"@path\");created=1;keyid=\"K1\";nonce=\"0123456789abcde \"", "/v1/x",
         false, "nonce is missing or malformed"},
        {"(\"@method\" \"@path\");created=1;nonce=\"0123456789abcdef\"", "/v1/x", false,
         "keyid is missing or malformed"},
        {"(\"@method\" \"@path\");created=1;nonce=\"0123456789abcdef\";keyid=\"K 1\"", "/v1/x",
         false, "keyid is missing or malformed"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *got = checked(cases[i].input, cases[i].target, cases[i].has_body);

        if (strcmp(got, cases[i].want) != 0)
            fail_msg("%s: %s", cases[i].input, got);
    }
}

static void test_parse_refused(void **state)
{
    static const struct {
        const char *input, *signature, *reason;
    } bad[] = {
        {"a=();created=1, b=();created=1", "a=:AAAA:, b=:AAAA:", "exactly one signature is needed"},
        {"a=();created=1",
         "a=:AAAA:, b=:AAAA:", "Signature and Signature-Input differ in their labels"},
        {"a=(\"@path\";req=?0)", "a=:AAAA:", "a component has an unknown parameter"},
        {"a=(\"@path\";sf)", "a=:AAAA:", "a component has an unknown parameter"},
        {"a=(\"date\";tr)", "a=:AAAA:", "a component has an unknown parameter"},
        {"a=(\"@query-param\")", "a=:AAAA:", "@query-param needs a name"},
        {"a=(\"\")", "a=:AAAA:", "a component has an unknown name"},
        {"a=();created=1;created=2", "a=:AAAA:", "a parameter is repeated"},
        {"a=();extra=1", "a=:AAAA:", "unknown signature parameter"},
        {"a=();alg=ed25519", "a=:AAAA:", "a signature parameter has the wrong type"},
        {"a", "a=:AAAA:", "Signature-Input is not an inner list"},
        {"a=()", "a", "Signature is not a byte sequence"},
        {"a=()", "", "Signature and Signature-Input differ in their labels"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(bad); i++) {
        const char *reason;
        struct httpsig s;

        assert_case(httpsig_parse(&arena, slice_of(bad[i].input), slice_of(bad[i].signature),
                                  SLICE_NULL, &s, &reason) == -1,
                    bad[i].input);
        if (strcmp(reason, bad[i].reason) != 0)
            fail_msg("%s: %s", bad[i].input, reason);
    }
}

/* A line break in a value would let one component look like two. */
static void test_line_break(void **state)
{
    const struct http_field f = {SLICE("x"), SLICE("1\n\"@method\": POST")};
    struct http_message m = {.fields = &f, .field_count = 1, .method = SLICE("A\nB")};
    const char *reason;
    struct httpsig s;
    struct buf b;
    (void)state;

    buf_init(&b, 4096);
    assert_int_equal(
        httpsig_parse(&arena, SLICE("a=(\"@method\")"), SLICE("a=:AAAA:"), SLICE_NULL, &s, &reason),
        0);
    assert_int_equal(httpsig_base(&arena, &m, s.input, &b, &reason), -1);
    assert_string_equal(reason, "a covered component has a line break");
    buf_clear(&b);
    /* in a field it is an old folding and becomes one blank */
    assert_int_equal(
        httpsig_parse(&arena, SLICE("a=(\"x\")"), SLICE("a=:AAAA:"), SLICE_NULL, &s, &reason), 0);
    assert_int_equal(httpsig_base(&arena, &m, s.input, &b, &reason), 0);
    assert_true(slice_starts(buf_slice(&b), SLICE("\"x\": 1 \"@method\": POST\n\"@sig")));
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_own_signatures),
        cmocka_unit_test(test_negative_signatures),
        cmocka_unit_test(test_components),
        cmocka_unit_test(test_parse_cases),
        cmocka_unit_test(test_content_digest),
        cmocka_unit_test(test_what_must_be_covered),
        cmocka_unit_test(test_parse_refused),
        cmocka_unit_test(test_line_break),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, load_vectors, unload_vectors);
}
