/*
 * DESIGN. A number given at insert is not the order of commits, and waiting for the oldest open
 * transaction would let one long one stop all events. So the position is a snapshot: rows of
 * transactions that it could not see, and that the statement's own snapshot can, are new. A window
 * that would be too large is cut at a transaction below the snapshot's end; what is open below the
 * cut stays in `open`.
 *
 * A transaction that began earlier may write a later version of an order (its number was taken by
 * another order of its batch). Where the cut parts the two, the earlier version is told with the
 * later one, and again in its turn.
 */
#include "relay.h"

#include "core/ids.h"
#include "statements.h"
#include "store_impl.h"

#include <stdlib.h>

const char sql_relay_claim[] =
    "WITH c AS (INSERT INTO pay.relay AS r (streams, stream, upto, open, last_ms, last_seq, "
    "holder, until)"
    " SELECT $1::int2, $2::int2, coalesce(min(o.upto), 1),"
    "  coalesce(string_agg(nullif(o.open, ''), ','), ''), 0, 0, $3::text,"
    "  now() + $4::int8 * interval '1 microsecond'"
    " FROM pay.relay o WHERE o.streams = (SELECT l.streams FROM pay.relay l"
    "  WHERE l.streams <> $1::int2 ORDER BY l.until DESC LIMIT 1)"
    " ON CONFLICT (streams, stream) DO UPDATE SET holder = excluded.holder, until = excluded.until"
    "  WHERE r.holder = excluded.holder OR r.until < now()"
    " RETURNING streams, stream, upto, open, last_ms, last_seq),"
    " m AS (INSERT INTO pay.relay_mark (streams, stream, upto, open, last_ms, last_seq, at)"
    "  SELECT streams, stream, upto, open, last_ms, last_seq, now() FROM c"
    "  WHERE NOT EXISTS (SELECT FROM pay.relay_mark k WHERE k.streams = c.streams"
    "   AND k.stream = c.stream) ON CONFLICT (streams, stream, upto) DO NOTHING)"
    " SELECT upto, open, last_ms, last_seq FROM c";

#define EVENT_COLUMNS                                                                              \
    "r.slot, r.payment_id, r.refund_id, r.version, r.event_id, r.at, r.from_state, r.to_state,"    \
    " r.input, r.code, r.xid"

/* b: where the window ends and what is open below. w: the rows in it. x: with them, earlier
 * versions behind the end, where the window was cut: what is behind a snapshot's end nobody sees.
 */
const char sql_relay_read[] =
    "WITH s AS MATERIALIZED (SELECT pg_current_snapshot() AS snap),"
    " c AS MATERIALIZED (SELECT (SELECT h.xid FROM pay.payment_history h"
    "   WHERE h.xid >= $3::int8 AND h.xid > 0 ORDER BY h.xid OFFSET $5::int4 LIMIT 1) AS cut),"
    " b AS MATERIALIZED (SELECT c.cut IS NOT NULL AS more, CASE WHEN c.cut IS NULL"
    "   THEN greatest(pg_snapshot_xmax(s.snap)::text::int8, $3::int8)"
    "   ELSE greatest(c.cut, $3::int8 + 1) END AS upto, s.snap FROM s, c),"
    " w AS MATERIALIZED (SELECT h.* FROM b, LATERAL"
    "  (SELECT " EVENT_COLUMNS
    " FROM pay.payment_history r WHERE r.xid >= $3::int8 AND r.xid < b.upto"
    "    AND r.xid > 0 OFFSET 0) h"
    "  WHERE h.slot BETWEEN $1::int2 AND $2::int2 AND h.from_state <> h.to_state"
    "  UNION ALL SELECT h.*"
    "  FROM unnest(string_to_array(nullif($4::text, ''), ',')::int8[]) AS o(xid)"
    "  CROSS JOIN LATERAL (SELECT " EVENT_COLUMNS " FROM pay.payment_history r"
    "   WHERE r.xid = ANY (ARRAY[o.xid]) AND r.xid > 0 OFFSET 0) h"
    "  WHERE o.xid < $3::int8 AND h.slot BETWEEN $1::int2 AND $2::int2"
    "   AND h.from_state <> h.to_state),"
    " x AS MATERIALIZED (SELECT w.* FROM w UNION ALL SELECT h.*"
    "  FROM (SELECT w.slot, w.payment_id, max(w.version) AS version FROM w"
    "   GROUP BY w.slot, w.payment_id) m, b, LATERAL (SELECT " EVENT_COLUMNS
    "   FROM pay.payment_history r"
    "   WHERE b.more AND r.slot = ANY (ARRAY[m.slot]) AND r.payment_id = m.payment_id"
    "   AND r.version < m.version OFFSET 0) h"
    "  WHERE h.xid >= b.upto AND h.from_state <> h.to_state),"
    " e AS MATERIALIZED (SELECT x.*, max(x.at) OVER (PARTITION BY x.slot, x.payment_id"
    "   ORDER BY x.version) AS told FROM x)"
    " SELECT b.upto, coalesce((SELECT string_agg(i::text, ',') FROM pg_snapshot_xip(b.snap) i"
    "   WHERE i::text::int8 < b.upto), ''), b.more, e.payment_id, e.refund_id, e.version,"
    "  e.event_id, e.at, e.to_state, e.input, e.code, p.mchid, p.app_id, p.out_trade_no,"
    "  p.currency, p.channel, p.scene, p.product, p.store_id, p.channel_trade_no, p.trace_id,"
    "  coalesce(r.out_refund_no, ''), p.method, p.amount, coalesce(r.amount, 0)"
    " FROM b LEFT JOIN (e JOIN pay.payment p ON p.slot = ANY (ARRAY[e.slot]) AND p.id = "
    "e.payment_id"
    "   LEFT JOIN LATERAL (SELECT f.out_refund_no, f.amount FROM pay.refund f"
    "    WHERE e.refund_id > 0 AND f.slot = ANY (ARRAY[e.slot]) AND f.id = e.refund_id OFFSET 0) r"
    "   ON true) ON true"
    " ORDER BY e.told, e.slot, e.payment_id, e.version";

