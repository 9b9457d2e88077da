/*
 * money - amounts: int64 minor units (fen) with an ISO 4217 currency. Never floating point.
 *
 * All arithmetic is overflow-checked: 0, or -1 with *out untouched.
 */
#ifndef CORE_MONEY_H
#define CORE_MONEY_H

#include "buf.h"

#define CURRENCY_LEN 3

int money_add(int64_t a, int64_t b, int64_t *out);
int money_sub(int64_t a, int64_t b, int64_t *out);
/* "12.34", "12", "0.05" -> 1234, 1200, 5; at most two decimals, optional leading '-', digits only
 * otherwise. -1 on anything else or overflow. (Alipay API, WeChat bills.) */
int money_parse_yuan(struct slice s, int64_t *fen);
/* 1234 -> "12.34". */
void money_format_yuan(struct buf *b, int64_t fen);
/* Three upper-case letters. */
bool currency_valid(struct slice s);

#endif
