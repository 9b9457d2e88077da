/*
 * pay_route: which channels may take a new payment, in order of preference.
 * It writes them into the request's context or refuses, and says why.
 */

#include "ngx_http_pay_route.h"

#include "ngx_pay_module/conf/ngx_http_pay_block.h"
#include "ngx_pay_module/pool/ngx_http_pay_pool.h"
#include "ngx_pay_module/request/ngx_http_pay_private.h"
#include "ngx_pay_module/request/ngx_pay_text.h"


#define NGX_HTTP_PAY_ROUTE_SALT   0x5bd1e995u   /* of "share" in rules */
#define NGX_HTTP_PAY_ROUTE_RULES  4             /* named in the reason */


static void ngx_http_pay_route_ask(ngx_http_request_t *r,
    ngx_http_pay_ctx_t *ctx, uint32_t given, struct route_ask *ask);
static ngx_int_t ngx_http_pay_route_none(ngx_http_request_t *r,
    ngx_http_pay_ctx_t *ctx, struct route_choice *choice);
static ngx_int_t ngx_http_pay_route_no_wish(ngx_http_request_t *r,
    ngx_http_pay_ctx_t *ctx, ngx_http_pay_channel_t *ch,
    struct route_ask *ask, struct route_choice *choice);
static ngx_int_t ngx_http_pay_route_refuse(ngx_http_request_t *r,
    ngx_http_pay_ctx_t *ctx, enum problem_code code, const char *detail,
    const char *pointer);
static ngx_int_t ngx_http_pay_route_result(ngx_http_request_t *r,
    ngx_http_pay_ctx_t *ctx, struct route_ask *ask,
    struct route_choice *choice);
static ngx_int_t ngx_http_pay_route_reason(ngx_http_request_t *r,
    ngx_http_pay_ctx_t *ctx, struct route_ask *ask,
    struct route_choice *choice);
static void ngx_http_pay_route_done(ngx_http_request_t *r,
    ngx_http_pay_ctx_t *ctx);


ngx_int_t
ngx_http_pay_route_handler(ngx_http_request_t *r)
{
    ngx_str_t                        s;
    uint32_t                         wallet;
    struct route_ask                 ask;
    struct route_choice              choice;
    ngx_http_pay_ctx_t              *ctx;
    ngx_http_pay_channel_t          *ch;
    ngx_http_pay_route_loc_conf_t   *rlcf;
    ngx_http_pay_route_main_conf_t  *rmcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_pay_route_module);

    if (!rlcf->enable || r != r->main) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_pay_get_ctx(r);

    if (ctx == NULL || !ctx->verified || ctx->doc == NULL
        || ctx->match.api == NULL
        || ctx->match.api->id != API_PAYMENT_CREATE
        || ctx->channels.data)
    {
        return NGX_DECLINED;
    }

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_pay_route_module);

    ask.by = rlcf->by;
    ask.wish = -1;

    ngx_http_pay_route_ask(r, ctx, rmcf->given, &ask);

    s = ngx_pay_str(json_str(ctx->doc, "auth_code"));
    wallet = s.len ? 1u << payer_app_of_barcode(ngx_pay_slice(s)) : 0;

    s = ngx_pay_str(json_str(ctx->doc, "channel"));

    if (s.len == 0) {
        ngx_http_pay_route_choose(rmcf, &ask, wallet, &choice);

        return choice.n ? ngx_http_pay_route_result(r, ctx, &ask, &choice)
                        : ngx_http_pay_route_none(r, ctx, &choice);
    }

    /* the merchant names the channel: that one or none */

    ch = ngx_http_pay_channel_find(rmcf->channels, &s);

    if (ch == NULL) {
        return ngx_http_pay_route_refuse(r, ctx, PROBLEM_NO_CHANNEL,
                                         "the wanted channel does not exist",
                                         "/channel");
    }

    ask.wish = ngx_http_pay_route_number(rmcf, ch);

    ngx_http_pay_route_choose(rmcf, &ask, wallet, &choice);

    return choice.n ? ngx_http_pay_route_result(r, ctx, &ask, &choice)
                    : ngx_http_pay_route_no_wish(r, ctx, ch, &ask, &choice);
}


/*
 * From a code the payer shows; else from the browser, where the request comes
 * from one.
 */

enum payer_app
ngx_http_pay_route_wallet(ngx_http_request_t *r)
{
    struct slice         code;
    ngx_http_pay_ctx_t  *ctx;

    ctx = ngx_http_pay_get_ctx(r);

    if (ctx && ctx->doc) {
        code = json_str(ctx->doc, "auth_code");

        if (code.n) {
            return payer_app_of_barcode(code);
        }
    }

    return r->headers_in.user_agent
           ? payer_app_of_agent(ngx_pay_slice(r->headers_in.user_agent->value))
           : PAYER_APP_OTHER;
}


