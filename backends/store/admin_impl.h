/*
 * admin_impl - the table of statements, and how one is run from its text, for the files of this
 * folder that have statements of their own beside it.
 */
#ifndef STORE_ADMIN_IMPL_H
#define STORE_ADMIN_IMPL_H

#include "admin.h"

#include <libpq-fe.h>

/* admin_sql.c */
struct admin_text {
    int params;
    const char *sql;
};
extern const struct admin_text admin_statements[ADMIN_STATEMENTS];

PGconn *admin_conn(const struct admin *a);
/* The database's message without its end of line, into err (ADMIN_ERROR_LEN). */
void admin_say(char *err, const char *message);
/* As admin_run. */
int admin_query(struct admin *a, const char *sql, int n, const char *const *params,
                struct admin_rows **rows, char *err);
/* A statement without rows. 0 or -1 with the reason in err. */
int admin_exec(struct admin *a, const char *sql, char *err);

#endif
