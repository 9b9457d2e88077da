/* Loading: every mistake in an adapter, a channel or an account is named with file and line. */
#include "channel_test.h"

#include "core/payer_app.h"

#include <time.h>

static struct folder folder;

static int load(void **state)
{
    folder = make_folder();
    return setup(state);
}

static int unload(void **state)
{
    remove_folder(&folder);
    return teardown(state);
}

/* text with the first `from` replaced by `to`; *line = where it stood. */
static struct slice edit(struct slice text, const char *from, const char *to, int *line)
{
    const char *s = arena_cstr(&fx.arena, text);
    const char *at = strstr(s, from);

    if (!at)
        fail_msg("no \"%s\" in the sample", from);
    *line = 1;
    for (const char *p = s; p < at; p++)
        *line += *p == '\n';
    return arena_printf(&fx.arena, "%.*s%s%s", (int)(at - s), s, to, at + strlen(from));
}

static const char block[] = "pay_channel test {\n"
                            "    adapter adapter;\n"
                            "    methods native;\n"
                            "    notify_base https://pay.example/notify;\n"
                            "}\n";

static int load_set(const char *channel, struct channel_set **set, struct conf_error *err)
{
    const char *path = write_file(&folder, "channel.conf", slice_of(channel));

    return channel_set_load(path, folder.path, set, err);
}

static int wrong; /* errors that differ from what was expected: all are shown */

static void expect(const char *file, int line, const char *message, struct conf_error *err)
{
    struct slice place = arena_printf(&fx.arena, "%s/%s:%d:", folder.path, file, line);
    const char *column = err->text + place.n;
    size_t digits = strspn(column, "0123456789");

    /* FILE:LINE:COLUMN: reason */
    if (slice_starts(slice_of(err->text), place) && digits > 0 &&
        !strncmp(column + digits, ": ", 2) &&
        slice_starts(slice_of(column + digits + 2), slice_of(message)))
        return;
    print_message("# got  %s\n# want %s COLUMN: %s\n", err->text, place.p, message);
    wrong++;
}

/* ------------------------------------------------------------------ adapters */

/* An edit of a shipped adapter, and what is said at the line that was edited, `below` lines down.
 */
struct mistake {
    const char *from, *to;
    int below;
    const char *message;
};

static void check_mistakes(const char *adapter, const struct mistake *m, size_t n)
{
    struct slice good = file_text(adapter);
    struct channel_set *set;
    struct conf_error err;
    int line;

    write_file(&folder, "adapter.conf", good);
    if (load_set(block, &set, &err) < 0)
        fail_msg("%s", err.text);
    channel_set_free(set);
    for (size_t i = 0; i < n; i++) {
        write_file(&folder, "adapter.conf", edit(good, m[i].from, m[i].to, &line));
        if (load_set(block, &set, &err) == 0)
            fail_msg("loaded with \"%s\"", m[i].to);
        expect("adapter.conf", line + m[i].below, m[i].message, &err);
    }
}

