#include "admin_bill.h"

#include "admin_impl.h"
#include "core/buf.h"
#include "core/crypto.h"

#include <stdio.h>
#include <stdlib.h>

#define LINE_MAX_BYTES (256u * 1024)

/* Text format of COPY: what would end a cell is escaped. */
struct admin_bill_writer {
    struct admin *a;
    struct admin_bill bill;
    struct buf line;
    bool failed;
};

static int run(struct admin *a, const char *sql, int n, const char *const *params,
               const int *lengths, const int *formats, char *err)
{
    PGresult *r = PQexecParams(admin_conn(a), sql, n, NULL, params, lengths, formats, 0);
    int rc = PQresultStatus(r) == PGRES_COMMAND_OK ? 0 : -1;

    if (rc != 0)
        admin_say(err,
                  PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY) ?: PQerrorMessage(admin_conn(a)));
    PQclear(r);
    return rc;
}

/* The bill's row, and no rows of an earlier file. 1, 0: the same file is there, -1. */
static int put_bill(struct admin_bill_writer *w, char *err)
{
    const struct admin_bill *b = &w->bill;
    char channel[33], account[65], day[11];
    uint8_t hash[SHA256_LEN];
    const char *params[] = {channel, account, day, (const char *)hash, b->file.p};
    const int lengths[] = {0, 0, 0, SHA256_LEN, (int)b->file.n}, formats[] = {0, 0, 0, 1, 1};
    PGresult *r;
    int rc;

    snprintf(channel, sizeof(channel), "%.*s", SLICE_FMT(b->channel));
    snprintf(account, sizeof(account), "%.*s", SLICE_FMT(b->account));
    snprintf(day, sizeof(day), "%.*s", SLICE_FMT(b->day));
    if (sha256(b->file, hash) < 0)
        return -1;
    r = PQexecParams(admin_conn(w->a),
                     "INSERT INTO pay.channel_bill AS b (channel, account, day, sha256, file)"
                     " VALUES ($1, $2, $3::date, $4, $5) ON CONFLICT (channel, account, day)"
                     " DO UPDATE SET sha256 = excluded.sha256, file = excluded.file,"
                     " fetched_at = now() WHERE b.sha256 <> excluded.sha256 RETURNING 1",
                     5, NULL, params, lengths, formats, 0);
    rc = PQresultStatus(r) != PGRES_TUPLES_OK ? -1 : PQntuples(r);
    if (rc < 0)
        admin_say(err, PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY));
    PQclear(r);
    if (rc == 1 && run(w->a,
                       "DELETE FROM pay.channel_bill_row"
                       " WHERE channel = $1 AND account = $2 AND day = $3::date",
                       3, params, NULL, NULL, err) != 0)
        return -1;
    return rc;
}

static int begin_copy(struct admin *a, char *err)
{
    PGresult *r =
        PQexec(admin_conn(a), "COPY pay.channel_bill_row (channel, account, day, line, kind,"
                              " request_no, channel_trade_no, refund_no, channel_refund_no,"
                              " amount, fee, at, state) FROM STDIN");
    int rc = PQresultStatus(r) == PGRES_COPY_IN ? 0 : -1;

    if (rc != 0)
        admin_say(err, PQerrorMessage(admin_conn(a)));
    PQclear(r);
    return rc;
}

static void roll_back(struct admin *a)
{
    char ignored[ADMIN_ERROR_LEN];

    admin_exec(a, "ROLLBACK", ignored);
}

int admin_bill_begin(struct admin *a, const struct admin_bill *bill, struct admin_bill_writer **out,
                     char *err)
{
    struct admin_bill_writer *w = calloc(1, sizeof(*w));
    int rc;

    if (!w) {
        admin_say(err, "out of memory");
        return -1;
    }
    w->a = a;
    w->bill = *bill;
    buf_init(&w->line, LINE_MAX_BYTES);
    rc = admin_exec(a, "BEGIN", err) == 0 ? put_bill(w, err) : -1;
    if (rc == 1 && begin_copy(a, err) != 0)
        rc = -1;
    if (rc == 1) {
        *out = w;
        return 1;
    }
    roll_back(a);
    free(w);
    return rc;
}

