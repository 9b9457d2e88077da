/*
 * channel - what a call at each shipped channel costs the adapter engine: a prepare encoded and
 * signed, and the answer of a paid query (1 KB) parsed, verified and mapped; CPU microseconds, one
 * JSON line.
 *
 * RSA takes a hundred times what is measured here and would hide it. So every adapter is loaded
 * twice: as it is (`full_us`, beside `crypto_us`, the bare signature and verification over the same
 * text in the same rounds), and with RSA replaced by HMAC in its file (`ours_us`, bare HMAC taken
 * off): the same texts, members, tables and templates without the RSA.
 */
#define _GNU_SOURCE
#include "backends/channel/account.h"
#include "backends/channel/set.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define NOW    (1796000000LL * USEC_PER_SEC)
#define NONCE  "593BEC0C930BF1AFEB40B4A08C8FB242"
#define SHARED "8934e7d15453e97507ef794cf7b0519d"
#define SIZE   1024
#define ROUNDS 9

static const char *const names[] = {"wechat_v2", "wechat_v3", "alipay", "unionpay", "bank_json"};
#define CHANNELS (sizeof(names) / sizeof(*names))

static int calls = 2000, rsa_calls = 100; /* of a round */
static struct arena arena;                /* what lives on */

static void check(int rc, const char *what)
{
    if (rc == 0)
        return;
    fprintf(stderr, "channel: %s\n", what);
    exit(1);
}

static int64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static struct slice read_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    char *p = malloc(1 << 20);
    size_t n;

    check(f && p ? 0 : -1, path);
    n = fread(p, 1, 1 << 20, f);
    fclose(f);
    p[n] = '\0';
    return slice_n(p, n);
}

/* ------------------------------------------------------------------ adapters */

/* Every `from` in the text replaced; `to` NULL: its whole line dropped. */
static struct slice replace(struct slice text, const char *from, const char *to)
{
    struct buf b;
    const char *p = text.p, *at;

    buf_init(&b, 1 << 20);
    while ((at = strstr(p, from)) != NULL) {
        const char *head = at;

        while (!to && head > p && head[-1] != '\n')
            head--;
        buf_add(&b, p, (size_t)(head - p));
        buf_add_str(&b, to ? to : "");
        p = to ? at + strlen(from) : at + strcspn(at, "\n");
    }
    buf_add_str(&b, p);
    buf_add_char(&b, '\0');
    check(buf_ok(&b) ? 0 : -1, "adapter too large");
    return slice_n(b.p, b.n - 1);
}

/* The block that begins so at a line's start, cut out. */
static struct slice without_block(struct slice text, const char *head)
{
    const char *at = strstr(text.p, head), *end = at ? strstr(at, "\n}\n") : NULL;
    struct buf b;

    if (!end)
        return text;
    buf_init(&b, 1 << 20);
    buf_add(&b, text.p, (size_t)(at - text.p));
    buf_add_str(&b, end + 3);
    buf_add_char(&b, '\0');
    check(buf_ok(&b) ? 0 : -1, "adapter too large");
    return slice_n(b.p, b.n - 1);
}

static void write_text(const char *path, struct slice text)
{
    FILE *f = fopen(path, "wb");

    check(f && fwrite(text.p, 1, text.n, f) == text.n && fclose(f) == 0 ? 0 : -1, path);
}

static struct channel_set *load_set(bool rsa)
{
    char dir[] = "/tmp/bench_channel.XXXXXX", path[128], blocks[2048] = "";
    struct channel_set *set;
    struct conf_error err;

