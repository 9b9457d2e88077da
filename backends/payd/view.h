/*
 * view - how a payment reads for a merchant: the API's answer and the callback's body
 * (docs/api.md).
 */
#ifndef PAYD_VIEW_H
#define PAYD_VIEW_H

#include "backends/channel/channel.h"
#include "backends/domain/refund.h"

/* JSON object; SLICE_NULL when the arena is full. */
struct slice view_payment(struct arena *a, const struct payment *p,
                          const struct channel_present *present);
struct slice view_refund(struct arena *a, const struct payment *p, const struct refund *r);
/* {"id":"E…","event_type":"payment.succeeded","create_time":…,"resource":{payment}} */
struct slice view_callback(struct arena *a, int64_t callback_id, const struct payment *p,
                           pay_time_t now);
/* The same with "refund.…" and the refund. */
struct slice view_refund_callback(struct arena *a, int64_t callback_id, const struct payment *p,
                                  const struct refund *r, pay_time_t now);

#endif