/* ---- rows ---- */

static void put_text(struct buf *b, struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        const char *escaped = s.p[i] == '\\'   ? "\\\\"
                              : s.p[i] == '\t' ? "\\t"
                              : s.p[i] == '\n' ? "\\n"
                              : s.p[i] == '\r' ? "\\r"
                                               : NULL;
        if (escaped)
            buf_add_str(b, escaped);
        else
            buf_add_char(b, s.p[i]);
    }
    buf_add_char(b, '\t');
}

int admin_bill_row(struct admin_bill_writer *w, const struct admin_bill_row *row)
{
    struct buf *b = &w->line;
    char at[RFC3339_LEN + 1] = "";

    if (row->at)
        time_format_rfc3339(at, row->at);
    buf_clear(b);
    put_text(b, w->bill.channel);
    put_text(b, w->bill.account);
    put_text(b, w->bill.day);
    buf_addf(b, "%u\t%d\t", row->line, row->kind);
    put_text(b, row->request_no);
    put_text(b, row->channel_trade_no);
    put_text(b, row->refund_no);
    put_text(b, row->channel_refund_no);
    buf_addf(b, "%lld\t%lld\t%s\t", (long long)row->amount, (long long)row->fee,
             row->at ? at : "\\N");
    put_text(b, row->state);
    b->p[b->n - 1] = '\n';
    if (!buf_ok(b) || PQputCopyData(admin_conn(w->a), b->p, (int)b->n) != 1)
        w->failed = true;
    return w->failed ? -1 : 0;
}

/* What COPY says in the end, which may be why a row was not taken. */
static int end_copy(struct admin_bill_writer *w, const char *reason, char *err)
{
    PGresult *r;
    int rc = 0;

    if (PQputCopyEnd(admin_conn(w->a), reason) != 1)
        rc = -1;
    while ((r = PQgetResult(admin_conn(w->a))) != NULL) {
        if (PQresultStatus(r) != PGRES_COMMAND_OK && !reason) {
            admin_say(err, PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY));
            rc = -1;
        }
        PQclear(r);
    }
    return rc;
}

static int put_sum(struct admin_bill_writer *w, const struct admin_bill_sum *sum, char *err)
{
    char channel[33], account[65], day[11], rows[24], paid[24], returned[24];
    const char *params[] = {channel, account, day, rows, paid, returned};

    snprintf(channel, sizeof(channel), "%.*s", SLICE_FMT(w->bill.channel));
    snprintf(account, sizeof(account), "%.*s", SLICE_FMT(w->bill.account));
    snprintf(day, sizeof(day), "%.*s", SLICE_FMT(w->bill.day));
    snprintf(rows, sizeof(rows), "%lld", (long long)sum->rows);
    snprintf(paid, sizeof(paid), "%lld", (long long)sum->paid);
    snprintf(returned, sizeof(returned), "%lld", (long long)sum->returned);
    return run(w->a,
               "UPDATE pay.channel_bill SET rows = $4::bigint, paid = $5::bigint,"
               " returned = $6::bigint"
               " WHERE channel = $1 AND account = $2 AND day = $3::date",
               6, params, NULL, NULL, err);
}

int admin_bill_end(struct admin_bill_writer *w, const struct admin_bill_sum *sum, char *err)
{
    struct admin *a = w->a;
    bool keep = sum && !w->failed;
    int rc = end_copy(w, keep || w->failed ? NULL : "the bill is not good", err);

    if (w->failed && rc == 0) {
        admin_say(err, "a row could not be written");
        rc = -1;
    }
    if (keep && rc == 0)
        rc = put_sum(w, sum, err) == 0 ? admin_exec(a, "COMMIT", err) : -1;
    if (!keep || rc != 0)
        roll_back(a);
    buf_release(&w->line);
    free(w);
    return rc;
}