    check(mkdtemp(dir) ? 0 : -1, "no folder");
    for (size_t i = 0; i < CHANNELS; i++) {
        struct slice text;

        snprintf(path, sizeof(path), "lua-free-conf/adapters/%s.conf", names[i]);
        text = read_text(path);
        if (!rsa) {
            text = without_block(text, "\ncertificates {");
            text = replace(text, "certificate ", NULL);
            text = replace(text, "rsa_sha256", "hmac_sha256");
            text = replace(text, "rsa_private", "hmac_sha256");
            text = replace(text, "rsa_public", "hmac_sha256");
            text = replace(text, "x509_roots", "hmac_sha256");
        }
        snprintf(path, sizeof(path), "%s/%s.conf", dir, names[i]);
        write_text(path, text);
        snprintf(blocks + strlen(blocks), sizeof(blocks) - strlen(blocks),
                 "pay_channel %s { adapter %s; methods native; notify_base https://pay.example/n; "
                 "endpoint https://x.example; }\n",
                 names[i], names[i]);
    }
    snprintf(path, sizeof(path), "%s/channels", dir);
    write_text(path, slice_of(blocks));
    if (channel_set_load(path, dir, &set, &err) < 0) {
        fprintf(stderr, "channel: %s\n", err.text);
        exit(1);
    }
    for (size_t i = 0; i < CHANNELS; i++) {
        snprintf(path, sizeof(path), "%s/%s.conf", dir, names[i]);
        unlink(path);
    }
    snprintf(path, sizeof(path), "%s/channels", dir);
    unlink(path);
    rmdir(dir);
    return set;
}

/* Successors while keys rotate, and what signs nothing. */
static bool is_spare(const char *name)
{
    size_t n = strlen(name);

    return strcmp(name, "certificate") == 0 || (n > 2 && strcmp(name + n - 2, "_2") == 0);
}

static void add_secret(struct json_writer *w, const struct adapter_secret *s, bool rsa)
{
    const char *file = NULL;

    if (rsa && s->type == SECRET_RSA_PRIVATE)
        file = "t/vectors/merchant.key.pem";
    else if (rsa && s->type == SECRET_RSA_PUBLIC)
        file = "t/vectors/channel.pub.pem";
    else if (rsa && s->type == SECRET_X509_ROOTS)
        file = "t/vectors/acp_root.crt.pem";
    json_member_str(w, s->name, file ? read_text(file) : SLICE(SHARED));
}

static struct channel_account *open_account(const struct channel *c, bool rsa)
{
    const struct adapter *ad = c->adapter;
    struct channel_account *a;
    struct json_writer w;
    struct buf config, secrets;
    struct conf_error err;

    buf_init(&config, 65536);
    buf_init(&secrets, 65536);
    json_writer_init(&w, &config);
    json_begin_object(&w);
    for (uint32_t i = 0; i < ad->nvalues; i++)
        if (!is_spare(ad->values[i].name))
            json_member_str(&w, ad->values[i].name,
                            slice_is(slice_of(ad->values[i].name), "sign_name")
                                ? SLICE("00040000:SIGN")
                                : slice_of(ad->values[i].name));
    json_end_object(&w);
    json_writer_init(&w, &secrets);
    json_begin_object(&w);
    for (uint32_t i = 0; i < ad->nsecrets; i++)
        if (!is_spare(ad->secrets[i].name))
            add_secret(&w, &ad->secrets[i], rsa);
    json_end_object(&w);
    if (channel_account_new(c, SLICE("main"), buf_slice(&config), buf_slice(&secrets), &a, &err) <
        0) {
        fprintf(stderr, "channel: %s\n", err.text);
        exit(1);
    }
    buf_release(&config);
    buf_release(&secrets);
    return a;
}

/* ------------------------------------------------------------------ an answer of 1 KB */

struct answer {
    struct slice body;
    struct http_header headers[4];
    size_t nheaders;
    struct slice text; /* that was signed */
};

