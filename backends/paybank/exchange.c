/*
 * DESIGN. A held request costs its connection, a timer and this struct: thousands may wait at once,
 * no thread does. "Never answers" means two minutes, longer than any client here waits; then the
 * connection is cut, so that a day of faults does not eat the descriptors.
 */
#include "exchange.h"

#include <stdio.h>
#include <stdlib.h>

#define BODY_CAP   ((size_t)64 << 20) /* bills */
#define NEVER_US   (120 * USEC_PER_SEC)
#define HEADER_MAX 64

void bank_request_id(struct bank *bank, char out[40])
{
    snprintf(out, 40, "%s%010llX", bank->request_id_head, (unsigned long long)++bank->request_ids);
}

const struct protocol *protocol_of(enum bank_channel channel)
{
    static const struct protocol *const protocols[CHANNEL_COUNT] = {
        [CHANNEL_WECHAT_V2] = &wechat_v2_protocol, [CHANNEL_WECHAT_V3] = &wechat_protocol,
        [CHANNEL_ALIPAY] = &alipay_protocol,       [CHANNEL_UNIONPAY] = &unionpay_protocol,
        [CHANNEL_BANK_JSON] = &bank_json_protocol,
    };

    return protocols[channel];
}

struct exchange *exchange_new(struct bank *bank, struct http_req *req, enum bank_channel channel)
{
    struct exchange *ex = arena_new(&req->arena, struct exchange);
    char id[40];

    if (!ex) {
        http_req_abort(req);
        return NULL;
    }
    ex->bank = bank;
    ex->req = req;
    ex->channel = channel;
    ex->protocol = protocol_of(channel);
    ex->wall = clock_read_wall();
    ex->now = ex->wall + bank->clock_offset_us;
    buf_init(&ex->body, BODY_CAP);
    bank_request_id(bank, id);
    exchange_header(ex, "Request-ID", slice_of(id));
    return ex;
}

void exchange_header(struct exchange *ex, const char *name, struct slice value)
{
    struct http_header *h = &ex->headers[ex->nheaders];

    if (ex->nheaders == EXCHANGE_HEADERS)
        return;
    h->name = slice_of(name);
    h->value = arena_copy(&ex->req->arena, value);
    ex->nheaders++;
}

struct slice exchange_one_header(const struct exchange *ex, const char *name)
{
    struct http_header all[HEADER_MAX];
    size_t n = http_req_headers(ex->req, all, HEADER_MAX);
    size_t count;
    struct slice v = http_find(all, n < HEADER_MAX ? n : HEADER_MAX, name, &count);

    return count == 1 ? v : SLICE_NULL;
}

struct slice target_path(struct slice target, struct slice *query)
{
    struct slice path;

    *query = target;
    path = slice_cut(query, '?');
    return path;
}

/* ---- the end ---- */

static void unhold(struct exchange *ex)
{
    if (!ex->held)
        return;
    if (ex->prev)
        ex->prev->next = ex->next;
    else
        ex->bank->held = ex->next;
    if (ex->next)
        ex->next->prev = ex->prev;
    ex->held = false;
}

static void finish(struct exchange *ex, bool cut)
{
    struct http_req *req = ex->req;
    struct buf body = ex->body; /* ex is in the request's arena and goes with it */

    unhold(ex);
    loop_timer_free(ex->timer);
    if (cut || !buf_ok(&body))
        http_req_abort(req);
    else
        http_req_reply(req, ex->status, ex->headers, ex->nheaders, buf_slice(&body));
    buf_release(&body);
}

static void on_cut(void *arg)
{
    finish(arg, true);
}

static void on_answer(void *arg)
{
    finish(arg, false);
}

static void hold(struct exchange *ex, int64_t delay_us, loop_cb *then)
{
    ex->timer = loop_timer_new(ex->bank->loop, then, ex);
    if (!ex->timer) {
        finish(ex, true);
        return;
    }
    ex->held = true;
    ex->prev = NULL;
    ex->next = ex->bank->held;
    if (ex->next)
        ex->next->prev = ex;
    ex->bank->held = ex;
    loop_timer_set(ex->timer, delay_us);
}

void exchange_cut_all(struct bank *bank)
{
    while (bank->held)
        finish(bank->held, true);
}

static void note(const struct exchange *ex, int status)
{
    reqlog_add(ex->bank->reqlog, ex->wall, ex->channel, ex->api, ex->out_trade_no, status,
               ex->fault.kind);
}

/* ---- faults ---- */

bool exchange_strike(struct exchange *ex)
{
    ex->fault = faults_draw(ex->bank->faults, ex->channel, ex->api, ex->out_trade_no);
    switch (ex->fault.kind) {
    case FAULT_TIMEOUT_BEFORE:
        note(ex, 0);
        hold(ex, NEVER_US, on_cut);
        return true;
    case FAULT_RESET_BEFORE:
        note(ex, 0);
        finish(ex, true);
        return true;
    case FAULT_ERROR_500:
    case FAULT_ERROR_503:
    case FAULT_TOO_FREQUENT:
    case FAULT_NOT_FOUND:
        ex->protocol->fault_answer(ex, ex->fault.kind);
        exchange_send(ex);
        return true;
    case FAULT_CODE:
        ex->protocol->code_answer(ex, ex->fault.code, ex->fault.status);
        exchange_send(ex);
        return true;
    default:
        return false;
    }
}

static void make_garbage(struct exchange *ex)
{
    ex->status = 200;
    buf_clear(&ex->body);
    buf_add_str(&ex->body, "<html>\x01\xff{\"code\":");
    exchange_header(ex, "Content-Type", SLICE("text/html"));
}

int64_t exchange_amount(const struct exchange *ex, int64_t amount)
{
    return amount + (ex->fault.kind == FAULT_WRONG_AMOUNT);
}

void exchange_digest(struct slice content, uint8_t out[CONTENT_DIGEST_LEN])
{
    uint8_t whole[SHA256_LEN];

    if (sha256(content, whole) < 0)
        abort(); /* no memory: better than two orders that look the same */
    memcpy(out, whole, CONTENT_DIGEST_LEN);
}

static void make_answer(struct exchange *ex)
{
    enum fault_kind fault = ex->fault.kind;
    enum sign_how how = fault == FAULT_BAD_SIGNATURE ? SIGN_WRONG
                        : fault == FAULT_UNSIGNED    ? SIGN_NOT
                                                     : SIGN_RIGHT;

    if (fault == FAULT_CODE_AFTER)
        ex->protocol->code_answer(ex, ex->fault.code, ex->fault.status);
    if (fault == FAULT_GARBAGE) {
        make_garbage(ex);
        return;
    }
    if (!ex->bare)
        ex->protocol->finish(ex, how);
    if (ex->body.n)
        exchange_header(ex, "Content-Type",
                        slice_of(ex->content_type ? ex->content_type : ex->protocol->content_type));
}

void exchange_send(struct exchange *ex)
{
    enum fault_kind fault = ex->fault.kind;

    make_answer(ex);
    if (fault == FAULT_TIMEOUT_AFTER || fault == FAULT_RESET_AFTER) {
        note(ex, 0);
        if (fault == FAULT_RESET_AFTER)
            finish(ex, true);
        else
            hold(ex, NEVER_US, on_cut);
        return;
    }
    note(ex, ex->status);
    if (fault == FAULT_DELAY && ex->fault.delay_us > 0)
        hold(ex, ex->fault.delay_us, on_answer);
    else
        finish(ex, false);
}
