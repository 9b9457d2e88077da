/*
 * DESIGN. Callbacks are claimed merchant by merchant: a walk over the index from one (slot,
 * merchant) with something waiting to the next, a few due ones of each. A merchant with a million
 * dead callbacks costs one step of the walk, and gets no more than what its calls under way leave
 * of its share. Suspects - named ones, and callbacks that were tried and had no answer - have what
 * room they are given, all together.
 */
#include "statements.h"
#include "store_impl.h"

#include <stdlib.h>

#define MERCHANTS                                                                                  \
    " m AS ("                                                                                      \
    " (SELECT slot, mchid FROM pay.callback WHERE state = 1 AND slot BETWEEN $1::int2 AND "        \
    "$2::int2"                                                                                     \
    "  ORDER BY slot, mchid LIMIT 1)"                                                              \
    " UNION ALL"                                                                                   \
    " SELECT n.slot, n.mchid FROM m, LATERAL (SELECT c.slot, c.mchid FROM pay.callback c"          \
    "  WHERE c.state = 1 AND (c.slot, c.mchid) > (m.slot, m.mchid) AND c.slot <= $2::int2"         \
    "  ORDER BY c.slot, c.mchid LIMIT 1) n)"

const char sql_claim[] =
    "WITH RECURSIVE busy AS MATERIALIZED (SELECT b.mchid, count(*)::int4 AS n"
    "  FROM unnest($7::text[]) AS b(mchid) GROUP BY b.mchid),"
    " silent AS MATERIALIZED (SELECT DISTINCT s.mchid FROM unnest($8::text[]) AS "
    "s(mchid))," MERCHANTS ","
    " share AS (SELECT m.slot, m.mchid, s.mchid IS NOT NULL AS suspect,"
    "   least(greatest($6::int4 - coalesce(b.n, 0), 0),"
    "    CASE WHEN s.mchid IS NOT NULL THEN $9::int4 END) AS n"
    "  FROM m LEFT JOIN busy b ON b.mchid = m.mchid COLLATE \"C\""
    "  LEFT JOIN silent s ON s.mchid = m.mchid COLLATE \"C\"),"
    " due AS (SELECT d.*, s.n AS share, s.suspect OR d.tries > 0 AND d.silent AS suspect"
    "  FROM share s, LATERAL (SELECT c.slot, c.payment_id, c.subject_id, c.mchid, c.next_at,"
    "   c.tries, coalesce(c.last_status, 0) = 0 AS silent FROM pay.callback c"
    "   WHERE c.state = 1 AND c.slot = s.slot AND c.mchid = s.mchid"
    "   AND c.next_at <= $3::timestamptz ORDER BY c.next_at LIMIT s.n"
    "   FOR UPDATE SKIP LOCKED) d),"
    " picked AS (SELECT * FROM (SELECT x.*, row_number() OVER (PARTITION BY suspect"
    "   ORDER BY next_at) AS place FROM (SELECT due.*, row_number() OVER (PARTITION BY mchid"
    "   ORDER BY next_at) AS nth FROM due) x WHERE nth <= share) y"
    "  WHERE NOT suspect OR place <= $9::int4 ORDER BY next_at LIMIT $5::int4)"
    " UPDATE pay.callback c SET tries = c.tries + 1, next_at = $4::timestamptz FROM picked p"
    " WHERE c.slot = ANY (ARRAY[p.slot]) AND c.payment_id = p.payment_id"
    "  AND c.subject_id = p.subject_id"
    " RETURNING c.id, c.payment_id, c.slot, c.mchid, c.app_id, c.url, c.body, c.tries,"
    "  coalesce((SELECT a.callback_signature = 'webhook' FROM pay.app a"
    "   WHERE a.app_id = c.app_id), false), p.suspect";

/* The oldest is looked for among ten thousand merchants' at most. */
const char sql_backlog[] =
    "WITH RECURSIVE" MERCHANTS
    " SELECT (SELECT count(*) FROM (SELECT FROM pay.callback WHERE state = 1 AND slot >= 0"
    "  LIMIT 10000) w),"
    " (SELECT count(*) FROM (SELECT FROM pay.callback WHERE state = 3"
    "  AND created_at > '-infinity' LIMIT 10000) g),"
    " (SELECT min(d.next_at) FROM (SELECT m.slot, m.mchid FROM m LIMIT 10000) s, LATERAL"
    "  (SELECT c.next_at FROM pay.callback c WHERE c.state = 1 AND c.slot = s.slot"
    "   AND c.mchid = s.mchid ORDER BY c.next_at LIMIT 1) d)";

