#include "admin.h"

#include "admin_impl.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

struct admin {
    PGconn *conn;
};

struct admin_rows {
    PGresult *r;
};

PGconn *admin_conn(const struct admin *a)
{
    return a->conn;
}

void admin_say(char *err, const char *message)
{
    size_t n;

    snprintf(err, ADMIN_ERROR_LEN, "%s", message && *message ? message : "no answer");
    for (n = strlen(err); n && err[n - 1] == '\n'; n--)
        err[n - 1] = '\0';
}

struct admin *admin_open(const char *conninfo, char *err)
{
    struct admin *a = calloc(1, sizeof(*a));
    PGresult *r;

    if (!a) {
        admin_say(err, "out of memory");
        return NULL;
    }
    a->conn = PQconnectdb(conninfo);
    if (PQstatus(a->conn) != CONNECTION_OK) {
        admin_say(err, PQerrorMessage(a->conn));
        admin_close(a);
        return NULL;
    }
    r = PQexec(a->conn, "SET timezone = 'Asia/Shanghai'; SET statement_timeout = '30s';"
                        " SET client_min_messages = warning");
    PQclear(r);
    return a;
}

void admin_close(struct admin *a)
{
    if (!a)
        return;
    PQfinish(a->conn);
    free(a);
}

int admin_run(struct admin *a, enum admin_statement s, const char *const *params,
              struct admin_rows **rows, char *err)
{
    return admin_query(a, admin_statements[s].sql, admin_statements[s].params, params, rows, err);
}

int admin_query(struct admin *a, const char *sql, int n, const char *const *params,
                struct admin_rows **rows, char *err)
{
    PGresult *r = PQexecParams(a->conn, sql, n, NULL, params, NULL, NULL, 0);
    struct admin_rows *out;

    if (PQresultStatus(r) != PGRES_TUPLES_OK || !(out = calloc(1, sizeof(*out)))) {
        admin_say(err, PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY) ?: PQerrorMessage(a->conn));
        PQclear(r);
        return -1;
    }
    out->r = r;
    *rows = out;
    return 0;
}

int admin_rows_count(const struct admin_rows *r)
{
    return PQntuples(r->r);
}

int admin_rows_columns(const struct admin_rows *r)
{
    return PQnfields(r->r);
}

const char *admin_rows_name(const struct admin_rows *r, int column)
{
    return PQfname(r->r, column);
}

const char *admin_rows_value(const struct admin_rows *r, int row, int column)
{
    return PQgetisnull(r->r, row, column) ? NULL : PQgetvalue(r->r, row, column);
}

bool admin_rows_numeric(const struct admin_rows *r, int column)
{
    Oid type = PQftype(r->r, column);

    return type == 20 || type == 21 || type == 23; /* int8, int2, int4 */
}

void admin_rows_free(struct admin_rows *r)
{
    if (!r)
        return;
    PQclear(r->r);
    free(r);
}

/* ---- migrations ---- */

int admin_exec(struct admin *a, const char *sql, char *err)
{
    PGresult *r = PQexec(a->conn, sql);
    ExecStatusType status = PQresultStatus(r);

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        admin_say(err, PQerrorMessage(a->conn));
    PQclear(r);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ? 0 : -1;
}

static int applied(struct admin *a, const char *number)
{
    const char *params[] = {number};
    PGresult *r =
        PQexecParams(a->conn,
                     "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                     " WHERE n.nspname = 'pay' AND c.relname = 'schema_version'",
                     0, NULL, NULL, NULL, NULL, 0);
    int found = PQntuples(r);

    PQclear(r);
    if (!found)
        return 0;
    r = PQexecParams(a->conn, "SELECT 1 FROM pay.schema_version WHERE version = $1::int", 1, NULL,
                     params, NULL, NULL, 0);
    found = PQntuples(r);
    PQclear(r);
    return found;
}

static int record(struct admin *a, const char *number, const char *name, char *err)
{
    const char *params[] = {number, name};
    PGresult *r =
        PQexecParams(a->conn, "INSERT INTO pay.schema_version (version, name) VALUES ($1::int, $2)",
                     2, NULL, params, NULL, NULL, 0);
    int rc = PQresultStatus(r) == PGRES_COMMAND_OK ? 0 : -1;

    if (rc != 0)
        admin_say(err, PQerrorMessage(a->conn));
    PQclear(r);
    return rc;
}

int admin_migrate(struct admin *a, int number, const char *name, const char *sql, char *err)
{
    char text[16], rollback_err[ADMIN_ERROR_LEN];

    snprintf(text, sizeof(text), "%d", number);
    /* two migrations at once: the second waits and then finds them recorded */
    if (admin_exec(a, "BEGIN; SELECT pg_advisory_xact_lock(7301)", err) != 0)
        return -1;
    if (applied(a, text)) {
        admin_exec(a, "ROLLBACK", rollback_err);
        return 0;
    }
    if (admin_exec(a, sql, err) != 0 || record(a, text, name, err) != 0 ||
        admin_exec(a, "COMMIT", err) != 0) {
        admin_exec(a, "ROLLBACK", rollback_err);
        return -1;
    }
    return 1;
}
