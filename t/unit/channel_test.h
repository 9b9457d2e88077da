/* channel_test - what the unit tests of backends/channel share: both shipped channels with test
 * accounts, and the channels' side of the signatures. */
#ifndef T_UNIT_CHANNEL_TEST_H
#define T_UNIT_CHANNEL_TEST_H

#include "backends/channel/channel.h"
#include "core/json.h"
#include "core/scheme.h"
#include "core_test.h"

#include <dirent.h>
#include <unistd.h>

#define MCHID           "1900000109"
#define APPID           "wx8888888888888888"
#define ORDER_NO        "T202609010001"
#define NONCE           "593BEC0C930BF1AFEB40B4A08C8FB242"
#define MERCHANT_SERIAL "5157F09EFDC096DE15EBE81A47057A7232F1B8E1"
#define SERIAL_1        "7132D72A03E93CDDF8C03BBD1F37EEDF00000000"
#define SERIAL_2        "PUB_KEY_ID_0119000001092026090100000001"
#define API_V3_KEY      "0123456789abcdef0123456789ABCDEF"
#define BANK_MCH        "M10001"
#define BANK_KEY        "bank-test-key-0123456789abcdef0123"
#define BANK_KEY_2      "bank-next-key-0123456789abcdef0123"
#define NOW_S           1788235200LL
#define NOW             (NOW_S * USEC_PER_SEC)
/* 2026-09-01T14:00:00+08:00 */
#define EXPIRE 1788242400000000LL

struct fixture {
    struct channel_set *set;
    const struct channel *wechat, *bank;
    struct channel_account *wechat_account, *bank_account;
    struct verify_key platform;   /* private half of SERIAL_1 */
    struct verify_key platform_2; /* of SERIAL_2: the merchant's pair serves */
    struct hmac_key *bank_key;
    struct arena arena;
};

static struct fixture fx;

/* Four headers of an answer, to be tampered with. */
struct signed_headers {
    struct http_header h[8];
    size_t n;
};

static inline struct slice file_text(const char *path)
{
    struct slice raw = read_file(path);
    struct slice s = arena_copy(&fx.arena, raw);

    free((void *)(uintptr_t)raw.p);
    return s;
}

/* {"name":"value",...} from pairs that end with NULL; a value "@path" is a file's text. */
static inline struct slice json_pairs(const char *const *pairs)
{
    struct json_writer w;
    struct slice copy;
    struct buf b;

    buf_init(&b, 65536);
    json_writer_init(&w, &b);
    json_begin_object(&w);
    for (; *pairs; pairs += 2) {
        struct slice v = slice_of(pairs[1]);

        json_member_str(&w, pairs[0], v.n && v.p[0] == '@' ? file_text(v.p + 1) : v);
    }
    json_end_object(&w);
    copy = arena_copy(&fx.arena, buf_slice(&b));
    buf_release(&b);
    return copy;
}

#define PAIRS(...) json_pairs((const char *const[]){__VA_ARGS__, NULL})

static inline struct slice wechat_config(void)
{
    return PAIRS("mchid", MCHID, "appid", APPID, "serial_no", MERCHANT_SERIAL, "platform_serial",
                 SERIAL_1, "platform_serial_2", SERIAL_2);
}

static inline struct slice wechat_secrets(void)
{
    return PAIRS("private_key", "@t/vectors/merchant.key.pem", "api_v3_key", API_V3_KEY,
                 "platform_key", "@t/vectors/channel.pub.pem", "platform_key_2",
                 "@t/vectors/merchant.crt.pem");
}

static inline struct channel_account *new_account(const struct channel *c, struct slice config,
                                                  struct slice secrets)
{
    struct channel_account *a;
    struct conf_error err;

    if (channel_account_new(c, SLICE("main"), config, secrets, &a, &err) < 0)
        fail_msg("%s", err.text);
    return a;
}

static inline int setup(void **state)
{
    struct conf_error err;

    (void)state;
    arena_init(&fx.arena, 64 * 1024 * 1024);
    if (channel_set_load("lua-free-conf/channels/*.conf", "lua-free-conf/adapters", &fx.set, &err) <
        0)
        fail_msg("%s", err.text);
    fx.wechat = channel_find(fx.set, SLICE("wechat"));
    fx.bank = channel_find(fx.set, SLICE("bank"));
    assert_non_null(fx.wechat);
    assert_non_null(fx.bank);
    fx.wechat_account = new_account(fx.wechat, wechat_config(), wechat_secrets());
    fx.bank_account = new_account(fx.bank, PAIRS("mch_id", BANK_MCH),
                                  PAIRS("key", BANK_KEY, "key_2", BANK_KEY_2));
    assert_int_equal(
        verify_key_load(&fx.platform, KEY_RSA_SHA256, file_text("t/vectors/channel.key.pem")), 0);
    assert_int_equal(
        verify_key_load(&fx.platform_2, KEY_RSA_SHA256, file_text("t/vectors/merchant.key.pem")),
        0);
    fx.bank_key = hmac_key_new(SLICE(BANK_KEY));
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    channel_account_free(fx.wechat_account);
    channel_account_free(fx.bank_account);
    verify_key_release(&fx.platform);
    verify_key_release(&fx.platform_2);
    hmac_key_free(fx.bank_key);
    channel_set_free(fx.set);
    arena_release(&fx.arena);
    return 0;
}

static inline struct channel_order an_order(void)
{
    return (struct channel_order){
        .request_no = SLICE(ORDER_NO),
        .method = METHOD_NATIVE,
        .amount = 888,
        .currency = SLICE("CNY"),
        .description = SLICE("测试"),
        .created_at = NOW,
        .time_expire = EXPIRE,
    };
}