static const struct mistake bank_mistakes[] = {
    /* the file */
    {"encoding  json;", "encoding  yaml;", 0, "expected json, xml or form, not \"yaml\""},
    {"encoding  json;", "encoding  pairs;", 0, "expected json, xml or form, not \"pairs\""},
    {"encoding  json;", "encodng  json;", 0, "unknown directive \"encodng\""},
    {"encoding  json;", "encoding  json json json json;", 0,
     "wrong number of arguments (4), expected: encoding REQUEST"},
    {"api close {", "api native {", 0, "api native is repeated"},
    {"errors {", "error {", 0, "unknown directive \"error\""},
    {"header  Accept      application/json;", "header  Accept $order.description;", 0,
     "\"$order.description\" is not known here"},
    {"header  Accept      application/json;", "header  Accept \"$account.name\";", 0,
     "\"$account.name\": no such value in the account block"},
    {"header  Accept      application/json;", "header  Accept \"a\\r\\nX: y\";", 0,
     "\"a\r\nX: y\" has a character that cannot be sent here"},
    {"header  Accept      application/json;", "header  'A b' c;", 0,
     "\"A b\" has a character that cannot be sent here"},
    {"header  Accept      application/json;", "header  Accept '';", 0,
     "expected a text that is not empty"},
    {"request     POST /bank/v1/orders;", "request     POST '/bank/v1/my orders';", 0,
     "\"/bank/v1/my orders\" has a character that cannot be sent here"},
    {"acknowledge  200 application/json", "acknowledge  200 'a\\nb'", 0,
     "\"a\nb\" has a character that cannot be sent here"},
    /* account */
    {"value   mch_id;", "value   Mch;", 0, "\"Mch\": expected a name of a-z, 0-9, _"},
    {"value   mch_id;", "value   mch_id maybe;", 0, "expected optional, not \"maybe\""},
    {"value   mch_id;", "value   mch_id; value mch_id;", 0, "\"mch_id\" is repeated"},
    {"secret  key   hmac_sha256;", "secret  key   md5;", 0, "\"md5\" is no type of secrets"},
    {"secret  key   hmac_sha256;", "secret  mch_id   hmac_sha256;", 0, "\"mch_id\" is repeated"},
    {"secret  key   hmac_sha256;", "secret  key hmac_sha256 serial=no;", 0,
     "serial=no: no such value above"},
    {"secret  key   hmac_sha256;", "secret  key hmac_sha256 hidden;", 0,
     "expected serial=VALUE or optional, not \"hidden\""},
    {"secret  key   hmac_sha256;", "secret  key hmac_sha256 serial=mch_id optional;", 0,
     "secret and serial must both be optional or both not"},
    /* signatures */
    {"algorithm  hmac_sha256;", "algorithm  sha1;", 0,
     "expected rsa_sha256, hmac_sha256 or md5, not \"sha1\""},
    {"algorithm  hmac_sha256;", "algorithm  rsa_sha256;", 1,
     "secret \"key\" must be of type rsa_private here"},
    {"key        key;", "key        no;", 0, "\"no\": no such secret in the account block"},
    {"signature  hex;", "signature  binary;", 0,
     "expected base64, hex or hex_upper, not \"binary\""},
    {"message    joined $timestamp $nonce $method $target $body;", "message    rows $body;", 0,
     "expected lines, joined or text, not \"rows\""},
    {"message    joined $timestamp $nonce $method $target $body;",
     "message    joined $timestamp $nonce;", 0, "$body and $timestamp must be signed"},
    {"message    joined $timestamp $nonce $method $target $body;",
     "message    joined $timestamp $serial $body;", 0, "\"$serial\" is not known here"},
    {"header     Bank-Signature 't=$timestamp,n=$nonce,s=$signature';",
     "header     Bank-Signature 't=$timestamp,n=$nonce';", -5,
     "$signature must stand in exactly one header"},
    {"header     Bank-Signature 't=$timestamp,n=$nonce,s=$signature';",
     "header     Bank-Signature 't=$timestamp,n=${nonce,s=$signature';", 0,
     "expected a name behind \"$\""},
    {"header     Bank-Signature 't=$timestamp,n=$nonce,s=$signature';",
     "header     Bank-Signature '$order.amount $signature';", 0,
     "\"$order.amount\" is not known here"},
    {"window     300s;", "window     300;", 0, "expected a time of 1s..1h, not \"300\""},
    {"window     300s;", "window     2h;", 0, "expected a time of 1s..1h, not \"2h\""},
    {"window     300s;", "header X $body;", 0,
     "only $timestamp, $nonce, $serial and $signature can be read from a header"},
    {"window     300s;", "header X $serial$nonce;", 0, "two sources need a text between them"},
    /* codes */
    {"code     code;", "code     code ignore=ab;", 0, "expected ignore=CHAR, not \"ignore=ab\""},
    {"code     code;", "code     a b c d;", 0, "more than 3 places of a code"},
    {"code     code;", "code     .code;", 0,
     "\".code\" is no path of members, such as amount.total"},
    {"map      BAD_REQUEST        failed        400;", "map BAD_REQUEST paid 400;", 0,
     "\"paid\" is no class of answers"},
    {"map      BAD_REQUEST        failed        400;", "map BAD_REQUEST not_sent 400;", 0,
     "\"not_sent\" is no class of answers"},
    {"map      BAD_REQUEST        failed        400;", "map BAD_REQUEST success 400;", 0,
     "class success belongs into a trade block"},
    {"map      BAD_REQUEST        failed        400;", "map BAD_REQUEST failed 40x;", 0,
     "expected an HTTP status of 200..599, not \"40x\""},
    {"map      BAD_REQUEST        failed        400;", "map BAD_REQUEST failed 500;", 0,
     "with HTTP 500 anything may have happened: expected unknown"},
    {"map      BAD_REQUEST        failed        400;", "map BAD_REQUEST failed 302;", 0,
     "an answer of HTTP 302 is always unknown"},
    {"map      BAD_REQUEST        failed        400;", "map ORDER_PAID failed 409;", 4,
     "\"ORDER_PAID\" is repeated, first on line "},
    {"map      BAD_REQUEST        failed        400;", "status 503 failed;", 0,
     "with HTTP 503 anything may have happened: expected unknown"},
    /* one call */
    {"kind        prepare;", "kind        pay;", 0,
     "expected prepare, charge, query, close, reverse, refund, refund_query, bill or download, not "
     "\"pay\""},
    {"kind        prepare;", "kind        query;", 19,
     "a query must check a member against $order.request_no"},
    {"methods     native;", "methods     cash;", 0, "\"cash\" is no payment method"},
    {"idempotent  on;", "idempotent  yes;", 0, "expected on or off, not \"yes\""},
    {"idempotent  on;", "", 1, "only an idempotent call can be sent again"},
    {"resend      same_number;", "resend      always;", 0,
     "expected same_number or never, not \"always\""},
    {"request     POST /bank/v1/orders;", "request     PUT /bank/v1/orders;", 0,
     "expected GET or POST, not \"PUT\""},
    {"request     POST /bank/v1/orders;", "request     POST bank/v1/orders;", 0,
     "expected a path that begins with \"/\""},
    {"request     POST /bank/v1/orders;", "request     POST /bank/$order.amount;", 0,
     "\"$order.amount\" is not text"},
    {"request     POST /bank/v1/orders;", "request     POST /bank/$order.no;", 0,
     "\"$order.no\": no such source"},
    {"request     POST /bank/v1/orders;", "request     GET /bank/v1/orders;", 1,
     "a GET has no body"},
    {"request     POST /bank/v1/orders;",
     "request     POST /bank/v1/orders; unsigned_errors believe success;", 0,
     "success is never believed without a signature"},
    {"request     POST /bank/v1/orders;",
     "request     POST /bank/v1/orders; unsigned_errors trust failed;", 0,
     "expected believe, not \"trust\""},
    /* send */
    {"mch_id      $account.mch_id;", "mch_id;", 0,
     "expected MEMBER SOURCE [FILTER ...] [optional];"},
    {"mch_id      $account.mch_id;", "a..b      $account.mch_id;", 0,
     "\"a..b\" is no path of members, such as amount.total"},
    {"mch_id      $account.mch_id;", "amount      $account.mch_id;", 2, "\"amount\" stands twice"},
    {"mch_id      $account.mch_id;", "a.b 1; c 1; a.d 1;", 0,
     "\"a\" stands twice (members of one object must stand together)"},
    {"mch_id      $account.mch_id;", "a.b 1; a 1;", 0, "\"a\" stands twice"},
    {"mch_id      $account.mch_id;", "a 1; a.b 1;", 0, "\"a\" stands twice"},
    {"mch_id      $account.mch_id;", "a.b.c.d.e.f.g.h.i.j 1;", 0,
     "more than 8 objects inside each other"},
    {"mch_id      $account.mch_id;", "mch_id $signature;", 0, "\"$signature\" is not known here"},
    {"limit=32;", "limit;", 0, "filter \"limit\" needs an argument: name=VALUE"},
    {"limit=32;", "limit=0;", 0, "filter \"limit\" needs a number of 1..65535"},
    {"limit=32;", "limit=many;", 0, "filter \"limit\" needs a number of 1..65535"},
    {"limit=32;", "upper=1;", 0, "filter \"upper\" takes no argument"},
    {"limit=32;", "rot13;", 0, "\"rot13\" is no filter for values that are sent"},
    {"limit=32;", "fen;", 0, "\"fen\" is no filter for values that are sent"},
    {"limit=32;", "yuan;", 0, "filter \"yuan\" wants a number but gets text"},
    {"limit=32;", "upper upper upper upper upper upper upper;", 0, "more than 6 filters"},
    {"expire_at   $order.time_expire time;", "expire_at   $order.time_expire;", 0,
     "a time needs a filter that makes it a text or a number: time, stamp, ..."},
    {"expire_at   $order.time_expire time;", "expire_at   $order.time_expire time time;", 0,
     "filter \"time\" wants a time but gets text"},
    {"expire_at   $order.time_expire time;", "expire_at   $order.amount upper;", 0,
     "filter \"upper\" wants text but gets a number"},
    /* recv */
    {"status  200;", "status  404;", 0, "expected an HTTP status of 200..299, not \"404\""},
    {"status  200;", "status  200; body some;", 0, "expected none or file [LEAD], not \"some\""},
    {"check   code OK;", "check   code OK; body none;", 0,
     "an answer without body has nothing to check"},
    {"check   code OK;", "body none;", 2, "an answer without body has only a class"},
    {"check   code OK;", "check   code $order.time_expire;", 0,
     "\"$order.time_expire\" is not known here"},
    {"class  accepted;", "class  paid;", 0, "\"paid\" is no class of answers"},
    {"class  accepted;", "class  success;", -1, "a prepare cannot say success"},
    {"class  accepted;", "class  success; take amount amount; take currency currency;", -1,
     "a prepare cannot say success"},
    {"class  accepted;", "", -1, "expected either state or class"},
    {"class  accepted;", "class accepted; state status; map A closed;", -1,
     "expected either state or class"},
    {"class  accepted;", "class accepted; map A closed;", 0, "map needs state"},
    {"class  accepted;", "state status;", 0, "state needs at least one map"},
    {"take   code_url  qr;", "take   qr_url  qr;", 0, "\"qr_url\" is no member of a result"},
    {"take   code_url  qr;", "take   code_url  optional;", 0,
     "expected RESULT PATH before \"optional\""},
    {"take   code_url  qr;", "take   code_url  qr; take code_url qr2;", 0,
     "\"code_url\" is taken twice"},
    {"take   code_url  qr;", "take   code_url  qr fen;", 0,
     "the filters give the wrong type for code_url"},
    {"take   code_url  qr;", "take   amount  qr upper fen upper;", 0,
     "filter \"upper\" wants text but gets a number"},
    {"take   code_url  qr;", "take   code_url  qr yuan;", 0,
     "\"yuan\" is no filter for values that are received"},
    {"take   paid_at           paid_at time optional;", "take paid_at paid_at optional;", 0,
     "paid_at needs a filter that makes it a time: time, stamp, ..."},
    {"check  order_no          $order.request_no;", "", -1,
     "a query must check a member against $order.request_no"},
    {"check  order_no          $order.request_no;", "check order_no $order.request_no optional;",
     -1, "a query must check a member against $order.request_no"},
    {"take   amount            amount    on=success;", "take amount amount optional;", -11,
     "success needs amount and currency to be taken"},
    {"map    PAID              success;", "map    PAID success; map PAID closed;", 0,
     "\"PAID\" is repeated, first on line "},
    /* notification */
    {"check  mch_id            $account.mch_id;", "", -1,
     "a notification must check a member against $account.NAME"},
    {"check  mch_id            $account.mch_id;", "check mch_id $order.request_no;", 0,
     "\"$order.request_no\" is not known here"},
    {"acknowledge  200 ", "acknowledge  404 ", 0, "expected an HTTP status of 200..299"},
    {"refuse       500 ", "refuse       200 ", 0, "expected an HTTP status of 400..599"},
};