/* method and amount were checked: both are there and of the right type */

static void
ngx_http_pay_route_ask(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    uint32_t given, struct route_ask *ask)
{
    ngx_int_t            method;
    ngx_str_t            s;
    struct match_facts  *f;

    f = &ask->facts;
    match_facts_init(f);

    ask->hash = ngx_http_pay_when_hash(ctx);

    s = ngx_pay_str(json_str(ctx->doc, "method"));
    method = ngx_http_pay_method_index(&s);

    f->numbers[MATCH_METHOD] = method == NGX_ERROR ? MATCH_ABSENT : method;
    f->numbers[MATCH_SHARE] = ngx_http_pay_when_share(ask->hash,
                                                     NGX_HTTP_PAY_ROUTE_SALT);

    (void) json_int64(json_get(ctx->doc, "amount.total"), &f->amount);

    f->names[MATCH_MERCHANT] = ngx_pay_slice(ctx->mchid);
    f->names[MATCH_APP] = ngx_pay_slice(ctx->app);

    if (given & MATCH_NUMBER_BIT(MATCH_WALLET)) {
        f->numbers[MATCH_WALLET] = ngx_http_pay_route_wallet(r);
    }

    if (given & MATCH_NAME_BIT(MATCH_CURRENCY)) {
        f->names[MATCH_CURRENCY] = json_str(ctx->doc, "amount.currency");

        if (f->names[MATCH_CURRENCY].n == 0) {
            f->names[MATCH_CURRENCY] = SLICE("CNY");
        }
    }

    if (given & MATCH_NAME_BIT(MATCH_SCENE)) {
        f->names[MATCH_SCENE] = json_str(ctx->doc, "scene");
    }
}


static ngx_int_t
ngx_http_pay_route_none(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    struct route_choice *choice)
{
    if (choice->open == 0) {
        return ngx_http_pay_route_refuse(r, ctx, PROBLEM_NO_CHANNEL,
                                         "no channel offers this method now",
                                         "/method");
    }

    if (choice->allowed == 0) {
        return ngx_http_pay_route_refuse(r, ctx, PROBLEM_NO_CHANNEL,
                                         "no channel may take this payment",
                                         "/method");
    }

    if (choice->fit == 0) {
        return ngx_http_pay_route_refuse(r, ctx, PROBLEM_AMOUNT_OUT_OF_RANGE,
                                         "no channel of this method takes this "
                                         "amount", "/amount/total");
    }

    if (choice->busy == 0) {
        return ngx_http_pay_route_refuse(r, ctx, PROBLEM_CHANNEL_OUT,
                                         "every channel for this payment is "
                                         "out of order", "/method");
    }

    return ngx_http_pay_refuse(r, PROBLEM_CHANNEL_BUSY, NULL, NULL);
}


static ngx_int_t
ngx_http_pay_route_no_wish(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    ngx_http_pay_channel_t *ch, struct route_ask *ask,
    struct route_choice *choice)
{
    ngx_uint_t  method;

    method = ask->facts.numbers[MATCH_METHOD];

    if (method >= NGX_HTTP_PAY_METHODS_MAX || !(ch->methods & 1u << method)) {
        return ngx_http_pay_route_refuse(r, ctx, PROBLEM_NO_CHANNEL,
                                         "the wanted channel does not offer this "
                                         "method", "/channel");
    }

    if (choice->open == 0) {
        return ngx_http_pay_route_refuse(r, ctx, PROBLEM_NO_CHANNEL,
                                         "the wanted channel is switched off",
                                         "/channel");
    }

    if (choice->allowed == 0) {
        return ngx_http_pay_route_refuse(r, ctx, PROBLEM_NO_CHANNEL,
                                         "the wanted channel may not take this "
                                         "payment", "/channel");
    }

    if (choice->fit == 0) {
        return ngx_http_pay_route_refuse(r, ctx, PROBLEM_AMOUNT_OUT_OF_RANGE,
                                         "the wanted channel does not take this "
                                         "amount", "/amount/total");
    }

    if (choice->busy == 0) {
        return ngx_http_pay_route_refuse(r, ctx, PROBLEM_CHANNEL_OUT,
                                         "the wanted channel is out of order",
                                         "/channel");
    }

    return ngx_http_pay_refuse(r, PROBLEM_CHANNEL_BUSY, NULL, NULL);
}


/*
 * No channel for a new order. The request goes on all the same: it may be the
 * repetition of one that made an order while there was a channel, and only the
 * worker can tell; it refuses in these words if not.
 */

