#include "cases.h"

#include "core/ids.h"
#include "statements.h"
#include "store_impl.h"

#include <stdlib.h>

const char sql_case_say[] =
    "SELECT outcome, coalesce(decision, ''), coalesce(by_name, '')"
    " FROM pay.say_on_case($1::int2, $2::int8, $3::int8, $4::text, $5::text, $6::int8, $7::text,"
    "  $8::timestamptz)";

const char sql_case_refunds[] =
    "SELECT r.case_id, r.payment_id, c.amount, c.currency, c.channel_trade_no, r.reason"
    " FROM (SELECT * FROM pay.case_refund o WHERE o.done_at IS NULL AND o.asked_at > '-infinity'"
    "  AND o.slot BETWEEN $1::int2 AND $2::int2 ORDER BY o.asked_at LIMIT 64) r"
    " JOIN pay.payment_case c ON c.slot = ANY (ARRAY[r.slot]) AND c.id = r.case_id";

const char sql_case_refunded[] =
    "UPDATE pay.case_refund SET done_at = $4::timestamptz, outcome = $3::text"
    " WHERE slot = $1::int2 AND case_id = $2::int8 AND done_at IS NULL";

struct ask {
    store_case_cb *cb;
    store_case_refunds_cb *refunds_cb;
    store_case_refunded_cb *refunded_cb;
    void *arg;
};

static void on_said(void *arg, const struct pg_answer *answer)
{
    struct ask *q = arg;
    enum store_result result = store_result_of(answer, "case_say");
    const PGresult *r = result == STORE_DONE ? answer->results[0] : NULL;

    if (answer->outcome == PG_LOST)
        result = STORE_UNKNOWN;
    if (r && PQntuples(r) == 1)
        q->cb(q->arg, STORE_DONE, pg_get_text(r, 0, 0), pg_get_text(r, 0, 1), pg_get_text(r, 0, 2));
    else
        q->cb(q->arg, r ? STORE_BUSY : result, SLICE_NULL, SLICE_NULL, SLICE_NULL);
    free(q);
}

void store_case_say(struct store *s, const struct store_case_word *word, store_case_cb *cb,
                    void *arg)
{
    struct ask *q = store_alloc(sizeof(*q));
    struct pg_params *p = store_params();

    *q = (struct ask){.cb = cb, .arg = arg};
    pg_add_int2(p, (int16_t)id_slot(word->case_id));
    pg_add_int8(p, word->case_id);
    pg_add_int8(p, word->id);
    pg_add_text(p, word->decision);
    pg_add_text(p, word->reason);
    pg_add_int8(p, word->uid);
    pg_add_text(p, word->name);
    pg_add_time(p, word->at);
    store_ask(s, "case_say", p, on_said, q);
}

static void on_refunds(void *arg, const struct pg_answer *answer)
{
    struct ask *q = arg;
    enum store_result result = store_result_of(answer, "case_refunds");
    const PGresult *r = result == STORE_DONE ? answer->results[0] : NULL;
    size_t n = r ? (size_t)PQntuples(r) : 0;
    struct store_case_refund *c = n ? store_alloc(n * sizeof(*c)) : NULL;

    for (int i = 0; i < (int)n; i++)
        c[i] = (struct store_case_refund){.case_id = pg_get_int(r, i, 0),
                                          .payment_id = pg_get_int(r, i, 1),
                                          .amount = pg_get_int(r, i, 2),
                                          .currency = pg_get_text(r, i, 3),
                                          .channel_trade_no = pg_get_text(r, i, 4),
                                          .reason = pg_get_text(r, i, 5)};
    q->refunds_cb(q->arg, result, c, n);
    free(c);
    free(q);
}

void store_case_refunds(struct store *s, uint32_t slot_from, uint32_t slot_to,
                        store_case_refunds_cb *cb, void *arg)
{
    struct ask *q = store_alloc(sizeof(*q));
    struct pg_params *p = store_params();

    *q = (struct ask){.refunds_cb = cb, .arg = arg};
    pg_add_int2(p, (int16_t)slot_from);
    pg_add_int2(p, (int16_t)slot_to);
    store_ask(s, "case_refunds", p, on_refunds, q);
}

static void on_refunded(void *arg, const struct pg_answer *answer)
{
    struct ask *q = arg;

    q->refunded_cb(q->arg, store_result_of(answer, "case_refunded"));
    free(q);
}

void store_case_refunded(struct store *s, int64_t case_id, struct slice outcome, pay_time_t at,
                         store_case_refunded_cb *cb, void *arg)
{
    struct ask *q = store_alloc(sizeof(*q));
    struct pg_params *p = store_params();

    *q = (struct ask){.refunded_cb = cb, .arg = arg};
    pg_add_int2(p, (int16_t)id_slot(case_id));
    pg_add_int8(p, case_id);
    pg_add_text(p, outcome);
    pg_add_time(p, at);
    store_ask(s, "case_refunded", p, on_refunded, q);
}
