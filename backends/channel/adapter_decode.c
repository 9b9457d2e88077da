/*
 * From the bytes of an answer to a class, from the most doubtful to the most certain: 5xx is never
 * more than unknown; only an answer whose signature is good is read by the trade layer; everything
 * else is looked up in the table of codes, where the status has to fit.
 */
#include "channel.h"

#include "account.h"
#include "compile.h"
#include "set.h"
#include "trade.h"

#define MESSAGE_MAX 256u

struct answer {
    const struct adapter *adapter;
    const struct adapter_api *api;
    struct facts facts;
    int status;
    struct slice body;
    const struct json *tree; /* of the whole body; NULL: none, or not in its encoding */
    const struct json *json; /* what is read: the tree, or the member inside */
    bool malformed;          /* there is a body, and it cannot be read */
};

static void say(struct channel_result *out, enum answer_class cls, struct slice code)
{
    out->cls = cls;
    out->code = code;
}

static void say_status(const struct answer *an, struct channel_result *out)
{
    say(out, CLASS_UNKNOWN, arena_printf(an->facts.arena, "HTTP %d", an->status));
}

static bool is_whole_status(const struct answer *an)
{
    const struct adapter_call *call = &an->api->call;

    for (uint32_t i = 0; i < call->nstatus; i++)
        if (call->status[i] == an->status)
            return true;
    return false;
}

static bool is_file(const struct answer *an)
{
    const struct adapter_call *call = &an->api->call;

    return call->file && is_whole_status(an) &&
           !(call->file_lead.n && slice_starts(an->body, call->file_lead));
}

/* The member of the API's name, or of errors; its bytes are what is signed. */
static void open_envelope(struct answer *an)
{
    const char *const names[] = {an->api->envelope, an->adapter->errors.envelope};

    an->malformed = true;
    for (size_t i = 0; i < 2; i++) {
        const struct json *inner = names[i] ? json_get(an->tree, names[i]) : NULL;

        if (!inner || inner->type != JSON_OBJECT)
            continue;
        an->facts.envelope = body_raw_member(an->body, names[i]);
        an->json = inner;
        an->malformed = false;
        return;
    }
}

static void parse(struct answer *an)
{
    size_t max = an->api->kind == CALL_BILL ? ADAPTER_BILL_MAX : ADAPTER_BODY_MAX;

    if (an->body.n == 0)
        return;
    an->malformed = true;
    if (an->body.n > max ||
        body_parse(an->adapter->decode, an->body, an->facts.arena, &an->tree) < 0) {
        an->tree = NULL;
        return;
    }
    if (an->api->envelope) {
        open_envelope(an);
        return;
    }
    an->json = an->tree;
    an->malformed = false;
}

/* ------------------------------------------------------------------ answers that are not whole */

static struct slice code_at(const struct answer *an, uint32_t i)
{
    const struct json *v = json_get(an->json, an->adapter->errors.code[i]);

    return v && (v->type == JSON_STRING || v->type == JSON_NUMBER) ? v->text : SLICE_NULL;
}

/* What people are shown: the first that is there. */
static struct slice error_code(const struct answer *an)
{
    struct slice code = SLICE_NULL;

    for (uint32_t i = 0; an->json && i < an->adapter->errors.ncode && code.n == 0; i++)
        code = code_at(an, i);
    return code;
}

static struct slice error_message(const struct answer *an)
{
    if (!an->json || !an->adapter->errors.message)
        return SLICE_NULL;
    return utf8_cut(json_str(an->json, an->adapter->errors.message), MESSAGE_MAX);
}

static bool status_fits(const struct adapter_row *row, int status)
{
    return row->status ? row->status == status : status >= 400 && status <= 499;
}

/* Is the code listed? *cls by the row whose status fits, `unknown` when none does. */
static bool find_code(const struct answer *an, struct slice code, enum answer_class *cls)
{
    char text[CODE_MAX];
    struct slice normal = code_normal(code, an->adapter->errors.ignore, text);
    const struct adapter_rows *rows = &an->api->codes;
    bool found = false;

    *cls = CLASS_UNKNOWN;
    for (uint32_t i = 0; i < rows->n && normal.n; i++) {
        if (!slice_eq(rows->v[i].word, normal))
            continue;
        found = true;
        if (status_fits(&rows->v[i], an->status)) {
            *cls = rows->v[i].cls;
            break;
        }
    }
    return found;
}

