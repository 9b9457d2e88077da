#include "source.h"

#include "account.h"
#include "set.h"

#define ACCOUNT_PREFIX "account."

struct source_row {
    const char *name;
    enum value_type type;
    unsigned scopes;
};

static const struct source_row rows[SOURCE_COUNT] = {[SOURCE_LITERAL] = {NULL, VALUE_TEXT, 0},
                                                     [SOURCE_ACCOUNT] = {NULL, VALUE_TEXT, 0},
#define X(id, text, value_type, scopes, help) [SOURCE_##id] = {text, value_type, scopes},
                                                     SOURCE_TABLE(X)
#undef X
};

const char *source_name(size_t i)
{
    return i + SOURCE_ACCOUNT + 1 < SOURCE_COUNT ? rows[i + SOURCE_ACCOUNT + 1].name : NULL;
}

enum value_type source_type(const struct source *s)
{
    return rows[s->id].type;
}

static int account_source(struct compiler *cp, const struct conf_node *at, struct slice name,
                          struct source *out)
{
    for (uint32_t i = 0; i < cp->adapter->nvalues; i++) {
        if (!slice_is(name, cp->adapter->values[i].name))
            continue;
        *out = (struct source){.id = SOURCE_ACCOUNT, .index = (uint8_t)i};
        return 0;
    }
    return conf_fail(cp->err, at, "\"$account.%.*s\": no such value in the account block",
                     SLICE_FMT(name));
}

/* name without the $ */
static int named_source(struct compiler *cp, const struct conf_node *at, struct slice name,
                        unsigned scope, struct source *out)
{
    if (slice_starts(name, SLICE(ACCOUNT_PREFIX)))
        return account_source(
            cp, at,
            slice_n(name.p + sizeof(ACCOUNT_PREFIX) - 1, name.n - (sizeof(ACCOUNT_PREFIX) - 1)),
            out);
    for (int id = SOURCE_ACCOUNT + 1; id < SOURCE_COUNT; id++) {
        if (!slice_is(name, rows[id].name))
            continue;
        if (!(rows[id].scopes & scope))
            return conf_fail(cp->err, at, "\"$%.*s\" is not known here", SLICE_FMT(name));
        cp->adapter->uses_notify_url |= id == SOURCE_NOTIFY_URL;
        cp->adapter->uses_endpoint |= id == SOURCE_ENDPOINT;
        *out = (struct source){.id = (uint8_t)id};
        return 0;
    }
    return conf_fail(cp->err, at, "\"$%.*s\": no such source", SLICE_FMT(name));
}

