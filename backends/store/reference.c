#include "statements.h"
#include "store_impl.h"

#include <stdlib.h>

/* Of the keys that `which` names; `= ANY (ARRAY[])` as in statements.h. */
#define KEYS(which)                                                                                \
    "SELECT k.serial, k.alg, k.material_sealed, a.mchid, k.app_id,"                                \
    " k.enabled AND a.enabled AND m.enabled, m.base_slot, m.span, k.valid_from, k.valid_to,"       \
    " a.rate, a.rate_window, a.burst, m.rate, m.rate_window, m.burst,"                             \
    " array_to_string(a.allow, ' '), a.allow_alert, k.scheme, k.md5_allowed"                       \
    " FROM (SELECT * FROM pay.app_key WHERE " which " OFFSET 0) k"                                 \
    " JOIN pay.app a ON a.app_id = ANY (ARRAY[k.app_id])"                                          \
    " JOIN pay.merchant m ON m.mchid = ANY (ARRAY[a.mchid])"

const char sql_key[] = KEYS("serial = $1::text COLLATE \"C\"");

const char sql_signing_key[] =
    KEYS("app_id = $1::text COLLATE \"C\" AND scheme = 'header' AND alg = 'hmac-sha256' AND enabled"
         " AND valid_from <= now() AND valid_to > now()"
         " ORDER BY valid_from DESC, serial LIMIT 1");

const char sql_changes[] =
    "SELECT serial, changed_at FROM pay.app_key WHERE changed_at >= $1::timestamptz"
    " UNION ALL SELECT k.serial, a.changed_at FROM pay.app a"
    "  JOIN pay.app_key k ON k.app_id = ANY (ARRAY[a.app_id])"
    "  WHERE a.changed_at >= $1::timestamptz"
    " UNION ALL SELECT k.serial, m.changed_at FROM pay.merchant m"
    "  JOIN pay.app a ON a.mchid = ANY (ARRAY[m.mchid])"
    "  JOIN pay.app_key k ON k.app_id = ANY (ARRAY[a.app_id])"
    "  WHERE m.changed_at >= $1::timestamptz";

const char sql_accounts[] =
    "SELECT a.channel, a.account, coalesce(a.mchid, ''), a.config::text, a.secrets_sealed,"
    " a.enabled, coalesce((SELECT string_agg(c.pem, '' ORDER BY c.valid_to DESC)"
    "  FROM pay.channel_certificate c WHERE c.channel = a.channel AND c.account = a.account"
    "  AND c.valid_to > now()), '')"
    " FROM pay.channel_account a ORDER BY a.channel, a.account";

struct ask {
    struct arena *arena;
    pay_time_t since;
    store_key_cb *on_key;
    store_changes_cb *on_changes;
    store_accounts_cb *on_accounts;
    void *arg;
};

static struct slice text(const struct ask *q, const PGresult *r, int row, int col)
{
    return arena_copy(q->arena, pg_get_text(r, row, col));
}

/* ---- keys ---- */

static struct store_limit limit(const PGresult *r, int col)
{
    return (struct store_limit){.rate = (uint32_t)pg_get_int(r, 0, col),
                                .window = (uint32_t)pg_get_int(r, 0, col + 1),
                                .burst = (uint32_t)pg_get_int(r, 0, col + 2)};
}

static void on_key(void *arg, const struct pg_answer *answer)
{
    struct ask *q = arg;
    enum store_result result = store_result_of(answer, "key");
    const PGresult *r = result == STORE_DONE ? answer->results[0] : NULL;
    struct store_key k = {0};

    if (r && PQntuples(r) == 0) {
        result = STORE_NONE;
    } else if (r) {
        k = (struct store_key){.serial = text(q, r, 0, 0),
                               .alg = text(q, r, 0, 1),
                               .material_sealed = text(q, r, 0, 2),
                               .mchid = text(q, r, 0, 3),
                               .app_id = text(q, r, 0, 4),
                               .on = pg_get_bool(r, 0, 5),
                               .base_slot = (uint32_t)pg_get_int(r, 0, 6),
                               .span = (uint32_t)pg_get_int(r, 0, 7),
                               .valid_from = pg_get_time(r, 0, 8),
                               .valid_to = pg_get_time(r, 0, 9),
                               .app_limit = limit(r, 10),
                               .merchant_limit = limit(r, 13),
                               .allow = text(q, r, 0, 16),
                               .allow_alert = pg_get_bool(r, 0, 17),
                               .scheme = text(q, r, 0, 18),
                               .md5_allowed = pg_get_bool(r, 0, 19)};
        if (q->arena->failed)
            result = STORE_BUSY;
    }
    q->on_key(q->arg, result, result == STORE_DONE ? &k : NULL);
    free(q);
}