static const struct mistake wechat_mistakes[] = {
    {"value   platform_serial optional; ", "", 4, "serial=platform_serial: no such value above"},
    {"secret  platform_key   rsa_public serial=platform_serial optional;",
     "secret  platform_key   rsa_public optional;", 19,
     "$serial is read, so secret \"platform_key\" needs serial=VALUE"},
    {"map      NO_AUTH                 refused       403;",
     "map NO_AUTH refused 403; map NOAUTH unknown;", 0, "\"NOAUTH\" is repeated, first on line "},
    {"map  ORDER_NOT_EXIST  not_found  404;", "map  ORDER_NOT_EXIST  failed  404;", 0,
     "a query that is refused says nothing about the order: expected unknown"},
    {"decrypt  aes_256_gcm key=api_v3_key", "decrypt  aes_256_gcm key=private_key", 0,
     "\"private_key\" is no secret of type aes256"},
    {"decrypt  aes_256_gcm", "decrypt  des", 0, "expected aes_256_gcm or aes_256_ecb, not \"des\""},
    {"ciphertext=resource.ciphertext", "cipher=resource.ciphertext", 0,
     "expected ciphertext=VALUE, not \"cipher=resource.ciphertext\""},
    {"nonce=resource.nonce", "nonce=", 0, "expected nonce=VALUE, not \"nonce=\""},
    {"request  /v3/certificates;", "request  v3/certificates;", 0,
     "expected a path that begins with /"},
    {"ready    10:00;", "ready    24:00;", 0, "ready: expected a time of day from 00:00 to 23:59"},
    {"ready    10:00;", "ready    9:00;", 0, "ready: expected a time of day from 00:00 to 23:59"},
    {"ready    10:00;", "ready    10:60;", 0, "ready: expected a time of day from 00:00 to 23:59"},
    {"ready    10:00;", "ready    1000;", 0, "ready: expected a time of day from 00:00 to 23:59"},
    {"list     data;", "", -2, "\"list\" is missing in block \"certificates\""},
    {"serial   serial_no;", "serial a..b;", 0, ""},
    {"nonce=encrypt_certificate.nonce", "nonce", 0, "expected nonce=VALUE, not \"nonce\""},
};

