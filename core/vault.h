/*
 * vault - the master keys that secrets in the database are sealed under. The first seals; all of
 * them open, so that a new key and the one before it work side by side while every secret is sealed
 * anew (payctl master rotate). The format of what is sealed: crypto.h.
 */
#ifndef CORE_VAULT_H
#define CORE_VAULT_H

#include "crypto.h"

#define VAULT_KEYS_MAX 4u

struct vault {
    uint8_t keys[VAULT_KEYS_MAX][AES256_KEY_LEN];
    uint32_t n;
};

/* From 64 hex digits, blanks and ends of line behind them ignored. 0; -1: something else, or there
 * are VAULT_KEYS_MAX already. */
int vault_add(struct vault *v, struct slice hex);
void vault_wipe(struct vault *v);

/* Under the first key. 0 or -1; out unchanged on failure. */
int vault_ring_seal(const struct vault *v, struct slice context, struct slice plain,
                    struct buf *out);
/* The number of the key that opened it, from 0; -1 when none does. The caller wipes `out`. */
int vault_ring_open(const struct vault *v, struct slice context, struct slice sealed,
                    struct buf *out);

#endif
