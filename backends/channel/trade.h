/*
 * trade - runs the trade layer of a verified message: identity, state, members.
 */
#ifndef CHANNEL_TRADE_H
#define CHANNEL_TRADE_H

#include "adapter.h"
#include "core/json.h"

/* Do all checks hold? *path = the first that does not. */
bool checks_hold(const struct adapter_check *checks, uint32_t n, const struct json *body,
                 const struct facts *f, const char **path);

/* 0 with *out set (class by the state, `unknown` for one that is not listed), or -1 with *code:
 * "mismatch" or "parse", and *path: the member concerned. *out is untouched then. */
int trade_run(const struct adapter_trade *t, const struct json *body, const struct facts *f,
              struct channel_result *out, const char **code, const char **path);

/* notify.c: the plain text of what is sealed in the message, with a secret of the account. 0 or -1.
 */
int notification_open(const struct adapter_notification *n, const struct channel_account *a,
                      const struct json *body, struct arena *arena, struct slice *out);

#endif
