/* The statements of payctl: what they are for and their parameters stand in admin.h. */
#include "admin_impl.h"
#include "core/terms.h"

/* Times are shown in China's zone (set per session), to the millisecond. */
#define TIME(column) "to_char(" column ", 'YYYY-MM-DD HH24:MI:SS.MS') AS "
/* "5r/m", or nothing when nginx.conf's limit counts. */
#define RATE                                                                                       \
    "CASE WHEN rate > 0 THEN rate || 'r/' ||"                                                      \
    " CASE rate_window WHEN 1 THEN 's' WHEN 60 THEN 'm' ELSE 'h' END END AS rate,"                 \
    " CASE WHEN rate > 0 THEN burst END AS burst"
/* Networks, and what becomes of calls from elsewhere. */
#define ALLOW                                                                                      \
    "nullif(array_to_string(allow, ' '), '') AS allow,"                                            \
    " CASE WHEN allow <> '{}' THEN CASE WHEN allow_alert THEN 'alert' ELSE 'refuse' END END"       \
    " AS elsewhere"
/* Numbers of core/terms.h as words. */
#define WORDS(name, num, text) " WHEN " #num " THEN '" text "'"
#define STATE(column)          "CASE " column PAYMENT_STATE_TABLE(WORDS) " END"
#define REFUND(column)         "CASE " column REFUND_STATE_TABLE(WORDS) " END"
#define CLASS(column)          "CASE " column ANSWER_CLASS_TABLE(WORDS) " END"
#define KIND(column)           "CASE " column CALL_KIND_TABLE(WORDS) " END"
#define METHOD(column)         "CASE " column PAYMENT_METHOD_TABLE(WORDS) " END"
#define SENT(column)           "(ARRAY['unknown','no','maybe','answered'])[" column " + 1]"
#define DECISION                                                                                   \
    "id, (ARRAY['proposed','confirmed','rejected'])[state] AS state, decision, proposed_by,"       \
    " reason, " TIME("proposed_at") "proposed_at, second_by, second_reason, " TIME(                \
        "second_at") "second_at"
/* The process that made an id (core/ids.h), with the name of who has or last had the number. */
#define PROCESS(id)                                                                                \
    "((" id " >> 14) & 255 || coalesce((SELECT ' ' || split_part(l.holder, ':', 2) FROM"           \
    " pay.process_lease l WHERE l.process = (" id " >> 14) & 255), ''))"
/* One member of what the edge said when the payment was made (docs/interfaces.md, Pay-Route). */
#define TOLD(name)       "substring(route FROM '(?:^| )" name "=([^ ]*)')"
#define CALLBACK(column) "(ARRAY['waiting','done','given_up','skipped'])[" column "]"

