/*
 * The record's lines: {"op":"order",...} once per order, then {"op":...,"seq","at"} per change.
 * Times are microseconds. A line that does not fit the books (wrong seq, illegal move) is an error:
 * a bank that guesses is worse than one that does not start.
 */
#include "core/json.h"
#include "books_impl.h"

static int hand_over(struct books *b)
{
    if (!buf_ok(&b->line))
        return -1;
    return b->record ? b->record(b->arg, buf_slice(&b->line)) : 0;
}

static void begin_line(struct books *b, struct json_writer *w, const char *op, uint32_t seq,
                       pay_time_t at)
{
    buf_clear(&b->line);
    json_writer_init(w, &b->line);
    json_begin_object(w);
    json_member_str(w, "op", slice_of(op));
    json_member_int64(w, "seq", seq);
    json_member_int64(w, "at", at);
}

int record_order(struct books *b, const struct order *o)
{
    char hex[2 * CONTENT_DIGEST_LEN + 1];
    struct json_writer w;
    struct buf digest;

    buf_init(&digest, sizeof(hex));
    hex_encode(&digest, slice_n(o->digest, sizeof(o->digest)), false);
    begin_line(b, &w, "order", o->seq, o->created_at);
    json_member_str(&w, "channel", slice_of(bank_channel_name(o->merchant->channel)));
    json_member_str(&w, "mchid", o->merchant->id);
    json_member_str_opt(&w, "appid", slice_of(o->appid));
    json_member_str(&w, "out_trade_no", order_no(o));
    json_member_str_opt(&w, "stamp", slice_of(o->stamp));
    json_member_str(&w, "method", slice_of(pay_method_name(o->method)));
    json_member_int64(&w, "amount", o->amount);
    json_member_str(&w, "currency", slice_of(o->currency));
    json_member_str(&w, "notify_url", slice_of(o->notify_url));
    json_member_str_opt(&w, "attach", order_attach(o));
    json_member_str_opt(&w, "subject", order_subject(o));
    json_member_int64(&w, "payer", (int64_t)o->payer);
    json_member_int64(&w, "variant", o->variant);
    json_member_int64(&w, "expire_at", o->expire_at);
    json_member_str(&w, "digest", buf_slice(&digest));
    json_end_object(&w);
    buf_release(&digest);
    return hand_over(b);
}

int record_change(struct books *b, const char *op, const struct order *o, pay_time_t now)
{
    struct json_writer w;

    begin_line(b, &w, op, o->seq, now);
    json_end_object(&w);
    return hand_over(b);
}

int record_refund(struct books *b, const struct refund *r)
{
    struct json_writer w;

    begin_line(b, &w, "refund", r->order->seq, r->created_at);
    json_member_str(&w, "out_refund_no", refund_no(r));
    json_member_str_opt(&w, "stamp", slice_of(r->stamp));
    json_member_int64(&w, "amount", r->amount);
    json_member_int64(&w, "delay", r->due_at - r->created_at);
    json_member_int64(&w, "outcome", r->outcome);
    json_member_str_opt(&w, "notify_url", slice_of(r->notify_url));
    json_key(&w, "undo");
    json_put_bool(&w, r->undo);
    json_end_object(&w);
    return hand_over(b);
}

/* r: of this refund; NULL: of the payment. */
int record_try(struct books *b, const struct order *o, const struct refund *r, int status,
               bool taken, pay_time_t now)
{
    struct json_writer w;

    begin_line(b, &w, "notify", o->seq, now);
    if (r)
        json_member_int64(&w, "refund", r->seq);
    json_member_int64(&w, "status", status);
    json_key(&w, "taken");
    json_put_bool(&w, taken);
    json_end_object(&w);
    return hand_over(b);
}

/* ---- reading ---- */

static int refuse_line(const char **reason, const char *why)
{
    *reason = why;
    return -1;
}

static int read_digest(const struct json *doc, uint8_t out[CONTENT_DIGEST_LEN])
{
    struct buf raw;
    int rc = -1;

    buf_init(&raw, 64);
    if (hex_decode(&raw, json_str(doc, "digest")) == 0 && raw.n == CONTENT_DIGEST_LEN) {
        memcpy(out, raw.p, CONTENT_DIGEST_LEN);
        rc = 0;
    }
    buf_release(&raw);
    return rc;
}

static bool is_true(const struct json *doc, const char *member)
{
    const struct json *v = json_get(doc, member);

    return v && v->type == JSON_TRUE;
}

