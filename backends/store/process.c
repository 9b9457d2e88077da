#include "core/ids.h"
#include "statements.h"
#include "store_impl.h"

#include <stdlib.h>

/* A measurement that took longer says nothing about the clock. */
#define CLOCK_TRIP_MAX_US (500 * USEC_PER_MSEC)
#define DUE_MAX           10000u

/* Who held a number may have made ids up to 60 s ahead (core/ids.h): it rests as long before
 * another holder gets it, and the one that rested longest goes first. */
const char sql_lease[] =
    "WITH pick AS (SELECT process FROM pay.process_lease"
    " WHERE process BETWEEN $3::int2 AND $4::int2"
    "  AND (holder = $1::text OR until < now() - interval '61 seconds')"
    " ORDER BY holder = $1::text DESC, until, process LIMIT 1 FOR UPDATE SKIP LOCKED)"
    " UPDATE pay.process_lease l SET holder = $1::text,"
    "  until = now() + $2::int8 * interval '1 microsecond'"
    " FROM pick WHERE l.process = pick.process RETURNING l.process";

const char sql_clock[] = "SELECT now()";

/* Each side by its own index, merged by time. */
const char sql_due[] = "(SELECT payment_id, 0::int8 AS refund_id, due_at FROM pay.payment_timer"
                       " WHERE due_at <= $3::timestamptz AND slot BETWEEN $1::int2 AND $2::int2"
                       " ORDER BY due_at LIMIT $4::int4)"
                       " UNION ALL (SELECT payment_id, refund_id, due_at FROM pay.refund_timer"
                       " WHERE due_at <= $3::timestamptz AND slot BETWEEN $1::int2 AND $2::int2"
                       " ORDER BY due_at LIMIT $4::int4)"
                       " ORDER BY due_at LIMIT $4::int4";

struct ask {
    store_lease_cb *on_lease;
    store_clock_cb *on_clock;
    store_due_cb *on_due;
    void *arg;
    int64_t asked_us;
};

static struct ask *ask_new(void *arg)
{
    struct ask *q = store_alloc(sizeof(*q));

    q->arg = arg;
    return q;
}

static void on_lease(void *arg, const struct pg_answer *answer)
{
    struct ask *q = arg;
    enum store_result result = store_result_of(answer, "lease");
    uint32_t process = 0;

    if (result == STORE_DONE && PQntuples(answer->results[0]) == 1)
        process = (uint32_t)pg_get_int(answer->results[0], 0, 0);
    else if (result == STORE_DONE)
        result = STORE_NONE;
    q->on_lease(q->arg, result, process);
    free(q);
}

void store_lease(struct store *s, struct slice holder, int64_t lease_us, bool shadow,
                 store_lease_cb *cb, void *arg)
{
    struct ask *q = ask_new(arg);
    struct pg_params *p = store_params();

    q->on_lease = cb;
    pg_add_text(p, holder.p ? holder : SLICE(""));
    pg_add_int8(p, lease_us);
    pg_add_int2(p, shadow ? ID_SHADOW_MIN : 0);
    pg_add_int2(p, shadow ? ID_PROCESS_MAX : ID_SHADOW_MIN - 1);
    store_ask(s, "lease", p, on_lease, q);
}

static void on_clock(void *arg, const struct pg_answer *answer)
{
    struct ask *q = arg;
    enum store_result result = store_result_of(answer, "clock");
    int64_t trip = clock_read_mono_us() - q->asked_us;

    if (result == STORE_DONE && trip <= CLOCK_TRIP_MAX_US)
        q->on_clock(q->arg, STORE_DONE, pg_get_time(answer->results[0], 0, 0),
                    q->asked_us + trip / 2);
    else
        q->on_clock(q->arg, STORE_BUSY, 0, 0);
    free(q);
}

void store_clock(struct store *s, store_clock_cb *cb, void *arg)
{
    struct ask *q = ask_new(arg);

    q->on_clock = cb;
    q->asked_us = clock_read_mono_us();
    store_ask(s, "clock", NULL, on_clock, q);
}

static void on_due(void *arg, const struct pg_answer *answer)
{
    struct ask *q = arg;
    enum store_result result = store_result_of(answer, "due");
    const PGresult *r = result == STORE_DONE ? answer->results[0] : NULL;
    size_t n = r ? (size_t)PQntuples(r) : 0;
    struct store_due *due = n ? store_alloc(n * sizeof(*due)) : NULL;

    for (size_t i = 0; i < n; i++)
        due[i] = (struct store_due){pg_get_int(r, (int)i, 0), pg_get_int(r, (int)i, 1)};
    q->on_due(q->arg, result, due, n);
    free(due);
    free(q);
}

void store_due(struct store *s, uint32_t slot_from, uint32_t slot_to, pay_time_t now, unsigned max,
               store_due_cb *cb, void *arg)
{
    struct ask *q = ask_new(arg);
    struct pg_params *p = store_params();

    q->on_due = cb;
    pg_add_int2(p, (int16_t)slot_from);
    pg_add_int2(p, (int16_t)slot_to);
    pg_add_time(p, now);
    pg_add_int4(p, (int32_t)(max < DUE_MAX ? max : DUE_MAX));
    store_ask(s, "due", p, on_due, q);
}
