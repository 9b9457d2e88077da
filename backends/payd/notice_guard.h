/*
 * notice_guard - what keeps genuine notifications, repeated or of no order of ours, from the
 * database. Forged ones never come so far. A notification that was taken a minute ago is known by
 * its facts: the same again is acknowledged at once. One that was looked up in vain is a miss; an
 * account may have some a second (`notify_misses`), then nothing of it is looked up for a while.
 * That is not acknowledged, so it comes again, and the orders' timers ask meanwhile.
 */
#ifndef PAYD_NOTICE_GUARD_H
#define PAYD_NOTICE_GUARD_H

#include "backends/channel/channel.h"

struct notice_guard;

/* misses a second, for each account. NULL: out of memory. */
struct notice_guard *notice_guard_new(int64_t misses);
void notice_guard_free(struct notice_guard *g);

#define NOTICE_DIGEST_LEN 32
/* Of the notification's facts and whose it is: the same for the same news under another nonce. 0,
 * or -1: out of memory. */
int notice_digest(struct slice channel, struct slice account, const struct channel_result *r,
                  uint8_t out[NOTICE_DIGEST_LEN]);
/* now_us: loop time. */
bool notice_guard_known(const struct notice_guard *g, const uint8_t digest[NOTICE_DIGEST_LEN],
                        int64_t now_us);
void notice_guard_taken(struct notice_guard *g, const uint8_t digest[NOTICE_DIGEST_LEN],
                        int64_t now_us);
/* May something of this account be looked up? */
bool notice_guard_may(const struct notice_guard *g, struct slice channel, struct slice account,
                      int64_t now_us);
void notice_guard_miss(struct notice_guard *g, struct slice channel, struct slice account,
                       int64_t now_us);

#endif