static void test_adapter_mistakes(void **state)
{
    (void)state;
    check_mistakes("lua-free-conf/adapters/bank_json.conf", bank_mistakes, COUNT(bank_mistakes));
    check_mistakes("lua-free-conf/adapters/wechat_v3.conf", wechat_mistakes,
                   COUNT(wechat_mistakes));
    assert_int_equal(wrong, 0);
}

/* Each block and directive left out in turn, each line cut off: an error or a load, never a crash,
 * and every error names a line of the file. */
static void test_adapter_cut_anywhere(void **state)
{
    struct slice good = file_text("lua-free-conf/adapters/wechat_v3.conf");
    struct slice prefix = arena_printf(&fx.arena, "%s/", folder.path);
    struct channel_set *set;
    struct conf_error err;

    (void)state;
    for (size_t n = 0; n < good.n; n += 13) {
        write_file(&folder, "adapter.conf", slice_n(good.p, n));
        if (load_set(block, &set, &err) == 0)
            channel_set_free(set);
        else
            assert_case(slice_starts(slice_of(err.text), prefix), err.text);
    }
    for (const char *line = good.p; line < good.p + good.n;) {
        const char *end = memchr(line, '\n', (size_t)(good.p + good.n - line));
        struct slice text = arena_printf(&fx.arena, "%.*s%.*s", (int)(line - good.p), good.p,
                                         (int)(good.p + good.n - end), end);

        write_file(&folder, "adapter.conf", text);
        if (load_set(block, &set, &err) == 0)
            channel_set_free(set);
        else
            assert_case(slice_starts(slice_of(err.text), prefix) || strstr(err.text, "needs"),
                        err.text);
        line = end + 1;
    }
}

