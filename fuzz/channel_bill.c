/* Bills: packed ones of the shipped adapters, and the text inside them, CSV in UTF-8 and GBK and
 * fixed-width fields; the first byte chooses. Rows have amounts, and sums are those of the rows. */
#include "fuzz.h"

#include "backends/channel/channel.h"

#define HEAD                                                                                       \
    "encoding json; account { value m; secret k hmac_sha256; }\n"                                  \
    "sign { algorithm hmac_sha256; key k; message lines $timestamp $body; signature hex;"          \
    " header S $signature; }\n"                                                                    \
    "verify { algorithm hmac_sha256; key k; message lines $timestamp $body; signature hex;"        \
    " header S 't=$timestamp,s=$signature'; }\n"                                                   \
    "errors { code code; }\n"                                                                      \
    "api native { kind prepare; request POST /x; send { a 1; }"                                    \
    " recv { call { status 200; } trade { class accepted; } } }\n"
#define ROWS                                                                                       \
    " row payment { when kind 1; take amount amount digits; take fee fee millifen optional;"       \
    " take state name optional; }\n"                                                               \
    " row refund { same kind name; take amount amount fen abs; }\n"                                \
    " row reversal { when kind 3 ''; take amount fee debit abs; take at name stamp optional; }\n"

static const char *const texts[] = {
    HEAD
    "bill { csv , '`'; comment '#'; end END; column kind kind; column amount amount; column fee"
    " fee; column name name;" ROWS " total rows rows digits; }",
    HEAD
    "bill { charset gbk; csv ,; comment '#'; column kind kind; column amount amount; column fee"
    " fee; column name name;" ROWS "}",
    HEAD "bill { charset gbk; fixed 1 2 6 5 8; column kind 1; column amount 2; column fee 3;"
         " column name 4;" ROWS "}",
};
static const char *const shipped[] = {"wechat_v3", "alipay", "unionpay", "bank_json"};
#define CHANNELS 7

static const struct channel *channels[CHANNELS];

static void load(void)
{
    char dir[] = "/tmp/fuzz_bill.XXXXXX", path[128];
    static struct channel_set *sets[CHANNELS]; /* stay */
    struct conf_error err;

    must(mkdtemp(dir));
    for (int i = 0; i < CHANNELS; i++) {
        FILE *f;

        snprintf(path, sizeof(path), "%s/a%d.conf", dir, i);
        f = fopen(path, "w");
        must(f);
        if (i < 3)
            fputs(texts[i], f);
        fclose(f);
        snprintf(path, sizeof(path), "%s/block", dir);
        f = fopen(path, "w");
        must(f);
        fprintf(f,
                "pay_channel x { adapter %s%d; methods native; notify_base https://p.example/n;"
                " endpoint https://x.example; }\n",
                i < 3 ? "a" : shipped[i - 3], i);
        fclose(f);
        if (i >= 3) {
            f = fopen(path, "w");
            must(f);
            fprintf(f,
                    "pay_channel x { adapter %s; methods native; notify_base https://p.example/n;"
                    " endpoint https://x.example; }\n",
                    shipped[i - 3]);
            fclose(f);
        }
        if (channel_set_load(path, i < 3 ? dir : "lua-free-conf/adapters", &sets[i], &err) < 0) {
            fprintf(stderr, "%s\n", err.text);
            abort();
        }
        channels[i] = channel_at(sets[i], 0);
        remove(path);
        snprintf(path, sizeof(path), "%s/a%d.conf", dir, i);
        remove(path);
    }
    remove(dir);
}

static int on_row(void *arg, const struct channel_bill_line *row)
{
    struct channel_bill_sum *sum = arg;

    must(row->amount >= 0 && row->number > 0);
    fuzz_touch(row->request_no);
    fuzz_touch(row->channel_trade_no);
    fuzz_touch(row->refund_no);
    fuzz_touch(row->channel_refund_no);
    fuzz_touch(row->state);
    sum->rows++;
    if (row->kind == BILL_PAYMENT)
        sum->paid += row->amount;
    else if (row->kind != BILL_OTHER)
        sum->returned += row->amount;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct channel_bill_sum sum, counted = {0};
    struct conf_error err;

    if (!channels[0])
        load();
    if (size < 1)
        return 0;
    if (channel_bill_read(channels[data[0] % CHANNELS], slice_n(data + 1, size - 1), SLICE_NULL,
                          on_row, &counted, &sum, &err) == 0) {
        must(sum.rows == counted.rows && sum.paid == counted.paid &&
             sum.returned == counted.returned);
    } else {
        must(memchr(err.text, 0, sizeof(err.text)) && err.text[0]);
    }
    return 0;
}
