#include "notice_guard.h"

#include "core/crypto.h"
#include "core/gcra.h"

#include <stdlib.h>

#define TAKEN_SLOTS   4096u /* the newest of those that share a slot */
#define TAKEN_US      (60 * USEC_PER_SEC)
#define ACCOUNT_SLOTS 4096u /* accounts that share one share its misses */
#define FACTS_MAX     8192u
#define NS            1000LL

struct taken {
    uint8_t digest[NOTICE_DIGEST_LEN];
    int64_t until_us; /* 0: none */
};

struct notice_guard {
    struct gcra_rate rate;
    struct taken taken[TAKEN_SLOTS];
    int64_t misses[ACCOUNT_SLOTS]; /* states of gcra */
};

struct notice_guard *notice_guard_new(int64_t misses)
{
    struct notice_guard *g = calloc(1, sizeof(*g));

    if (g)
        g->rate = gcra_rate_of(misses, USEC_PER_SEC * NS, misses);
    return g;
}

void notice_guard_free(struct notice_guard *g)
{
    free(g);
}

/* ---- what was taken ---- */

static void add(struct buf *b, struct slice s)
{
    buf_addf(b, "%zu:", s.n);
    buf_add_slice(b, s);
}

int notice_digest(struct slice channel, struct slice account, const struct channel_result *r,
                  uint8_t out[NOTICE_DIGEST_LEN])
{
    struct buf b;
    int rc = -1;

    buf_init(&b, FACTS_MAX);
    add(&b, channel);
    add(&b, account);
    add(&b, r->request_no);
    add(&b, r->refund_no);
    add(&b, r->channel_trade_no);
    add(&b, r->channel_refund_no);
    add(&b, r->code);
    add(&b, r->currency);
    buf_addf(&b, "%d %d %lld %lld %lld", (int)r->about, (int)r->cls, (long long)r->amount,
             (long long)r->refund_amount, (long long)r->paid_at);
    if (buf_ok(&b))
        rc = sha256(buf_slice(&b), out);
    buf_release(&b);
    return rc;
}

static uint32_t slot_of(const uint8_t digest[NOTICE_DIGEST_LEN])
{
    return ((uint32_t)digest[0] << 8 | digest[1]) % TAKEN_SLOTS;
}

bool notice_guard_known(const struct notice_guard *g, const uint8_t digest[NOTICE_DIGEST_LEN],
                        int64_t now_us)
{
    const struct taken *t = &g->taken[slot_of(digest)];

    return now_us < t->until_us && memcmp(t->digest, digest, NOTICE_DIGEST_LEN) == 0;
}

void notice_guard_taken(struct notice_guard *g, const uint8_t digest[NOTICE_DIGEST_LEN],
                        int64_t now_us)
{
    struct taken *t = &g->taken[slot_of(digest)];

    memcpy(t->digest, digest, NOTICE_DIGEST_LEN);
    t->until_us = now_us + TAKEN_US;
}

/* ---- what was looked up in vain ---- */

static size_t account_slot(struct slice channel, struct slice account)
{
    return (slice_hash(channel) * 31 + slice_hash(account)) % ACCOUNT_SLOTS;
}

bool notice_guard_may(const struct notice_guard *g, struct slice channel, struct slice account,
                      int64_t now_us)
{
    return gcra_wait(g->misses[account_slot(channel, account)], &g->rate, now_us * NS) == 0;
}

void notice_guard_miss(struct notice_guard *g, struct slice channel, struct slice account,
                       int64_t now_us)
{
    gcra_take(&g->misses[account_slot(channel, account)], &g->rate, now_us * NS);
}
