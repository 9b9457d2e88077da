/*
 * statements - the texts of all statements of the store, and the planner settings they rely on.
 *
 * Every statement that takes many rows takes them as arrays and reaches tables only through their
 * primary or unique keys, row by row, in the arrays' order. A plan made for an empty table must be
 * the plan for a full one, so these sessions allow no join method but the nested loop, and slots
 * are compared as `slot = ANY (ARRAY[j.slot])`: with a plain `=` the index's order would count as
 * useful and a walk through the whole index, cheap while it is empty, could become the outer side.
 */
#ifndef STORE_STATEMENTS_H
#define STORE_STATEMENTS_H

extern const char *const sql_settings[]; /* NULL-terminated */

/* commit: what one batch writes (commit_sql.c; parameters: commit_params.c) */
extern const char sql_create[]; /* -> nothing; error 23505 when one of the orders is there */
extern const char sql_create_missing[]; /* -> k of the orders that were not there */
extern const char sql_step[];           /* -> k of the steps that won */
extern const char sql_answer[];         /* the same for steps that only take an answer */
extern const char sql_refund[];         /* -> k of the refunds' steps that won (refund_sql.c) */
extern const char sql_record[];         /* -> nothing */
extern const char sql_known[];          /* -> k of the events whose history row is there */

/* reads (read.c) */
extern const char sql_by_id[];
extern const char sql_by_no[];
extern const char sql_refund_by_id[]; /* refund.c */
extern const char sql_refund_by_no[];

/* callbacks (callback.c, claim.c) */
extern const char sql_tried[];
extern const char sql_claim[];
extern const char sql_backlog[];

/* cases (cases.c) */
extern const char sql_case_say[];
extern const char sql_case_refunds[];
extern const char sql_case_refunded[];

/* events (relay.c) */
extern const char sql_relay_claim[];
extern const char sql_relay_read[];
extern const char sql_relay_save[];
extern const char sql_relay_rewind[];

/* due work (timer.c) */
extern const char sql_timer_parts[];
extern const char sql_due[];
extern const char sql_overdue[];

/* reference data (reference.c), the process (process.c) */
extern const char sql_key[];
extern const char sql_signing_key[];
extern const char sql_changes[];
extern const char sql_accounts[];
extern const char sql_refresh_claim[]; /* refresh.c */
extern const char sql_refresh_done[];
extern const char sql_bill_claim[]; /* bill.c */
extern const char sql_bill_failed[];
extern const char sql_lease[];
extern const char sql_clock[];

#endif