/* Members of a paid query's answer, in the channel's words; %s the padding. */
static const char *const members[CHANNELS] = {
    "return_code=SUCCESS|result_code=SUCCESS|return_msg=OK|appid=appid|mch_id=mch_id|nonce_str=x|"
    "openid=o6_bmjrPTlm6_2sgVt7hMZOPfL2M|trade_type=NATIVE|trade_state=SUCCESS|bank_type=OTHERS|"
    "total_fee=888|fee_type=CNY|cash_fee=888|transaction_id=4200000001202609011234567890|"
    "out_trade_no=P2609010000000000001|time_end=20260901120003|attach=%s",
    "{\"appid\":\"appid\",\"mchid\":\"mchid\",\"out_trade_no\":\"P2609010000000000001\","
    "\"transaction_id\":\"4200000001202609011234567890\",\"trade_type\":\"NATIVE\",\"trade_state\":"
    "\"SUCCESS\",\"trade_state_desc\":\"ok\",\"bank_type\":\"OTHERS\",\"success_time\":"
    "\"2026-09-01T12:00:00+08:00\",\"payer\":{\"openid\":\"o6_bmjrPTlm6_2sgVt7hMZOPfL2M\"},"
    "\"amount\":{\"total\":888,\"payer_total\":888,\"currency\":\"CNY\"},\"attach\":\"%s\"}",
    "{\"code\":\"10000\",\"msg\":\"Success\",\"out_trade_no\":\"P2609010000000000001\","
    "\"trade_no\":\"2026090122001400001000000001\",\"trade_status\":\"TRADE_SUCCESS\","
    "\"total_amount\":\"8.88\",\"send_pay_date\":\"2026-09-01 12:00:03\",\"buyer_logon_id\":"
    "\"159****5620\",\"buyer_user_id\":\"2088101117955611\",\"body\":\"%s\"}",
    "accessType=0|bizType=000000|currencyCode=156|encoding=UTF-8|merId=mer_id|orderId="
    "P2609010000000000001|origRespCode=00|origRespMsg=ok[0000000]|payCardType=01|queryId="
    "202609011200000000018|reqReserved=%s|respCode=00|respMsg=ok[0000000]|settleAmt=888|"
    "settleDate=0901|signMethod=01|traceNo=000001|txnAmt=888|txnTime=20260901120000|txnType=00|"
    "version=5.1.0",
    "{\"code\":\"OK\",\"status\":\"PAID\",\"order_no\":\"P2609010000000000001\",\"bank_no\":"
    "\"B20260901000001\",\"amount\":888,\"currency\":\"CNY\",\"paid_at\":"
    "\"2026-09-01T12:00:00+08:00\",\"pad\":\"%s\"}",
};

/* `format` with its %s made so long that the whole has SIZE bytes once `more` were added. */
static struct slice padded(const char *format, size_t more)
{
    const char *at = strstr(format, "%s");
    size_t n = strlen(format) - 2 + more, pad = SIZE > n ? SIZE - n : 1;
    char *x = arena_alloc(&arena, pad + 1);

    memset(x, 'x', pad);
    return arena_printf(&arena, "%.*s%s%s", (int)(at - format), format, x, at + 2);
}

/* "k=v|k=v" as the encoding writes it, without the signature's end. */
static struct slice write_pairs(enum encoding e, struct slice pairs)
{
    struct buf b;
    struct slice s;

    buf_init(&b, 65536);
    while (pairs.n) {
        struct slice value = slice_cut(&pairs, '|');
        struct slice name = slice_cut(&value, '=');

        if (e == ENCODING_XML)
            buf_addf(&b, "<%.*s><![CDATA[%.*s]]></%.*s>", SLICE_FMT(name), SLICE_FMT(value),
                     SLICE_FMT(name));
        else
            buf_addf(&b, "%s%.*s=%.*s", b.n ? "&" : "", SLICE_FMT(name), SLICE_FMT(value));
    }
    s = arena_copy(&arena, buf_slice(&b));
    buf_release(&b);
    return s;
}