/* ------------------------------------------------------------------ files of a test's own */

struct folder {
    char path[64];
};

static inline struct folder make_folder(void)
{
    struct folder f = {"/tmp/channel_test.XXXXXX"};

    if (!mkdtemp(f.path))
        fail_msg("no temporary folder");
    return f;
}

/* Writes folder/name and returns its path (in the arena). */
static inline const char *write_file(const struct folder *to, const char *name, struct slice text)
{
    const char *path = arena_printf(&fx.arena, "%s/%s", to->path, name).p;
    FILE *f = fopen(path, "wb");

    if (!f)
        fail_msg("cannot write %s", path);
    assert_int_equal(fwrite(text.p, 1, text.n, f), text.n);
    fclose(f);
    return path;
}

static inline void remove_folder(const struct folder *f)
{
    DIR *d = opendir(f->path);
    const struct dirent *e;

    while (d && (e = readdir(d)) != NULL)
        unlink(arena_printf(&fx.arena, "%s/%s", f->path, e->d_name).p);
    if (d)
        closedir(d);
    rmdir(f->path);
}

/* ------------------------------------------------------------------ the channels' signatures */

static inline void add_header(struct signed_headers *to, const char *name, struct slice value)
{
    assert_true(to->n < COUNT(to->h));
    to->h[to->n++] = (struct http_header){slice_of(name), value};
}

static inline struct slice *header_value(struct signed_headers *h, const char *name)
{
    for (size_t i = 0; i < h->n; i++)
        if (slice_is(h->h[i].name, name))
            return &h->h[i].value;
    fail_msg("no header %s", name);
    return NULL;
}

static inline void rename_header(struct signed_headers *h, const char *name, const char *to)
{
    for (size_t i = 0; i < h->n; i++)
        if (slice_is(h->h[i].name, name))
            h->h[i].name = slice_of(to);
}

static inline struct signed_headers wechat_headers(struct slice timestamp, struct slice nonce,
                                                   struct slice serial, struct slice signature)
{
    struct signed_headers to = {.n = 0};

    add_header(&to, "Content-Type", SLICE("application/json; charset=utf-8"));
    add_header(&to, "Wechatpay-Timestamp", timestamp);
    add_header(&to, "Wechatpay-Nonce", nonce);
    add_header(&to, "Wechatpay-Serial", serial);
    add_header(&to, "Wechatpay-Signature", signature);
    return to;
}

static inline struct signed_headers wechat_sign_as(const struct verify_key *k, const char *serial,
                                                   int64_t at, struct slice body)
{
    struct slice timestamp = arena_printf(&fx.arena, "%lld", (long long)at);
    struct slice nonce = SLICE("c5ac7061fccab6bf3e254dcf98995b8c");
    struct slice parts[SCHEME_PARTS], signature;
    size_t n = scheme_answer_parts(timestamp, nonce, body, parts);
    struct buf b;

    buf_init(&b, 1024);
    assert_int_equal(scheme_sign(k, parts, n, &b), 0);
    signature = arena_copy(&fx.arena, buf_slice(&b));
    buf_release(&b);
    return wechat_headers(timestamp, nonce, slice_of(serial), signature);
}

static inline struct signed_headers wechat_sign(struct slice body)
{
    return wechat_sign_as(&fx.platform, SERIAL_1, NOW_S, body);
}

static inline struct slice bank_signature(struct slice body, int64_t at)
{
    struct slice t = arena_printf(&fx.arena, "%lld", (long long)at);
    struct slice parts[] = {t, SLICE("\n"), SLICE(NONCE), SLICE("\n"), body};
    uint8_t mac[SHA256_LEN];
    struct slice value;
    struct buf hex;

    buf_init(&hex, 256);
    assert_int_equal(hmac_sign(fx.bank_key, parts, COUNT(parts), mac), 0);
    hex_encode(&hex, slice_n(mac, sizeof(mac)), false);
    value = arena_printf(&fx.arena, "t=%.*s,n=%s,s=%.*s", SLICE_FMT(t), NONCE,
                         SLICE_FMT(buf_slice(&hex)));
    buf_release(&hex);
    return value;
}

static inline struct signed_headers bank_sign(struct slice body)
{
    struct signed_headers to = {.n = 0};

    add_header(&to, "Bank-Signature", bank_signature(body, NOW_S));
    return to;
}

/* ------------------------------------------------------------------ short forms */

static inline struct channel_result decode_at(const struct channel *c, enum call_kind kind,
                                              int status, const struct signed_headers *h,
                                              struct slice body, pay_time_t now)
{
    struct channel_order order = an_order();
    struct channel_result r;

    channel_decode(c, c == fx.wechat ? fx.wechat_account : fx.bank_account, kind, &order, status,
                   h->h, h->n, body, now, &fx.arena, &r);
    return r;
}

/* A well signed answer. */
static inline struct channel_result decode_signed(const struct channel *c, enum call_kind kind,
                                                  int status, const char *text)
{
    struct slice body = slice_of(text);
    struct signed_headers h = c == fx.wechat ? wechat_sign(body) : bank_sign(body);

    return decode_at(c, kind, status, &h, body, NOW);
}

static inline struct channel_result decode_unsigned(const struct channel *c, enum call_kind kind,
                                                    int status, const char *text)
{
    struct signed_headers none = {.n = 0};

    return decode_at(c, kind, status, &none, slice_of(text), NOW);
}

static inline void assert_class(struct channel_result r, enum answer_class cls, const char *what)
{
    if (r.cls != cls)
        fail_msg("%s: got %s (%.*s; %.*s), want %s", what, answer_class_name(r.cls),
                 SLICE_FMT(r.code), SLICE_FMT(r.message), answer_class_name(cls));
}

#endif
