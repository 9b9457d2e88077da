#include "statements.h"

#include <stddef.h>

const char *const sql_settings[] = {"SET plan_cache_mode = force_generic_plan",
                                    "SET enable_seqscan = off",
                                    "SET enable_bitmapscan = off",
                                    "SET enable_hashjoin = off",
                                    "SET enable_mergejoin = off",
                                    "SET enable_sort = off",
                                    "SET enable_incremental_sort = off",
                                    "SET random_page_cost = 0.1",
                                    "SET jit = off",
                                    "SET idle_in_transaction_session_timeout = '10s'",
                                    NULL};

/* The filter of `c` is a hashed look-up: INSERT cannot return columns of its source, and IN as a
 * plain condition would become a nested loop over all pairs. */
const char sql_create[] =
    "WITH j AS MATERIALIZED ("
    " SELECT * FROM unnest($1::int2[], $2::int8[], $3::text[], $4::text[], $5::text[], $6::bytea[],"
    "  $7::int2[], $8::text[], $9::text[], $10::text[], $11::int8[], $12::text[], $13::text[],"
    "  $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], $19::text[],"
    "  $20::timestamptz[], $21::timestamptz[], $22::timestamptz[], $23::int2[], $24::int8[],"
    "  $25::int8[], $26::int8[], $27::timestamptz[], $28::int2[]) WITH ORDINALITY"
    " AS j(slot, id, mchid, app_id, out_trade_no, digest, method, scene, product, store_id, amount,"
    "  currency, description, attach, notify_url, trace_id, channel, account, route, created_at,"
    "  time_expire, send_before, command_seq, event_id, attempt_id, adapter_version, due_at,"
    "  due_kind, k)),"
    " w AS (INSERT INTO pay.payment (slot, id, mchid, app_id, out_trade_no, digest, method, scene,"
    "  product, store_id, amount, currency, description, attach, notify_url, trace_id, channel,"
    "  account, route, created_at, time_expire, prepare_before, busy_before, command_seq, version,"
    "  state, prev_state, attempts, prepare_n, not_sent, prepare_last, prepare_past, busy_kind,"
    "  channel_trade_no, code_url, fail_code)"
    " SELECT slot, id, mchid, app_id, out_trade_no, digest, method, scene, product, store_id,"
    "  amount, currency, description, attach, notify_url, trace_id, channel, account, route,"
    "  created_at, time_expire, send_before, send_before, command_seq, 1, 1, 0, 1, 1, 0, 2, 0, 1,"
    "  '', '', ''"
    " FROM j ON CONFLICT (slot, mchid, out_trade_no) WHERE id > 0 DO NOTHING RETURNING id),"
    " c AS MATERIALIZED (SELECT slot, id, channel, account, created_at, send_before, command_seq,"
    "  event_id, attempt_id, adapter_version, due_at, due_kind, k"
    " FROM j WHERE (j.id IN (SELECT w.id FROM w)) IS TRUE),"
    " h AS (INSERT INTO pay.payment_history (slot, payment_id, version, event_id, at, attempt_n,"
    "  from_state, to_state, event, input, code)"
    " SELECT slot, id, 1, event_id, created_at, 0, 0, 1, 0, 'CREATE', '' FROM c),"
    " a AS (INSERT INTO pay.payment_attempt (slot, payment_id, n, attempt_id, kind, command_seq,"
    "  channel, account, adapter_version, committed_at, send_before)"
    " SELECT slot, id, 1, attempt_id, 1, command_seq, channel, account, adapter_version,"
    "  created_at, send_before FROM c),"
    " t AS (INSERT INTO pay.payment_timer (slot, payment_id, due_at, kind, tries)"
    " SELECT slot, id, due_at, due_kind, 0 FROM c)"
    " SELECT k FROM c";

