/*
 * DESIGN. Two things keep processes out of each other's way: parts of the slots are leased, and an
 * attempt is committed with the timer's next time before it is sent, by compare-and-swap. The
 * second is what is right; the first is what saves the work in vain.
 *
 * What is due is taken channel by channel: a walk over the index from one channel to the next, and
 * of each no more than it has room for. Three of four are the oldest, one is the newest: however
 * much has piled up, what became due just now does not wait behind it. What is in work already and
 * due again is stepped over: it would take the place of one that waits, and not be taken.
 */
#include "statements.h"
#include "store_impl.h"

#include <stdlib.h>

#define DUE_MAX 10000u

const char sql_timer_parts[] =
    "SELECT pay.claim_timer_parts($1::int2, $2::int2, $3::text, $4::int8, $5::int8)";

#define IN_PARTS                                                                                   \
    " due_at <= $3::timestamptz AND slot BETWEEN $1::int2 AND $2::int2"                            \
    " AND ($4::int8 >> (slot % 64)) & 1 = 1 AND payment_id <> ALL ($9::int8[])"

const char sql_due[] =
    "WITH RECURSIVE ch AS ((SELECT channel FROM pay.payment_timer WHERE channel >= '' ORDER BY "
    "channel LIMIT 1)"
    " UNION ALL SELECT n.channel FROM ch, LATERAL (SELECT t.channel FROM pay.payment_timer t"
    "  WHERE t.channel > ch.channel ORDER BY t.channel LIMIT 1) n),"
    " rh AS ((SELECT channel FROM pay.refund_timer WHERE channel >= '' ORDER BY channel LIMIT 1)"
    " UNION ALL SELECT n.channel FROM rh, LATERAL (SELECT t.channel FROM pay.refund_timer t"
    "  WHERE t.channel > rh.channel ORDER BY t.channel LIMIT 1) n),"
    " room AS MATERIALIZED (SELECT c.channel, least($5::int4, ($6::int4 - coalesce((SELECT b.n"
    "  FROM unnest($7::text[], $8::int4[]) AS b(channel, n)"
    "  WHERE b.channel = c.channel COLLATE \"C\" LIMIT 1), 0) + 1) / 2) AS room"
    "  FROM (SELECT channel FROM ch UNION SELECT channel FROM rh) c),"
    " due AS (SELECT r.channel, r.room, d.* FROM room r, LATERAL ("
    "  (SELECT payment_id, 0::int8 AS refund_id, due_at, false AS fresh FROM pay.payment_timer"
    "    WHERE channel = r.channel AND" IN_PARTS " ORDER BY due_at LIMIT greatest(r.room, 0))"
    "  UNION ALL (SELECT payment_id, refund_id, due_at, false FROM pay.refund_timer"
    "    WHERE channel = r.channel AND" IN_PARTS " ORDER BY due_at LIMIT greatest(r.room, 0))"
    "  UNION ALL (SELECT payment_id, 0::int8, due_at, true FROM pay.payment_timer"
    "    WHERE channel = r.channel AND" IN_PARTS " ORDER BY due_at DESC"
    "    LIMIT greatest(r.room + 3, 0) / 4)"
    "  UNION ALL (SELECT payment_id, refund_id, due_at, true FROM pay.refund_timer"
    "    WHERE channel = r.channel AND" IN_PARTS " ORDER BY due_at DESC"
    "    LIMIT greatest(r.room + 3, 0) / 4)) d),"
    " turn AS (SELECT due.*, row_number() OVER (PARTITION BY channel, fresh"
    "  ORDER BY CASE WHEN fresh THEN $3::timestamptz - due_at ELSE due_at - $3::timestamptz END)"
    "  AS nth FROM due)"
    " SELECT payment_id, refund_id, channel FROM (SELECT payment_id, refund_id, channel, room,"
    "  min(CASE WHEN fresh THEN 4 * nth ELSE nth + (nth - 1) / 3 END) AS nth, min(due_at) AS due_at"
    "  FROM turn GROUP BY payment_id, refund_id, channel, room) x WHERE nth <= room"
    " ORDER BY nth, due_at LIMIT $5::int4";

