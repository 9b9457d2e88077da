/*
 * fault_rule - what one rule or one step of a scenario says, read from JSON and written back.
 */
#ifndef PAYBANK_FAULT_RULE_H
#define PAYBANK_FAULT_RULE_H

#include "faults.h"

#define FAULT_ANY    (-1)
#define FAULT_NO_MAX 64

struct fault_rule {
    enum fault_kind kind;
    int channel; /* or FAULT_ANY */
    int api;     /* or FAULT_ANY */
    int64_t times;
    int64_t percent;
    int64_t delay_ms;
    int64_t status;
    uint8_t no_len;
    char no[FAULT_NO_MAX];
    char code[FAULT_CODE_MAX];
};

/* Members that are not known are refused: a misspelt rule that never strikes would make a test pass
 * for nothing. step: one of a scenario, which knows no channel, number and percent. 0, or -1 with a
 * static reason. */
int fault_rule_read(struct fault_rule *r, const struct json *doc, bool step, const char **reason);
/* Inside an object that the caller begins and ends. */
void fault_rule_write(const struct fault_rule *r, bool step, struct json_writer *w);
bool fault_rule_fits(const struct fault_rule *r, enum bank_api api);
struct fault_draw fault_rule_draw(const struct fault_rule *r);

/* A whole number 0..max of a member, dflt when absent. 0 or -1. */
int fault_read_int(const struct json *doc, const char *key, int64_t dflt, int64_t max,
                   int64_t *out);

#endif