static ngx_int_t
ngx_http_pay_route_refuse(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    enum problem_code code, const char *detail, const char *pointer)
{
    size_t       n;
    const char  *name;

    name = problem_name(code);
    n = ngx_strlen(name) + 1 + ngx_strlen(pointer);

    ctx->refuse.data = ngx_pnalloc(r->pool, n);
    if (ctx->refuse.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->refuse.len = ngx_sprintf(ctx->refuse.data, "%s %s", name, pointer)
                      - ctx->refuse.data;

    ctx->route.data = (u_char *) (uintptr_t) detail;
    ctx->route.len = ngx_strlen(detail);
    ngx_str_set(&ctx->channels, "");

    ngx_http_pay_route_done(r, ctx);

    return NGX_DECLINED;
}


/* "a,b,c" and why */

static ngx_int_t
ngx_http_pay_route_result(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    struct route_ask *ask, struct route_choice *choice)
{
    u_char                          *p;
    ngx_uint_t                       i;
    ngx_http_pay_channel_t          *ch;
    ngx_http_pay_route_main_conf_t  *rmcf;

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_pay_route_module);

    p = ngx_pnalloc(r->pool, ROUTE_LISTED * (NGX_HTTP_PAY_NAME_MAX + 1));
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->channels.data = p;

    for (i = 0; i < choice->n; i++) {
        if (i) {
            *p++ = ',';
        }

        ch = rmcf->sorted[choice->chosen[i]];
        p = ngx_cpymem(p, ch->name.data, ch->name.len);
    }

    ctx->channels.len = p - ctx->channels.data;
    ctx->channel = 1 + rmcf->sorted[choice->chosen[0]]->place;

    if (ngx_http_pay_route_reason(r, ctx, ask, choice) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_pay_route_done(r, ctx);

    return NGX_DECLINED;
}


/*
 * by=weight open=3 fit=2 ill=0 busy=0 [wallet=alipay] [rules=a,b+1], what the
 * guard has judged before, and when and in which process all of it happened
 */

static ngx_int_t
ngx_http_pay_route_reason(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    struct route_ask *ask, struct route_choice *choice)
{
    u_char                          *p;
    ngx_uint_t                       n;
    ngx_http_pay_rule_t             *rule;
    ngx_http_pay_route_main_conf_t  *rmcf;

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_pay_route_module);

    p = ngx_pnalloc(r->pool, sizeof("by=weight open=256 fit=256 ill=256 "
                                    "busy=256 wallet=unionpay rules=+256"
                                    " at=.000 pid=")
                             + NGX_HTTP_PAY_ROUTE_RULES
                               * (NGX_HTTP_PAY_BLOCK_NAME + 1)
                             + ngx_http_pay_guard_told_len(ctx)
                             + NGX_TIME_T_LEN + NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ctx->route.data = p;

    p = ngx_pay_put(p, ask->wish >= 0 ? "by=wish open="
                       : choice->by == ROUTE_BY_COST ? "by=cost open="
                       : "by=weight open=");
    p = ngx_pay_put_number(p, choice->open);
    p = ngx_pay_put(p, " fit=");
    p = ngx_pay_put_number(p, choice->fit);
    p = ngx_pay_put(p, " ill=");
    p = ngx_pay_put_number(p, choice->ill);
    p = ngx_pay_put(p, " busy=");
    p = ngx_pay_put_number(p, choice->busy);

    if (rmcf->given & MATCH_NUMBER_BIT(MATCH_WALLET)) {
        p = ngx_pay_put(p, " wallet=");
        p = ngx_pay_put(p, payer_app_name(ask->facts.numbers[MATCH_WALLET]));
    }

    rule = rmcf->rules.elts;
    n = 0;

    match_set_each(i, &choice->rules)
    {
        if (n < NGX_HTTP_PAY_ROUTE_RULES) {
            p = ngx_pay_put(p, n ? "," : " rules=");
            p = ngx_pay_put_str(p, &rule[i].name);
        }

        n++;
    }

    if (n > NGX_HTTP_PAY_ROUTE_RULES) {
        *p++ = '+';
        p = ngx_pay_put_number(p, n - NGX_HTTP_PAY_ROUTE_RULES);
    }

    p = ngx_http_pay_guard_told(ctx, p);

    p = ngx_pay_put(p, " at=");
    p = ngx_pay_put_number(p, r->start_sec);
    *p++ = '.';
    *p++ = (u_char) ('0' + r->start_msec / 100);
    *p++ = (u_char) ('0' + r->start_msec / 10 % 10);
    *p++ = (u_char) ('0' + r->start_msec % 10);
    p = ngx_pay_put(p, " pid=");
    p = ngx_pay_put_number(p, ngx_pid);

    ctx->route.len = p - ctx->route.data;

    return NGX_OK;
}


/* unless the choice of a pool comes after this one and reads it, too */

static void
ngx_http_pay_route_done(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx)
{
    if (!ngx_http_pay_pool_enabled(r)) {
        ngx_http_pay_forget_doc(ctx);
    }
}