/* The winners carry all their children's columns with them, so nothing is joined a second time. */
const char sql_step[] =
    "WITH w AS (UPDATE pay.payment p SET version = p.version + 1, state = j.state,"
    "  prev_state = j.prev_state, attempts = j.attempts, prepare_n = j.prepare_n,"
    "  not_sent = j.not_sent, prepare_last = j.prepare_last, prepare_past = j.prepare_past,"
    "  prepare_before = j.prepare_before, busy_kind = j.busy_kind, busy_before = j.busy_before,"
    "  channel_trade_no = j.channel_trade_no, code_url = j.code_url, fail_code = j.fail_code,"
    "  final_at = j.final_at, succeeded_at = j.succeeded_at"
    " FROM unnest($1::int2[], $2::int8[], $3::int4[], $4::int2[], $5::int2[], $6::int2[],"
    "  $7::int4[], $8::int4[], $9::int4[], $10::int2[], $11::int2[], $12::timestamptz[],"
    "  $13::int2[], $14::timestamptz[], $15::text[], $16::text[], $17::text[], $18::timestamptz[],"
    "  $19::timestamptz[], $20::int8[], $21::timestamptz[], $22::int2[], $23::text[], $24::text[],"
    "  $25::int4[], $26::int2[], $27::int2[], $28::int4[], $29::text[], $30::int8[], $31::int8[],"
    "  $32::int2[], $33::timestamptz[], $34::int2[], $35::int4[], $36::int8[], $37::text[],"
    "  $38::timestamptz[], $39::int8[], $40::text[], $41::text[], $42::int8[], $43::text[],"
    "  $44::text[]) WITH ORDINALITY"
    " AS j(slot, id, version, from_state, state, prev_state, attempts, prepare_n, not_sent,"
    "  prepare_last, prepare_past, prepare_before, busy_kind, busy_before, channel_trade_no,"
    "  code_url, fail_code, final_at, succeeded_at, event_id, at, event, input, code, answers,"
    "  sent, class, http_status, message, attempt_id, adapter_version, timer, due_at, due_kind,"
    "  due_tries, callback_id, callback_body, callback_at, case_id, case_kind, case_detail,"
    "  case_amount, case_currency, case_trade_no, k)"
    " WHERE p.slot = ANY (ARRAY[j.slot]) AND p.id = j.id AND p.version = j.version"
    "  AND p.state = j.from_state"
    " RETURNING j.*, p.command_seq, p.channel, p.account, p.mchid, p.app_id, p.notify_url),"
    " h AS (INSERT INTO pay.payment_history (slot, payment_id, version, event_id, at, attempt_n,"
    "  from_state, to_state, event, input, code)"
    " SELECT slot, id, version + 1, event_id, at, answers, from_state, state, event, input, code"
    " FROM w),"
    " o AS (UPDATE pay.payment_attempt a SET sent = w.sent, class = w.class,"
    "  http_status = w.http_status, code = w.code, message = w.message, answered_at = w.at"
    " FROM w WHERE w.answers > 0 AND a.slot = ANY (ARRAY[w.slot]) AND a.payment_id = w.id"
    "  AND a.n = w.answers AND a.answered_at IS NULL),"
    " a AS (INSERT INTO pay.payment_attempt (slot, payment_id, n, attempt_id, kind, command_seq,"
    "  channel, account, adapter_version, committed_at, send_before)"
    " SELECT slot, id, attempts, attempt_id, busy_kind, command_seq, channel, account,"
    "  adapter_version, at, busy_before FROM w WHERE attempt_id > 0),"
    " ts AS (INSERT INTO pay.payment_timer AS t (slot, payment_id, due_at, kind, tries)"
    " SELECT slot, id, due_at, due_kind, due_tries FROM w WHERE timer = 1"
    " ON CONFLICT (slot, payment_id) DO UPDATE SET due_at = excluded.due_at, kind = excluded.kind,"
    "  tries = excluded.tries),"
    " td AS (DELETE FROM pay.payment_timer t USING w"
    " WHERE w.timer = 2 AND t.slot = ANY (ARRAY[w.slot]) AND t.payment_id = w.id),"
    " b AS (INSERT INTO pay.callback (slot, id, payment_id, subject_id, mchid, app_id, url, body,"
    "  state, created_at, next_at)"
    " SELECT slot, callback_id, id, id, mchid, app_id, notify_url, callback_body,"
    "  CASE WHEN notify_url = '' THEN 4 ELSE 1 END, at, callback_at FROM w WHERE callback_id > 0),"
    " q AS (INSERT INTO pay.payment_case (slot, id, payment_id, event_id, opened_at, kind, detail,"
    "  amount, currency, channel_trade_no, code, message)"
    " SELECT slot, case_id, id, event_id, at, case_kind, case_detail, case_amount, case_currency,"
    "  case_trade_no, code, message FROM w WHERE case_id > 0"
    " ON CONFLICT (slot, payment_id, kind, detail, channel_trade_no) DO NOTHING)"
    " SELECT k FROM w";