const char sql_relay_save[] =
    "WITH u AS (UPDATE pay.relay SET upto = $4::int8, open = $5::text, last_ms = $6::int8,"
    "  last_seq = $7::int8, until = now() + $8::int8 * interval '1 microsecond'"
    "  WHERE streams = $1::int2 AND stream = $2::int2 AND holder = $3::text"
    "   AND upto = $11::int8 AND open = $12::text"
    "  RETURNING streams, stream, upto, open, last_ms, last_seq),"
    " m AS (INSERT INTO pay.relay_mark (streams, stream, upto, open, last_ms, last_seq, at)"
    "  SELECT streams, stream, upto, open, last_ms, last_seq, now() FROM u"
    "  WHERE NOT EXISTS (SELECT FROM pay.relay_mark k WHERE k.streams = u.streams"
    "   AND k.stream = u.stream AND k.at > now() - $9::int8 * interval '1 microsecond')"
    "  ON CONFLICT (streams, stream, upto) DO NOTHING),"
    " d AS (DELETE FROM pay.relay_mark k USING u WHERE k.streams = u.streams"
    "  AND k.stream = u.stream AND k.at < (SELECT max(n.at) FROM pay.relay_mark n"
    "   WHERE n.streams = u.streams AND n.stream = u.stream"
    "   AND n.at < now() - $10::int8 * interval '1 microsecond'))"
    " SELECT upto, open, last_ms, last_seq FROM u";

/* Marks behind the one that it goes back to are of a stream that is no more. Without any mark the
 * stream is as old as the history that is told. */
const char sql_relay_rewind[] =
    "WITH k AS MATERIALIZED (SELECT upto, open FROM pay.relay_mark"
    "  WHERE streams = $1::int2 AND stream = $2::int2"
    "  ORDER BY (last_ms, last_seq) <= ($4::int8, $5::int8) DESC,"
    "   CASE WHEN (last_ms, last_seq) <= ($4::int8, $5::int8) THEN upto ELSE -upto END DESC"
    "  LIMIT 1),"
    " u AS (UPDATE pay.relay SET upto = coalesce((SELECT k.upto FROM k), 1),"
    "  open = coalesce((SELECT k.open FROM k), ''), last_ms = $4::int8, last_seq = $5::int8"
    "  WHERE streams = $1::int2 AND stream = $2::int2 AND holder = $3::text"
    "  RETURNING streams, stream, upto, open, last_ms, last_seq),"
    " d AS (DELETE FROM pay.relay_mark k USING u WHERE k.streams = u.streams"
    "  AND k.stream = u.stream AND k.upto > u.upto),"
    " l AS (UPDATE pay.relay_mark k SET last_ms = $4::int8, last_seq = $5::int8 FROM u"
    "  WHERE k.streams = u.streams AND k.stream = u.stream AND k.upto = u.upto"
    "  AND (k.last_ms, k.last_seq) > ($4::int8, $5::int8))"
    " SELECT upto, open, last_ms, last_seq FROM u";

struct ask {
    struct arena *arena;
    const char *what;
    store_relay_cb *cb;
    store_relay_read_cb *read_cb;
    void *arg;
};

static struct ask *ask_new(const char *what, struct arena *a, store_relay_cb *cb, void *arg)
{
    struct ask *q = store_alloc(sizeof(*q));

    *q = (struct ask){.what = what, .arena = a, .cb = cb, .arg = arg};
    return q;
}

static struct pg_params *params_of(const struct relay_stream *t)
{
    struct pg_params *p = store_params();

    pg_add_int2(p, (int16_t)t->streams);
    pg_add_int2(p, (int16_t)t->stream);
    pg_add_text(p, t->holder);
    return p;
}

