/*
 * certificates - role timer: fetches the certificates that channels publish (WeChat), before those
 * we have end. One process of many asks for an account; what came goes to the database, from where
 * every process has it within 5 s.
 */
#ifndef PAYD_CERTIFICATES_H
#define PAYD_CERTIFICATES_H

#include "worker.h"

struct certificates;

struct certificates *certificates_new(struct worker *w);
void certificates_start(struct certificates *c);
void certificates_stop(struct certificates *c);
/* After the egress client and the store, which tell it that nothing comes any more. */
void certificates_free(struct certificates *c);

#endif
