/*
 * load_pay - the payers behind load: each code_url that an answer brought is paid at the virtual
 * bank, over a few kept connections. One per process.
 */
#ifndef BENCH_LOAD_PAY_H
#define BENCH_LOAD_PAY_H

#include "core/slice.h"

/* "127.0.0.1:PORT" of the bank, for at most so many payments. -1: errno says why. */
int load_pay_open(const char *address, size_t payments);
/* Readable when load_pay_step has something to do. */
int load_pay_fd(void);
void load_pay_add(struct slice code_url);
void load_pay_step(void);
/* Paid, as the bank says; refused ones end the program. */
long load_pay_done(void);

#endif
