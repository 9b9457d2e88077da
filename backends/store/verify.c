#include "verify.h"

#include "admin_impl.h"
#include "core/terms.h"

#include <inttypes.h>
#include <stdio.h>

#define NUMBER_MAX 24

/* clang-format off */
#define FINAL "state IN (3, 4, 5)"
/* a payment's own rows, a refund's under its own id, each as one path */
#define PATHS \
    "SELECT payment_id, slot, refund_id, version, from_state, to_state," \
    " lag(to_state, 1, 0::smallint) OVER w AS before," \
    " row_number() OVER (PARTITION BY slot, payment_id, refund_id ORDER BY version DESC) AS last" \
    " FROM pay.payment_history WINDOW w AS (PARTITION BY slot, payment_id, refund_id ORDER BY version)"
#define TIMED(table, key, column) \
    " (SELECT count(*) FROM pay." table " t WHERE t.slot = " key ".slot AND t." column " = " key ".id)"

static const struct {
    struct verify_check is;
    bool books;
    const char *sql; /* -> payment_id, what */
} checks[] = { /* those that want books stand last */
    {{"history_versions", "each version of a payment has its row in the history"}, false,
     "SELECT p.id AS payment_id, 'version ' || p.version || ', ' || coalesce(h.n, 0) || ' rows from '"
     " || coalesce(h.first, 0) || ' to ' || coalesce(h.last, 0) AS what"
     " FROM pay.payment p LEFT JOIN (SELECT slot, payment_id, count(*) AS n, min(version) AS first,"
     " max(version) AS last FROM pay.payment_history GROUP BY 1, 2) h"
     " ON h.slot = p.slot AND h.payment_id = p.id"
     " WHERE (coalesce(h.n, 0), coalesce(h.first, 0), coalesce(h.last, 0)) <> (p.version, 1, p.version)"},
    {{"history_path", "a history begins at none, goes on where it stood and never leaves a final state"}, false,
     "SELECT payment_id, CASE WHEN refund_id = 0 THEN '' ELSE 'refund ' || refund_id || ' ' END || 'version '"
     " || version || ': ' || from_state || ' -> ' || to_state || ' after ' || before AS what FROM (" PATHS ") h"
     " WHERE from_state <> before OR to_state <> from_state AND CASE WHEN refund_id = 0"
     " THEN from_state NOT IN (0, 1, 2) OR to_state < from_state ELSE from_state NOT IN (0, 1) END"},
    {{"history_end", "a payment or refund is in the state its history ends with"}, false,
     "SELECT h.payment_id, 'state ' || coalesce(p.state, r.state, 0) || ', history ends in ' || h.to_state AS what"
     " FROM (" PATHS ") h LEFT JOIN pay.payment p ON h.refund_id = 0 AND p.slot = h.slot AND p.id = h.payment_id"
     " LEFT JOIN pay.refund r ON r.slot = h.slot AND r.id = h.refund_id"
     " WHERE h.last = 1 AND h.to_state <> coalesce(p.state, r.state, 0)"},
    {{"attempts", "each attempt was written down, numbered from one without a gap"}, false,
     "SELECT p.id AS payment_id, p.attempts || ' attempts, ' || coalesce(a.n, 0) || ' rows up to '"
     " || coalesce(a.last, 0) AS what FROM pay.payment p LEFT JOIN (SELECT slot, payment_id, count(*) AS n,"
     " max(n) AS last FROM (SELECT slot, payment_id, opens_n AS n FROM pay.payment_history WHERE opens_n > 0"
     " UNION ALL SELECT slot, payment_id, n FROM pay.payment_attempt) o GROUP BY 1, 2) a"
     " ON a.slot = p.slot AND a.payment_id = p.id"
     " WHERE (coalesce(a.n, 0), coalesce(a.last, 0)) <> (p.attempts, p.attempts)"},
    {{"final_facts", "a payment or refund has the time of its end when it is final, and only then"}, false,
     "SELECT id AS payment_id, 'state ' || state || ', final at ' || coalesce(final_at::text, '-')"
     " || ', succeeded at ' || coalesce(succeeded_at::text, '-') AS what FROM pay.payment"
     " WHERE (" FINAL ") <> (final_at IS NOT NULL) OR state <> 3 AND succeeded_at IS NOT NULL"
     " UNION ALL SELECT payment_id, 'refund ' || id || ' state ' || state FROM pay.refund"
     " WHERE (state <> 1) <> (final_at IS NOT NULL)"},
    {{"callbacks", "each final payment and refund has one callback; nothing else has"}, false,
     "SELECT payment_id, 'subject ' || id || ' state ' || state || ': ' || n || ' callbacks' AS what FROM ("
     " SELECT p.id AS payment_id, p.id, p.state, p." FINAL " AS final, (SELECT count(*) FROM pay.callback c"
     " WHERE c.slot = p.slot AND c.payment_id = p.id AND c.subject_id = p.id) AS n FROM pay.payment p"
     " UNION ALL SELECT r.payment_id, r.id, r.state, r.state <> 1, (SELECT count(*) FROM pay.callback c"
     " WHERE c.slot = r.slot AND c.payment_id = r.payment_id AND c.subject_id = r.id) FROM pay.refund r) s"
     " WHERE n <> final::int"},
    {{"timers", "whatever is not final has a timer, what is final has none"}, false,
     "SELECT id AS payment_id, 'state ' || state || ': ' ||" TIMED("payment_timer", "p", "payment_id") " || ' timers' AS what"
     " FROM pay.payment p WHERE" TIMED("payment_timer", "p", "payment_id") " <> (state < 3)::int"
     " UNION ALL SELECT payment_id, 'refund ' || id || ' state ' || state || ': ' ||" TIMED("refund_timer", "r", "refund_id")
     " || ' timers' FROM pay.refund r WHERE" TIMED("refund_timer", "r", "refund_id") " <> (state = 1)::int"},
    {{"refunds", "refunds are counted in their payment and never exceed what was paid"}, false,
     "SELECT p.id AS payment_id, p.refund_reserved || ' reserved, ' || p.refunded || ' refunded; refunds: '"
     " || coalesce(r.reserved, 0) || ', ' || coalesce(r.refunded, 0) AS what FROM pay.payment p"
     /* those that nobody asked for give back extra_paid, and count nowhere else */
     " LEFT JOIN (SELECT slot, payment_id,"
     " sum(amount) FILTER (WHERE command_seq = 0 AND state <> 3) AS reserved,"
     " sum(amount) FILTER (WHERE command_seq = 0 AND state = 2) AS refunded,"
     " sum(amount) FILTER (WHERE command_seq > 0 AND state <> 2) AS extra"
     " FROM pay.refund GROUP BY 1, 2) r"
     " ON r.slot = p.slot AND r.payment_id = p.id"
     " WHERE (coalesce(r.reserved, 0), coalesce(r.refunded, 0), coalesce(r.extra, 0))"
     " <> (p.refund_reserved, p.refunded, p.extra_paid)"
     " OR p.refund_reserved > CASE WHEN p.state = 3 AND p.reversal <> 2 THEN p.amount ELSE 0 END"},
    {{"orphans", "nothing stands in the database without its payment"}, false,
     "SELECT payment_id, what FROM (SELECT slot, payment_id, 'history' AS what FROM pay.payment_history"
     " UNION SELECT slot, payment_id, 'attempt' FROM pay.payment_attempt"
     " UNION SELECT slot, payment_id, 'answer' FROM pay.payment_answer"
     " UNION SELECT slot, payment_id, 'timer' FROM pay.payment_timer"
     " UNION SELECT slot, payment_id, 'callback' FROM pay.callback"
     " UNION SELECT slot, payment_id, 'refund' FROM pay.refund"
     " UNION SELECT slot, payment_id, 'reversal' FROM pay.reversal"
     " UNION SELECT slot, payment_id, 'case' FROM pay.payment_case) o"
     " WHERE NOT EXISTS (SELECT FROM pay.payment p WHERE p.slot = o.slot AND p.id = o.payment_id)"},
    {{"money", "what a channel took and kept is what a succeeded payment holds, or a case is open"}, true,
     "SELECT coalesce(b.id, p.id) AS payment_id, 'the channel kept ' || coalesce(b.kept, 0) || ', we hold '"
     " || coalesce(p.held, 0) || ' in state ' || coalesce(p.state, 0) AS what"
     " FROM (SELECT id, sum(paid - refunded) AS kept, sum(refunded) AS refunded FROM pg_temp.books GROUP BY 1) b"
     " FULL JOIN (SELECT id, slot, state, refund_reserved - refunded AS under_way,"
     " extra_paid + CASE WHEN state = 3 AND reversal <> 2 THEN amount - refunded ELSE 0 END AS held"
     " FROM pay.payment) p USING (id)"
     " WHERE coalesce(b.kept, 0) NOT BETWEEN coalesce(p.held - p.under_way, 0) AND coalesce(p.held, 0)"
     " AND NOT EXISTS (SELECT FROM pay.payment_case c WHERE c.slot = p.slot AND c.payment_id = p.id AND c.state = 1)"},
};
/* clang-format on */
#define CHECKS (sizeof(checks) / sizeof(checks[0]))

