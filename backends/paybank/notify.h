/*
 * notify - tells merchants that an order was paid, again and again until they take it or the
 * schedule ends. Only to this machine: 127.0.0.0/8 and localhost.
 */
#ifndef PAYBANK_NOTIFY_H
#define PAYBANK_NOTIFY_H

#include "bank.h"

struct notifier;
/* NULL: no memory, or ca_file cannot be used. */
struct notifier *notifier_new(struct bank *bank);
void notifier_free(struct notifier *nf);
/* Goes on with what an earlier process of these books had not finished. */
void notifier_resume(struct notifier *nf);

/* The order was paid just now. Nothing is sent where there is no notify_url. */
void notify_paid(struct notifier *nf, struct order *o);
/* The refund was accepted: tells its end when it has come. */
void notify_refund(struct notifier *nf, struct refund *r);
/* By hand: at once, whatever happened before. 0, or -1 when the order is not paid. */
int notify_now(struct notifier *nf, struct order *o);

#endif
