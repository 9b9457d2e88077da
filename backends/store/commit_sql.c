#include "attempt_sql.h"
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

/*
 * A statement writes many jobs; its parameters are arrays, a job's values stand at place k of each.
 * They are read there, by name, where they are needed: unnest would copy all of them, used or
 * not, into stores of its own, and a WITH that carried them into another one.
 */
#define AT(n, type, name) ", ($" #n "::" #type "[])[k] AS " #name
#define JOBS              "generate_series(1, cardinality($1::int2[])) AS k"
#define JOB(columns)      " CROSS JOIN LATERAL (SELECT ($1::int2[])[k] AS slot" columns ") AS j"

/* The default of payment_history.xid, but worked out once. */
#define XID "(SELECT pg_current_xact_id()::text::int8)"

/* clang-format off */
#define JOB_CREATE JOB( \
    AT(2, int8, id) AT(3, text, mchid) AT(4, text, app_id) AT(5, text, out_trade_no) \
    AT(6, bytea, digest) AT(7, int2, method) AT(8, text, scene) AT(9, text, product) \
    AT(10, text, store_id) AT(11, int8, amount) AT(12, text, currency) AT(13, text, description) \
    AT(14, text, attach) AT(15, text, notify_url) AT(16, text, trace_id) AT(17, text, channel) \
    AT(18, text, account) AT(19, text, route) AT(20, timestamptz, created_at) \
    AT(21, timestamptz, time_expire) AT(22, timestamptz, send_before) AT(23, int2, command_seq) \
    AT(24, int8, event_id) AT(25, int8, attempt_id) AT(26, int8, adapter_version) \
    AT(27, timestamptz, due_at) AT(28, int2, due_kind) AT(29, int2, kind) AT(30, text, payer))
#define JOB_STEP JOB( \
    AT(2, int8, id) AT(3, int4, version) AT(4, int2, from_state) AT(5, int2, state) \
    AT(6, int2, prev_state) AT(7, int4, attempts) AT(8, int4, prepare_n) AT(9, int4, not_sent) \
    AT(10, int2, prepare_last) AT(11, int2, prepare_past) AT(12, timestamptz, prepare_before) \
    AT(13, int2, busy_kind) AT(14, timestamptz, busy_before) AT(15, text, channel_trade_no) \
    AT(16, text, code_url) AT(17, text, fail_code) AT(18, timestamptz, final_at) \
    AT(19, timestamptz, succeeded_at) AT(20, int8, event_id) AT(21, timestamptz, at) \
    AT(22, int2, event) AT(23, text, input) AT(24, text, code) AT(25, int4, answers) \
    AT(26, int2, sent) AT(27, int2, class) AT(28, int4, http_status) AT(29, text, message) \
    AT(30, int8, attempt_id) AT(31, int8, adapter_version) AT(32, int2, timer) \
    AT(33, timestamptz, due_at) AT(34, int2, due_kind) AT(35, int4, due_tries) \
    AT(36, int8, callback_id) AT(37, text, callback_body) AT(38, timestamptz, callback_at) \
    AT(39, int8, case_id) AT(40, text, case_kind) AT(41, text, case_detail) \
    AT(42, int8, case_amount) AT(43, text, case_currency) AT(44, text, case_trade_no) \
    AT(45, int2, reversal) AT(46, int2, reverse_tries) AT(47, text, reversal_why) \
    AT(48, text, past) AT(49, int8, extra_paid) AT(50, text, channel) AT(51, text, account) \
    AT(52, int2, command_seq) AT(53, int8, extra_refund) AT(54, text, extra_no) \
    AT(55, int2, extra_seq) AT(56, int8, extra_amount) AT(57, text, extra_channel) \
    AT(58, text, extra_account) AT(59, bytea, request_digest) AT(60, bytea, answer_digest) \
    AT(61, text, extra_reason))
#define JOB_ANSWER JOB( \
    AT(2, int8, id) AT(3, int4, version) AT(4, int2, from_state) AT(5, int2, state) \
    AT(6, int2, prev_state) AT(7, int4, not_sent) AT(8, int2, prepare_last) AT(9, int2, busy_kind) \
    AT(10, timestamptz, busy_before) AT(11, text, channel_trade_no) AT(12, text, code_url) \
    AT(13, int8, event_id) AT(14, timestamptz, at) AT(15, int2, event) AT(16, text, input) \
    AT(17, text, code) AT(18, int4, answers) AT(19, int2, sent) AT(20, int2, class) \
    AT(21, int4, http_status) AT(22, text, message) AT(23, bytea, request_digest) \
    AT(24, bytea, answer_digest))

