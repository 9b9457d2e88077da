/*
 * control - one question to nginx's control socket or payd's (docs/interfaces.md), blocking.
 */
#ifndef PAYCTL_CONTROL_H
#define PAYCTL_CONTROL_H

#include "ctl.h"

#include "core/json.h"

/* The answer's value, in the arena; NULL after printing why: no socket, no answer within 10 s, or
 * the problem that nginx answered with. target: path, sent as it is. body may be empty. */
const struct json *control_ask(struct ctl *c, struct arena *a, const char *method,
                               const char *target, struct slice body);
/* The same at another socket. */
const struct json *control_ask_at(const char *path, struct arena *a, const char *method,
                                  const char *target, struct slice body);

#endif
