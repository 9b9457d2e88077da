/*
 * payer - who pays, from where, and with which code: the members of a creation that only some
 * payment methods have. All but the code are kept with the order, for its later calls, as a JSON
 * object (pay.payment.payer).
 *
 * A payer's code (auth_code) buys things for a minute: it lives in the flow that charges, nowhere
 * else; it is in no table, no log and no message, and in the content's digest only under the master
 * key.
 */
#ifndef PAYD_PAYER_H
#define PAYD_PAYER_H

#include "backends/channel/channel.h"
#include "core/json.h"

#define AUTH_CODE_MAX 24

struct auth_code {
    char text[AUTH_CODE_MAX];
    size_t n;
};

/* SLICE_NULL: the request names none of it. */
struct slice payer_write(struct arena *a, const struct json *doc);
/* What payer_write wrote; members of *o, as far as it has them. */
void payer_read(struct arena *a, struct slice payer, struct channel_order *o);

void auth_code_take(struct auth_code *c, const struct json *doc);
static inline struct slice auth_code_slice(const struct auth_code *c)
{
    return slice_n(c->text, c->n);
}
void auth_code_forget(struct auth_code *c);
/* Hex, the same for the same code; empty without one; SLICE_NULL when there is no memory. */
struct slice auth_code_digest(struct arena *a, const struct auth_code *c,
                              const uint8_t master_key[32]);
/* The text without the code, should a channel have repeated it. */
struct slice auth_code_mask(struct arena *a, const struct auth_code *c, struct slice text);

#endif