#define CREATE_PAYMENT \
    "INSERT INTO pay.payment (slot, id, mchid, app_id, out_trade_no, digest, method," \
    "  scene, product, store_id, amount, currency, description, attach, notify_url, trace_id," \
    "  channel, account, route, created_at, time_expire, prepare_before, busy_before, command_seq," \
    "  version, state, prev_state, attempts, prepare_n, not_sent, prepare_last, prepare_past," \
    "  busy_kind, payer, channel_trade_no, code_url, fail_code)" \
    " SELECT slot, id, mchid, app_id, out_trade_no, digest, method, scene, product, store_id," \
    "  amount, currency, description, attach, notify_url, trace_id, channel, account, route," \
    "  created_at, time_expire, send_before, send_before, command_seq, 1, 1, 0, 1, 1, 0, 2, 0," \
    "  kind, payer, '', '', ''" \
    " FROM " JOBS JOB_CREATE
#define CREATE_HISTORY(jobs) \
    "INSERT INTO pay.payment_history (slot, payment_id, version, event_id, at, attempt_n," \
    "  from_state, to_state, event, input, code, opens_n, attempt_id, kind, command_seq, channel," \
    "  account, adapter_version, send_before, xid)" \
    " SELECT slot, id, 1, event_id, created_at, 0, 0, 1, 0, 'CREATE', '', 1, attempt_id, kind," \
    "  command_seq, channel, account, adapter_version, send_before, " XID " FROM " jobs JOB_CREATE
#define CREATE_TIMER(jobs) \
    "INSERT INTO pay.payment_timer (slot, payment_id, due_at, kind, tries, channel)" \
    " SELECT slot, id, due_at, due_kind, 0, channel FROM " jobs JOB_CREATE

const char sql_create[] =
    "WITH h AS (" CREATE_HISTORY(JOBS) "), t AS (" CREATE_TIMER(JOBS) ") " CREATE_PAYMENT;

/* The filter of `c` is a hashed look-up: INSERT cannot return columns of its source, and IN as a
 * plain condition would become a nested loop over all pairs. */
const char sql_create_missing[] =
    "WITH w AS (" CREATE_PAYMENT
    " ON CONFLICT (slot, mchid, out_trade_no) WHERE id > 0 DO NOTHING RETURNING id),"
    " c AS MATERIALIZED (SELECT k FROM " JOBS
    " WHERE (($2::int8[])[k] IN (SELECT w.id FROM w)) IS TRUE),"
    " h AS (" CREATE_HISTORY("c") "), t AS (" CREATE_TIMER("c") ")"
    " SELECT k FROM c";
/* clang-format on */