static void ask_key(struct store *s, const char *statement, struct slice name, struct arena *a,
                    store_key_cb *cb, void *arg)
{
    struct ask *q = store_alloc(sizeof(*q));
    struct pg_params *p = store_params();

    *q = (struct ask){.arena = a, .on_key = cb, .arg = arg};
    pg_add_text(p, name.p ? name : SLICE(""));
    store_ask(s, statement, p, on_key, q);
}

void store_key_get(struct store *s, struct slice serial, struct arena *a, store_key_cb *cb,
                   void *arg)
{
    ask_key(s, "key", serial, a, cb, arg);
}

void store_app_signing_key(struct store *s, struct slice app_id, struct arena *a, store_key_cb *cb,
                           void *arg)
{
    ask_key(s, "signing_key", app_id, a, cb, arg);
}

static void on_changes(void *arg, const struct pg_answer *answer)
{
    struct ask *q = arg;
    enum store_result result = store_result_of(answer, "changes");
    const PGresult *r = result == STORE_DONE ? answer->results[0] : NULL;
    int n = r ? PQntuples(r) : 0;
    struct slice *serials = n ? arena_array(q->arena, struct slice, (size_t)n) : NULL;
    pay_time_t newest = q->since;

    for (int i = 0; serials && i < n; i++) {
        pay_time_t at = pg_get_time(r, i, 1);

        serials[i] = text(q, r, i, 0);
        newest = at > newest ? at : newest;
    }
    if (n && q->arena->failed)
        q->on_changes(q->arg, STORE_BUSY, NULL, (size_t)n, q->since);
    else
        q->on_changes(q->arg, result, serials, (size_t)n, newest);
    free(q);
}

void store_keys_changed(struct store *s, pay_time_t since, struct arena *a, store_changes_cb *cb,
                        void *arg)
{
    struct ask *q = store_alloc(sizeof(*q));
    struct pg_params *p = store_params();

    *q = (struct ask){.arena = a, .since = since, .on_changes = cb, .arg = arg};
    pg_add_time(p, since ? since : 1);
    store_ask(s, "changes", p, on_changes, q);
}

/* ---- accounts ---- */

static void on_accounts(void *arg, const struct pg_answer *answer)
{
    struct ask *q = arg;
    enum store_result result = store_result_of(answer, "accounts");
    const PGresult *r = result == STORE_DONE ? answer->results[0] : NULL;
    int n = r ? PQntuples(r) : 0;
    struct store_account *a = n ? arena_array(q->arena, struct store_account, (size_t)n) : NULL;

    for (int i = 0; a && i < n; i++)
        a[i] = (struct store_account){.channel = text(q, r, i, 0),
                                      .account = text(q, r, i, 1),
                                      .mchid = text(q, r, i, 2),
                                      .config = text(q, r, i, 3),
                                      .secrets_sealed = text(q, r, i, 4),
                                      .on = pg_get_bool(r, i, 5),
                                      .certificates = text(q, r, i, 6)};
    if (n && q->arena->failed)
        q->on_accounts(q->arg, STORE_BUSY, NULL, 0);
    else
        q->on_accounts(q->arg, result, a, (size_t)n);
    free(q);
}

void store_accounts_get(struct store *s, struct arena *a, store_accounts_cb *cb, void *arg)
{
    struct ask *q = store_alloc(sizeof(*q));

    *q = (struct ask){.arena = a, .on_accounts = cb, .arg = arg};
    store_ask(s, "accounts", NULL, on_accounts, q);
}
