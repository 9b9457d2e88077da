#include "bank_json.h"

#include <stdio.h>

#define WINDOW_S  300
#define NONCE_LEN 32

int bank_seal_make(const struct merchant *m, struct slice body, pay_time_t now, bool spoil,
                   char out[BANK_SEAL_MAX])
{
    char t[24], nonce[NONCE_LEN + 1];
    uint8_t mac[SHA256_LEN];
    struct slice parts[5];
    size_t n;

    random_token(nonce, NONCE_LEN);
    nonce[NONCE_LEN] = '\0';
    snprintf(t, sizeof(t), "%lld", (long long)(now / USEC_PER_SEC));
    parts[0] = slice_of(t);
    parts[1] = parts[3] = SLICE("\n");
    parts[2] = slice_of(nonce);
    parts[4] = spoil ? SLICE("something else") : body;
    if (hmac_sign(m->shared_key, parts, 5, mac) < 0)
        return -1;
    n = (size_t)snprintf(out, BANK_SEAL_MAX, "t=%s,n=%s,s=", t, nonce);
    for (size_t i = 0; i < SHA256_LEN; i++)
        n += (size_t)snprintf(out + n, BANK_SEAL_MAX - n, "%02x", mac[i]);
    return 0;
}

void bank_sign_answer(struct exchange *ex, enum sign_how how)
{
    char seal[BANK_SEAL_MAX];

    if (!ex->merchant || how == SIGN_NOT)
        return;
    if (bank_seal_make(ex->merchant, buf_slice(&ex->body), clock_read_wall(), how == SIGN_WRONG,
                       seal) == 0)
        exchange_header(ex, "Bank-Signature", slice_of(seal));
}

struct seal {
    struct slice t, n, s;
};

/* Exactly `t=..,n=..,s=..`. */
static int parse_seal(struct slice header, struct seal *out)
{
    struct slice *members[3] = {&out->t, &out->n, &out->s};
    static const char names[3] = {'t', 'n', 's'};

    for (int i = 0; i < 3; i++) {
        struct slice one = slice_cut(&header, ',');

        if (one.n < 3 || one.p[0] != names[i] || one.p[1] != '=')
            return -1;
        *members[i] = slice_n(one.p + 2, one.n - 2);
    }
    return header.p ? -1 : 0;
}

static bool mac_fits(struct exchange *ex, const struct seal *s)
{
    struct slice nl = SLICE("\n");
    struct slice parts[9] = {s->t, nl,           s->n, nl, ex->req->method, nl, ex->req->target,
                             nl,   ex->req->body};
    struct buf mac;
    bool fits;

    buf_init(&mac, SHA256_LEN);
    fits = hex_decode(&mac, s->s) == 0 && mac.n == SHA256_LEN &&
           hmac_verify(ex->merchant->shared_key, parts, 9, buf_slice(&mac)) == 0;
    buf_release(&mac);
    return fits;
}

static bool lower_hex(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] >= 'A' && s.p[i] <= 'F')
            return false;
    return true;
}

bool bank_seal_check(struct exchange *ex)
{
    struct slice header = exchange_one_header(ex, "Bank-Signature");
    int64_t now_s = ex->wall / USEC_PER_SEC;
    struct seal s;
    int64_t t;

    if (!header.p || parse_seal(header, &s) < 0 || s.s.n != 64 || !lower_hex(s.s))
        return bank_refuse(ex, 401, "BAD_SIGNATURE", "Bank-Signature is not t=..,n=..,s=..");
    if (s.n.n < 16 || s.n.n > 64 || !check_charset(s.n, ""))
        return bank_refuse(ex, 401, "BAD_SIGNATURE", "n is not 16 to 64 letters and digits");
    if (slice_int64(s.t, &t) < 0 || t < now_s - WINDOW_S || t > now_s + WINDOW_S)
        return bank_refuse(ex, 401, "BAD_SIGNATURE", "t is more than 300 s away");
    if (!mac_fits(ex, &s))
        return bank_refuse(ex, 401, "BAD_SIGNATURE", "s does not fit");
    if (nonces_use(ex->bank->nonces, ex->merchant->id, s.n, ex->wall) < 0)
        return bank_refuse(ex, 401, "BAD_SIGNATURE", "n was used before");
    return true;
}

/* ---- notification ---- */

/* Only a payment is notified. A contradictory one says that the order failed. */
static void put_notice(struct buf *b, const struct order *o, enum fault_kind fault)
{
    char id[TRANSACTION_ID_MAX], at[RFC3339_LEN + 1];
    struct json_writer w;

    order_transaction_id(o, id);
    time_format_rfc3339(at, o->paid_at);
    json_writer_init(&w, b);
    json_begin_object(&w);
    json_member_str(&w, "event",
                    fault == FAULT_CONTRADICTORY ? SLICE("ORDER_FAILED") : SLICE("ORDER_PAID"));
    json_member_str(&w, "mch_id", o->merchant->id);
    json_member_str(&w, "order_no", order_no(o));
    json_member_str(&w, "bank_no", slice_of(id));
    json_member_int64(&w, "amount", o->amount + (fault == FAULT_WRONG_AMOUNT));
    json_member_str(&w, "currency", slice_of(o->currency));
    json_member_str(&w, "paid_at", slice_of(at));
    json_end_object(&w);
}

int bank_notice(struct bank *bank, const struct event *ev, enum fault_kind fault, enum sign_how how,
                struct arena *a, struct notice *out)
{
    char seal[BANK_SEAL_MAX];
    struct buf body;
    int rc;

    (void)bank;
    buf_init(&body, 4096);
    put_notice(&body, ev->order, fault);
    rc = bank_seal_make(ev->order->merchant, buf_slice(&body), clock_read_wall(), how == SIGN_WRONG,
                        seal);
    out->body = arena_copy(a, buf_slice(&body));
    out->headers[0] = (struct http_header){SLICE("Content-Type"), SLICE("application/json")};
    out->headers[1] = (struct http_header){SLICE("Bank-Signature"), SLICE_NULL};
    if (rc == 0)
        out->headers[1].value = arena_copy(a, slice_of(seal));
    out->nheaders = how == SIGN_NOT ? 1 : 2;
    if (!buf_ok(&body))
        rc = -1;
    buf_release(&body);
    return rc;
}

/* 200 with {"code":"OK"}, nothing else. */
bool bank_taken(int status, struct slice body)
{
    const struct json *doc;
    struct json_error err;
    struct arena a;
    bool ok;

    arena_init(&a, 65536);
    ok = status == 200 && json_parse(&a, body, NULL, &doc, &err) == 0 &&
         slice_is(json_str(doc, "code"), "OK");
    arena_release(&a);
    return ok;
}
