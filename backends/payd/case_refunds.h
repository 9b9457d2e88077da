/*
 * case_refunds - begins what two persons decided about late money (operate.h): the confirmed
 * decision stands in the database, a timer process takes it up, and the domain gives each sum back
 * once, however often it is told. Looks once a second.
 */
#ifndef PAYD_CASE_REFUNDS_H
#define PAYD_CASE_REFUNDS_H

struct case_refunds;
struct worker;

struct case_refunds *case_refunds_new(struct worker *w);
void case_refunds_start(struct case_refunds *c);
void case_refunds_stop(struct case_refunds *c);
void case_refunds_free(struct case_refunds *c);

#endif
