/*
 * compile - from the nodes of an adapter file to the arrays of adapter.h; one function per block.
 * All: 0, or -1 with "FILE:LINE: what was expected".
 */
#ifndef CHANNEL_COMPILE_H
#define CHANNEL_COMPILE_H

#include "adapter.h"

/* compile_send.c: `send { path source ... }` */
int compile_send(struct compiler *cp, const struct conf_node *block, struct adapter_api *api);

/* compile_trade.c */
int compile_checks(struct compiler *cp, const struct conf_node *block, unsigned scope,
                   const struct adapter_check **out, uint32_t *count);
int compile_trade(struct compiler *cp, const struct conf_node *block, unsigned scope,
                  struct adapter_trade *out);

/* compile_codes.c: `errors`, and the rows of `recv` merged with the common ones */
int compile_errors(struct compiler *cp, const struct conf_node *block, struct adapter_errors *out);
int compile_api_codes(struct compiler *cp, const struct conf_node *recv, struct adapter_api *api);
/* `map WORD CLASS` rows of a trade block. */
int compile_states(struct compiler *cp, const struct conf_node *block, struct adapter_rows *out);
int compile_class(struct compiler *cp, const struct conf_node *at, struct slice word,
                  enum answer_class *out);
/* The code with `ignore` left out, into to (at least CODE_MAX); n 0 when it is too long. */
#define CODE_MAX 64u
struct slice code_normal(struct slice code, char ignore, char to[CODE_MAX]);

/* compile_api.c */
int compile_apis(struct compiler *cp, const struct conf_node *first);

/* compile_notify.c */
int compile_notification(struct compiler *cp, const struct conf_node *block);

/* Shared: dotted path of members, checked. NULL after an error. */
const char *compile_path(struct compiler *cp, const struct conf_node *at, struct slice word);
/* HTTP status of min..max. */
int compile_status(struct compiler *cp, const struct conf_node *at, struct slice word, int min,
                   int max, int *out);
/* ASCII from `from` to '~', not empty: header names ('!'), header values (' '), targets ('!'). */
int compile_printable(struct compiler *cp, const struct conf_node *at, struct slice word,
                      char from);
/* "source filter ... [optional]" in args[from..]. *type = its type when written. */
int compile_expr(struct compiler *cp, const struct conf_node *at, uint32_t from, unsigned scope,
                 struct adapter_expr *out, enum value_type *type);
/* Number of children of that name. */
uint32_t compile_count(const struct conf_node *block, const char *name);

extern const struct conf_directive api_block_table[], recv_table[], call_table[], trade_table[];
extern const struct conf_directive errors_table[], notification_table[];

#endif
