/*
 * check - what the checks share. Private to check*.c.
 */
#ifndef SIM_CHECK_H
#define SIM_CHECK_H

#include "sim.h"

#define CHECK(cond, invariant, ...)                                                                \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            broken(w, invariant, __VA_ARGS__);                                                     \
    } while (0)

/* ... of the charging command that the row names */
const struct bank_order *check_order(const struct world *w);
bool check_is_charge(const struct world *w);
/* The call that makes the order there. */
enum call_kind check_making(const struct world *w);
/* Could a send of that kind still do something there? refund: -1 = the payment's */
bool check_may_arrive(const struct world *w, enum call_kind kind, int refund);

/* check_extra.c */
void check_reroute(struct world *w, const struct flow *f, const struct payment *before);
void check_extra(struct world *w, const struct flow *f, const struct payment *before);
/* All that came over this command went back, by a refund that nobody asked for. */
bool check_given_back(const struct world *w, uint32_t seq);

/* check_send.c: the step's send and its case */
/* Each send of that command before the given one was never passed on, or not executed. */
bool check_unsent(const struct world *w, enum call_kind kind, int refund, uint32_t seq,
                  unsigned before);
void check_send(struct world *w, const struct flow *f);
void check_case(struct world *w, const struct flow *f);

#endif
