/*
 * watched - certificates in files, and when they end: those that nginx shows to channels
 * (tls_certificate of a channel's block), ours for merchants (platform), and what else payd.conf
 * names (watch_certificate). Read again each minute, so a renewed one needs no restart.
 */
#ifndef PAYD_WATCHED_H
#define PAYD_WATCHED_H

#include "worker.h"

struct watched;

/* NULL: out of memory. */
struct watched *watched_new(struct worker *w);
void watched_free(struct watched *v);
/* Once a second. */
void watched_tick(struct watched *v);
/* The i-th: *until is 0 when no certificate can be read there. False past the last. Slices live as
 * long as v; channel is empty when it is of none. */
bool watched_at(const struct watched *v, size_t i, struct slice *channel, struct slice *name,
                pay_time_t *until);

/* Told to the log from 30 days before; every twelve hours is often enough. */
#define CERTIFICATE_WARN_EVERY_S (12 * 3600)
void certificate_warn(struct slice channel, struct slice account, struct slice name,
                      pay_time_t until, pay_time_t now);

#endif
