/*
 * admin - the statements behind payctl: synchronous, one connection, one transaction each. No money
 * fact is changed here; what moves an order goes through the workers.
 */
#ifndef STORE_ADMIN_H
#define STORE_ADMIN_H

#include "core/slice.h"

struct admin;

#define ADMIN_ERROR_LEN 512

/* NULL with a reason in err (ADMIN_ERROR_LEN). */
struct admin *admin_open(const char *conninfo, char *err);
void admin_close(struct admin *a);

/* Every statement with its parameters (text, NULL = SQL NULL) in order. */
enum admin_statement {
    ADMIN_MERCHANT_ADD,   /* mchid, name, base_slot, span */
    ADMIN_MERCHANT_STATE, /* mchid, "on" | "off" */
    ADMIN_MERCHANT_LIMIT, /* mchid, rate, window, burst */
    ADMIN_MERCHANT_LIST,  /* */
    ADMIN_APP_ADD,        /* app, mchid, name */
    ADMIN_APP_STATE,      /* app, on | off */
    ADMIN_APP_LIMIT,      /* app, rate, window, burst */
    ADMIN_APP_ALLOW,      /* app, networks "{a,b}", "t" = only alert */
    ADMIN_APP_LIST,       /* mchid or NULL */
    ADMIN_APP_CALLBACKS,  /* app, header | webhook */
    ADMIN_KEY_ADD,        /* serial, app, scheme, alg, material (hex), valid days, from */
    ADMIN_KEY_UNTIL,      /* serial, time */
    ADMIN_KEY_STATE,      /* serial, on | off */
    ADMIN_KEY_LIST,       /* app or NULL */
    ADMIN_ACCOUNT_PUT,    /* channel, account, mchid or NULL, config JSON, secrets sealed (hex) */
    ADMIN_ACCOUNT_STATE,  /* channel, account, on | off */
    ADMIN_ACCOUNT_LIST,   /* channel or NULL */
    ADMIN_ACCOUNT_GET,    /* channel, account -> mchid, config, sealed (hex), state, changed_at */
    ADMIN_ACCOUNT_CERTIFICATES, /* channel, account: those that the channel published */
    ADMIN_ACCOUNT_PEMS,         /* channel, account: published certificates that are good now */
    ADMIN_BILL_SHOW,            /* channel, account, day */
    ADMIN_BILL_LIST,            /* channel or NULL */
    ADMIN_BILL_ROWS,            /* channel, account or NULL, day */
    ADMIN_ACCOUNT_CHANGE,   /* channel, account, config, sealed; the sealed that it was made from */
    ADMIN_SEALED_KEYS,      /* after which name, limit -> name, sealed (hex) */
    ADMIN_SEALED_ACCOUNTS,  /* the same; names are CHANNEL:ACCOUNT */
    ADMIN_RESEAL_KEYS,      /* names, sealed as they were, sealed anew: arrays of one length */
    ADMIN_RESEAL_ACCOUNTS,  /* the same */
    ADMIN_MERCHANT_SLOTS,   /* mchid -> base_slot, span */
    ADMIN_PAYMENT_FIND,     /* slot, mchid, out_trade_no -> id */
    ADMIN_PAYMENT_SHOW,     /* slot, id */
    ADMIN_PAYMENT_LIST,     /* mchid or NULL, state or NULL, limit */
    ADMIN_PAYMENT_HISTORY,  /* slot, id */
    ADMIN_PAYMENT_ATTEMPTS, /* slot, id */
    ADMIN_PAYMENT_EDGE,     /* slot, id: what the edge decided */
    ADMIN_PAYMENT_TRIES,    /* slot, id: of its callbacks */
    ADMIN_PAYMENT_CASE_REFUNDS, /* slot, id: that persons decided */
    ADMIN_PAYMENT_REFUNDS,      /* slot, id */
    ADMIN_PAYMENT_TIMER,        /* slot, id */
    ADMIN_PAYMENT_QUERY,        /* slot, id: the timer is due now */
    ADMIN_PAYMENT_CASES,        /* slot, id */
    ADMIN_PAYMENT_CALLBACKS,    /* slot, id */
    ADMIN_CALLBACK_LIST,        /* state or NULL, mchid or NULL, limit */
    ADMIN_CALLBACK_SHOW,        /* slot, id */
    ADMIN_CALLBACK_TRIES,       /* slot, id */
    ADMIN_CALLBACK_RESEND,      /* slot, id */
    ADMIN_CALLBACK_RESEND_MANY, /* since, until or NULL, mchid or NULL, state or NULL -> count */
    ADMIN_CASE_LIST,            /* limit, "t" = closed ones too, kind or NULL */
    ADMIN_CASE_SHOW,            /* slot, id */
    ADMIN_CASE_DECISIONS,       /* slot, id */
    ADMIN_PAYMENT_DECISIONS,    /* slot, id of the payment */
    ADMIN_STATEMENTS
};

struct admin_rows;
/* 0 (rows may be none), or -1 with the database's message in err. params has as many members as the
 * statement wants. */
int admin_run(struct admin *a, enum admin_statement s, const char *const *params,
              struct admin_rows **rows, char *err);
int admin_rows_count(const struct admin_rows *r);
int admin_rows_columns(const struct admin_rows *r);
const char *admin_rows_name(const struct admin_rows *r, int column);
const char *admin_rows_value(const struct admin_rows *r, int row, int column); /* NULL = SQL NULL */
bool admin_rows_numeric(const struct admin_rows *r, int column);
void admin_rows_free(struct admin_rows *r);

/* Migrations: runs `sql` and records (number, name) in one transaction, unless recorded already.
 * 1 = applied, 0 = was there, -1 = failed. */
int admin_migrate(struct admin *a, int number, const char *name, const char *sql, char *err);

#endif