static void on_position(void *arg, const struct pg_answer *answer)
{
    struct ask *q = arg;
    enum store_result result = store_result_of(answer, q->what);
    const PGresult *r = result == STORE_DONE ? answer->results[0] : NULL;
    struct relay_position p = {0};

    if (r && PQntuples(r) == 0)
        result = STORE_NONE;
    else if (r)
        p = (struct relay_position){.upto = pg_get_int(r, 0, 0),
                                    .open = q->arena ? arena_copy(q->arena, pg_get_text(r, 0, 1))
                                                     : SLICE_NULL,
                                    .last_ms = pg_get_int(r, 0, 2),
                                    .last_seq = pg_get_int(r, 0, 3)};
    if (q->arena && q->arena->failed)
        result = STORE_BUSY;
    q->cb(q->arg, result, &p);
    free(q);
}

void store_relay_claim(struct store *s, const struct relay_stream *t, int64_t lease_us,
                       struct arena *a, store_relay_cb *cb, void *arg)
{
    struct pg_params *p = params_of(t);

    pg_add_int8(p, lease_us);
    store_ask(s, "relay_claim", p, on_position, ask_new("relay_claim", a, cb, arg));
}

void store_relay_save(struct store *s, const struct relay_stream *t,
                      const struct relay_position *was, const struct relay_position *at,
                      const struct relay_keep *k, store_relay_cb *cb, void *arg)
{
    struct pg_params *p = params_of(t);

    pg_add_int8(p, at->upto);
    pg_add_text(p, at->open.n ? at->open : SLICE(""));
    pg_add_int8(p, at->last_ms);
    pg_add_int8(p, at->last_seq);
    pg_add_int8(p, k->lease_us);
    pg_add_int8(p, k->mark_us);
    pg_add_int8(p, k->marks_us);
    pg_add_int8(p, was->upto);
    pg_add_text(p, was->open.n ? was->open : SLICE(""));
    store_ask(s, "relay_save", p, on_position, ask_new("relay_save", NULL, cb, arg));
}

void store_relay_rewind(struct store *s, const struct relay_stream *t, int64_t last_ms,
                        int64_t last_seq, struct arena *a, store_relay_cb *cb, void *arg)
{
    struct pg_params *p = params_of(t);

    pg_add_int8(p, last_ms);
    pg_add_int8(p, last_seq);
    store_ask(s, "relay_rewind", p, on_position, ask_new("relay_rewind", a, cb, arg));
}

/* ---- events ---- */

static void read_event(struct arena *a, const PGresult *r, int row, struct relay_event *e)
{
    struct slice *const texts[] = {
        &e->input,        &e->code,  &e->mchid,   &e->app_id,   &e->out_trade_no,     &e->currency,
        &e->channel,      &e->scene, &e->product, &e->store_id, &e->channel_trade_no, &e->trace_id,
        &e->out_refund_no};
    int col = 3;

    e->payment_id = pg_get_int(r, row, col++);
    e->refund_id = pg_get_int(r, row, col++);
    e->version = (uint32_t)pg_get_int(r, row, col++);
    e->event_id = pg_get_int(r, row, col++);
    e->at = pg_get_time(r, row, col++);
    e->state = (int)pg_get_int(r, row, col++);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        *texts[i] = arena_copy(a, pg_get_text(r, row, col++));
    e->method = (int)pg_get_int(r, row, col++);
    e->amount = pg_get_int(r, row, col++);
    e->refund = pg_get_int(r, row, col);
}

static void on_read(void *arg, const struct pg_answer *answer)
{
    struct ask *q = arg;
    enum store_result result = store_result_of(answer, "relay_read");
    const PGresult *r = result == STORE_DONE ? answer->results[0] : NULL;
    int rows = r ? PQntuples(r) : 0;
    struct relay_event *events = NULL;
    struct relay_events out = {0};

    if (rows && !pg_is_null(r, 0, 3)) {
        events = arena_array(q->arena, struct relay_event, (size_t)rows);
        for (int i = 0; events && i < rows; i++)
            read_event(q->arena, r, i, &events[i]);
        out.events = events;
        out.n = (size_t)rows;
    }
    if (rows) {
        out.upto = pg_get_int(r, 0, 0);
        out.open = arena_copy(q->arena, pg_get_text(r, 0, 1));
        out.more = pg_get_bool(r, 0, 2);
    }
    if (q->arena->failed || (result == STORE_DONE && !rows))
        result = STORE_BUSY;
    q->read_cb(q->arg, result, &out);
    free(q);
}

void store_relay_read(struct store *s, const struct relay_stream *t,
                      const struct relay_position *at, unsigned max, struct arena *a,
                      store_relay_read_cb *cb, void *arg)
{
    struct ask *q = ask_new("relay_read", a, NULL, arg);
    struct pg_params *p = store_params();

    q->read_cb = cb;
    pg_add_int2(p, (int16_t)t->slot_from);
    pg_add_int2(p, (int16_t)t->slot_to);
    pg_add_int8(p, at->upto);
    pg_add_text(p, at->open.n ? at->open : SLICE(""));
    pg_add_int4(p, (int32_t)max);
    store_ask(s, "relay_read", p, on_read, q);
}
