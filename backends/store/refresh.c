/* Certificates that channels publish: whose turn it is to fetch them, and what came. */
#include "statements.h"
#include "store_impl.h"

#include <stdlib.h>

const char sql_refresh_claim[] =
    "INSERT INTO pay.channel_refresh AS r (channel, account, due_at)"
    " VALUES ($1::text, $2::text, now() + $3::bigint * interval '1 microsecond')"
    " ON CONFLICT (channel, account) DO UPDATE SET due_at = excluded.due_at"
    " WHERE r.due_at <= now() RETURNING 1";

const char sql_refresh_done[] =
    "WITH due AS (UPDATE pay.channel_refresh"
    "  SET due_at = now() + $3::bigint * interval '1 microsecond'"
    "  WHERE channel = $1::text AND account = $2::text)"
    " INSERT INTO pay.channel_certificate (channel, account, serial, pem, valid_from, valid_to)"
    " SELECT $1, $2, x.serial, x.pem, x.valid_from, x.valid_to"
    " FROM jsonb_to_recordset($4::text::jsonb)"
    "  AS x (serial text, pem text, valid_from timestamptz, valid_to timestamptz)"
    " ON CONFLICT (channel, account, serial) DO UPDATE SET pem = excluded.pem,"
    " valid_from = excluded.valid_from, valid_to = excluded.valid_to, fetched_at = now()"
    " RETURNING 1";

struct refresh {
    store_refresh_cb *cb;
    void *arg;
};

static void on_answer(void *arg, const struct pg_answer *answer)
{
    struct refresh *q = arg;
    enum store_result result = store_result_of(answer, "refresh");

    if (result == STORE_DONE && PQntuples(answer->results[0]) == 0)
        result = STORE_NONE;
    q->cb(q->arg, result);
    free(q);
}

static void ask(struct store *s, const char *statement, struct pg_params *p, store_refresh_cb *cb,
                void *arg)
{
    struct refresh *q = store_alloc(sizeof(*q));

    *q = (struct refresh){.cb = cb, .arg = arg};
    store_ask(s, statement, p, on_answer, q);
}

static struct pg_params *account_params(struct slice channel, struct slice account, int64_t us)
{
    struct pg_params *p = store_params();

    pg_add_text(p, channel);
    pg_add_text(p, account);
    pg_add_int8(p, us);
    return p;
}

void store_refresh_claim(struct store *s, struct slice channel, struct slice account,
                         int64_t lease_us, store_refresh_cb *cb, void *arg)
{
    ask(s, "refresh_claim", account_params(channel, account, lease_us), cb, arg);
}

void store_refresh_done(struct store *s, struct slice channel, struct slice account,
                        struct slice certificates, int64_t next_us, store_refresh_cb *cb, void *arg)
{
    struct pg_params *p = account_params(channel, account, next_us);

    pg_add_text(p, certificates);
    ask(s, "refresh_done", p, cb, arg);
}