const struct admin_text admin_statements[ADMIN_STATEMENTS] = {
    [ADMIN_MERCHANT_ADD] =
        {4, "INSERT INTO pay.merchant (mchid, name, base_slot, span)"
            " VALUES ($1, $2, $3::smallint, $4::smallint)"
            " ON CONFLICT (mchid) DO NOTHING RETURNING mchid, name, base_slot, span"},
    [ADMIN_MERCHANT_STATE] =
        {2, "UPDATE pay.merchant SET enabled = ($2 = 'on') WHERE mchid = $1"
            " RETURNING mchid, CASE WHEN enabled THEN 'on' ELSE 'off' END AS state"},
    [ADMIN_MERCHANT_LIMIT] =
        {4, "UPDATE pay.merchant SET rate = $2::int, rate_window = $3::int, burst = $4::int"
            " WHERE mchid = $1 RETURNING mchid, " RATE},
    [ADMIN_MERCHANT_LIST] =
        {0, "SELECT mchid, name, CASE WHEN enabled THEN 'on' ELSE 'off' END AS state,"
            " base_slot, span, " RATE ", " TIME("created_at") "created_at"
                                                              " FROM pay.merchant ORDER BY mchid"},
    [ADMIN_APP_ADD] = {3, "INSERT INTO pay.app (app_id, mchid, name)"
                          " SELECT $1, mchid, $3 FROM pay.merchant WHERE mchid = $2"
                          " ON CONFLICT (app_id) DO NOTHING RETURNING app_id, mchid, name"},
    [ADMIN_APP_STATE] = {2,
                         "UPDATE pay.app SET enabled = ($2 = 'on') WHERE app_id = $1"
                         " RETURNING app_id, CASE WHEN enabled THEN 'on' ELSE 'off' END AS state"},
    [ADMIN_APP_LIMIT] = {4, "UPDATE pay.app SET rate = $2::int, rate_window = $3::int,"
                            " burst = $4::int WHERE app_id = $1 RETURNING app_id, " RATE},
    [ADMIN_APP_ALLOW] = {3, "UPDATE pay.app SET allow = $2::cidr[], allow_alert = $3::boolean"
                            " WHERE app_id = $1 RETURNING app_id, " ALLOW},
    [ADMIN_APP_LIST] =
        {1, "SELECT app_id, mchid, name, CASE WHEN enabled THEN 'on' ELSE 'off' END AS state,"
            " " RATE ", " ALLOW
            " FROM pay.app WHERE $1::text IS NULL OR mchid = $1 ORDER BY mchid, app_id"},
    /* clang-format off */
    [ADMIN_APP_CALLBACKS] =
        {2, "UPDATE pay.app a SET callback_signature = $2 WHERE app_id = $1"
            " AND ($2 = 'header' OR EXISTS (SELECT FROM pay.app_key k WHERE k.app_id = a.app_id"
            "  AND k.scheme = 'header' AND k.alg = 'hmac-sha256' AND k.enabled"
            "  AND k.valid_from <= now() AND k.valid_to > now()))"
            " RETURNING app_id, callback_signature"},
    /* clang-format on */
    [ADMIN_KEY_ADD] =
        {7, "INSERT INTO pay.app_key (serial, app_id, scheme, alg, md5_allowed, material_sealed,"
            " valid_from, valid_to)"
            " SELECT $1, app_id, $3, $4, $4 = 'md5', decode($5, 'hex'),"
            " coalesce($7::timestamptz, now()),"
            " coalesce($7::timestamptz, now()) + $6::int * interval '1 day'"
            " FROM pay.app WHERE app_id = $2"
            " ON CONFLICT (serial) DO NOTHING RETURNING serial, app_id, scheme, alg,"
            " " TIME("valid_from") "valid_from, " TIME("valid_to") "valid_to"},
    [ADMIN_KEY_UNTIL] = {2, "UPDATE pay.app_key SET valid_to = $2::timestamptz WHERE serial = $1"
                            " RETURNING serial, " TIME("valid_to") "valid_to"},
    [ADMIN_KEY_STATE] = {2,
                         "UPDATE pay.app_key SET enabled = ($2 = 'on') WHERE serial = $1"
                         " RETURNING serial, CASE WHEN enabled THEN 'on' ELSE 'off' END AS state"},
    [ADMIN_KEY_LIST] = {1, "SELECT k.serial, k.app_id, a.mchid, k.scheme, k.alg,"
                           " CASE WHEN k.enabled THEN 'on' ELSE 'off' END AS state,"
                           " " TIME("k.valid_from") "valid_from, " TIME(
                               "k.valid_to") "valid_to"
                                             " FROM pay.app_key k JOIN pay.app a USING (app_id)"
                                             " WHERE $1::text IS NULL OR k.app_id = $1 ORDER BY "
                                             "a.mchid, k.app_id, k.serial"},
    [ADMIN_ACCOUNT_PUT] =
        {5, "INSERT INTO pay.channel_account (channel, account, mchid, config, secrets_sealed)"
            " VALUES ($1, $2, $3, $4::jsonb, decode($5, 'hex'))"
            " ON CONFLICT (channel, account) DO UPDATE SET mchid = excluded.mchid,"
            " config = excluded.config, secrets_sealed = excluded.secrets_sealed"
            " RETURNING channel, account, mchid"},
    [ADMIN_ACCOUNT_STATE] = {3, "UPDATE pay.channel_account SET enabled = ($3 = 'on')"
                                " WHERE channel = $1 AND account = $2 RETURNING channel, account,"
                                " CASE WHEN enabled THEN 'on' ELSE 'off' END AS state"},
    /* clang-format off */
    [ADMIN_ACCOUNT_LIST] =
        {1, "SELECT channel, account, mchid, CASE WHEN enabled THEN 'on' ELSE 'off' END AS state,"
            " " TIME("changed_at") "changed_at FROM pay.channel_account"
            " WHERE $1::text IS NULL OR channel = $1 ORDER BY channel, account"},
    [ADMIN_ACCOUNT_GET] =
        {2, "SELECT mchid, config::text, encode(secrets_sealed, 'hex'),"
            " CASE WHEN enabled THEN 'on' ELSE 'off' END AS state, " TIME("changed_at") "changed_at"
            " FROM pay.channel_account WHERE channel = $1 AND account = $2"},
    [ADMIN_ACCOUNT_CERTIFICATES] =
        {2, "SELECT serial, " TIME("valid_from") "valid_from, " TIME("valid_to") "until, "
            TIME("fetched_at") "fetched_at FROM pay.channel_certificate"
            " WHERE channel = $1 AND account = $2 ORDER BY valid_to DESC"},
    [ADMIN_ACCOUNT_PEMS] =
        {2, "SELECT pem FROM pay.channel_certificate"
            " WHERE channel = $1 AND account = $2 AND valid_to > now() ORDER BY valid_to DESC"},
    [ADMIN_BILL_SHOW] =
        {3, "SELECT channel, account, day, rows, paid, returned, length(file) AS bytes,"
            " encode(sha256, 'hex') AS sha256, " TIME("fetched_at") "fetched_at"
            " FROM pay.channel_bill WHERE channel = $1 AND account = $2 AND day = $3::date"},
    [ADMIN_BILL_LIST] =
        {1, "SELECT channel, account, day, 'stored' AS state, rows, paid, returned,"
            " " TIME("fetched_at") "fetched_at, 0 AS tries, '' AS reason"
            " FROM pay.channel_bill WHERE $1::text IS NULL OR channel = $1"
            " UNION ALL SELECT channel, account, day, CASE WHEN late THEN 'late' ELSE 'waiting' END,"
            " 0, 0, 0, '', tries, reason FROM pay.channel_bill_fetch f"
            " WHERE ($1::text IS NULL OR channel = $1) AND NOT EXISTS (SELECT FROM"
            " pay.channel_bill b WHERE (b.channel, b.account, b.day) = (f.channel, f.account, f.day))"
            " ORDER BY day DESC, channel, account LIMIT 1000"},
    [ADMIN_BILL_ROWS] =
        {3, "SELECT account, line, (ARRAY['payment','refund','reversal','other'])[kind] AS kind,"
            " request_no, channel_trade_no, refund_no, channel_refund_no, amount, fee,"
            " " TIME("at") "at, state FROM pay.channel_bill_row"
            " WHERE channel = $1 AND ($2::text IS NULL OR account = $2) AND day = $3::date"
            " ORDER BY account, line"},
    [ADMIN_ACCOUNT_CHANGE] =
        {5, "UPDATE pay.channel_account SET config = $3::jsonb, secrets_sealed = decode($4, 'hex')"
            " WHERE channel = $1 AND account = $2 AND secrets_sealed = decode($5, 'hex')"
            " RETURNING channel, account, mchid, " TIME("changed_at") "changed_at"},
    [ADMIN_SEALED_KEYS] =
        {2, "SELECT serial AS name, encode(material_sealed, 'hex') AS sealed FROM pay.app_key"
            " WHERE serial > $1 ORDER BY serial LIMIT $2::int"},
    [ADMIN_SEALED_ACCOUNTS] =
        {2, "SELECT name, sealed FROM (SELECT (channel || ':' || account) COLLATE \"C\" AS name,"
            " encode(secrets_sealed, 'hex') AS sealed FROM pay.channel_account) a"
            " WHERE name > $1 ORDER BY name LIMIT $2::int"},
    [ADMIN_RESEAL_KEYS] =
        {3, "UPDATE pay.app_key k SET material_sealed = decode(v.anew, 'hex')"
            " FROM unnest($1::text[], $2::text[], $3::text[]) v (name, was, anew)"
            " WHERE k.serial = v.name AND k.material_sealed = decode(v.was, 'hex') RETURNING k.serial"},
    [ADMIN_RESEAL_ACCOUNTS] =
        {3, "UPDATE pay.channel_account a SET secrets_sealed = decode(v.anew, 'hex')"
            " FROM unnest($1::text[], $2::text[], $3::text[]) v (name, was, anew)"
            " WHERE a.channel = split_part(v.name, ':', 1) AND a.account = split_part(v.name, ':', 2)"
            " AND a.secrets_sealed = decode(v.was, 'hex') RETURNING a.account"},
    /* clang-format on */
    [ADMIN_MERCHANT_SLOTS] = {1, "SELECT base_slot, span FROM pay.merchant WHERE mchid = $1"},
    [ADMIN_PAYMENT_FIND] = {3, "SELECT id FROM pay.payment"
                               " WHERE slot = $1::smallint AND mchid = $2 AND out_trade_no = $3"
                               " AND id > 0"},
    [ADMIN_PAYMENT_SHOW] =
        {2,
         "SELECT id, mchid, app_id, out_trade_no, " STATE(
             "state") " AS state, version,"
                      " " METHOD(
                          "method") " AS method, amount, currency, channel, account,"
                                    " route, channel_trade_no, code_url, fail_code, description, "
                                    "notify_url,"
                                    " attempts, trace_id, " TIME(
                                        "created_at") "created_at,"
                                                      " " TIME("time_expire") "time_expire, " TIME(
                                                          "succeeded_at") "succeeded_at,"
                                                                          " " TIME(
                                                                              "final_at") "final_at"
                                                                                          " FROM "
                                                                                          "pay."
                                                                                          "payment "
                                                                                          "WHERE "
                                                                                          "slot = "
                                                                                          "$1::"
                                                                                          "smallint"
                                                                                          " AND id "
                                                                                          "= "
                                                                                          "$2::"
                                                                                          "bigint"},
    [ADMIN_PAYMENT_LIST] =
        {3, "SELECT id, mchid, out_trade_no, " STATE(
                "state") " AS state, amount, currency,"
                         " channel, " TIME(
                             "created_at") "created_at FROM pay.payment"
                                           " WHERE ($1::text IS NULL OR mchid = $1)"
                                           " AND ($2::text IS NULL OR state = $2::smallint)"
                                           " ORDER BY created_at DESC LIMIT $3::int"},
    /* clang-format off */
    [ADMIN_PAYMENT_HISTORY] =
        {2, "SELECT " TIME("at") "at, version, input,"
            " CASE WHEN refund_id = 0 THEN " STATE("from_state") " ELSE " REFUND("from_state") " END AS from_state,"
            " CASE WHEN refund_id = 0 THEN " STATE("to_state") " ELSE " REFUND("to_state") " END AS to_state,"
            " NULLIF(attempt_n, 0) AS attempt, code, event_id, " PROCESS("event_id") " AS process,"
            " (ARRAY['create','answer','notify','timer','close','query','refund'])[event + 1] AS event,"
            " NULLIF(refund_id, 0) AS refund_id"
            " FROM pay.payment_history WHERE slot = $1::smallint AND payment_id = $2::bigint"
            " ORDER BY version"},
    [ADMIN_PAYMENT_REFUNDS] =
        {2, "SELECT id, out_refund_no, " REFUND("r.state") " AS state, amount, reason, channel_refund_no,"
            " fail_code, " TIME("created_at") "created_at, " TIME("succeeded_at") "succeeded_at,"
            " " TIME("t.due_at") "due_at, " KIND("t.kind") " AS due_kind"
            " FROM pay.refund r LEFT JOIN pay.refund_timer t ON t.slot = r.slot AND t.refund_id = r.id"
            " WHERE r.slot = $1::smallint AND r.payment_id = $2::bigint ORDER BY r.id"},
    /* clang-format on */
    /* clang-format off */
    [ADMIN_PAYMENT_ATTEMPTS] =
        {2, "SELECT n, " KIND("kind") " AS kind, command_seq, attempt_id, " PROCESS("attempt_id") " AS process, channel,"
            " account, " TIME("committed_at") "committed_at, " TIME("send_before") "send_before,"
            " " TIME("answered_at") "answered_at,"
            " (extract(epoch FROM answered_at - committed_at) * 1000)::int AS ms, " SENT("sent") " AS sent,"
            " " CLASS("class") " AS class, NULLIF(http_status, 0) AS http, code, message,"
            " NULLIF(refund_id, 0) AS refund_id, encode(request_digest, 'hex') AS request,"
            " encode(answer_digest, 'hex') AS answer"
            " FROM pay.attempt WHERE slot = $1::smallint AND payment_id = $2::bigint ORDER BY n"},
    [ADMIN_PAYMENT_TRIES] =
        {2, "SELECT callback_id, n AS try, " TIME("at") "at, NULLIF(http_status, 0) AS http, error,"
            " took_us / 1000 AS ms, " CALLBACK("state") " AS state"
            " FROM pay.callback_attempt WHERE slot = $1::smallint AND payment_id = $2::bigint"
            " ORDER BY at, callback_id, n"},
    [ADMIN_PAYMENT_EDGE] =
        {2, "SELECT to_char(to_timestamp(" TOLD("at") "::numeric), 'YYYY-MM-DD HH24:MI:SS.MS') AS at,"
            " " TOLD("pid") " AS pid, " TOLD("key") " AS key, k.scheme, k.alg, p.app_id AS app,"
            " " TOLD("guard") " AS guard, " TOLD("limit") " AS \"limit\", " TOLD("left") " AS \"left\","
            " " TOLD("channels") " AS candidates,"
            " regexp_replace(route, '(^key=[^ ]* channels=[^ ]* )|( (guard|limit|left|at|pid)=[^ ]*)', '', 'g')"
            " AS decided, trace_id AS trace"
            " FROM pay.payment p LEFT JOIN pay.app_key k ON k.serial = " TOLD("key")
            " WHERE p.slot = $1::smallint AND p.id = $2::bigint"},
    [ADMIN_PAYMENT_CASE_REFUNDS] =
        {2, "SELECT case_id, reason, " TIME("asked_at") "asked_at, " TIME("done_at") "done_at, outcome"
            " FROM pay.case_refund WHERE slot = $1::smallint AND payment_id = $2::bigint ORDER BY asked_at"},
    /* clang-format on */
    [ADMIN_PAYMENT_TIMER] = {2,
                             "SELECT " TIME("due_at") "due_at, " KIND(
                                 "kind") " AS kind, tries"
                                         " FROM pay.payment_timer"
                                         " WHERE slot = $1::smallint AND payment_id = $2::bigint"},
    [ADMIN_PAYMENT_QUERY] = {2, "UPDATE pay.payment_timer SET due_at = clock_timestamp()"
                                " WHERE slot = $1::smallint AND payment_id = $2::bigint"
                                " RETURNING payment_id AS id, " TIME("due_at") "due_at"},
    [ADMIN_PAYMENT_CASES] = {2, "SELECT id, kind, detail, code, amount, channel_trade_no,"
                                " CASE state WHEN 1 THEN 'open' ELSE 'closed' END AS state,"
                                " " TIME("opened_at") "opened_at FROM pay.payment_case"
                                                      " WHERE slot = $1::smallint AND payment_id = "
                                                      "$2::bigint ORDER BY opened_at"},
    [ADMIN_PAYMENT_CALLBACKS] =
        {2,
         "SELECT id, " CALLBACK("state") " AS state, tries,"
                                         " NULLIF(last_status, 0) AS last_status, url,"
                                         " " TIME("created_at") "created_at, " TIME(
                                             "done_at") "done_at,"
                                                        " CASE state WHEN 1 THEN to_char(next_at, "
                                                        "'YYYY-MM-DD HH24:MI:SS.MS') END"
                                                        " AS next_at FROM pay.callback"
                                                        " WHERE slot = $1::smallint AND payment_id "
                                                        "= $2::bigint ORDER BY created_at"},
    /* clang-format off */
    [ADMIN_CALLBACK_LIST] =
        {3, "SELECT id, payment_id, mchid, " CALLBACK("state") " AS state, tries,"
            " NULLIF(last_status, 0) AS last_status, url, " TIME("next_at") "next_at FROM pay.callback"
            " WHERE ($1::text IS NULL OR state = $1::smallint) AND ($2::text IS NULL OR mchid = $2)"
            " ORDER BY created_at DESC LIMIT $3::int"},
    /* oldest first, as they would have come; skipped ones have no address */
    [ADMIN_CALLBACK_RESEND_MANY] =
        {4, "WITH chosen AS MATERIALIZED (SELECT slot, payment_id, subject_id,"
            "  row_number() OVER (ORDER BY created_at, id) AS n FROM pay.callback"
            "  WHERE created_at >= $1::timestamptz AND created_at <= coalesce($2, 'infinity')::timestamptz"
            "  AND ($3::text IS NULL OR mchid = $3) AND state <> 4"
            "  AND ($4::text IS NULL OR state = $4::smallint)),"
            " u AS (UPDATE pay.callback c SET state = 1,"
            "  next_at = clock_timestamp() + h.n * interval '1 microsecond' FROM chosen h"
            "  WHERE c.slot = h.slot AND c.payment_id = h.payment_id AND c.subject_id = h.subject_id"
            "  RETURNING 1)"
            " SELECT count(*)::int AS resent FROM u"},
    /* clang-format on */
    [ADMIN_CALLBACK_SHOW] = {2, "SELECT id, payment_id, mchid, app_id, " CALLBACK(
                                    "state") " AS state, tries,"
                                             " NULLIF(last_status, 0) AS last_status, url, body,"
                                             " " TIME("created_at") "created_at, " TIME(
                                                 "done_at") "done_at"
                                                            " FROM pay.callback WHERE slot = "
                                                            "$1::smallint AND id = $2::bigint"},
    [ADMIN_CALLBACK_TRIES] = {2, "SELECT n AS try, " TIME(
                                     "at") "at, NULLIF(http_status, 0) AS http, error,"
                                           " took_us / 1000 AS ms, " CALLBACK(
                                               "state") " AS state"
                                                        " FROM pay.callback_attempt"
                                                        " WHERE slot = $1::smallint AND "
                                                        "callback_id = $2::bigint ORDER BY n"},
    [ADMIN_CALLBACK_RESEND] = {2, "UPDATE pay.callback SET state = 1, next_at = clock_timestamp()"
                                  " WHERE slot = $1::smallint AND id = $2::bigint AND state <> 4"
                                  " RETURNING id, payment_id, url"},
    /* clang-format off */
    [ADMIN_CASE_LIST] =
        {3, "SELECT c.id, c.payment_id, c.kind, c.detail, c.code, c.amount,"
            " CASE c.state WHEN 1 THEN 'open' ELSE 'closed' END AS state,"
            " " TIME("c.opened_at") "opened_at, d.decision AS proposed, d.proposed_by"
            " FROM pay.payment_case c LEFT JOIN pay.case_decision d"
            "  ON d.slot = c.slot AND d.case_id = c.id AND d.state < 3"
            " WHERE (c.state = 1 OR $2::boolean) AND ($3::text IS NULL OR c.kind = $3)"
            " ORDER BY c.state, c.opened_at DESC LIMIT $1::int"},
    [ADMIN_CASE_SHOW] =
        {2, "SELECT c.id, c.payment_id, p.mchid, p.out_trade_no, " STATE("p.state") " AS payment_state,"
            " p.amount AS payment_amount, p.refunded, c.kind, c.detail, c.code, c.message, c.amount,"
            " c.currency, c.channel_trade_no, c.event_id,"
            " CASE c.state WHEN 1 THEN 'open' ELSE 'closed' END AS state,"
            " " TIME("c.opened_at") "opened_at, " TIME("c.closed_at") "closed_at,"
            " NULLIF(c.closed_by, '') AS closed_by"
            " FROM pay.payment_case c JOIN pay.payment p ON p.slot = c.slot AND p.id = c.payment_id"
            " WHERE c.slot = $1::smallint AND c.id = $2::bigint"},
    [ADMIN_CASE_DECISIONS] =
        {2, "SELECT " DECISION " FROM pay.case_decision"
            " WHERE slot = $1::smallint AND case_id = $2::bigint ORDER BY proposed_at"},
    [ADMIN_PAYMENT_DECISIONS] =
        {2, "SELECT case_id, " DECISION " FROM pay.case_decision"
            " WHERE slot = $1::smallint AND payment_id = $2::bigint ORDER BY proposed_at"},
    /* clang-format on */
};