/* The books become a table of this connection, which the snapshot sees. */
static int read_books(struct admin *a, const struct verify_books *b, char *err)
{
    const char *params[] = {b->payment_id, b->paid, b->refunded};
    struct admin_rows *rows;

    if (admin_exec(a, "CREATE TEMP TABLE books (id bigint, paid bigint, refunded bigint)", err) !=
            0 ||
        admin_query(a,
                    "WITH i AS (INSERT INTO pg_temp.books SELECT * FROM"
                    " unnest($1::bigint[], $2::bigint[], $3::bigint[]) RETURNING 1)"
                    " SELECT count(*) FROM i",
                    3, params, &rows, err) != 0)
        return -1;
    admin_rows_free(rows);
    return admin_exec(a, "ANALYZE books", err);
}

int verify_begin(struct admin *a, const struct verify_books *books, char *err)
{
    if (admin_exec(a, "SET statement_timeout = 0", err) != 0 ||
        (books && read_books(a, books, err) != 0))
        return -1;
    return admin_exec(a, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err);
}

unsigned verify_count(bool books)
{
    unsigned n = 0;

    while (n < CHECKS && (books || !checks[n].books))
        n++;
    return n;
}

const struct verify_check *verify_check(unsigned n)
{
    return &checks[n].is;
}

int verify_ask(struct admin *a, unsigned n, int64_t most, struct admin_rows **rows, char *err)
{
    char sql[4096], limit[NUMBER_MAX];
    const char *params[] = {limit};

    snprintf(limit, sizeof(limit), "%" PRId64, most);
    snprintf(sql, sizeof(sql),
             "SELECT count(*) OVER () AS total, payment_id, what FROM (%s) broken"
             " ORDER BY payment_id LIMIT $1::bigint",
             checks[n].sql);
    return admin_query(a, sql, 1, params, rows, err);
}

void verify_end(struct admin *a)
{
    char err[ADMIN_ERROR_LEN];

    admin_exec(a, "ROLLBACK", err);
}
