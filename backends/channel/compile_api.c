#include "compile.h"

#define SLA_MS     5000
#define WINDOW_MAX (800LL * 24 * 3600 * 1000)
#define KIND_WORDS "prepare, charge, query, close, reverse, refund, refund_query, bill or download"

const struct conf_directive api_block_table[] = {
    {"kind", 1, 1, CONF_NEED,
     "prepare | charge | query | close | reverse | refund | refund_query | bill | download", "",
     "What the call asks for."},
    {"methods", 1, 8, 0, "METHOD ...", "any", "Payment methods it serves."},
    {"idempotent", 1, 1, 0, "on | off", "off",
     "The same call may be repeated without a second effect."},
    {"resend", 1, 1, 0, "same_number | never", "never",
     "A further attempt may go out with the same order number; needs idempotent."},
    {"sla", 1, 1, 0, "TIME", "5s", "Within which an answer is on time."},
    {"earliest", 1, 1, 0, "TIME", "0s", "Not called sooner after the payment was sent."},
    {"window", 1, 1, 0, "TIME | same_day", "",
     "Not called later after the payment; same_day: its day in China."},
    {"local", 1, 1, 0, "on | off", "off",
     "Nothing is sent: present makes what the payer takes to the channel."},
    {"sign", 1, 1, 0, "on | off", "on", "off: this request carries no signature."},
    {"tls_certificate", 1, 1, 0, "on | off", "off",
     "on: the channel wants our TLS certificate here; channel check looks for it in the block."},
    {"request", 2, 2, 0, "GET | POST TEMPLATE", "",
     "Path and query; values in it are percent-encoded."},
    {"host", 1, 1, 0, "HOST", "", "Goes there instead of the channel's endpoint."},
    {"send", 0, 0, CONF_BLOCK, "{ MEMBER SOURCE [FILTER ...] [optional]; ... }", "",
     "Members of the body in their order; a dotted name stands in an object."},
    {"recv", 0, 0, CONF_BLOCK, "{ ... }", "", "How the answer is read."},
    {"unsigned_errors", 2, 8, 0, "believe CLASS ...", "",
     "Classes that an error without signature may have; others become unknown."},
    {"present", 0, 0, CONF_BLOCK, "{ ... }", "", "What the payer gets to pay the prepared order."},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

const struct conf_directive recv_table[] = {
    {"envelope", 1, 1, 0, "MEMBER", "", "The answer is inside this member of the body."},
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
    {"body", 1, 2, 0, "none | file [LEAD]", "",
     "A whole answer has no body; or is a file that need not be signed, unless it begins with "
     "LEAD."},
    {"check", 2, 8, CONF_REPEAT, "PATH SOURCE [FILTER ...] [optional]", "",
     "A whole answer has this member with this value."},
    {"absent", 1, 1, CONF_REPEAT, "PATH", "", "A whole answer does not have this member."},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

static int compile_call_body(struct compiler *cp, const struct conf_node *at,
                             const struct adapter_api *api, struct adapter_call *out)
{
    if (!at)
        return 0;
    if (slice_is(at->args[0], "none") && at->nargs == 1) {
        out->no_body = true;
        return out->nchecks ? conf_fail(cp->err, at, "an answer without body has nothing to check")
                            : 0;
    }
    if (!slice_is(at->args[0], "file"))
        return conf_fail(cp->err, at, "expected none or file [LEAD], not \"%.*s\"",
                         SLICE_FMT(at->args[0]));
    if (api->kind != CALL_BILL && api->kind != CALL_DOWNLOAD)
        return conf_fail(cp->err, at, "only a bill or download can answer with a file");
    out->file = true;
    if (at->nargs == 2)
        out->file_lead = at->args[1];
    return 0;
}

static int compile_call(struct compiler *cp, struct conf_node *block, const struct adapter_api *api,
                        struct adapter_call *out)
{
    const struct conf_node *status;

    if (compile_table(cp, block, call_table) < 0)
        return -1;
    status = conf_find(block->child, "status");
    for (uint32_t i = 0; i < status->nargs; i++) {
        if (compile_failed(cp,
                           compile_status(cp, status, status->args[i], 200, 299, &out->status[i])))
            return -1;
        out->nstatus++;
    }
    if (compile_failed(cp, compile_checks(cp, block, IN_ANSWER, &out->checks, &out->nchecks)))
        return -1;
    return compile_call_body(cp, conf_find(block->child, "body"), api, out);
}

/* Is there a check against this source that always counts? */
static bool checks_source(const struct adapter_trade *t, enum source_id id)
{
    for (uint32_t i = 0; i < t->nchecks; i++)
        if (t->checks[i].want.source.id == id && !t->checks[i].absent &&
            !t->checks[i].want.optional)
            return true;
    return false;
}

/* A query must be about what was asked for, whatever came back. */
static int check_numbers(struct compiler *cp, const struct conf_node *block,
                         const struct adapter_api *api, bool succeeds)
{
    if ((api->kind == CALL_QUERY || (api->kind == CALL_CHARGE && succeeds)) &&
        !checks_source(&api->trade, SOURCE_REQUEST_NO))
        return conf_fail(cp->err, block, "a %s must check a member against $order.request_no",
                         call_kind_name(api->kind));
    if (api->kind == CALL_REFUND_QUERY && !checks_source(&api->trade, SOURCE_REFUND_NO))
        return conf_fail(cp->err, block, "a refund_query must check a member against $refund.no");
    return 0;
}

static int check_outcomes(struct compiler *cp, const struct conf_node *block,
                          const struct adapter_api *api)
{
    const struct adapter_trade *t = &api->trade;
    uint32_t classes = t->state ? 0 : 1u << t->cls;
    bool succeeds;

    for (uint32_t i = 0; i < t->map.n; i++)
        classes |= 1u << t->map.v[i].cls;
    succeeds = classes & 1u << CLASS_SUCCESS;
    if (succeeds && (api->kind == CALL_PREPARE || api->kind == CALL_CLOSE))
        return conf_fail(cp->err, block, "a %s cannot say success", call_kind_name(api->kind));
    if ((api->call.no_body || api->call.file) && (t->state || t->nchecks || t->ntakes))
        return conf_fail(cp->err, block, "an answer without body has only a class");
    return check_numbers(cp, block, api, succeeds);
}

static int compile_recv(struct compiler *cp, struct conf_node *block, struct adapter_api *api)
{
    struct conf_node *call, *trade;
    const struct conf_node *envelope;
    uint32_t before = cp->mistakes;
    int rc = compile_table(cp, block, recv_table);

    if (compile_failed(cp, rc))
        return -1;
    call = compile_block(block->child, "call");
    trade = compile_block(block->child, "trade");
    envelope = conf_find(block->child, "envelope");
    api->envelope = envelope ? compile_path(cp, envelope, envelope->args[0]) : NULL;
    if (compile_failed(cp, envelope && !api->envelope ? -1 : 0) ||
        compile_failed(cp, call ? compile_call(cp, call, api, &api->call) : 0) ||
        compile_failed(cp, trade ? compile_trade(cp, trade, IN_ANSWER, api->kind, &api->trade) : 0))
        return -1;
    if (cp->mistakes == before && compile_failed(cp, check_outcomes(cp, trade, api)))
        return -1;
    return compile_api_codes(cp, block, api);
}

int compile_methods(struct compiler *cp, const struct conf_node *at, uint32_t *methods)
{
    for (uint32_t i = 0; at && i < at->nargs; i++) {
        int m = payment_method_parse(at->args[i]);

        if (m <= METHOD_NONE)
            return conf_fail(cp->err, at, "\"%.*s\" is no payment method", SLICE_FMT(at->args[i]));
        *methods |= 1u << m;
    }
    return 0;
}

int compile_switch(struct compiler *cp, const struct conf_node *at, bool *out)
{
    if (at && conf_onoff(at->args[0], out) < 0)
        return conf_fail(cp->err, at, "expected on or off, not \"%.*s\"", SLICE_FMT(at->args[0]));
    return 0;
}

static int compile_repeat(struct compiler *cp, const struct conf_node *block,
                          struct adapter_api *api)
{
    const struct conf_node *idempotent = conf_find(block->child, "idempotent");
    const struct conf_node *resend = conf_find(block->child, "resend");

    if (compile_switch(cp, idempotent, &api->idempotent) < 0)
        return -1;
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

/* "5s", at most `max` milliseconds. */
static int compile_time(struct compiler *cp, const struct conf_node *at, int64_t max, int64_t *us)
{
    int64_t ms;

    if (!at)
        return 0;
    if (conf_duration_ms(at->args[0], &ms) < 0 || ms > max)
        return conf_fail(cp->err, at, "expected a time of at most %llds such as 5s, not \"%.*s\"",
                         (long long)(max / 1000), SLICE_FMT(at->args[0]));
    *us = ms * USEC_PER_MSEC;
    return 0;
}

static int compile_times(struct compiler *cp, const struct conf_node *block,
                         struct adapter_api *api)
{
    const struct conf_node *window = conf_find(block->child, "window");

    api->sla_us = SLA_MS * USEC_PER_MSEC;
    if (compile_failed(cp, compile_time(cp, conf_find(block->child, "sla"), 40000, &api->sla_us)) ||
        compile_failed(cp, compile_time(cp, conf_find(block->child, "earliest"), 3600 * 1000,
                                        &api->earliest_us)))
        return -1;
    api->same_day = window && slice_is(window->args[0], "same_day");
    return api->same_day ? 0 : compile_time(cp, window, WINDOW_MAX, &api->window_us);
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
    bool address = slice_is(at->args[1], "$bill.target");

    api->verb = at->args[0];
    if (!slice_is(api->verb, "GET") && !slice_is(api->verb, "POST"))
        return conf_fail(cp->err, at, "expected GET or POST, not \"%.*s\"", SLICE_FMT(api->verb));
    if ((at->args[1].n == 0 || at->args[1].p[0] != '/') && !address)
        return conf_fail(cp->err, at, "expected a path that begins with \"/\"");
    if (compile_printable(cp, at, at->args[1], '!') < 0)
        return -1;
    return template_compile(cp, at, at->args[1], IN_SEND, &api->target);
}

static int check_signature(struct compiler *cp, const struct conf_node *block,
                           const struct adapter_api *api)
{
    const struct adapter_message *m = &api->message;
    bool member = cp->adapter->sign.member && !api->is_unsigned;

    if (member && !api->has_body)
        return conf_fail(cp->err, block, "the signature is a member of the body: expected send");
    for (uint32_t i = 0; member && m->encoding == ENCODING_JSON && i < m->nmembers; i++)
        if (m->members[i].object)
            return conf_fail(cp->err, block, "$sorted needs flat members, not \"%.*s\"",
                             SLICE_FMT(m->members[i].key));
    return 0;
}

/* An API that sends nothing has nothing of a call. */
static int compile_local(struct compiler *cp, struct conf_node *block, struct adapter_api *api)
{
    static const char *const none[] = {"request", "send", "recv"};

    for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
        const struct conf_node *at = conf_find(block->child, none[i]);

        if (at)
            return conf_fail(cp->err, at, "a local api has no %s", none[i]);
    }
    if (api->kind != CALL_PREPARE)
        return conf_fail(cp->err, block, "only a prepare can be local");
    return api->present.present
               ? 0
               : conf_fail(cp->err, block, "\"present\" is missing in block \"api\"");
}

static int compile_host(struct compiler *cp, const struct conf_node *at, struct adapter_api *api)
{
    if (!at)
        return 0;
    api->host = at->args[0];
    return compile_printable(cp, at, at->args[0], '!');
}

static int compile_remote(struct compiler *cp, struct conf_node *block, struct adapter_api *api)
{
    const struct conf_node *request = conf_find(block->child, "request");
    const struct conf_node *send = conf_find(block->child, "send");
    struct conf_node *recv = compile_block(block->child, "recv");

    if (!request || !recv) {
        if (compile_failed(cp, conf_fail(cp->err, block, "\"%s\" is missing in block \"api\"",
                                         request ? "recv" : "request")))
            return -1;
    }
    if ((request && compile_failed(cp, compile_request(cp, request, api))) ||
        compile_failed(cp, compile_host(cp, conf_find(block->child, "host"), api)))
        return -1;
    if (compile_failed(cp, compile_unsigned(cp, conf_find(block->child, "unsigned_errors"), api)))
        return -1;
    if (send && slice_is(api->verb, "GET") &&
        compile_failed(cp, conf_fail(cp->err, send, "a GET has no body")))
        return -1;
    api->has_body = send != NULL;
    if (send &&
        compile_failed(cp, compile_send(cp, cp->common, send, cp->adapter->encode, &api->message)))
        return -1;
    if (compile_failed(cp, check_signature(cp, block, api)))
        return -1;
    return recv ? compile_recv(cp, recv, api) : 0;
}

static int compile_kind(struct compiler *cp, const struct conf_node *at, struct adapter_api *api)
{
    int k = at ? call_kind_parse(at->args[0]) : CALL_QUERY;

    if (k <= CALL_NONE)
        return conf_fail(cp->err, at, "expected " KIND_WORDS ", not \"%.*s\"",
                         SLICE_FMT(at->args[0]));
    api->kind = (enum call_kind)k;
    return 0;
}

static int compile_api(struct compiler *cp, struct conf_node *block, struct adapter_api *api)
{
    struct conf_node *present;
    bool sign = true;

    api->name = adapter_cstr(cp, block->args[0]);
    if (!api->name)
        return adapter_no_memory(cp);
    if (compile_failed(cp, compile_table(cp, block, api_block_table)) ||
        compile_failed(cp, compile_kind(cp, conf_find(block->child, "kind"), api)) ||
        compile_failed(cp,
                       compile_methods(cp, conf_find(block->child, "methods"), &api->methods)) ||
        compile_failed(cp, compile_repeat(cp, block, api)) ||
        compile_failed(cp, compile_times(cp, block, api)) ||
        compile_failed(cp, compile_switch(cp, conf_find(block->child, "local"), &api->local)) ||
        compile_failed(cp, compile_switch(cp, conf_find(block->child, "tls_certificate"),
                                          &api->tls_certificate)) ||
        compile_failed(cp, compile_switch(cp, conf_find(block->child, "sign"), &sign)))
        return -1;
    api->is_unsigned = !sign;
    present = compile_block(block->child, "present");
    if (present && compile_failed(cp, compile_present(cp, present, &api->present)))
        return -1;
    return api->local ? compile_local(cp, block, api) : compile_remote(cp, block, api);
}

/* Enters the API into the table from kind and method to API. */
static int enter(struct compiler *cp, const struct conf_node *block, uint32_t index)
{
    struct adapter *ad = cp->adapter;
    const struct adapter_api *api = &ad->apis[index];

    for (uint32_t i = 0; i < index; i++)
        if (ad->apis[i].name && slice_is(block->args[0], ad->apis[i].name))
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

int compile_apis(struct compiler *cp, struct conf_node *first)
{
    struct adapter *ad = cp->adapter;
    struct adapter_api *apis = arena_array(cp->arena, struct adapter_api, ADAPTER_APIS_MAX);

    if (!apis)
        return adapter_no_memory(cp);
    ad->apis = apis;
    for (struct conf_node *d = first; d; d = d->next) {
        uint32_t before = cp->mistakes;

        if (!slice_is(d->name, "api"))
            continue;
        if (ad->napis == ADAPTER_APIS_MAX)
            return conf_fail(cp->err, d, "more than %u APIs", ADAPTER_APIS_MAX);
        if (compile_failed(cp, compile_api(cp, d, &apis[ad->napis])))
            return -1;
        if (cp->mistakes == before && compile_failed(cp, enter(cp, d, ad->napis)))
            return -1;
        ad->napis++;
    }
    return 0;
}