static struct slice whole(enum encoding e, struct slice part, const struct slice *signature)
{
    if (e == ENCODING_XML)
        return signature ? arena_printf(&arena, "<xml>%.*s<sign>%.*s</sign></xml>", SLICE_FMT(part),
                                        SLICE_FMT(*signature))
                         : arena_printf(&arena, "<xml>%.*s</xml>", SLICE_FMT(part));
    return signature
               ? arena_printf(&arena, "%.*s&signature=%.*s", SLICE_FMT(part), SLICE_FMT(*signature))
               : part;
}

static struct slice hex(const uint8_t *raw, size_t n, bool upper)
{
    struct buf b = arena_buf(&arena, 2 * n);

    hex_encode(&b, slice_n(raw, n), upper);
    return buf_slice(&b);
}

/* The signature as the channel makes it over an->text. */
static struct slice sign(const struct signer *s, struct pkey *rsa, struct slice text)
{
    struct hmac_key *k = hmac_key_new(SLICE(SHARED));
    struct buf b = arena_buf(&arena, 1024);
    uint8_t raw[512];
    size_t n = sizeof(raw);

    if (rsa && s->algorithm == ALGORITHM_RSA_SHA256)
        check(pkey_sign_sha256(rsa, &text, 1, raw, &n), "cannot sign");
    else
        check(hmac_sign(k, &text, 1, raw), "cannot sign"), n = SHA256_LEN;
    hmac_key_free(k);
    if (s->text != SIGN_BASE64)
        return hex(raw, n, s->text == SIGN_HEX_UPPER);
    base64_encode(&b, slice_n(raw, n));
    return buf_slice(&b);
}

static void make_flat(const struct channel *c, size_t i, struct pkey *rsa, struct answer *an)
{
    const struct signer *s = &c->adapter->verify;
    enum encoding e = c->adapter->decode;
    struct slice cert =
        rsa && s->certificate ? read_text("t/vectors/channel_acp.crt.pem") : SLICE_NULL;
    struct slice part = write_pairs(e, padded(members[i], e == ENCODING_XML ? 497 : 0)), signature;
    const struct json *tree;
    uint8_t digest[SHA256_LEN];

    if (cert.n)
        part = arena_printf(&arena, "%.*s&signPubKeyCert=%.*s", SLICE_FMT(part), SLICE_FMT(cert));
    check(body_parse(e, whole(e, part, NULL), &arena, &tree), "cannot be parsed");
    an->text = body_sorted(tree, NULL, 0, &arena);
    if (s->uses_key)
        an->text = arena_printf(&arena, "%.*s&key=" SHARED, SLICE_FMT(an->text));
    if (s->digest) {
        sha256(an->text, digest);
        an->text = hex(digest, sizeof(digest), false);
    }
    signature = sign(s, rsa, an->text);
    an->body = whole(e, part, &signature);
}

static void make_answer(const struct channel *c, size_t i, struct pkey *rsa, struct answer *an)
{
    const struct signer *s = &c->adapter->verify;
    struct slice t = SLICE("1796000000"), signature;

    *an = (struct answer){.nheaders = 0};
    if (s->member && s->uses_sorted) {
        make_flat(c, i, rsa, an);
        return;
    }
    an->body = padded(members[i], 0);
    if (s->member) {
        an->text = an->body;
        signature = sign(s, rsa, an->text);
        an->body = arena_printf(&arena, "{\"alipay_trade_query_response\":%.*s,\"sign\":\"%.*s\"}",
                                SLICE_FMT(an->body), SLICE_FMT(signature));
        return;
    }
    an->text =
        arena_printf(&arena, s->by_serial ? "%.*s\n" NONCE "\n%.*s\n" : "%.*s\n" NONCE "\n%.*s",
                     SLICE_FMT(t), SLICE_FMT(an->body));
    signature = sign(s, rsa, an->text);
    if (!s->by_serial) {
        an->headers[an->nheaders++] = (struct http_header){
            SLICE("Bank-Signature"),
            arena_printf(&arena, "t=%.*s,n=" NONCE ",s=%.*s", SLICE_FMT(t), SLICE_FMT(signature))};
        return;
    }
    an->headers[an->nheaders++] = (struct http_header){SLICE("Wechatpay-Timestamp"), t};
    an->headers[an->nheaders++] = (struct http_header){SLICE("Wechatpay-Nonce"), SLICE(NONCE)};
    an->headers[an->nheaders++] =
        (struct http_header){SLICE("Wechatpay-Serial"), SLICE("platform_serial")};
    an->headers[an->nheaders++] = (struct http_header){SLICE("Wechatpay-Signature"), signature};
}