static int replay_order(struct books *b, const struct json *doc, int64_t seq, pay_time_t at,
                        const char **reason)
{
    int channel = bank_channel_parse(json_str(doc, "channel"));
    int method = pay_method_parse(json_str(doc, "method"));
    int64_t payer, variant;
    struct order_terms t = {
        .out_trade_no = json_str(doc, "out_trade_no"),
        .appid = json_str(doc, "appid"),
        .notify_url = json_str(doc, "notify_url"),
        .attach = json_str(doc, "attach"),
        .subject = json_str(doc, "subject"),
        .stamp = json_str(doc, "stamp"),
        .currency = json_str(doc, "currency"),
    };
    struct order *o;

    if (channel < 0 || method < 0)
        return refuse_line(reason, "unknown channel or method");
    t.method = (enum pay_method)method;
    t.merchant = bank_conf_merchant(b->conf, (enum bank_channel)channel, json_str(doc, "mchid"));
    if (!t.merchant)
        return refuse_line(reason, "merchant is not in the configuration");
    if (json_int64(json_get(doc, "amount"), &t.amount) < 0 ||
        json_int64(json_get(doc, "expire_at"), &t.expire_at) < 0 ||
        json_int64(json_get(doc, "payer"), &payer) < 0 ||
        json_int64(json_get(doc, "variant"), &variant) < 0 || read_digest(doc, t.digest) < 0)
        return refuse_line(reason, "order is not whole");
    t.payer = (uint64_t)payer;
    t.variant = (uint8_t)variant;
    if (seq != (int64_t)b->count + 1 || books_find_stamped(b, t.merchant, t.out_trade_no, t.stamp))
        return refuse_line(reason, "order stands twice or out of order");
    o = order_make(b, &t, at);
    if (!o)
        return refuse_line(reason, "order does not fit");
    order_file(b, o);
    return 0;
}

static int replay_move(struct order *o, enum order_state to, pay_time_t at, const char **reason)
{
    order_settle(o, at);
    if (!order_move_allowed(o->state, to))
        return refuse_line(reason, "state does not allow this change");
    order_move(o, to, at);
    return 0;
}

static int replay_refund(struct books *b, struct order *o, const struct json *doc, pay_time_t at,
                         const char **reason)
{
    struct refund_terms t = {
        .order = o,
        .out_refund_no = json_str(doc, "out_refund_no"),
        .stamp = json_str(doc, "stamp"),
        .notify_url = json_str(doc, "notify_url"),
        .undo = is_true(doc, "undo"),
    };
    struct refund *r;
    int64_t outcome;

    if (json_int64(json_get(doc, "amount"), &t.amount) < 0 || t.amount < 1 ||
        json_int64(json_get(doc, "delay"), &t.delay_us) < 0 ||
        json_int64(json_get(doc, "outcome"), &outcome) < 0 || outcome < 0 ||
        outcome >= REFUND_STATE_COUNT)
        return refuse_line(reason, "refund is not whole");
    t.outcome = (enum refund_state)outcome;
    if (order_settle(o, at) != ORDER_SUCCESS || t.amount > o->amount - order_refunded(o, at))
        return refuse_line(reason, "state does not allow this refund");
    r = refund_make(b, &t, at);
    if (!r)
        return refuse_line(reason, "refund does not fit");
    refund_file(b, r);
    return 0;
}

static int replay_try(struct books *b, struct order *o, const struct json *doc, const char **reason)
{
    const struct json *v = json_get(doc, "refund");
    bool taken = is_true(doc, "taken");
    struct refund *r;
    int64_t seq = 0;

    if (!v) {
        o->notify_tries++;
        o->notified = o->notified || taken;
        return 0;
    }
    r = json_int64(v, &seq) == 0 && seq <= UINT32_MAX ? refunds_at(b, (uint32_t)seq) : NULL;
    if (!r || r->order != o)
        return refuse_line(reason, "no such refund");
    r->notify_tries++;
    r->notified = r->notified || taken;
    return 0;
}

static const struct {
    const char *op;
    enum order_state to;
} move_ops[] = {
    {"pay", ORDER_SUCCESS},      {"close", ORDER_CLOSED},    {"fail", ORDER_FAILED},
    {"await", ORDER_USERPAYING}, {"reverse", ORDER_REVOKED},
};

static int replay_change(struct books *b, struct order *o, const struct json *doc, pay_time_t at,
                         const char **reason)
{
    struct slice op = json_str(doc, "op");

    for (size_t i = 0; i < sizeof(move_ops) / sizeof(move_ops[0]); i++)
        if (slice_is(op, move_ops[i].op))
            return replay_move(o, move_ops[i].to, at, reason);
    if (slice_is(op, "prepare")) {
        o->prepares++;
        o->prepared_at = at;
        return 0;
    }
    if (slice_is(op, "scan")) {
        o->scanned = true;
        return 0;
    }
    if (slice_is(op, "refund"))
        return replay_refund(b, o, doc, at, reason);
    if (slice_is(op, "notify"))
        return replay_try(b, o, doc, reason);
    return refuse_line(reason, "unknown op");
}

static int replay_doc(struct books *b, const struct json *doc, const char **reason)
{
    struct order *o;
    int64_t seq;
    int64_t at;

    if (json_int64(json_get(doc, "seq"), &seq) < 0 || json_int64(json_get(doc, "at"), &at) < 0)
        return refuse_line(reason, "seq or at is missing");
    if (slice_is(json_str(doc, "op"), "order"))
        return replay_order(b, doc, seq, at, reason);
    o = seq >= 1 && seq <= b->count ? books_at(b, (uint32_t)seq) : NULL;
    if (!o)
        return refuse_line(reason, "no such order");
    return replay_change(b, o, doc, at, reason);
}

int books_replay(struct books *b, struct slice line, const char **reason)
{
    const struct json *doc;
    struct json_error err;
    struct arena a;
    int rc;

    arena_init(&a, 65536);
    if (json_parse(&a, line, NULL, &doc, &err) < 0)
        rc = refuse_line(reason, "not JSON");
    else
        rc = replay_doc(b, doc, reason);
    arena_release(&a);
    return rc;
}