/* ------------------------------------------------------------------ channels */

static void test_channel_mistakes(void **state)
{
    static const struct mistake cases[] = {
        {"pay_channel test", "pay_chanel test", 0, "unknown directive \"pay_chanel\""},
        {"pay_channel test", "pay_channel Test", 0, "\"Test\" is no channel name"},
        {"pay_channel test", "pay_channel a/b", 0, "\"a/b\" is no channel name"},
        {"adapter adapter;", "adapter ../adapter;", 0, "\"../adapter\" is no adapter name"},
        {"adapter adapter;", "adapter missing;", 0, "cannot open \""},
        {"    adapter adapter;\n", "", -1, ""},
        {"methods native;", "methods h5;", 0, "adapter adapter cannot do method h5"},
        {"methods native;", "methods cash;", 0, "\"cash\" is no payment method"},
        {"methods native;", "methods native native;", 0, "method native is repeated"},
        {"notify_base https://pay.example/notify;", "notify_base ftp://pay.example/notify;", 0,
         "expected an http or https URL: "},
        {"notify_base https://pay.example/notify;", "notify_base https://pay.example/notify/;", 0,
         "the URL must not end with \"/\""},
        {"    notify_base https://pay.example/notify;\n", "", -3,
         "adapter adapter needs notify_base"},
        {"methods native;", "methods native; settle 30;", 0,
         "expected a time of at most 1d such as 120s, not \"30\""},
        {"methods native;", "methods native; query_first 2d;", 0,
         "expected a time of at most 1d such as 120s, not \"2d\""},
        {"methods native;", "methods native; settel 30s;", 0, "unknown directive \"settel\""},
        {"}\n", "}\npay_channel test { adapter adapter; methods native; }\n", 1,
         "channel test is repeated, first at "},
    };
    struct channel_set *set;
    struct conf_error err;

    (void)state;
    write_file(&folder, "adapter.conf", file_text("lua-free-conf/adapters/bank_json.conf"));
    for (size_t i = 0; i < COUNT(cases); i++) {
        int line;
        struct slice text = edit(slice_of(block), cases[i].from, cases[i].to, &line);

        if (load_set(text.p, &set, &err) == 0)
            fail_msg("loaded with \"%s\"", cases[i].to);
        expect("channel.conf", line + cases[i].below, cases[i].message, &err);
    }
    assert_int_equal(wrong, 0);
    assert_int_equal(channel_set_load("/nonexistent/channel.conf", folder.path, &set, &err), -1);
    assert_string_equal(err.text, "/nonexistent/channel.conf: no such file");
    assert_int_equal(channel_set_load("/nonexistent/*.conf", folder.path, &set, &err), 0);
    assert_int_equal(channel_count(set), 0);
    channel_set_free(set);
}

