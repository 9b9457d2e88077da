/* json_input - internal to json*.c: checks of the bytes before the parser reads them. */
#ifndef CORE_JSON_INPUT_H
#define CORE_JSON_INPUT_H

#include "json.h"

/* 0, or -1 with *err: "too long", "not UTF-8", "NUL in string", "lone surrogate". What is no string
 * or no escape is left for the parser. */
int json_check_input(struct slice in, struct json_error *err);
/* Four hex digits as a code unit, or -1. */
int json_code_unit(const char *p, size_t n);

#endif
