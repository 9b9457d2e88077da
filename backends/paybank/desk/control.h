/*
 * control - /_control/: the books, the payer, the faults. JSON in and out; docs/interfaces.md.
 */
#ifndef PAYBANK_CONTROL_H
#define PAYBANK_CONTROL_H

#include "backends/paybank/bank.h"

/* Answers of control and page that are not an exchange. */
void reply_text(struct http_req *req, int status, const char *type, struct slice body);
void reply_error(struct http_req *req, int status, const char *reason);

#endif