struct claim {
    struct arena *arena;
    store_callbacks_cb *cb;
    store_backlog_cb *backlog_cb;
    void *arg;
};

static void add_names(struct pg_params *p, const struct slice *names, size_t n)
{
    pg_array_begin(p, PG_TEXT, (uint32_t)n);
    for (size_t i = 0; i < n; i++)
        pg_add_text(p, names[i]);
    pg_array_end(p);
}

static struct slice text(struct arena *a, const PGresult *r, int row, int col)
{
    return arena_copy(a, pg_get_text(r, row, col));
}

static void on_claimed(void *arg, const struct pg_answer *answer)
{
    struct claim *q = arg;
    enum store_result result = store_result_of(answer, "claim");
    const PGresult *r = result == STORE_DONE ? answer->results[0] : NULL;
    int n = r ? PQntuples(r) : 0;
    struct store_callback *c = n ? arena_array(q->arena, struct store_callback, (size_t)n) : NULL;

    for (int i = 0; c && i < n; i++)
        c[i] = (struct store_callback){.id = pg_get_int(r, i, 0),
                                       .payment_id = pg_get_int(r, i, 1),
                                       .slot = (uint32_t)pg_get_int(r, i, 2),
                                       .mchid = text(q->arena, r, i, 3),
                                       .app_id = text(q->arena, r, i, 4),
                                       .url = text(q->arena, r, i, 5),
                                       .body = text(q->arena, r, i, 6),
                                       .tries = (uint32_t)pg_get_int(r, i, 7),
                                       .webhook = pg_get_bool(r, i, 8),
                                       .suspect = pg_get_bool(r, i, 9)};
    if (n && q->arena->failed)
        q->cb(q->arg, STORE_BUSY, NULL, 0); /* the lease ends and they are claimed again */
    else
        q->cb(q->arg, result, c, (size_t)n);
    free(q);
}

void store_callbacks_claim(struct store *s, const struct store_callback_wish *wish, struct arena *a,
                           store_callbacks_cb *cb, void *arg)
{
    struct claim *q = store_alloc(sizeof(*q));
    struct pg_params *p = store_params();

    *q = (struct claim){.arena = a, .cb = cb, .arg = arg};
    pg_add_int2(p, (int16_t)wish->slot_from);
    pg_add_int2(p, (int16_t)wish->slot_to);
    pg_add_time(p, wish->now);
    pg_add_time(p, wish->lease_until);
    pg_add_int4(p, (int32_t)wish->max);
    pg_add_int4(p, (int32_t)wish->per_merchant);
    add_names(p, wish->busy, wish->nbusy);
    add_names(p, wish->suspects, wish->nsuspects);
    pg_add_int4(p, (int32_t)wish->suspects_max);
    store_ask(s, "claim", p, on_claimed, q);
}

static void on_backlog(void *arg, const struct pg_answer *answer)
{
    struct claim *q = arg;
    enum store_result result = store_result_of(answer, "backlog");
    const PGresult *r = result == STORE_DONE ? answer->results[0] : NULL;

    q->backlog_cb(q->arg, result, r ? pg_get_int(r, 0, 0) : 0, r ? pg_get_int(r, 0, 1) : 0,
                  r && !pg_is_null(r, 0, 2) ? pg_get_time(r, 0, 2) : 0);
    free(q);
}

void store_callbacks_backlog(struct store *s, uint32_t slot_from, uint32_t slot_to,
                             store_backlog_cb *cb, void *arg)
{
    struct claim *q = store_alloc(sizeof(*q));
    struct pg_params *p = store_params();

    *q = (struct claim){.backlog_cb = cb, .arg = arg};
    pg_add_int2(p, (int16_t)slot_from);
    pg_add_int2(p, (int16_t)slot_to);
    store_ask(s, "backlog", p, on_backlog, q);
}
