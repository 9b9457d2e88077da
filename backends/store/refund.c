#include "core/ids.h"
#include "row.h"
#include "statements.h"
#include "store_impl.h"

#include <stdlib.h>

#define REFUND_WITH_PAYMENT "SELECT" PAYMENT_COLUMNS "," REFUND_COLUMNS

const char sql_refund_by_id[] =
    REFUND_WITH_PAYMENT " FROM pay.refund r JOIN pay.payment p ON p.slot = ANY (ARRAY[r.slot])"
                        " AND p.id = r.payment_id" PAYMENT_TIMER REFUND_TIMER
                        " WHERE r.slot = $1::int2 AND r.id = $2::int8";

/* As sql_by_no: only the numbers' own indexes have those orders. */
const char sql_refund_by_no[] = REFUND_WITH_PAYMENT
    " FROM (SELECT * FROM pay.payment n WHERE n.slot = $1::int2 AND n.mchid = $2::text COLLATE "
    "\"C\""
    " AND n.id > 0 AND n.out_trade_no >= $3::text COLLATE \"C\" ORDER BY n.out_trade_no LIMIT 1) "
    "p" PAYMENT_TIMER
    " LEFT JOIN LATERAL (SELECT * FROM pay.refund n WHERE n.slot = p.slot AND n.payment_id = p.id"
    " AND n.id > 0 AND n.out_refund_no >= $4::text COLLATE \"C\" ORDER BY n.out_refund_no LIMIT 1) "
    "r"
    " ON r.out_refund_no = $4::text COLLATE \"C\"" REFUND_TIMER
    " WHERE p.out_trade_no = $3::text COLLATE \"C\"";

struct ask {
    struct arena *arena;
    store_refund_cb *cb;
    void *arg;
};

static void on_row(void *arg, const struct pg_answer *answer)
{
    struct ask *q = arg;
    enum store_result result = store_result_of(answer, "refund");
    struct row w = {.arena = q->arena};
    struct payment *p = NULL;
    struct refund refund;

    if (result == STORE_DONE && PQntuples(answer->results[0]) == 0)
        result = STORE_NONE;
    if (result == STORE_DONE) {
        w.r = answer->results[0];
        p = row_payment(&w);
        if (!p || row_refund(&w, &refund) != 0)
            result = STORE_BUSY;
    }
    q->cb(q->arg, result, p, result == STORE_DONE ? &refund : NULL);
    free(q);
}

static struct ask *ask_new(struct arena *a, store_refund_cb *cb, void *arg)
{
    struct ask *q = store_alloc(sizeof(*q));

    *q = (struct ask){a, cb, arg};
    return q;
}

void store_refund_by_id(struct store *s, int64_t refund_id, struct arena *a, store_refund_cb *cb,
                        void *arg)
{
    struct pg_params *p = store_params();

    pg_add_int2(p, (int16_t)id_slot(refund_id));
    pg_add_int8(p, refund_id);
    store_ask(s, "refund_by_id", p, on_row, ask_new(a, cb, arg));
}

void store_refund_by_no(struct store *s, uint32_t slot, struct slice mchid,
                        struct slice out_trade_no, struct slice out_refund_no, struct arena *a,
                        store_refund_cb *cb, void *arg)
{
    struct pg_params *p = store_params();

    pg_add_int2(p, (int16_t)slot);
    pg_add_text(p, mchid);
    pg_add_text(p, out_trade_no);
    pg_add_text(p, out_refund_no);
    store_ask(s, "refund_by_no", p, on_row, ask_new(a, cb, arg));
}