const char sql_overdue[] =
    "WITH RECURSIVE ch AS ((SELECT channel FROM pay.payment_timer WHERE channel >= '' ORDER BY "
    "channel LIMIT 1)"
    " UNION ALL SELECT n.channel FROM ch, LATERAL (SELECT t.channel FROM pay.payment_timer t"
    "  WHERE t.channel > ch.channel ORDER BY t.channel LIMIT 1) n),"
    " rh AS ((SELECT channel FROM pay.refund_timer WHERE channel >= '' ORDER BY channel LIMIT 1)"
    " UNION ALL SELECT n.channel FROM rh, LATERAL (SELECT t.channel FROM pay.refund_timer t"
    "  WHERE t.channel > rh.channel ORDER BY t.channel LIMIT 1) n)"
    " SELECT least((SELECT min(d.due_at) FROM ch, LATERAL (SELECT t.due_at FROM pay.payment_timer t"
    "  WHERE t.channel = ch.channel ORDER BY t.due_at LIMIT 1) d),"
    " (SELECT min(d.due_at) FROM rh, LATERAL (SELECT t.due_at FROM pay.refund_timer t"
    "  WHERE t.channel = rh.channel ORDER BY t.due_at LIMIT 1) d))";

struct ask {
    store_due_cb *on_due;
    store_parts_cb *on_parts;
    store_overdue_cb *on_overdue;
    void *arg;
};

static struct ask *ask_new(void *arg)
{
    struct ask *q = store_alloc(sizeof(*q));

    q->arg = arg;
    return q;
}

static void on_parts(void *arg, const struct pg_answer *answer)
{
    struct ask *q = arg;
    enum store_result result = store_result_of(answer, "timer_parts");

    q->on_parts(q->arg, result,
                result == STORE_DONE ? (uint64_t)pg_get_int(answer->results[0], 0, 0) : 0);
    free(q);
}

void store_timer_parts(struct store *s, uint32_t slot_from, uint32_t slot_to, struct slice holder,
                       int64_t lease_us, uint64_t busy, store_parts_cb *cb, void *arg)
{
    struct ask *q = ask_new(arg);
    struct pg_params *p = store_params();

    q->on_parts = cb;
    pg_add_int2(p, (int16_t)slot_from);
    pg_add_int2(p, (int16_t)slot_to);
    pg_add_text(p, holder);
    pg_add_int8(p, lease_us);
    pg_add_int8(p, (int64_t)busy);
    store_ask(s, "timer_parts", p, on_parts, q);
}

static void on_due(void *arg, const struct pg_answer *answer)
{
    struct ask *q = arg;
    enum store_result result = store_result_of(answer, "due");
    const PGresult *r = result == STORE_DONE ? answer->results[0] : NULL;
    size_t n = r ? (size_t)PQntuples(r) : 0;
    struct store_due *due = n ? store_alloc(n * sizeof(*due)) : NULL;

    for (size_t i = 0; i < n; i++)
        due[i] = (struct store_due){.payment_id = pg_get_int(r, (int)i, 0),
                                    .refund_id = pg_get_int(r, (int)i, 1),
                                    .channel = pg_get_text(r, (int)i, 2)};
    q->on_due(q->arg, result, due, n);
    free(due);
    free(q);
}

void store_due(struct store *s, const struct store_due_wish *wish, store_due_cb *cb, void *arg)
{
    struct ask *q = ask_new(arg);
    struct pg_params *p = store_params();

    q->on_due = cb;
    pg_add_int2(p, (int16_t)wish->slot_from);
    pg_add_int2(p, (int16_t)wish->slot_to);
    pg_add_time(p, wish->now);
    pg_add_int8(p, (int64_t)wish->parts);
    pg_add_int4(p, (int32_t)(wish->max < DUE_MAX ? wish->max : DUE_MAX));
    pg_add_int4(p, (int32_t)wish->room);
    pg_array_begin(p, PG_TEXT, (uint32_t)wish->nbusy);
    for (size_t i = 0; i < wish->nbusy; i++)
        pg_add_text(p, wish->busy[i].channel);
    pg_array_end(p);
    pg_array_begin(p, PG_INT4, (uint32_t)wish->nbusy);
    for (size_t i = 0; i < wish->nbusy; i++)
        pg_add_int4(p, (int32_t)wish->busy[i].n);
    pg_array_end(p);
    pg_array_begin(p, PG_INT8, (uint32_t)wish->nworking);
    for (size_t i = 0; i < wish->nworking; i++)
        pg_add_int8(p, wish->working[i]);
    pg_array_end(p);
    store_ask(s, "due", p, on_due, q);
}

static void on_overdue(void *arg, const struct pg_answer *answer)
{
    struct ask *q = arg;
    enum store_result result = store_result_of(answer, "overdue");
    const PGresult *r = result == STORE_DONE ? answer->results[0] : NULL;

    q->on_overdue(q->arg, result, r && !pg_is_null(r, 0, 0) ? pg_get_time(r, 0, 0) : 0);
    free(q);
}

void store_timer_overdue(struct store *s, store_overdue_cb *cb, void *arg)
{
    struct ask *q = ask_new(arg);

    q->on_overdue = cb;
    store_ask(s, "overdue", NULL, on_overdue, q);
}
