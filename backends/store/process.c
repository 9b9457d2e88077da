#include "core/ids.h"
#include "statements.h"
#include "store_impl.h"

#include <stdlib.h>

/* A measurement that took longer says nothing about the clock. */
#define CLOCK_TRIP_MAX_US (500 * USEC_PER_MSEC)

/* Who held a number may have made ids up to 60 s ahead (core/ids.h): it rests as long before
 * another holder gets it, and the one that rested longest goes first. */
/* A clock that went back shortens no lease: ids as late as its end may have been given. */
const char sql_lease[] =
    "WITH pick AS (SELECT process FROM pay.process_lease"
    " WHERE process BETWEEN $3::int2 AND $4::int2"
    "  AND (holder = $1::text OR until < now() - interval '61 seconds')"
    " ORDER BY holder = $1::text DESC, until, process LIMIT 1 FOR UPDATE SKIP LOCKED)"
    " UPDATE pay.process_lease l SET holder = $1::text,"
    "  until = greatest(l.until, now() + $2::int8 * interval '1 microsecond')"
    " FROM pick WHERE l.process = pick.process RETURNING l.process";

const char sql_clock[] = "SELECT now()";

struct ask {
    store_lease_cb *on_lease;
    store_clock_cb *on_clock;
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
