/*
 * call - one attempt at a channel: encode, send through the egress, understand the answer, give it
 * back to the flow as the next event. Called only after the attempt's commit.
 */
#ifndef PAYD_CALL_H
#define PAYD_CALL_H

struct flow;
struct payment_event;

/* Sends f->attempt; ends in exactly one flow_answer. */
void call_send(struct flow *f);
/* (flow.c) The channel's answer as the flow's next event; its slices live in f->arena. */
void flow_answer(struct flow *f, const struct payment_event *event);

#endif