int source_compile(struct compiler *cp, const struct conf_node *at, struct slice word,
                   unsigned scope, struct source *out)
{
    if (word.n > 0 && word.p[0] == '$')
        return named_source(cp, at, slice_n(word.p + 1, word.n - 1), scope, out);
    *out = (struct source){.id = SOURCE_LITERAL, .literal = word};
    return 0;
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

/* Takes "name" or "{name}" (the $ is gone) off the front of *rest. */
static struct slice cut_name(struct slice *rest)
{
    bool braces = rest->n > 0 && rest->p[0] == '{';
    size_t from = braces ? 1 : 0;
    size_t to = from;
    struct slice name;

    while (to < rest->n && is_name(rest->p[to]))
        to++;
    if (braces && (to == rest->n || rest->p[to] != '}'))
        return SLICE_NULL;
    name = slice_n(rest->p + from, to - from);
    to += braces ? 1 : 0;
    *rest = slice_n(rest->p + to, rest->n - to);
    return name;
}

/* Takes the next piece off the front of *rest. */
static int next_part(struct compiler *cp, const struct conf_node *at, struct slice *rest,
                     unsigned scope, struct source *out)
{
    const char *dollar = memchr(rest->p, '$', rest->n);
    struct slice name;

    if (dollar != rest->p) {
        size_t n = dollar ? (size_t)(dollar - rest->p) : rest->n;

        *out = (struct source){.id = SOURCE_LITERAL, .literal = slice_n(rest->p, n)};
        *rest = slice_n(rest->p + n, rest->n - n);
        return 0;
    }
    *rest = slice_n(rest->p + 1, rest->n - 1);
    name = cut_name(rest);
    if (name.n == 0)
        return conf_fail(cp->err, at, "expected a name behind \"$\"");
    if (named_source(cp, at, name, scope, out) < 0)
        return -1;
    if (source_type(out) != VALUE_TEXT)
        return conf_fail(cp->err, at, "\"$%.*s\" is not text", SLICE_FMT(name));
    return 0;
}

int template_compile(struct compiler *cp, const struct conf_node *at, struct slice word,
                     unsigned scope, struct text_template *out)
{
    struct source parts[TEMPLATE_PARTS_MAX];
    struct source *copy;
    uint32_t n = 0;

    for (struct slice rest = word; rest.n > 0; n++) {
        if (n == TEMPLATE_PARTS_MAX)
            return conf_fail(cp->err, at, "more than %u parts", TEMPLATE_PARTS_MAX);
        if (next_part(cp, at, &rest, scope, &parts[n]) < 0)
            return -1;
    }
    copy = arena_array(cp->arena, struct source, n);
    if (!copy)
        return adapter_no_memory(cp);
    memcpy(copy, parts, n * sizeof(*parts));
    *out = (struct text_template){copy, n};
    return 0;
}

/* ------------------------------------------------------------------ reading */

static void set_text(struct value *v, struct slice s)
{
    *v = (struct value){.type = s.n ? VALUE_TEXT : VALUE_NONE, .text = s};
}

static void set_time(struct value *v, pay_time_t t)
{
    *v = (struct value){.type = t > 0 ? VALUE_TIME : VALUE_NONE, .num = t};
}

static void read_refund(enum source_id id, const struct channel_order *o, struct value *v)
{
    switch (id) {
    case SOURCE_REFUND_NO:
        set_text(v, o->refund_no);
        break;
    case SOURCE_REFUND_AMOUNT:
        *v = (struct value){.type = VALUE_INT, .num = o->refund_amount};
        break;
    case SOURCE_REFUND_REASON:
        set_text(v, o->refund_reason);
        break;
    case SOURCE_REFUND_CREATED_AT:
        set_time(v, o->refund_created_at);
        break;
    case SOURCE_BILL_DAY:
        set_time(v, o->bill_day);
        break;
    case SOURCE_BILL_TARGET:
        set_text(v, o->download.target);
        break;
    default:
        break;
    }
}

static void read_order(enum source_id id, const struct channel_order *o, struct value *v)
{
    switch (id) {
    case SOURCE_REQUEST_NO:
        set_text(v, o->request_no);
        break;
    case SOURCE_CHANNEL_TRADE_NO:
        set_text(v, o->channel_trade_no);
        break;
    case SOURCE_METHOD:
        set_text(v, slice_of(payment_method_name(o->method)));
        break;
    case SOURCE_AMOUNT:
        *v = (struct value){.type = VALUE_INT, .num = o->amount};
        break;
    case SOURCE_CURRENCY:
        set_text(v, o->currency);
        break;
    case SOURCE_DESCRIPTION:
        set_text(v, o->description);
        break;
    case SOURCE_ATTACH:
        set_text(v, o->attach);
        break;
    case SOURCE_PAYER_IP:
        set_text(v, o->payer_ip);
        break;
    case SOURCE_PAYER_ID:
        set_text(v, o->payer_id);
        break;
    case SOURCE_AUTH_CODE:
        set_text(v, o->auth_code);
        break;
    case SOURCE_RETURN_URL:
        set_text(v, o->return_url);
        break;
    case SOURCE_STORE_ID:
        set_text(v, o->store_id);
        break;
    case SOURCE_TERMINAL_ID:
        set_text(v, o->terminal_id);
        break;
    case SOURCE_CREATED_AT:
        set_time(v, o->created_at);
        break;
    case SOURCE_TIME_EXPIRE:
        set_time(v, o->time_expire);
        break;
    case SOURCE_PREPAY:
        set_text(v, o->prepay);
        break;
    default:
        read_refund(id, o, v);
    }
}

/* Minutes that are left; at least one, for no channel takes none. */
static void set_minutes_left(struct value *v, const struct facts *f)
{
    int64_t minutes;

    if (!f->order || !f->order->time_expire)
        return;
    minutes = (f->order->time_expire - f->now) / (60 * USEC_PER_SEC);
    *v = (struct value){.type = VALUE_INT, .num = minutes < 1 ? 1 : minutes};
}

static void set_date(struct value *v, const struct facts *f, bool marks)
{
    char *text;

    if (!f->order || !f->order->bill_day)
        return;
    text = arena_alloc(f->arena, TIME_WALL_LEN + 1);
    if (!text)
        return;
    time_format_wall(text, f->order->bill_day, marks);
    set_text(v, slice_n(text, marks ? 10 : 8));
}

void source_read(const struct source *s, const struct facts *f, struct value *out)
{
    *out = (struct value){.type = VALUE_NONE};
    switch ((enum source_id)s->id) {
    case SOURCE_LITERAL:
        *out = (struct value){.type = VALUE_TEXT, .text = s->literal};
        break;
    case SOURCE_ACCOUNT:
        set_text(out, f->account->values[s->index]);
        break;
    case SOURCE_CHANNEL_NAME:
        set_text(out, f->channel->facts.name);
        break;
    case SOURCE_ENDPOINT:
        set_text(out, f->channel->endpoint);
        break;
    case SOURCE_NOTIFY_URL:
        set_text(out, f->account->notify_url);
        break;
    case SOURCE_BILL_DATE:
        set_date(out, f, true);
        break;
    case SOURCE_BILL_NUMBER:
        set_date(out, f, false);
        break;
    case SOURCE_EXPIRES_IN:
        set_minutes_left(out, f);
        break;
    case SOURCE_SORTED:
        set_text(out, f->sorted);
        break;
    case SOURCE_ENVELOPE:
        set_text(out, f->envelope);
        break;
    case SOURCE_KEY:
        set_text(out, f->key);
        break;
    case SOURCE_NOW:
        set_time(out, f->now);
        break;
    case SOURCE_NONCE:
        set_text(out, f->nonce);
        break;
    case SOURCE_HTTP_METHOD:
        set_text(out, f->method);
        break;
    case SOURCE_TARGET:
        set_text(out, f->target);
        break;
    case SOURCE_TIMESTAMP:
        set_text(out, f->timestamp);
        break;
    case SOURCE_BODY:
        set_text(out, f->body);
        break;
    case SOURCE_SERIAL:
        set_text(out, f->serial);
        break;
    case SOURCE_SIGNATURE:
        set_text(out, f->signature);
        break;
    default:
        if (f->order)
            read_order((enum source_id)s->id, f->order, out);
    }
}

struct slice source_text(const struct source *s, const struct facts *f)
{
    struct value v;

    if (s->id == SOURCE_LITERAL)
        return s->literal;
    source_read(s, f, &v);
    return v.type == VALUE_TEXT ? v.text : SLICE_NULL;
}

struct buf arena_buf(struct arena *a, size_t n)
{
    /* one byte more than alloc, as buf_grow does it */
    char *p = arena_alloc(a, n + 1);

    return (struct buf){.p = p, .alloc = n, .cap = p ? n : 0, .failed = !p};
}

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

/* RFC 3986: everything but the unreserved characters. */
void percent_encode(struct buf *b, struct slice s)
{
    static const char digits[] = "0123456789ABCDEF";
    char *to = buf_reserve(b, 3 * s.n);
    size_t n = 0;

    if (!to)
        return;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (is_unreserved(s.p[i])) {
            to[n++] = s.p[i];
        } else {
            to[n++] = '%';
            to[n++] = digits[c >> 4];
            to[n++] = digits[c & 15];
        }
    }
    b->n += n;
}

/* Text of the adapter's, or an address that is encoded already. */
static bool is_raw(const struct source *s)
{
    return s->id == SOURCE_LITERAL || s->id == SOURCE_BILL_TARGET;
}

struct slice template_render(const struct text_template *t, const struct facts *f, bool percent)
{
    struct slice parts[TEMPLATE_PARTS_MAX];
    size_t n = 0;
    struct buf b;

    for (uint32_t i = 0; i < t->n; i++) {
        parts[i] = source_text(&t->parts[i], f);
        n += percent ? 3 * parts[i].n : parts[i].n;
    }
    if (t->n == 1 && (!percent || is_raw(&t->parts[0])))
        return parts[0];
    b = arena_buf(f->arena, n);
    for (uint32_t i = 0; i < t->n; i++) {
        if (percent && !is_raw(&t->parts[i]))
            percent_encode(&b, parts[i]);
        else
            buf_add_slice(&b, parts[i]);
    }
    return buf_ok(&b) ? buf_slice(&b) : SLICE_NULL;
}
