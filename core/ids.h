/*
 * ids - 63-bit order ids made in C, and slots.
 *
 *   62........32 | 31....22 | 21....14 | 13.....0
 *   seconds since   slot       process    counter
 *   2025-01-01 UTC  0..1023    0..255     0..16383
 *
 * The slot is inside every id, so any id routes itself. Process numbers are leased in the database;
 * 224..255 are for shadow traffic. The generator never goes back: an overflowing counter borrows
 * the next second. The shown form is prefix, day (+08:00) and 19 digits:
 * P20261122 1234567890123456789.
 */
#ifndef CORE_IDS_H
#define CORE_IDS_H

#include "clock.h"

#define SLOT_COUNT     1024
#define ID_EPOCH_S     1735689600LL /* 2025-01-01T00:00:00Z */
#define ID_PROCESS_MAX 255
#define ID_SHADOW_MIN  224

struct id_gen {
    uint32_t process;
    int64_t last_s; /* seconds since ID_EPOCH_S last used */
    uint32_t counter;
};

int id_gen_init(struct id_gen *g, uint32_t process);
/* slot 0..1023. 0, or -1 when `now` is outside of what 31 bits hold or the generator had to borrow
 * more than 60 s ahead of now. */
int id_next(struct id_gen *g, uint32_t slot, pay_time_t now, int64_t *id);

uint32_t id_slot(int64_t id);
uint32_t id_process(int64_t id);
bool id_is_shadow(int64_t id);
pay_time_t id_time(int64_t id);

/* merchant's base slot + hash(out_trade_no) mod span, mod SLOT_COUNT. span 1..64. */
uint32_t slot_of(uint32_t base_slot, uint32_t span, struct slice out_trade_no);

/* Kinds: 'P' payment, 'R' refund, 'E' event/callback, 'A' attempt, 'C' case. */
#define ID_TEXT_LEN 28
void id_format(char out[ID_TEXT_LEN + 1], char kind, int64_t id);
/* Checks kind, length, digits and that the day fits the id. 0 or -1. */
int id_parse(struct slice s, char kind, int64_t *id);

/* Request number of a command at a channel: shown payment id + two-digit command number, 30
 * characters of [0-9A-Z] (WeChat allows 32). A pure function of the command. seq 1..99. */
#define REQUEST_NO_LEN 30
void request_no_format(char out[REQUEST_NO_LEN + 1], int64_t payment_id, uint32_t seq);
int request_no_parse(struct slice s, int64_t *payment_id, uint32_t *seq);

#endif