/* ------------------------------------------------------------------ measuring */

struct subject {
    const struct channel *channel;
    struct channel_account *account;
    struct channel_order order;
    struct answer answer;
};

static void prepare(struct subject *s, struct channel_set *set, size_t i, struct pkey *rsa)
{
    char *text = arena_alloc(&arena, 400);

    memset(text, 'd', 380);
    s->channel = channel_find(set, slice_of(names[i]));
    s->account = open_account(s->channel, rsa != NULL);
    s->order = (struct channel_order){.request_no = SLICE("P2609010000000000001"),
                                      .method = METHOD_NATIVE,
                                      .amount = 888,
                                      .currency = SLICE("CNY"),
                                      .description = slice_n(text, 380),
                                      .attach = SLICE("attached"),
                                      .payer_ip = SLICE("8.8.8.8"),
                                      .created_at = NOW,
                                      .time_expire = NOW + 7200 * USEC_PER_SEC};
    make_answer(s->channel, i, rsa, &s->answer);
}

/* One prepare and one query's answer; the request's body, to be sure that it was made. */
static size_t one_call(const struct subject *s)
{
    struct channel_request r;
    struct channel_result result;
    const char *why = NULL;
    struct arena a;
    size_t n;

    arena_init(&a, 1 << 20);
    if (channel_encode(s->channel, s->account, CALL_PREPARE, &s->order, NOW, SLICE(NONCE), &a, &r,
                       &why) < 0)
        check(-1, why);
    n = r.body.n;
    channel_decode(s->channel, s->account, CALL_QUERY, &s->order, 200, s->answer.headers,
                   s->answer.nheaders, s->answer.body, NOW, &a, &result);
    if (result.cls != CLASS_SUCCESS || result.amount != 888 || !result.verified) {
        fprintf(stderr, "channel: %.*s: %s %.*s %.*s\n", SLICE_FMT(channel_facts(s->channel)->name),
                answer_class_name(result.cls), SLICE_FMT(result.code), SLICE_FMT(result.message));
        exit(1);
    }
    arena_release(&a);
    return n;
}

static int64_t calls_ns(const struct subject *s, int n)
{
    int64_t t = cpu_ns();

    for (int i = 0; i < n; i++)
        one_call(s);
    return (cpu_ns() - t) / n;
}

/* The bare signatures of a call: one made over the request's size, one verified. */
static int64_t hmac_ns(const struct subject *s, struct slice request)
{
    struct hmac_key *k = hmac_key_new(SLICE(SHARED));
    uint8_t mac[SHA256_LEN];
    int64_t t;

    hmac_sign(k, &s->answer.text, 1, mac);
    t = cpu_ns();
    for (int i = 0; i < calls; i++) {
        uint8_t made[SHA256_LEN];

        hmac_sign(k, &request, 1, made);
        hmac_verify(k, &s->answer.text, 1, slice_n(mac, sizeof(mac)));
    }
    t = (cpu_ns() - t) / calls;
    hmac_key_free(k);
    return t;
}