/* The first code that a row lists decides. */
static enum answer_class class_of_code(const struct answer *an)
{
    enum answer_class cls = CLASS_UNKNOWN;

    for (uint32_t i = 0; i < an->adapter->errors.ncode; i++)
        if (find_code(an, code_at(an, i), &cls))
            break;
    return cls;
}

static enum answer_class class_of_status(const struct answer *an)
{
    const struct adapter_rows *rows = &an->api->statuses;

    for (uint32_t i = 0; i < rows->n; i++)
        if (rows->v[i].status == an->status)
            return rows->v[i].cls;
    return CLASS_UNKNOWN;
}

/* By code, or by the status alone when the answer has none. */
static void decode_error(const struct answer *an, struct channel_result *out)
{
    struct slice code = error_code(an);

    out->message = error_message(an);
    if (code.n == 0) {
        say_status(an, out);
        if (!an->malformed)
            out->cls = class_of_status(an);
        return;
    }
    say(out, an->status >= 500 ? CLASS_UNKNOWN : class_of_code(an), utf8_cut(code, CODE_MAX));
}

/* An error without signature: whoever wrote it may be a proxy on the way. */
static void decode_unsigned(const struct answer *an, const char *why, struct channel_result *out)
{
    decode_error(an, out);
    if (an->status < 500 && (an->api->unsigned_believe & 1u << out->cls))
        return;
    if (an->status < 300)
        out->code = SLICE("signature");
    out->cls = CLASS_UNKNOWN;
    if (out->message.n == 0 || an->status < 300)
        out->message = slice_of(why);
}

/* ------------------------------------------------------------------ whole answers */

static bool is_whole(const struct answer *an)
{
    const struct adapter_call *call = &an->api->call;
    const char *path;

    if (!is_whole_status(an))
        return false;
    if (call->no_body || !an->json)
        return call->no_body && an->body.n == 0;
    return checks_hold(call->checks, call->nchecks, an->json, &an->facts, &path);
}

static void decode_verified(const struct answer *an, struct channel_result *out)
{
    const char *code, *path;

    if (is_whole(an)) {
        if (trade_run(&an->api->trade, an->json, &an->facts, out, &code, &path) < 0) {
            say(out, CLASS_UNKNOWN, slice_of(code));
            out->message = slice_of(path);
        }
        return;
    }
    decode_error(an, out);
    if (out->cls == CLASS_UNKNOWN && is_whole_status(an) && error_code(an).n == 0)
        out->code = SLICE("parse");
}

static void decode(struct answer *an, const struct http_header *headers, size_t nheaders,
                   struct channel_result *out)
{
    enum signature signature;
    const char *why;

    if (!is_file(an))
        parse(an);
    signature = signer_verify(&an->adapter->verify, &an->facts, headers, nheaders, an->tree, &why);
    out->verified = signature == SIGNATURE_GOOD;
    if (signature == SIGNATURE_BAD) {
        say(out, CLASS_UNKNOWN, SLICE("signature"));
        out->message = slice_of(why);
    } else if (is_file(an)) {
        say(out, CLASS_SUCCESS, SLICE("file"));
        out->bill = an->body;
    } else if (an->status < 200 || an->status > 599 || (an->status >= 300 && an->status <= 399)) {
        say_status(an, out);
    } else if (signature == SIGNATURE_GOOD) {
        decode_verified(an, out);
    } else {
        decode_unsigned(an, why, out);
    }
}

void channel_decode(const struct channel *c, const struct channel_account *a, enum call_kind kind,
                    const struct channel_order *order, int status,
                    const struct http_header *headers, size_t nheaders, struct slice body,
                    pay_time_t now, struct arena *arena, struct channel_result *out)
{
    struct answer an = {
        .adapter = c->adapter,
        .api = adapter_find_api(c->adapter, kind, order->method),
        .facts =
            {.channel = c, .account = a, .order = order, .now = now, .body = body, .arena = arena},
        .status = status,
        .body = body,
    };
    *out = (struct channel_result){
        .cls = CLASS_UNKNOWN, .about = kind, .amount = -1, .refund_amount = -1};
    if (!an.api || an.api->local || a->channel != c) {
        out->code = SLICE("no such call");
        return;
    }
    decode(&an, headers, nheaders, out);
    /* what was lost for lack of room might have changed the meaning */
    if (arena->failed)
        *out = (struct channel_result){.cls = CLASS_UNKNOWN,
                                       .about = kind,
                                       .amount = -1,
                                       .refund_amount = -1,
                                       .code = SLICE("out of memory")};
}