static void test_facts(void **state)
{
    const struct channel_facts *f = channel_facts(fx.wechat);
    struct channel_set *set;
    struct conf_error err;
    uint32_t version;

    (void)state;
    assert_int_equal(channel_count(fx.set), 2);
    assert_null(channel_at(fx.set, 2));
    assert_null(channel_find(fx.set, SLICE("nobody")));
    assert_slice(f->name, "wechat");
    assert_slice(f->adapter, "wechat_v3");
    assert_slice(f->notify_base, "https://127.0.0.1:9443/notify");
    assert_slice(f->account, "main");
    assert_int_equal(f->first_query_us, 120 * USEC_PER_SEC);
    assert_int_equal(f->settle_us, 30 * USEC_PER_SEC);
    assert_true(f->prepare_resend);
    assert_true(channel_has(fx.wechat, CALL_PREPARE, METHOD_NATIVE));
    assert_true(channel_has(fx.wechat, CALL_QUERY, METHOD_NATIVE));
    assert_true(channel_has(fx.wechat, CALL_CLOSE, METHOD_NATIVE));
    assert_true(channel_has(fx.wechat, CALL_PREPARE, METHOD_H5));
    assert_true(channel_has(fx.wechat, CALL_REVERSE, METHOD_BARCODE));
    assert_false(channel_has(channel_find(fx.set, SLICE("bank")), CALL_PREPARE,
                             METHOD_H5)); /* its block has not */
    assert_int_equal(channel_facts(fx.wechat)->wallets, 1 << PAYER_APP_WECHAT);
    assert_false(channel_has(fx.wechat, CALL_PREPARE, METHOD_NONE));
    assert_false(channel_has(fx.wechat, CALL_NONE, METHOD_NATIVE));
    assert_false(channel_has(fx.wechat, (enum call_kind)99, (enum payment_method)99));

    /* the version is that of the bytes */
    write_file(&folder, "adapter.conf", file_text("lua-free-conf/adapters/bank_json.conf"));
    assert_int_equal(load_set(block, &set, &err), 0);
    version = channel_facts(channel_at(set, 0))->version;
    assert_int_equal(version, channel_facts(fx.bank)->version);
    assert_int_not_equal(version, f->version);
    channel_set_free(set);
    write_file(&folder, "adapter.conf",
               arena_printf(&fx.arena, "%.*s\n",
                            SLICE_FMT(file_text("lua-free-conf/adapters/bank_json.conf"))));
    assert_int_equal(load_set(block, &set, &err), 0);
    assert_int_not_equal(version, channel_facts(channel_at(set, 0))->version);
    channel_set_free(set);
}

/* What is not declared idempotent is never sent again. */
static void test_resend_is_off_by_default(void **state)
{
    struct slice good = file_text("lua-free-conf/adapters/bank_json.conf");
    struct channel_set *set;
    struct conf_error err;
    int line;

    (void)state;
    write_file(&folder, "adapter.conf",
               edit(good, "idempotent  on;\n    resend      same_number;", "", &line));
    assert_int_equal(load_set(block, &set, &err), 0);
    assert_false(channel_facts(channel_at(set, 0))->prepare_resend);
    channel_set_free(set);
}

/* CPU time: a loaded machine is not a slow program. */
static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * USEC_PER_SEC + t.tv_nsec / 1000;
}

