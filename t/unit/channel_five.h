/* channel_five - the five shipped adapters with test accounts, each serving every method it has,
 * and the channels' side of their messages, written from the fact sheets and not with the engine.
 */
#ifndef T_UNIT_CHANNEL_FIVE_H
#define T_UNIT_CHANNEL_FIVE_H

#include "backends/channel/account.h"
#include "backends/channel/set.h"
#include "channel_test.h"
#include "core/crypto_old.h"
#include "core/xml.h"

#define V2_KEY    "8934e7d15453e97507ef794cf7b0519d"
#define ALI_APP   "2014072300007148"
#define ALI_SELF  "2088101106499364"
#define UPAY_MER  "777290058110048"
#define UPAY_CERT "11111822610015"
#define REFUND_NO "R202609010001"
/* the UnionPay test certificate is in date from 2026-11-22 on */
#define UPAY_NOW (1796000000LL * USEC_PER_SEC)

enum five { V2, V3, ALI, UPAY, BANK, FIVE };
static const char *const five_names[FIVE] = {"wechat_v2", "wechat_v3", "alipay", "unionpay",
                                             "bank_json"};

static struct {
    struct folder folder;
    struct channel_set *set;
    const struct channel *channel[FIVE];
    struct channel_account *account[FIVE];
    struct hmac_key *v2_key;
    struct slice upay_cert;
} five;

struct pair {
    const char *name;
    struct slice value;
};
struct pairs {
    struct pair v[64];
    size_t n;
};

static inline void put(struct pairs *p, const char *name, struct slice value)
{
    for (size_t i = 0; i < p->n; i++) {
        if (strcmp(p->v[i].name, name) == 0) {
            p->v[i].value = value;
            return;
        }
    }
    assert_true(p->n < COUNT(p->v));
    p->v[p->n++] = (struct pair){name, value};
}

static inline void drop(struct pairs *p, const char *name)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->v[i].name, name) == 0)
            p->v[i].value = SLICE_NULL;
}

static inline void put_all(struct pairs *p, const char *const *texts)
{
    for (; *texts; texts += 2)
        put(p, texts[0], slice_of(texts[1]));
}
#define PUT(p, ...) put_all((p), (const char *const[]){__VA_ARGS__, NULL})

/* ------------------------------------------------------------------ signatures of the channels */

static inline int by_name(const void *a, const void *b)
{
    return strcmp(((const struct pair *)a)->name, ((const struct pair *)b)->name);
}

static inline struct slice kept(struct buf *b)
{
    struct slice s = arena_copy(&fx.arena, buf_slice(b));

    assert_true(buf_ok(b));
    buf_release(b);
    return s;
}

/* k=v&k=v by name, without empty ones, `sign`, `signature` and `leave`. */
static inline struct slice sorted_text(const struct pairs *p, const char *leave)
{
    struct pairs copy = *p;
    struct buf b;

    qsort(copy.v, copy.n, sizeof(*copy.v), by_name);
    buf_init(&b, 65536);
    for (size_t i = 0; i < copy.n; i++) {
        const char *name = copy.v[i].name;

        if (copy.v[i].value.n == 0 || !strcmp(name, "sign") || !strcmp(name, "signature") ||
            (leave && !strcmp(name, leave)))
            continue;
        buf_addf(&b, "%s%s=", b.n ? "&" : "", name);
        buf_add_slice(&b, copy.v[i].value);
    }
    return kept(&b);
}

static inline struct slice rsa_base64(struct slice text)
{
    uint8_t raw[512];
    size_t n = sizeof(raw);
    struct buf b;

    assert_int_equal(pkey_sign_sha256(fx.platform.pkey, &text, 1, raw, &n), 0);
    buf_init(&b, 1024);
    base64_encode(&b, slice_n(raw, n));
    return kept(&b);
}

static inline struct slice hex_of(const uint8_t *raw, size_t n, bool upper)
{
    struct buf b;

    buf_init(&b, 256);
    hex_encode(&b, slice_n(raw, n), upper);
    return kept(&b);
}

static inline void sign_v2(struct pairs *p)
{
    struct slice text = sorted_text(p, NULL);
    struct slice parts[] = {text, SLICE("&key=" V2_KEY)};
    uint8_t mac[SHA256_LEN];

    assert_int_equal(hmac_sign(five.v2_key, parts, 2, mac), 0);
    put(p, "sign", hex_of(mac, sizeof(mac), true));
}

static inline void sign_upay(struct pairs *p)
{
    uint8_t digest[SHA256_LEN];

    put(p, "signPubKeyCert", five.upay_cert);
    assert_int_equal(sha256(sorted_text(p, NULL), digest), 0);
    put(p, "signature", rsa_base64(hex_of(digest, sizeof(digest), false)));
}

/* ------------------------------------------------------------------ bodies */

static inline struct slice xml_of(const struct pairs *p)
{
    struct buf b;

    buf_init(&b, 65536);
    buf_add_str(&b, "<xml>\n");
    for (size_t i = 0; i < p->n; i++)
        if (p->v[i].value.p)
            buf_addf(&b, "<%s><![CDATA[%.*s]]></%s>\n", p->v[i].name, SLICE_FMT(p->v[i].value),
                     p->v[i].name);
    buf_add_str(&b, "</xml>");
    return kept(&b);
}

static inline struct slice json_of(const struct pairs *p)
{
    struct json_writer w;
    struct buf b;

    buf_init(&b, 65536);
    json_writer_init(&w, &b);
    json_begin_object(&w);
    for (size_t i = 0; i < p->n; i++)
        if (p->v[i].value.p)
            json_member_str(&w, p->v[i].name, p->v[i].value);
    json_end_object(&w);
    return kept(&b);
}

