/* Bills of channels: whose turn it is to fetch one, and why one is not there yet. */
#include "statements.h"
#include "store_impl.h"

#include <stdlib.h>

/* Of the seven days up to $3 the oldest without a bill that nobody asks for now; days before the
 * account's first are none of it. */
const char sql_bill_claim[] =
    "WITH want AS (SELECT d.day FROM pay.channel_account a,"
    "  LATERAL (SELECT $3::text::date - i AS day FROM generate_series(0, 6) AS i) d"
    "  WHERE a.channel = $1::text AND a.account = $2::text"
    "  AND d.day >= (a.created_at AT TIME ZONE 'Asia/Shanghai')::date"
    "  AND NOT EXISTS (SELECT FROM pay.channel_bill b"
    "   WHERE b.channel = $1 AND b.account = $2 AND b.day = d.day)"
    "  AND NOT EXISTS (SELECT FROM pay.channel_bill_fetch f WHERE f.channel = $1"
    "   AND f.account = $2 AND f.day = d.day AND f.due_at > now())"
    "  ORDER BY d.day LIMIT 1),"
    " turn AS (INSERT INTO pay.channel_bill_fetch AS f (channel, account, day, due_at)"
    "  SELECT $1, $2, want.day, now() + $4::bigint * interval '1 microsecond' FROM want"
    "  ON CONFLICT (channel, account, day) DO UPDATE SET due_at = excluded.due_at,"
    "  tries = f.tries + 1 WHERE f.due_at <= now() RETURNING f.day)"
    " SELECT to_char(t.day, 'YYYY-MM-DD'), to_char(b.day, 'YYYY-MM-DD')"
    " FROM (VALUES (1)) one (n) LEFT JOIN turn t ON true"
    " LEFT JOIN LATERAL (SELECT b.day FROM pay.channel_bill b WHERE b.channel = $1"
    "  AND b.account = $2 ORDER BY b.channel, b.account, b.day DESC LIMIT 1) b ON true";

/* -> a row when it is late and nobody was told */
const char sql_bill_failed[] =
    "WITH was AS (SELECT late FROM pay.channel_bill_fetch"
    "  WHERE channel = $1::text AND account = $2::text AND day = $3::text::date),"
    " put AS (UPDATE pay.channel_bill_fetch SET reason = $5::text, late = late OR $6::boolean,"
    "  due_at = now() + $4::bigint * interval '1 microsecond'"
    "  WHERE channel = $1 AND account = $2 AND day = $3::text::date RETURNING late)"
    " SELECT 1 FROM was, put WHERE put.late AND NOT was.late";

struct asked {
    store_bill_cb *cb;
    store_refresh_cb *failed;
    void *arg;
};

static struct slice day_of(const PGresult *r, int col)
{
    return PQgetisnull(r, 0, col) ? SLICE_NULL : pg_get_text(r, 0, col);
}

static void on_claimed(void *arg, const struct pg_answer *answer)
{
    struct asked *q = arg;
    enum store_result result = store_result_of(answer, "bill_claim");
    const PGresult *r = result == STORE_DONE ? answer->results[0] : NULL;

    q->cb(q->arg, result, r ? day_of(r, 0) : SLICE_NULL, r ? day_of(r, 1) : SLICE_NULL);
    free(q);
}

static struct pg_params *bill_params(struct slice channel, struct slice account, struct slice day,
                                     int64_t us)
{
    struct pg_params *p = store_params();

    pg_add_text(p, channel);
    pg_add_text(p, account);
    pg_add_text(p, day);
    pg_add_int8(p, us);
    return p;
}

void store_bill_claim(struct store *s, struct slice channel, struct slice account,
                      struct slice newest, int64_t lease_us, store_bill_cb *cb, void *arg)
{
    struct asked *q = store_alloc(sizeof(*q));

    *q = (struct asked){.cb = cb, .arg = arg};
    store_ask(s, "bill_claim", bill_params(channel, account, newest, lease_us), on_claimed, q);
}

static void on_failed(void *arg, const struct pg_answer *answer)
{
    struct asked *q = arg;
    enum store_result result = store_result_of(answer, "bill_failed");

    if (result == STORE_DONE && PQntuples(answer->results[0]) == 0)
        result = STORE_NONE;
    q->failed(q->arg, result);
    free(q);
}

void store_bill_failed(struct store *s, const struct store_bill_failure *f, store_refresh_cb *cb,
                       void *arg)
{
    struct asked *q = store_alloc(sizeof(*q));
    struct pg_params *p = bill_params(f->channel, f->account, f->day, f->again_us);

    *q = (struct asked){.failed = cb, .arg = arg};
    pg_add_text(p, f->reason);
    pg_add_bool(p, f->late);
    store_ask(s, "bill_failed", p, on_failed, q);
}
