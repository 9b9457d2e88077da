#include "compile.h"

#define APIS_MAX 32u

const struct conf_directive api_block_table[] = {
    {"kind", 1, 1, CONF_NEED, "prepare | query | close", "", "What the call asks for."},
    {"methods", 1, 8, 0, "METHOD ...", "any", "Payment methods it serves."},
    {"idempotent", 1, 1, 0, "on | off", "off",
     "The same call may be repeated without a second effect."},
    {"resend", 1, 1, 0, "same_number | never", "never",
     "A further attempt may go out with the same order number; needs idempotent."},
    {"request", 2, 2, CONF_NEED, "GET | POST TEMPLATE", "",
     "Path and query; values in it are percent-encoded."},
    {"send", 0, 0, CONF_BLOCK, "{ MEMBER SOURCE [FILTER ...] [optional]; ... }", "",
     "Members of the body in their order; a dotted name stands in an object."},
    {"recv", 0, 0, CONF_BLOCK | CONF_NEED, "{ ... }", "", "How the answer is read."},
    {"unsigned_errors", 2, 8, 0, "believe CLASS ...", "",
     "Classes that a 4xx answer without signature may have; others become unknown."},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

const struct conf_directive recv_table[] = {
    {"call", 0, 0, CONF_BLOCK | CONF_NEED, "{ ... }", "", "Which answers are whole."},
    {"trade", 0, 0, CONF_BLOCK | CONF_NEED, "{ ... }", "", "What a whole answer says."},
    {"map", 2, 3, CONF_REPEAT, "CODE CLASS [STATUS]", "",
     "A code of the other answers; goes before the row of errors."},
    {"status", 2, 2, CONF_REPEAT, "STATUS CLASS", "",
     "A status without code; goes before the row of errors."},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

const struct conf_directive call_table[] = {
    {"status", 1, CALL_STATUS_MAX, CONF_NEED, "STATUS ...", "", "2xx statuses of whole answers."},
    {"body", 1, 1, 0, "none", "", "A whole answer has no body."},
    {"check", 2, 8, CONF_REPEAT, "PATH SOURCE [FILTER ...] [optional]", "",
     "A whole answer has this member with this value."},
    {"absent", 1, 1, CONF_REPEAT, "PATH", "", "A whole answer does not have this member."},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

static int compile_call(struct compiler *cp, const struct conf_node *block,
                        struct adapter_call *out)
{
    const struct conf_node *status = conf_find(block->child, "status");
    const struct conf_node *body = conf_find(block->child, "body");

    if (conf_check(block, NULL, call_table, cp->err) < 0)
        return -1;
    for (uint32_t i = 0; i < status->nargs; i++) {
        if (compile_status(cp, status, status->args[i], 200, 299, &out->status[i]) < 0)
            return -1;
        out->nstatus++;
    }
    if (body && !slice_is(body->args[0], "none"))
        return conf_fail(cp->err, body, "expected none, not \"%.*s\"", SLICE_FMT(body->args[0]));
    out->no_body = body != NULL;
    if (compile_checks(cp, block, IN_ANSWER, &out->checks, &out->nchecks) < 0)
        return -1;
    if (body && out->nchecks)
        return conf_fail(cp->err, body, "an answer without body has nothing to check");
    return 0;
}

/* A query must be about the order that was asked for, whatever came back. */
static bool checks_number(const struct adapter_trade *t)
{
    for (uint32_t i = 0; i < t->nchecks; i++)
        if (t->checks[i].want.source.id == SOURCE_REQUEST_NO && !t->checks[i].absent &&
            !t->checks[i].want.optional)
            return true;
    return false;
}

static int check_outcomes(struct compiler *cp, const struct conf_node *block,
                          const struct adapter_api *api)
{
    const struct adapter_trade *t = &api->trade;
    uint32_t classes = t->state ? 0 : 1u << t->cls;

    for (uint32_t i = 0; i < t->map.n; i++)
        classes |= 1u << t->map.v[i].cls;
    if ((classes & 1u << CLASS_SUCCESS) && api->kind != CALL_QUERY)
        return conf_fail(cp->err, block, "only a query or a notification can say success");
    if (api->kind == CALL_QUERY && !checks_number(t))
        return conf_fail(cp->err, block, "a query must check a member against $order.request_no");
    if (api->call.no_body && (t->state || t->nchecks || t->ntakes))
        return conf_fail(cp->err, block, "an answer without body has only a class");
    return 0;
}

static int compile_recv(struct compiler *cp, const struct conf_node *block, struct adapter_api *api)
{
    const struct conf_node *trade = conf_find(block->child, "trade");

    if (conf_check(block, NULL, recv_table, cp->err) < 0 ||
        compile_call(cp, conf_find(block->child, "call"), &api->call) < 0 ||
        compile_trade(cp, trade, IN_ANSWER, &api->trade) < 0 || check_outcomes(cp, trade, api) < 0)
        return -1;
    return compile_api_codes(cp, block, api);
}

static int compile_methods(struct compiler *cp, const struct conf_node *at, struct adapter_api *api)
{
    for (uint32_t i = 0; at && i < at->nargs; i++) {
        int m = payment_method_parse(at->args[i]);

        if (m <= METHOD_NONE)
            return conf_fail(cp->err, at, "\"%.*s\" is no payment method", SLICE_FMT(at->args[i]));
        api->methods |= 1u << m;
    }
    return 0;
}

static int compile_repeat(struct compiler *cp, const struct conf_node *block,
                          struct adapter_api *api)
{
    const struct conf_node *idempotent = conf_find(block->child, "idempotent");
    const struct conf_node *resend = conf_find(block->child, "resend");

    if (idempotent && conf_onoff(idempotent->args[0], &api->idempotent) < 0)
        return conf_fail(cp->err, idempotent, "expected on or off, not \"%.*s\"",
                         SLICE_FMT(idempotent->args[0]));
    if (!resend || slice_is(resend->args[0], "never"))
        return 0;
    if (!slice_is(resend->args[0], "same_number"))
        return conf_fail(cp->err, resend, "expected same_number or never, not \"%.*s\"",
                         SLICE_FMT(resend->args[0]));
    if (!api->idempotent)
        return conf_fail(cp->err, resend, "only an idempotent call can be sent again");
    api->resend = true;
    return 0;
}

static int compile_unsigned(struct compiler *cp, const struct conf_node *at,
                            struct adapter_api *api)
{
    if (!at)
        return 0;
    if (!slice_is(at->args[0], "believe"))
        return conf_fail(cp->err, at, "expected believe, not \"%.*s\"", SLICE_FMT(at->args[0]));
    for (uint32_t i = 1; i < at->nargs; i++) {
        enum answer_class c;

        if (compile_class(cp, at, at->args[i], &c) < 0)
            return -1;
        if (c == CLASS_SUCCESS || c == CLASS_ACCEPTED || c == CLASS_USER_PAYING)
            return conf_fail(cp->err, at, "%s is never believed without a signature",
                             answer_class_name(c));
        api->unsigned_believe |= 1u << c;
    }
    return 0;
}

static int compile_request(struct compiler *cp, const struct conf_node *at, struct adapter_api *api)
{
    api->verb = at->args[0];
    if (!slice_is(api->verb, "GET") && !slice_is(api->verb, "POST"))
        return conf_fail(cp->err, at, "expected GET or POST, not \"%.*s\"", SLICE_FMT(api->verb));
    if (at->args[1].n == 0 || at->args[1].p[0] != '/')
        return conf_fail(cp->err, at, "expected a path that begins with \"/\"");
    if (compile_printable(cp, at, at->args[1], '!') < 0)
        return -1;
    return template_compile(cp, at, at->args[1], IN_SEND, &api->target);
}

static int compile_api(struct compiler *cp, const struct conf_node *block, struct adapter_api *api)
{
    const struct conf_node *kind, *send;
    int k;

    if (conf_check(block, NULL, api_block_table, cp->err) < 0)
        return -1;
    kind = conf_find(block->child, "kind");
    send = conf_find(block->child, "send");
    k = call_kind_parse(kind->args[0]);
    if (k <= CALL_NONE)
        return conf_fail(cp->err, kind, "expected prepare, query or close, not \"%.*s\"",
                         SLICE_FMT(kind->args[0]));
    api->kind = (enum call_kind)k;
    api->name = adapter_cstr(cp, block->args[0]);
    if (!api->name)
        return adapter_no_memory(cp);
    if (compile_methods(cp, conf_find(block->child, "methods"), api) < 0 ||
        compile_repeat(cp, block, api) < 0 ||
        compile_request(cp, conf_find(block->child, "request"), api) < 0 ||
        compile_unsigned(cp, conf_find(block->child, "unsigned_errors"), api) < 0)
        return -1;
    if (send && slice_is(api->verb, "GET"))
        return conf_fail(cp->err, send, "a GET has no body");
    if (send && compile_send(cp, send, api) < 0)
        return -1;
    return compile_recv(cp, conf_find(block->child, "recv"), api);
}

/* Enters the API into the table from kind and method to API. */
static int enter(struct compiler *cp, const struct conf_node *block, uint32_t index)
{
    struct adapter *ad = cp->adapter;
    const struct adapter_api *api = &ad->apis[index];

    for (uint32_t i = 0; i < index; i++)
        if (slice_is(block->args[0], ad->apis[i].name))
            return conf_fail(cp->err, block, "api %s is repeated", api->name);
    for (uint32_t m = 0; m < PAYMENT_METHOD_COUNT; m++) {
        uint8_t *slot = &ad->api_of[api->kind][m];

        if (api->methods && !(api->methods & 1u << m))
            continue;
        if (*slot)
            return conf_fail(cp->err, block, "%s of %s is already done by api %s",
                             call_kind_name(api->kind),
                             m ? payment_method_name((enum payment_method)m) : "any method",
                             ad->apis[*slot - 1].name);
        *slot = (uint8_t)(index + 1);
    }
    return 0;
}

int compile_apis(struct compiler *cp, const struct conf_node *first)
{
    struct adapter *ad = cp->adapter;
    struct adapter_api *apis = arena_array(cp->arena, struct adapter_api, APIS_MAX);

    if (!apis)
        return adapter_no_memory(cp);
    ad->apis = apis;
    for (const struct conf_node *d = first; d; d = d->next) {
        if (!slice_is(d->name, "api"))
            continue;
        if (ad->napis == APIS_MAX)
            return conf_fail(cp->err, d, "more than %u APIs", APIS_MAX);
        if (compile_api(cp, d, &apis[ad->napis]) < 0 || enter(cp, d, ad->napis) < 0)
            return -1;
        ad->napis++;
    }
    return 0;
}
