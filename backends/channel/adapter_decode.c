/*
 * From the bytes of an answer to a class, from the most doubtful to the most certain: 5xx is never
 * more than unknown; a 2xx counts only when its signature is good; a whole answer is read by the
 * trade layer; everything else is looked up in the table of codes, where the status has to fit.
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
    const struct json *json; /* NULL: no body, or not JSON */
    bool malformed;          /* there is a body, and it is not a JSON object */
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

static void parse(struct answer *an)
{
    struct json_error why;

    if (an->body.n == 0)
        return;
    an->malformed = true;
    if (an->body.n > ADAPTER_BODY_MAX ||
        json_parse(an->facts.arena, an->body, NULL, &an->json, &why) < 0)
        an->json = NULL;
    else if (an->json->type == JSON_OBJECT)
        an->malformed = false;
    else
        an->json = NULL;
}

/* ------------------------------------------------------------------ answers that are not whole */

static struct slice error_code(const struct answer *an)
{
    const struct json *v = an->json ? json_get(an->json, an->adapter->errors.code) : NULL;

    return v && (v->type == JSON_STRING || v->type == JSON_NUMBER) ? v->text : SLICE_NULL;
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

static enum answer_class class_of_code(const struct answer *an, struct slice code)
{
    char text[CODE_MAX];
    struct slice normal = code_normal(code, an->adapter->errors.ignore, text);
    const struct adapter_rows *rows = &an->api->codes;

    for (uint32_t i = 0; i < rows->n && normal.n; i++) {
        if (slice_eq(rows->v[i].word, normal))
            return status_fits(&rows->v[i], an->status) ? rows->v[i].cls : CLASS_UNKNOWN;
    }
    return CLASS_UNKNOWN;
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
    say(out, an->status >= 500 ? CLASS_UNKNOWN : class_of_code(an, code), utf8_cut(code, CODE_MAX));
}

/* A 4xx without signature: whoever wrote it may be a proxy on the way. */
static void decode_unsigned(const struct answer *an, const char *why, struct channel_result *out)
{
    decode_error(an, out);
    if (an->status < 500 && (an->api->unsigned_believe & 1u << out->cls))
        return;
    out->cls = CLASS_UNKNOWN;
    if (out->message.n == 0)
        out->message = slice_of(why);
}

/* ------------------------------------------------------------------ whole answers */

static bool is_whole(const struct answer *an)
{
    const struct adapter_call *call = &an->api->call;
    const char *path;

    for (uint32_t i = 0; i < call->nstatus; i++) {
        if (call->status[i] != an->status)
            continue;
        if (call->no_body || !an->json)
            return call->no_body && an->body.n == 0;
        return checks_hold(call->checks, call->nchecks, an->json, &an->facts, &path);
    }
    return false;
}

static bool is_whole_status(const struct answer *an)
{
    const struct adapter_call *call = &an->api->call;

    for (uint32_t i = 0; i < call->nstatus; i++)
        if (call->status[i] == an->status)
            return true;
    return false;
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

static void decode(struct answer *an, enum signature signature, const char *why,
                   struct channel_result *out)
{
    bool success = an->status >= 200 && an->status <= 299;

    out->verified = signature == SIGNATURE_GOOD;
    if (signature == SIGNATURE_BAD || (success && signature != SIGNATURE_GOOD)) {
        say(out, CLASS_UNKNOWN, SLICE("signature"));
        out->message = slice_of(why);
        return;
    }
    if (!success && (an->status < 400 || an->status > 599)) {
        say_status(an, out);
        return;
    }
    parse(an);
    if (signature == SIGNATURE_GOOD)
        decode_verified(an, out);
    else
        decode_unsigned(an, why, out);
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
    enum signature signature;
    const char *why;

    *out = (struct channel_result){.cls = CLASS_UNKNOWN, .amount = -1};
    if (!an.api || a->channel != c) {
        out->code = SLICE("no such call");
        return;
    }
    signature = signer_verify(&c->adapter->verify, &an.facts, headers, nheaders, &why);
    decode(&an, signature, why, out);
    /* what was lost for lack of room might have changed the meaning */
    if (arena->failed)
        *out = (struct channel_result){
            .cls = CLASS_UNKNOWN, .amount = -1, .code = SLICE("out of memory")};
}
