#include "trade.h"

#include "account.h"
#include "core/money.h"

#define MESSAGE_MAX 256u

static const size_t text_max[MEMBER_COUNT] = {
#define X(id, text, type, max, help) [MEMBER_##id] = max,
    MEMBER_TABLE(X)
#undef X
};

/* ------------------------------------------------------------------ checks */

static bool check_holds(const struct adapter_check *c, const struct json *body,
                        const struct facts *f)
{
    const struct json *v = json_get(body, c->path);
    struct value want;
    int64_t num;

    if (c->absent)
        return !v;
    if (!v)
        return c->want.optional;
    if (f->account->invented && c->want.source.id == SOURCE_ACCOUNT)
        return true;
    source_read(&c->want.source, f, &want);
    if (filters_apply(&c->want.filters, f->arena, &want) < 0)
        return false;
    if (want.type == VALUE_INT)
        return json_int64(v, &num) == 0 && num == want.num;
    return want.type == VALUE_TEXT && v->type == JSON_STRING && slice_eq(v->text, want.text);
}

bool checks_hold(const struct adapter_check *checks, uint32_t n, const struct json *body,
                 const struct facts *f, const char **path)
{
    for (uint32_t i = 0; i < n; i++) {
        *path = checks[i].path;
        if (!check_holds(&checks[i], body, f))
            return false;
    }
    return true;
}

/* ------------------------------------------------------------------ members */

static int read_member(const struct json *v, enum value_type type, struct value *out)
{
    *out = (struct value){.type = type};
    if (type == VALUE_INT)
        return json_int64(v, &out->num);
    out->text = v->text;
    return v->type == JSON_STRING ? 0 : -1;
}

static bool is_clean(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
            return false;
    return true;
}

static int store(enum result_member m, const struct value *v, struct channel_result *r)
{
    if (v->type == VALUE_TEXT && (v->text.n > text_max[m] || !is_clean(v->text)))
        return -1;
    switch (m) {
    case MEMBER_REQUEST_NO:
        r->request_no = v->text;
        return 0;
    case MEMBER_CHANNEL_TRADE_NO:
        r->channel_trade_no = v->text;
        return 0;
    case MEMBER_AMOUNT:
        r->amount = v->num;
        return v->num >= 0 ? 0 : -1;
    case MEMBER_CURRENCY:
        r->currency = v->text;
        return currency_valid(v->text) ? 0 : -1;
    case MEMBER_PAID_AT:
        r->paid_at = v->num;
        return 0;
    case MEMBER_CODE_URL:
        r->code_url = v->text;
        return 0;
    case MEMBER_H5_URL:
        r->h5_url = v->text;
        return 0;
    case MEMBER_PREPAY:
        r->prepay = v->text;
        return 0;
    case MEMBER_PAYER_ID:
        r->payer_id = v->text;
        return 0;
    case MEMBER_REFUND_NO:
        r->refund_no = v->text;
        return 0;
    case MEMBER_CHANNEL_REFUND_NO:
        r->channel_refund_no = v->text;
        return 0;
    case MEMBER_REFUND_AMOUNT:
        r->refund_amount = v->num;
        return v->num >= 0 ? 0 : -1;
    case MEMBER_BILL_URL:
        r->bill_url = v->text;
        return 0;
    case MEMBER_BILL_SHA1:
        r->bill_sha1 = v->text;
        return 0;
    case MEMBER_BILL:
        r->bill = v->text;
        return 0;
    case MEMBER_MESSAGE:
        r->message = utf8_cut(v->text, MESSAGE_MAX);
        return 0;
    case MEMBER_COUNT:
        break;
    }
    return -1;
}

static int take(const struct adapter_take *t, const struct json *body, const struct facts *f,
                struct channel_result *r)
{
    const struct json *v = json_get(body, t->path);
    bool needed = t->need == NEED_ALWAYS || (t->need == NEED_ON_SUCCESS && r->cls == CLASS_SUCCESS);
    struct value value = {.type = VALUE_NONE};

    if (v && read_member(v, t->type, &value) < 0)
        return -1;
    if (value.type == VALUE_TEXT && value.text.n == 0)
        value.type = VALUE_NONE;
    if (filters_apply(&t->filters, f->arena, &value) < 0)
        return -1;
    if (value.type == VALUE_NONE)
        return needed ? -1 : 0;
    return store(t->member, &value, r);
}

/* ------------------------------------------------------------------ the layer */

static bool row_fits(const struct adapter_row *row, const struct json *body, const struct facts *f)
{
    if (row->given && !json_get(body, row->given))
        return false;
    if (row->lacking && json_get(body, row->lacking))
        return false;
    return !row->methods || (f->order && (row->methods & 1u << f->order->method));
}

static enum answer_class find_state(const struct adapter_rows *map, struct slice state,
                                    const struct json *body, const struct facts *f)
{
    for (uint32_t i = 0; i < map->n; i++)
        if (slice_eq(map->v[i].word, state) && row_fits(&map->v[i], body, f))
            return map->v[i].cls;
    return CLASS_UNKNOWN;
}

static int read_state(const struct adapter_trade *t, const struct json *body, const struct facts *f,
                      struct channel_result *r)
{
    struct slice state;

    if (!t->state) {
        r->cls = t->cls;
        r->code = slice_of(answer_class_name(t->cls));
        return 0;
    }
    state = json_str(body, t->state);
    if (state.n == 0 || state.n > 64 || !is_clean(state))
        return -1;
    r->cls = find_state(&t->map, state, body, f);
    r->code = state;
    return 0;
}

int trade_run(const struct adapter_trade *t, const struct json *body, const struct facts *f,
              struct channel_result *out, const char **code, const char **path)
{
    struct channel_result r = *out;

    *code = "mismatch";
    if (!checks_hold(t->checks, t->nchecks, body, f, path))
        return -1;
    *code = "parse";
    *path = t->state;
    if (read_state(t, body, f, &r) < 0)
        return -1;
    for (uint32_t i = 0; i < t->ntakes; i++) {
        *path = t->takes[i].path;
        if (take(&t->takes[i], body, f, &r) < 0)
            return -1;
    }
    for (uint32_t i = 0; i < t->nsets; i++) {
        struct value v = {.type = VALUE_TEXT, .text = t->sets[i].text};

        *path = "set";
        if (store(t->sets[i].member, &v, &r) < 0)
            return -1;
    }
    *path = "amount";
    if (r.cls == CLASS_SUCCESS && ((t->amount == MEMBER_AMOUNT && r.amount <= 0) ||
                                   (t->amount == MEMBER_REFUND_AMOUNT && r.refund_amount <= 0)))
        return -1;
    *out = r;
    return 0;
}