/* All else is done for the winners alone. */
const char sql_step[] =
    "WITH w AS (UPDATE pay.payment p SET version = p.version + 1, state = j.state,"
    "  prev_state = j.prev_state, attempts = j.attempts, prepare_n = j.prepare_n,"
    "  not_sent = j.not_sent, prepare_last = j.prepare_last, prepare_past = j.prepare_past,"
    "  prepare_before = j.prepare_before, busy_kind = j.busy_kind, busy_before = j.busy_before,"
    "  channel_trade_no = j.channel_trade_no, code_url = j.code_url, fail_code = j.fail_code,"
    "  final_at = j.final_at, succeeded_at = j.succeeded_at, reversal = j.reversal,"
    "  reverse_tries = j.reverse_tries, past = j.past, extra_paid = j.extra_paid,"
    "  channel = j.channel, account = j.account, command_seq = j.command_seq"
    " FROM " JOBS JOB_STEP
    " WHERE p.slot = ANY (ARRAY[j.slot]) AND p.id = j.id AND p.version = j.version"
    "  AND p.state = j.from_state"
    " RETURNING k, p.mchid, p.app_id, p.notify_url, p.amount, p.trace_id),"
    " h AS (INSERT INTO pay.payment_history (slot, payment_id, version, event_id, at, attempt_n,"
    "  from_state, to_state, event, input, code, refund_id, xid, " OPENED_COLUMNS
    ", " ANSWER_COLUMNS ")"
    " SELECT slot, id, version + 1, event_id, at, answers,"
    "  CASE WHEN extra_refund > 0 THEN 0 ELSE from_state END,"
    "  CASE WHEN extra_refund > 0 THEN 1 ELSE state END, event, input, code, extra_refund,"
    "  " XID ", " OPENED ", " ANSWER " FROM w" JOB_STEP "),"
    " ts AS (INSERT INTO pay.payment_timer AS t (slot, payment_id, due_at, kind, tries, channel)"
    " SELECT slot, id, due_at, due_kind, due_tries, channel FROM w" JOB_STEP " WHERE timer = 1"
    " ON CONFLICT (slot, payment_id) DO UPDATE SET due_at = excluded.due_at, kind = excluded.kind,"
    "  tries = excluded.tries, channel = excluded.channel),"
    " td AS (DELETE FROM pay.payment_timer t USING w" JOB_STEP
    " WHERE timer = 2 AND t.slot = ANY (ARRAY[j.slot]) AND t.payment_id = j.id),"
    " b AS (INSERT INTO pay.callback (slot, id, payment_id, subject_id, mchid, app_id, url, body,"
    "  state, created_at, next_at)"
    " SELECT slot, callback_id, id, id, mchid, app_id, notify_url, callback_body,"
    "  CASE WHEN notify_url = '' THEN 4 ELSE 1 END, at, callback_at FROM w" JOB_STEP
    " WHERE callback_id > 0),"
    " en AS (INSERT INTO pay.refund (slot, id, payment_id, state, out_refund_no, digest, amount,"
    "  reason, notify_url, trace_id, created_at, send_n, not_sent, send_last, send_past,"
    "  send_before, channel_refund_no, fail_code, command_seq, channel, account)"
    " SELECT slot, extra_refund, id, 1, extra_no, '', extra_amount, extra_reason,"
    "  notify_url, trace_id, at,"
    "  0, 0, 0, 0, at, '', '', extra_seq, extra_channel, extra_account FROM w" JOB_STEP
    " WHERE extra_refund > 0),"
    " et AS (INSERT INTO pay.refund_timer (slot, refund_id, payment_id, due_at, kind, tries, "
    "channel)"
    " SELECT slot, extra_refund, id, at, 6, 0, extra_channel FROM w" JOB_STEP
    " WHERE extra_refund > 0),"
    " vn AS (INSERT INTO pay.reversal (slot, payment_id, state, amount, reason, tries, code,"
    "  created_at, final_at)"
    " SELECT slot, id, reversal, 0, reversal_why, reverse_tries, code, at,"
    "  CASE WHEN reversal > 1 THEN at END FROM w" JOB_STEP " WHERE reversal_why <> ''),"
    " vu AS (UPDATE pay.reversal v SET state = j.reversal, tries = j.reverse_tries, code = j.code,"
    "  amount = CASE WHEN j.reversal = 2 AND j.succeeded_at IS NOT NULL THEN w.amount ELSE 0 END,"
    "  final_at = CASE WHEN j.reversal > 1 THEN j.at END"
    " FROM w" JOB_STEP
    " WHERE j.reversal > 0 AND j.reversal_why = '' AND v.slot = ANY (ARRAY[j.slot])"
    "  AND v.payment_id = j.id AND v.state = 1),"
    " q AS (INSERT INTO pay.payment_case (slot, id, payment_id, event_id, opened_at, kind, detail,"
    "  amount, currency, channel_trade_no, code, message)"
    " SELECT slot, case_id, id, event_id, at, case_kind, case_detail, case_amount, case_currency,"
    "  case_trade_no, code, message FROM w" JOB_STEP " WHERE case_id > 0"
    " ON CONFLICT (slot, payment_id, kind, detail, channel_trade_no) DO NOTHING)"
    " SELECT k FROM w";

const char sql_answer[] =
    "WITH w AS (UPDATE pay.payment p SET version = p.version + 1, state = j.state,"
    "  prev_state = j.prev_state, not_sent = j.not_sent, prepare_last = j.prepare_last,"
    "  busy_kind = j.busy_kind, busy_before = j.busy_before,"
    "  channel_trade_no = j.channel_trade_no, code_url = j.code_url"
    " FROM " JOBS JOB_ANSWER
    " WHERE p.slot = ANY (ARRAY[j.slot]) AND p.id = j.id AND p.version = j.version"
    "  AND p.state = j.from_state"
    " RETURNING k),"
    " h AS (INSERT INTO pay.payment_history (slot, payment_id, version, event_id, at, attempt_n,"
    "  from_state, to_state, event, input, code, xid, " ANSWER_COLUMNS ")"
    " SELECT slot, id, version + 1, event_id, at, answers, from_state, state, event, input, code,"
    "  " XID ", " ANSWER " FROM w" JOB_ANSWER ")"
    " SELECT k FROM w";

const char sql_record[] =
    "WITH j AS MATERIALIZED (SELECT * FROM unnest($1::int2[], $2::int8[], $3::int8[],"
    "  $4::timestamptz[], $5::text[], $6::int4[], $7::int2[], $8::int2[], $9::int4[], $10::text[],"
    "  $11::int8[], $12::text[], $13::text[], $14::int8[], $15::text[], $16::text[],"
    "  $17::bytea[], $18::bytea[])"
    " AS j(slot, id, event_id, at, code, answers, sent, class, http_status, message, case_id,"
    "  case_kind, case_detail, case_amount, case_currency, case_trade_no,"
    "  request_digest, answer_digest)),"
    " o AS (INSERT INTO pay.payment_answer (slot, payment_id, attempt_n, event_id, at, code,"
    "  " ANSWER_COLUMNS ")"
    " SELECT slot, id, answers, event_id, at, code, " ANSWER " FROM j WHERE answers > 0"
    " ON CONFLICT (slot, payment_id, attempt_n) DO NOTHING)"
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
