/*
 * payment_charge - what is different for a payment that is charged at once (barcode): what events
 * mean, and when it is asked, then reversed. Private to payment.c.
 *
 * A charge is sent once (R2.8). Until a final word it is queried every paying_interval. When it has
 * been open for paying_limit, or the merchant closes it, or it expires, or a query says that it
 * failed, each query without a final word is followed by a reversal, in the same flow: so nothing
 * is reversed that was paid a moment ago, and what a reversal did is learnt from either. A reversal
 * that was begun is carried through: what is heard of payment meanwhile is kept as a fact
 * (succeeded_at), and the payment ends `succeeded` and reversed, or `closed` if nobody ever said
 * that it was paid.
 */
#ifndef DOMAIN_PAYMENT_CHARGE_H
#define DOMAIN_PAYMENT_CHARGE_H

#include "payment.h"

/* (payment.c) Success told by anyone: are the facts ours, and what does it mean by now? */
enum payment_input payment_classify_paid(const struct payment *p, const struct payment_event *e,
                                         const struct payment_policy *policy,
                                         enum payment_input paid, enum payment_input mismatch);

enum payment_input charge_classify_answer(const struct payment *p, const struct payment_event *e,
                                          const struct payment_policy *policy);
enum payment_input charge_classify_query(const struct payment *p, const struct payment_event *e,
                                         pay_time_t now, const struct payment_policy *policy);
enum payment_input charge_classify_reverse(const struct payment *p, const struct payment_event *e,
                                           const struct payment_policy *policy);
/* The merchant's close; busy: a query is on its way. */
enum payment_input charge_classify_close(const struct payment *p, bool busy, pay_time_t now,
                                         const struct payment_policy *policy);

/* The timer of the image a. LATER_CLOSE means: a reversal is wanted, as soon as there can be one.
 */
void charge_plan(struct payment *a, unsigned actions, pay_time_t now,
                 const struct payment_policy *policy);
/* What the actions do to the reversal; *why is set where one begins. */
void charge_note_reversal(const struct payment *p, const struct payment_event *e, unsigned actions,
                          pay_time_t now, struct payment *a, struct slice *why);

#endif