const char sql_answer[] =
    "WITH w AS (UPDATE pay.payment p SET version = p.version + 1, state = j.state,"
    "  prev_state = j.prev_state, not_sent = j.not_sent, prepare_last = j.prepare_last,"
    "  busy_kind = j.busy_kind, busy_before = j.busy_before,"
    "  channel_trade_no = j.channel_trade_no, code_url = j.code_url"
    " FROM unnest($1::int2[], $2::int8[], $3::int4[], $4::int2[], $5::int2[], $6::int2[],"
    "  $7::int4[], $8::int2[], $9::int2[], $10::timestamptz[], $11::text[], $12::text[],"
    "  $13::int8[], $14::timestamptz[], $15::int2[], $16::text[], $17::text[], $18::int4[],"
    "  $19::int2[], $20::int2[], $21::int4[], $22::text[]) WITH ORDINALITY"
    " AS j(slot, id, version, from_state, state, prev_state, not_sent, prepare_last, busy_kind,"
    "  busy_before, channel_trade_no, code_url, event_id, at, event, input, code, answers, sent,"
    "  class, http_status, message, k)"
    " WHERE p.slot = ANY (ARRAY[j.slot]) AND p.id = j.id AND p.version = j.version"
    "  AND p.state = j.from_state"
    " RETURNING j.slot, j.id, j.version, j.from_state, j.state, j.event_id, j.at, j.event, j.input,"
    "  j.code, j.answers, j.sent, j.class, j.http_status, j.message, j.k),"
    " h AS (INSERT INTO pay.payment_history (slot, payment_id, version, event_id, at, attempt_n,"
    "  from_state, to_state, event, input, code)"
    " SELECT slot, id, version + 1, event_id, at, answers, from_state, state, event, input, code"
    " FROM w),"
    " o AS (UPDATE pay.payment_attempt a SET sent = w.sent, class = w.class,"
    "  http_status = w.http_status, code = w.code, message = w.message, answered_at = w.at"
    " FROM w WHERE w.answers > 0 AND a.slot = ANY (ARRAY[w.slot]) AND a.payment_id = w.id"
    "  AND a.n = w.answers AND a.answered_at IS NULL)"
    " SELECT k FROM w";

const char sql_record[] =
    "WITH j AS MATERIALIZED (SELECT * FROM unnest($1::int2[], $2::int8[], $3::int8[],"
    "  $4::timestamptz[], $5::text[], $6::int4[], $7::int2[], $8::int2[], $9::int4[], $10::text[],"
    "  $11::int8[], $12::text[], $13::text[], $14::int8[], $15::text[], $16::text[])"
    " AS j(slot, id, event_id, at, code, answers, sent, class, http_status, message, case_id,"
    "  case_kind, case_detail, case_amount, case_currency, case_trade_no)),"
    " o AS (UPDATE pay.payment_attempt a SET sent = j.sent, class = j.class,"
    "  http_status = j.http_status, code = j.code, message = j.message, answered_at = j.at"
    " FROM j WHERE j.answers > 0 AND a.slot = ANY (ARRAY[j.slot]) AND a.payment_id = j.id"
    "  AND a.n = j.answers AND a.answered_at IS NULL)"
    " INSERT INTO pay.payment_case (slot, id, payment_id, event_id, opened_at, kind, detail,"
    "  amount, currency, channel_trade_no, code, message)"
    " SELECT slot, case_id, id, event_id, at, case_kind, case_detail, case_amount, case_currency,"
    "  case_trade_no, code, message FROM j WHERE case_id > 0"
    " ON CONFLICT (slot, payment_id, kind, detail, channel_trade_no) DO NOTHING";

const char sql_known[] =
    "SELECT j.k FROM unnest($1::int2[], $2::int8[], $3::int4[], $4::int8[]) WITH ORDINALITY"
    " AS j(slot, id, version, event_id, k)"
    " JOIN pay.payment_history h ON h.slot = ANY (ARRAY[j.slot]) AND h.payment_id = j.id"
    "  AND h.version = j.version AND h.event_id = j.event_id";
