/*
 * accounts - the channel accounts of the database, opened (unsealed, keys parsed) and kept in
 * memory, read again every 5 s. An account in use stays valid until the end of the loop turn in
 * which it was found: look it up for each use, never keep the pointer.
 */
#ifndef PAYD_ACCOUNTS_H
#define PAYD_ACCOUNTS_H

#include "backends/channel/channel.h"

struct accounts;
struct worker;

struct accounts *accounts_new(struct worker *w);
void accounts_free(struct accounts *a);
/* Once a second. */
void accounts_tick(struct accounts *a);
/* They have been read at least once. */
bool accounts_known(const struct accounts *a);

/* The account of that name, on or off: what began with it goes on. NULL when there is none, or its
 * secrets are of no use. */
const struct channel_account *accounts_get(const struct accounts *a, struct slice channel,
                                           struct slice account);
/* For a new payment: the merchant's own account at the channel, else a shared one; the one that the
 * channel's block names first, then by name. A merchant that has accounts of its own is never paid
 * into a shared one, also when its own are off: NULL then. Its name into *account. */
const struct channel_account *accounts_choose(const struct accounts *a, struct slice channel,
                                              struct slice mchid, struct slice *account);

/* The i-th account is on: new payments may be made with it. */
bool accounts_on(const struct accounts *a, size_t i);
/* The i-th account of all, unusable ones left out (then *account is empty); false past the last. */
bool accounts_at(const struct accounts *a, size_t i, struct slice *account,
                 const struct channel_account **opened);

#endif
