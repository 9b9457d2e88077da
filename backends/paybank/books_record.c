/*
 * The record's lines: {"op":"order",...} once per order, then {"op":...,"seq","at"} per change.
 * Times are microseconds. A line that does not fit the books (wrong seq, illegal move) is an error:
 * a bank that guesses is worse than one that does not start.
 */
#include "books_impl.h"

#include "core/json.h"

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
    json_member_int64(&w, "amount", o->amount);
    json_member_str(&w, "currency", slice_of(o->currency));
    json_member_str(&w, "notify_url", slice_of(o->notify_url));
    json_member_str_opt(&w, "attach", order_attach(o));
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

int record_try(struct books *b, const struct order *o, int status, bool taken, pay_time_t now)
{
    struct json_writer w;

    begin_line(b, &w, "notify", o->seq, now);
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

static int replay_order(struct books *b, const struct json *doc, int64_t seq, pay_time_t at,
                        const char **reason)
{
    int channel = bank_channel_parse(json_str(doc, "channel"));
    struct order_terms t = {
        .out_trade_no = json_str(doc, "out_trade_no"),
        .appid = json_str(doc, "appid"),
        .notify_url = json_str(doc, "notify_url"),
        .attach = json_str(doc, "attach"),
        .currency = json_str(doc, "currency"),
    };
    struct order *o;

    if (channel < 0)
        return refuse_line(reason, "unknown channel");
    t.merchant = bank_conf_merchant(b->conf, (enum bank_channel)channel, json_str(doc, "mchid"));
    if (!t.merchant)
        return refuse_line(reason, "merchant is not in the configuration");
    if (json_int64(json_get(doc, "amount"), &t.amount) < 0 ||
        json_int64(json_get(doc, "expire_at"), &t.expire_at) < 0 || read_digest(doc, t.digest) < 0)
        return refuse_line(reason, "order is not whole");
    if (seq != (int64_t)b->count + 1 || books_find(b, t.merchant, t.out_trade_no))
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

static int replay_change(struct order *o, const struct json *doc, pay_time_t at,
                         const char **reason)
{
    const struct json *taken = json_get(doc, "taken");
    struct slice op = json_str(doc, "op");

    if (slice_is(op, "pay"))
        return replay_move(o, ORDER_SUCCESS, at, reason);
    if (slice_is(op, "close"))
        return replay_move(o, ORDER_CLOSED, at, reason);
    if (slice_is(op, "fail"))
        return replay_move(o, ORDER_FAILED, at, reason);
    if (slice_is(op, "prepare")) {
        o->prepares++;
        o->prepared_at = at;
        return 0;
    }
    if (slice_is(op, "notify")) {
        o->notify_tries++;
        o->notified = o->notified || (taken && taken->type == JSON_TRUE);
        return 0;
    }
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
    return replay_change(o, doc, at, reason);
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
