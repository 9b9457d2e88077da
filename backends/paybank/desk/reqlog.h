/*
 * reqlog - the latest requests that channels' clients made, a ring: memory does not grow under
 * load.
 */
#ifndef PAYBANK_REQLOG_H
#define PAYBANK_REQLOG_H

#include "backends/paybank/faults/faults.h"
#include "core/clock.h"

#define REQLOG_SIZE   10000
#define REQLOG_NO_MAX 64

struct reqlog;
struct reqlog *reqlog_new(void);
void reqlog_free(struct reqlog *l);
/* status 0: never answered. */
void reqlog_add(struct reqlog *l, pay_time_t at, enum bank_channel channel, enum bank_api api,
                struct slice out_trade_no, int status, enum fault_kind fault);
/* The array, oldest first; only of that number unless it is empty. */
void reqlog_list(const struct reqlog *l, struct slice out_trade_no, struct json_writer *w);

#endif
