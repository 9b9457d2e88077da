/*
 * moves_sql - the database's own guard of the state machine, written from domain's table: a CHECK
 * on (prev_state, state) and a trigger that lets only legal updates of payment pass. The migrations
 * hold its output (sql/README.md); a test compares them.
 */
#ifndef STORE_MOVES_SQL_H
#define STORE_MOVES_SQL_H

#include "core/buf.h"

void moves_sql(struct buf *b);

#endif