/* 200 channels over 20 adapters. */
static void test_many_channels(void **state)
{
    struct slice adapter = file_text("lua-free-conf/adapters/wechat_v3.conf");
    const struct channel *last;
    struct channel_set *set;
    struct conf_error err;
    int64_t start, took;
    struct buf b;
    char name[32];

    (void)state;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 200; i++) {
        buf_addf(&b,
                 "pay_channel c%d { adapter a%d; methods native; state on; weight 10;"
                 " notify_base https://pay.example/notify; }\n",
                 i, i % 20);
        snprintf(name, sizeof(name), "a%d.conf", i % 20);
        if (i < 20)
            write_file(&folder, name, adapter);
    }
    write_file(&folder, "many.conf", buf_slice(&b));
    buf_release(&b);
    start = now_us();
    if (channel_set_load(arena_printf(&fx.arena, "%s/many.conf", folder.path).p, folder.path, &set,
                         &err) < 0)
        fail_msg("%s", err.text);
    took = now_us() - start;
    assert_int_equal(channel_count(set), 200);
    last = channel_find(set, SLICE("c199"));
    assert_non_null(last);
    assert_slice(channel_facts(last)->adapter, "a19");
    channel_set_free(set);
    print_message("# 200 channels in %lld us\n", (long long)took);
    assert_true(took < 500 * 1000); /* 10 ms is usual; a slow machine with sanitizers has room */
}

/* ------------------------------------------------------------------ accounts */

static void account_error(const struct channel *c, struct slice config, struct slice secrets,
                          const char *want)
{
    struct channel_account *a;
    struct conf_error err;

    if (channel_account_new(c, SLICE("main"), config, secrets, &a, &err) == 0)
        fail_msg("accepted, want: %s", want);
    if (!strstr(err.text, want))
        fail_msg("got \"%s\", want \"%s\"", err.text, want);
    /* whatever was wrong, no secret stands in the text */
    assert_null(strstr(err.text, "BEGIN"));
    assert_null(strstr(err.text, BANK_KEY));
    assert_null(strstr(err.text, API_V3_KEY));
}

static struct slice without(struct slice json, const char *name)
{
    const struct json *v;
    struct json_error err;
    struct json_writer w;
    struct slice out;
    struct buf b;

    assert_int_equal(json_parse(&fx.arena, json, NULL, &v, &err), 0);
    buf_init(&b, 65536);
    json_writer_init(&w, &b);
    json_begin_object(&w);
    for (const struct json *m = v->child; m; m = m->next) {
        if (slice_is(m->key, name))
            continue;
        json_key_slice(&w, m->key);
        json_put_value(&w, m);
    }
    json_end_object(&w);
    out = arena_copy(&fx.arena, buf_slice(&b));
    buf_release(&b);
    return out;
}

static void test_account_mistakes(void **state)
{
    struct slice config = wechat_config(), secrets = wechat_secrets();
    struct slice key = SLICE("{\"key\":\"" BANK_KEY "\"}");

    (void)state;
    account_error(fx.bank, SLICE("{}"), key,
                  "account main of channel bank: value \"mch_id\" is missing");
    account_error(fx.bank, SLICE("{\"mch_id\":7}"), key, "value \"mch_id\" must be a text");
    account_error(fx.bank, SLICE("{\"mch_id\":\"\"}"), key, "value \"mch_id\" must be a text");
    account_error(fx.bank, SLICE("{\"mch_id\":\"a\\nb\"}"), key, "value \"mch_id\" must be a text");
    account_error(fx.bank, SLICE("{\"mch_id\":\"a\\\"b\"}"), key,
                  "value \"mch_id\" must be a text");
    account_error(fx.bank, SLICE("{\"mch_id\":\"M1\"}"), SLICE("{}"), "secret \"key\" is missing");
    account_error(fx.bank, SLICE("{\"mch_id\":\"M1\"}"), SLICE("{\"key\":\"short\"}"),
                  "secret \"key\" must be a key of at least 32 bytes");
    account_error(fx.bank, SLICE("[]"), key, "config is not a JSON object");
    account_error(fx.bank, SLICE("{\"mch_id\":\"M1\""), key, "config is not a JSON object");
    account_error(fx.bank, SLICE("{\"mch_id\":\"M1\"}"), SLICE("{\"key\":\"" BANK_KEY "\""),
                  "secrets are not a JSON object");
    account_error(fx.wechat, without(config, "appid"), secrets, "value \"appid\" is missing");
    account_error(fx.wechat, config, without(secrets, "private_key"),
                  "secret \"private_key\" is missing");
    account_error(fx.wechat, config, without(secrets, "platform_key_2"),
                  "value \"platform_serial_2\" is there without secret \"platform_key_2\"");
    account_error(fx.wechat, without(config, "platform_serial_2"), secrets,
                  "secret \"platform_key_2\" is there without value \"platform_serial_2\"");
    account_error(fx.wechat, config,
                  PAIRS("private_key", "@t/vectors/merchant.pub.pem", "api_v3_key", API_V3_KEY,
                        "platform_key", "@t/vectors/channel.pub.pem", "platform_key_2",
                        "@t/vectors/merchant.crt.pem"),
                  "secret \"private_key\" must be an RSA private key");
    account_error(fx.wechat, config,
                  PAIRS("private_key", "@t/vectors/merchant.key.pem", "api_v3_key", "abc",
                        "platform_key", "@t/vectors/channel.pub.pem", "platform_key_2",
                        "@t/vectors/merchant.crt.pem"),
                  "secret \"api_v3_key\" must be a key of 32 bytes");
    /* the channel's private key has no business here */
    account_error(fx.wechat, config,
                  PAIRS("private_key", "@t/vectors/merchant.key.pem", "api_v3_key", API_V3_KEY,
                        "platform_key", "@t/vectors/channel.key.pem", "platform_key_2",
                        "@t/vectors/merchant.crt.pem"),
                  "secret \"platform_key\" must be an RSA public key");
}

