/*
 * scenario - what happens to every order whose number fits a pattern, step by step.
 *
 * {"scenario":"late payer","pattern":"T9*","channel":"wechat_v2","steps":[
 *     {"api":"barcode","fault":"user_paying"},{"api":"query","times":3,"fault":"none"},
 *     {"api":"reverse","fault":"recall"}]}
 *
 * In a pattern '*' stands for any text. Each order has its own place in the list: a request at the
 * api of the current step meets its fault, `times` requests long; other requests meet nothing and
 * change nothing. Behind the last step the order is left alone.
 */
#ifndef PAYBANK_SCENARIO_H
#define PAYBANK_SCENARIO_H

#include "fault_rule.h"

struct scenario;

/* NULL with a static reason. */
struct scenario *scenario_new(const struct json *doc, const char **reason);
void scenario_free(struct scenario *s);
void scenario_write(const struct scenario *s, struct json_writer *w);
/* true: this scenario decides about the request; *out may be FAULT_NONE. */
bool scenario_draw(struct scenario *s, enum bank_channel channel, enum bank_api api,
                   struct slice out_trade_no, struct fault_draw *out);

/* '*' in the pattern: any text. */
bool pattern_fits(struct slice pattern, struct slice text);

#endif
