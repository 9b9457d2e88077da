#include "cases.h"

#include "core/ids.h"
#include "statements.h"
#include "store_impl.h"

#include <stdlib.h>

const char sql_case_say[] =
    "SELECT outcome, coalesce(decision, ''), coalesce(by_name, '')"
    " FROM pay.say_on_case($1::int2, $2::int8, $3::int8, $4::text, $5::text, $6::int8, $7::text,"
    "  $8::timestamptz)";

struct ask {
    store_case_cb *cb;
    void *arg;
};

static void on_said(void *arg, const struct pg_answer *answer)
{
    struct ask *q = arg;
    enum store_result result = store_result_of(answer, "case_say");
    const PGresult *r = result == STORE_DONE ? answer->results[0] : NULL;

    if (answer->outcome == PG_LOST)
        result = STORE_UNKNOWN;
    if (r && PQntuples(r) == 1)
        q->cb(q->arg, STORE_DONE, pg_get_text(r, 0, 0), pg_get_text(r, 0, 1), pg_get_text(r, 0, 2));
    else
        q->cb(q->arg, r ? STORE_BUSY : result, SLICE_NULL, SLICE_NULL, SLICE_NULL);
    free(q);
}

void store_case_say(struct store *s, const struct store_case_word *word, store_case_cb *cb,
                    void *arg)
{
    struct ask *q = store_alloc(sizeof(*q));
    struct pg_params *p = store_params();

    *q = (struct ask){cb, arg};
    pg_add_int2(p, (int16_t)id_slot(word->case_id));
    pg_add_int8(p, word->case_id);
    pg_add_int8(p, word->id);
    pg_add_text(p, word->decision);
    pg_add_text(p, word->reason);
    pg_add_int8(p, word->uid);
    pg_add_text(p, word->name);
    pg_add_time(p, word->at);
    store_ask(s, "case_say", p, on_said, q);
}