static int64_t rsa_ns(struct pkey *private, struct pkey *public, struct slice text)
{
    uint8_t sig[512];
    size_t n = sizeof(sig);
    int64_t t = cpu_ns();

    for (int i = 0; i < rsa_calls; i++) {
        n = sizeof(sig);
        check(pkey_sign_sha256(private, &text, 1, sig, &n), "sign");
        check(pkey_verify_sha256(public, &text, 1, slice_n(sig, n)), "verify");
    }
    return (cpu_ns() - t) / rsa_calls;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static double median_us(int64_t v[ROUNDS])
{
    qsort(v, ROUNDS, sizeof(*v), compare);
    return (double)v[ROUNDS / 2] / 1e3;
}

static void measure(size_t i, struct channel_set *plain, struct channel_set *real,
                    struct pkey *private, struct pkey *public)
{
    struct subject fast, full;
    int64_t ours[ROUNDS], bare[ROUNDS], all[ROUNDS], crypto[ROUNDS];
    bool rsa;

    prepare(&fast, plain, i, NULL);
    prepare(&full, real, i, private);
    rsa = full.channel->adapter->sign.algorithm == ALGORITHM_RSA_SHA256;
    one_call(&full);
    for (int r = 0; r < ROUNDS; r++) {
        struct slice request = slice_n(fast.answer.body.p, fast.answer.body.n);

        bare[r] = hmac_ns(&fast, request);
        ours[r] = calls_ns(&fast, calls) - bare[r];
        crypto[r] = rsa ? rsa_ns(private, public, full.answer.text) : bare[r];
        all[r] = rsa ? calls_ns(&full, rsa_calls) : ours[r] + bare[r];
    }
    printf("%s\"%s\":{\"ours_us\":%.2f,\"full_us\":%.1f,\"crypto_us\":%.1f,\"request\":%zu,"
           "\"answer\":%zu}",
           i ? "," : "{", names[i], median_us(ours), median_us(all), median_us(crypto),
           one_call(&fast), fast.answer.body.n);
    channel_account_free(fast.account);
    channel_account_free(full.account);
}

/* 200 channels over 20 adapter files, as channel_load_test does it. */
static double load_ms(void)
{
    char dir[] = "/tmp/bench_channel.XXXXXX", path[128];
    int64_t v[ROUNDS];
    struct buf b;

    check(mkdtemp(dir) ? 0 : -1, "no folder");
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 200; i++) {
        buf_addf(&b,
                 "pay_channel c%d { adapter a%d; methods native; notify_base https://p.example/n; "
                 "endpoint https://x.example; }\n",
                 i, i % 20);
        snprintf(path, sizeof(path), "lua-free-conf/adapters/%s.conf", names[i % (int)CHANNELS]);
        if (i >= 20)
            continue;
        struct slice text = read_text(path);

        snprintf(path, sizeof(path), "%s/a%d.conf", dir, i);
        write_text(path, text);
    }
    snprintf(path, sizeof(path), "%s/channels", dir);
    write_text(path, buf_slice(&b));
    for (int r = 0; r < ROUNDS; r++) {
        struct channel_set *set;
        struct conf_error err;
        int64_t t = cpu_ns();

        check(channel_set_load(path, dir, &set, &err), err.text);
        v[r] = cpu_ns() - t;
        channel_set_free(set);
    }
    unlink(path);
    for (int i = 0; i < 20; i++) {
        snprintf(path, sizeof(path), "%s/a%d.conf", dir, i);
        unlink(path);
    }
    rmdir(dir);
    return median_us(v) / 1e3;
}

int main(int argc, char **argv)
{
    struct channel_set *plain = load_set(false), *real = load_set(true);
    struct pkey *private = pkey_private_from_pem(read_text("t/vectors/channel.key.pem"));
    struct pkey *public = pkey_public_from_pem(read_text("t/vectors/channel.pub.pem"));
    int64_t n;

    check(private && public ? 0 : -1, "no keys");
    if (argc == 2 && slice_int64(slice_of(argv[1]), &n) == 0 && n > 0 && n <= 1000000) {
        calls = (int)n;
        rsa_calls = calls / 20 + 1;
    }
    arena_init(&arena, 64 << 20);
    for (size_t i = 0; i < CHANNELS; i++)
        measure(i, plain, real, private, public);
    printf(",\"load_ms\":%.1f}\n", load_ms());
    return 0;
}
