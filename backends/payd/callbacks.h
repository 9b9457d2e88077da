/*
 * callbacks - the callback role: due rows of the outbox, signed and posted to merchants, at least
 * once. Success is HTTP 200 with the JSON object {"code":"SUCCESS"}. A try is counted in the claim,
 * before it is made; a try whose result could not be stored is made again when its claim runs out.
 * Signed as answers are, or as Standard Webhooks 1.0.0 (pay.app.callback_signature).
 */
#ifndef PAYD_CALLBACKS_H
#define PAYD_CALLBACKS_H

#include "core/buf.h"

struct callbacks;
struct worker;

struct callbacks *callbacks_new(struct worker *w);
void callbacks_start(struct callbacks *c);
void callbacks_stop(struct callbacks *c);
/* Calls under way end inside this call; their results still go to the store. Before worker_end. */
void callbacks_end(struct callbacks *c);
long callbacks_active(const struct callbacks *c);
/* A status_source. */
void callbacks_metrics(const void *c, struct buf *b);
/* After worker_end. */
void callbacks_free(struct callbacks *c);

#endif
