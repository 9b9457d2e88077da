/*
 * Answers and notifications of the five shipped adapters, beyond their signatures: the first byte
 * chooses adapter, call and status. An invented account believes every signature, so that the rest
 * is reached; the laws of the engine must hold all the same.
 */
#include "fuzz.h"

#include "backends/channel/channel.h"

#define NOW (1796000000LL * USEC_PER_SEC)

static const char *const names[] = {"wechat_v2", "wechat_v3", "alipay", "unionpay", "bank_json"};
#define CHANNELS 5

static const struct channel *channels[CHANNELS];
static struct channel_account *accounts[CHANNELS];

static void load(void)
{
    char path[] = "/tmp/fuzz_channel.XXXXXX";
    static struct channel_set *set; /* stays */
    struct conf_error err;
    int fd = mkstemp(path);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;

    must(f);
    for (int i = 0; i < CHANNELS; i++)
        fprintf(f,
                "pay_channel %s { adapter %s; methods native; notify_base https://p.example/n; "
                "endpoint https://x.example; }\n",
                names[i], names[i]);
    fclose(f);
    if (channel_set_load(path, "lua-free-conf/adapters", &set, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    remove(path);
    for (int i = 0; i < CHANNELS; i++) {
        channels[i] = channel_find(set, slice_of(names[i]));
        must(channel_account_invent(channels[i], &accounts[i], &err) == 0);
    }
}

static void touch(const struct channel_result *r)
{
    const struct slice texts[] = {r->code,
                                  r->message,
                                  r->request_no,
                                  r->channel_trade_no,
                                  r->currency,
                                  r->code_url,
                                  r->h5_url,
                                  r->prepay,
                                  r->payer_id,
                                  r->refund_no,
                                  r->channel_refund_no,
                                  r->bill_url,
                                  r->bill_sha1,
                                  r->bill};

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        fuzz_touch(texts[i]);
}

/* What no answer and no notification may do. */
static void check(const struct channel_result *r, enum call_kind kind, int status)
{
    bool moved = r->cls == CLASS_SUCCESS || r->cls == CLASS_ACCEPTED;

    touch(r);
    must(r->cls != CLASS_NOT_SENT);
    must(r->amount >= -1 && r->refund_amount >= -1);
    if (status < 200 || status > 299)
        must(!moved);
    if (status >= 500 || status < 200 || (status >= 300 && status < 400))
        must(r->cls == CLASS_UNKNOWN);
    if (r->cls == CLASS_SUCCESS && (kind == CALL_QUERY || kind == CALL_CHARGE))
        must(r->amount > 0 && r->currency.n == 3);
    if (r->cls == CLASS_SUCCESS && kind == CALL_REFUND_QUERY)
        must(r->refund_amount > 0);
    if (kind == CALL_PREPARE || kind == CALL_CLOSE)
        must(r->cls != CLASS_SUCCESS);
}

/* The list of certificates that a channel publishes. */
static void certificates(const struct channel *c, const struct channel_account *a,
                         struct slice body, struct arena *arena)
{
    struct channel_certificate came[CHANNEL_CERTIFICATES_MAX];
    const char *why = NULL;
    uint32_t n;

    if (channel_certificates_decode(c, a, 200, NULL, 0, body, NOW, arena, came, &n, &why) < 0)
        must(why && n == 0);
    else
        must(n > 0 && n <= CHANNEL_CERTIFICATES_MAX);
    for (uint32_t i = 0; i < n; i++) {
        fuzz_touch(came[i].serial);
        fuzz_touch(came[i].pem);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 204, 202, 400, 404, 429, 500, 302};
    struct channel_order order = {.request_no = SLICE("T202609010001"),
                                  .method = METHOD_NATIVE,
                                  .amount = 888,
                                  .currency = SLICE("CNY"),
                                  .refund_no = SLICE("R202609010001"),
                                  .refund_amount = 300,
                                  .created_at = NOW};
    struct channel_result r;
    struct slice body;
    const char *why;
    struct arena a;
    int i, status;
    enum call_kind kind;

    if (!accounts[0])
        load();
    if (size < 2)
        return 0;
    i = data[0] % CHANNELS;
    kind = (enum call_kind)(data[1] % CALL_KIND_COUNT);
    status = statuses[data[1] / CALL_KIND_COUNT % 8];
    order.method = kind == CALL_CHARGE || kind == CALL_REVERSE ? METHOD_BARCODE : METHOD_NATIVE;
    body = slice_n(data + 2, size - 2);
    arena_init(&a, 8 * FUZZ_ARENA);
    if (kind == CALL_NONE) {
        if (channel_notification(channels[i], accounts[i], NULL, 0, body, NOW, &a, &r, &why) == 0)
            check(&r, r.about, 200);
        else
            must(why && r.amount == -1 && r.request_no.n == 0);
        certificates(channels[i], accounts[i], body, &a);
    } else {
        channel_decode(channels[i], accounts[i], kind, &order, status, NULL, 0, body, NOW, &a, &r);
        check(&r, kind, status);
        must(r.code.n > 0);
    }
    arena_release(&a);
    return 0;
}