static void test_account_names(void **state)
{
    static const char *const bad[] = {"", "a/b", "..", "a b", "a%2f", "ä"};
    struct channel_account *a;
    struct conf_error err;

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(channel_account_new(fx.bank, slice_of(bad[i]), SLICE("{\"mch_id\":\"M\"}"),
                                             SLICE("{\"key\":\"" BANK_KEY "\"}"), &a, &err),
                         -1);
    assert_slice(channel_account_name(fx.bank_account), "main");
    channel_account_free(NULL);
}

/* More in the account than the adapter wants is no error: a new adapter file may want it soon. */
static void test_account_extra(void **state)
{
    (void)state;
    channel_account_free(new_account(fx.bank, SLICE("{\"mch_id\":\"M\",\"note\":1,\"x\":[{}]}"),
                                     SLICE("{\"key\":\"" BANK_KEY "\",\"y\":null}")));
}

/* An account belongs to one channel; with another it is refused, even if its keys would fit. */
static void test_foreign_account(void **state)
{
    static const char two[] =
        "pay_channel one { adapter bank_json; methods native; notify_base https://p.example/n; }\n"
        "pay_channel two { adapter bank_json; methods native; notify_base https://p.example/n; }\n";
    struct slice answer = SLICE("{\"code\":\"OK\",\"qr\":\"bank://pay?o=7Q2M\"}");
    struct slice event = SLICE("{\"event\":\"OTHER\"}");
    struct signed_headers ha = bank_sign(answer), he = bank_sign(event);
    const char *path = write_file(&folder, "two.conf", slice_of(two));
    struct channel_order order = an_order();
    struct channel_request request;
    struct channel_account *a;
    struct channel_result r;
    struct channel_set *set;
    struct conf_error err;
    const char *why;

    (void)state;
    assert_int_equal(channel_set_load(path, "lua-free-conf/adapters", &set, &err), 0);
    a = new_account(channel_at(set, 0), PAIRS("mch_id", BANK_MCH), PAIRS("key", BANK_KEY));
    for (size_t i = 0; i < 2; i++) {
        const struct channel *c = channel_at(set, i);

        assert_int_equal(
            channel_encode(c, a, CALL_QUERY, &order, NOW, SLICE(NONCE), &fx.arena, &request, &why),
            i == 0 ? 0 : -1);
        channel_decode(c, a, CALL_PREPARE, &order, 200, ha.h, ha.n, answer, NOW, &fx.arena, &r);
        assert_class(r, i == 0 ? CLASS_ACCEPTED : CLASS_UNKNOWN, "foreign account");
        assert_int_equal(channel_notification(c, a, he.h, he.n, event, NOW, &fx.arena, &r, &why),
                         i == 0 ? 0 : -1);
    }
    channel_account_free(a);
    channel_set_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adapter_mistakes),
        cmocka_unit_test(test_adapter_cut_anywhere),
        cmocka_unit_test(test_channel_mistakes),
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_resend_is_off_by_default),
        cmocka_unit_test(test_many_channels),
        cmocka_unit_test(test_account_mistakes),
        cmocka_unit_test(test_account_names),
        cmocka_unit_test(test_account_extra),
        cmocka_unit_test(test_foreign_account),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, load, unload);
}
