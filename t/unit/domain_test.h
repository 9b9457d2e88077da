/*
 * domain_test - what the tests of backends/domain share: a policy, an order, events, and a decision
 * that checks what holds for every one.
 */
#ifndef DOMAIN_TEST_H
#define DOMAIN_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backends/domain/payment.h"

#define SEC USEC_PER_SEC
#define T0  (1795000000LL * SEC)

static const struct payment_policy policy = {.send_window = 5 * SEC,
                                             .query_first = 120 * SEC,
                                             .query_interval = 30 * SEC,
                                             .query_max = 1800 * SEC,
                                             .soon = 2 * SEC,
                                             .resend_interval = 3 * SEC,
                                             .settle = 30 * SEC,
                                             .not_sent_limit = 3,
                                             .prepare_resend = true,
                                             .paying_interval = 5 * SEC,
                                             .paying_limit = 30 * SEC,
                                             .reverse_earliest = 15 * SEC,
                                             .reverse_open = true,
                                             .reverse_limit = 10,
                                             .refund = true,
                                             .refund_resend = true};
static const struct payment_policy no_resend = {.send_window = 5 * SEC,
                                                .query_first = 120 * SEC,
                                                .query_interval = 30 * SEC,
                                                .query_max = 1800 * SEC,
                                                .soon = 2 * SEC,
                                                .resend_interval = 3 * SEC,
                                                .settle = 30 * SEC,
                                                .not_sent_limit = 3,
                                                .prepare_resend = false};

static struct payment_step step; /* of the latest decision */

static inline struct payment order(void)
{
    return (struct payment){.id = 123456789,
                            .slot = 5,
                            .mchid = SLICE("M1"),
                            .out_trade_no = SLICE("N1"),
                            .amount = 888,
                            .currency = SLICE("CNY"),
                            .created_at = T0,
                            .time_expire = T0 + 7200 * SEC};
}

/* Decides, checks what holds for every decision, and returns the image to go on with. */
static inline struct payment after(const struct payment *p, struct payment_event e, pay_time_t now,
                                   const struct payment_policy *pol)
{
    e.id = 1;
    if (!e.asked)
        e.asked = p->version; /* nothing has happened since */
    if (!e.asked_at)
        e.asked_at = now; /* answered at once */
    payment_decide(p, &e, now, pol, &step);
    if (step.verdict == STEP_COMMIT)
        assert_int_equal(step.after.version, p->version + 1);
    else
        assert_memory_equal(&step.after, p, sizeof(*p));
    return step.after;
}

static inline struct payment created(void)
{
    struct payment p = order();

    return after(&p, (struct payment_event){.kind = PAYMENT_EVENT_CREATE}, T0, &policy);
}

static inline struct payment_event answer(enum call_kind call, uint32_t n, enum answer_class cls)
{
    return (struct payment_event){.kind = PAYMENT_EVENT_ANSWER,
                                  .call = call,
                                  .attempt_n = n,
                                  .sent = SENT_ANSWERED,
                                  .http_status = 200,
                                  .cls = cls,
                                  .code = SLICE("CODE"),
                                  .amount = -1};
}

static inline struct payment_event not_sent(enum call_kind call, uint32_t n)
{
    struct payment_event e = answer(call, n, CLASS_NOT_SENT);

    e.sent = SENT_NO;
    e.http_status = 502;
    return e;
}

static inline struct payment_event success(enum payment_event_kind kind, uint32_t n, int64_t amount)
{
    struct payment_event e = answer(CALL_QUERY, n, CLASS_SUCCESS);

    e.kind = kind;
    e.amount = amount;
    e.currency = SLICE("CNY");
    e.channel_trade_no = SLICE("B1");
    e.paid_at = T0 + 9 * SEC;
    return e;
}

static const struct payment_event timer = {.kind = PAYMENT_EVENT_TIMER};
static const struct payment_event merchant_close = {.kind = PAYMENT_EVENT_CLOSE};
static const struct payment_event operator_query = {.kind = PAYMENT_EVENT_OPERATOR_QUERY};

/* A charge, as committed at T0. */
static inline struct payment charged(void)
{
    struct payment p = order();

    p.method = METHOD_BARCODE;
    return after(&p, (struct payment_event){.kind = PAYMENT_EVENT_CREATE}, T0, &policy);
}

static inline struct payment pending(void)
{
    struct payment p = created();
    struct payment_event e = answer(CALL_PREPARE, 1, CLASS_ACCEPTED);

    e.code_url = SLICE("code");
    return after(&p, e, T0 + SEC, &policy);
}

#define assert_input(name) assert_string_equal(payment_input_name(step.input), #name)

#endif