static inline struct slice pairs_of(const struct pairs *p, bool encoded)
{
    struct buf b;

    buf_init(&b, 65536);
    for (size_t i = 0; i < p->n; i++) {
        if (!p->v[i].value.p)
            continue;
        buf_addf(&b, "%s%s=", b.n ? "&" : "", p->v[i].name);
        if (encoded)
            percent_encode(&b, p->v[i].value);
        else
            buf_add_slice(&b, p->v[i].value);
    }
    return kept(&b);
}

/* {"METHOD_response":{...},"sign":"..."} with / written as \/ as Alipay does it. */
static inline struct slice ali_envelope(const char *name, struct slice inner)
{
    struct buf b;
    struct slice escaped;

    buf_init(&b, 65536);
    for (size_t i = 0; i < inner.n; i++) {
        if (inner.p[i] == '/')
            buf_add_char(&b, '\\');
        buf_add_char(&b, inner.p[i]);
    }
    escaped = kept(&b);
    return arena_printf(&fx.arena, "{\"%s\":%.*s,\"sign\":\"%.*s\"}", name, SLICE_FMT(escaped),
                        SLICE_FMT(rsa_base64(escaped)));
}

/* ------------------------------------------------------------------ fixture */

#define FIVE_BLOCK(name, methods)                                                                  \
    "pay_channel " name " { adapter " name "; methods " methods                                    \
    "; notify_base https://pay.example/notify; endpoint https://" name ".example; }\n"

static inline void five_account(enum five i, struct slice config, struct slice secrets)
{
    five.channel[i] = channel_find(five.set, slice_of(five_names[i]));
    assert_non_null(five.channel[i]);
    five.account[i] = new_account(five.channel[i], config, secrets);
}

static inline int five_setup(void **state)
{
    static const char text[] = FIVE_BLOCK("wechat_v2", "barcode native jsapi h5 app")
        FIVE_BLOCK("wechat_v3", "barcode native jsapi h5 app")
            FIVE_BLOCK("alipay", "barcode native jsapi h5 app")
                FIVE_BLOCK("unionpay", "barcode native h5 app")
                    FIVE_BLOCK("bank_json", "barcode native");
    struct conf_error err;

    if (setup(state) < 0)
        return -1;
    five.folder = make_folder();
    if (channel_set_load(write_file(&five.folder, "five.conf", slice_of(text)),
                         "lua-free-conf/adapters", &five.set, &err) < 0)
        fail_msg("%s", err.text);
    five.v2_key = hmac_key_new(SLICE(V2_KEY));
    five.upay_cert = file_text("t/vectors/channel_acp.crt.pem");
    five_account(V2, PAIRS("appid", APPID, "mch_id", MCHID), PAIRS("api_key", V2_KEY));
    five_account(V3, wechat_config(), wechat_secrets());
    five_account(ALI, PAIRS("app_id", ALI_APP, "seller_id", ALI_SELF),
                 PAIRS("private_key", "@t/vectors/merchant.key.pem", "alipay_key",
                       "@t/vectors/channel.pub.pem"));
    five_account(UPAY,
                 PAIRS("mer_id", UPAY_MER, "cert_id", UPAY_CERT, "sign_name", "00040000:SIGN"),
                 PAIRS("private_key", "@t/vectors/merchant.key.pem", "acp_roots",
                       "@t/vectors/acp_root.crt.pem"));
    five_account(BANK, PAIRS("mch_id", BANK_MCH), PAIRS("key", BANK_KEY));
    return 0;
}

static inline int five_teardown(void **state)
{
    for (int i = 0; i < FIVE; i++)
        channel_account_free(five.account[i]);
    channel_set_free(five.set);
    hmac_key_free(five.v2_key);
    remove_folder(&five.folder);
    return teardown(state);
}

static inline pay_time_t five_now(enum five i)
{
    return i == UPAY ? UPAY_NOW : NOW;
}

static inline struct channel_order five_order(enum payment_method method)
{
    struct channel_order o = an_order();

    o.method = method;
    o.payer_id = SLICE("o6_bmjrPTlm6_2sgVt7hMZOPfL2M");
    o.payer_ip = SLICE("8.8.8.8");
    o.auth_code = SLICE("130061098828009406");
    o.channel_trade_no = SLICE("202609011200000000018");
    o.prepay = SLICE("wx201410272009395522657a690389285100");
    o.refund_no = SLICE(REFUND_NO);
    o.refund_amount = 300;
    o.refund_created_at = NOW + 60 * USEC_PER_SEC;
    o.bill_day = NOW;
    return o;
}

static inline struct channel_request five_encode(enum five i, enum call_kind kind,
                                                 const struct channel_order *o)
{
    struct channel_request r;
    const char *why;

    if (channel_encode(five.channel[i], five.account[i], kind, o, NOW, SLICE(NONCE), &fx.arena, &r,
                       &why) < 0)
        fail_msg("%s %s %s: %s", five_names[i], call_kind_name(kind),
                 payment_method_name(o->method), why);
    return r;
}

static inline struct channel_result five_decode(enum five i, enum call_kind kind,
                                                const struct channel_order *o, int status,
                                                const struct signed_headers *h, struct slice body)
{
    static const struct signed_headers none;
    struct channel_result r;

    if (!h)
        h = &none;
    channel_decode(five.channel[i], five.account[i], kind, o, status, h->h, h->n, body, five_now(i),
                   &fx.arena, &r);
    return r;
}

#endif
