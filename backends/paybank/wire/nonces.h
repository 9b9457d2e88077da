/*
 * nonces - remembers for 10 to 20 minutes which nonces were used: longer than a signed timestamp
 * can be repeated (300 s on either side of the clock). Two generations of hash sets; each 10
 * minutes the older one is dropped. Kept as 64-bit hashes: two nonces of millions sharing one is a
 * matter of 10^-6.
 */
#ifndef PAYBANK_NONCES_H
#define PAYBANK_NONCES_H

#include "core/clock.h"

struct nonces;
struct nonces *nonces_new(void);
void nonces_free(struct nonces *s);
/* 0 and remembers it; -1 when it was used before (or no memory). */
int nonces_use(struct nonces *s, struct slice owner, struct slice nonce, pay_time_t now);

#endif
