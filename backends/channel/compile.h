/*
 * compile - from the nodes of an adapter file to the arrays of adapter.h; one function per block.
 * All: 0, or -1 with "FILE:LINE: what was expected".
 */
#ifndef CHANNEL_COMPILE_H
#define CHANNEL_COMPILE_H

#include "adapter.h"

/*
 * Mistakes. A function that finds one returns -1 with it in cp->err. Who calls it in the course of
 * a list of things asks compile_failed whether to stop there, which is so unless all mistakes are
 * wanted; then it was told, and the compiled form is never used.
 */
bool compile_failed(struct compiler *cp, int rc);
/* The children of the block against its table. -1: something needed is not there, so the rest of
 * the block makes no sense (already told when all mistakes are wanted). */
int compile_table(struct compiler *cp, struct conf_node *block, const struct conf_directive *table);

/* compile_send.c: `send { path source ... }`, behind the fields of common (may be NULL) */
int compile_send(struct compiler *cp, const struct conf_node *common, const struct conf_node *block,
                 enum encoding encoding, struct adapter_message *out);

/* compile_trade.c */
int compile_checks(struct compiler *cp, const struct conf_node *block, unsigned scope,
                   const struct adapter_check **out, uint32_t *count);
/* about: the call that the message answers, or reads like the answer to. */
int compile_trade(struct compiler *cp, struct conf_node *block, unsigned scope,
                  enum call_kind about, struct adapter_trade *out);

/* compile_codes.c: `errors`, and the rows of `recv` merged with the common ones */
int compile_errors(struct compiler *cp, struct conf_node *block, struct adapter_errors *out);
int compile_api_codes(struct compiler *cp, const struct conf_node *recv, struct adapter_api *api);
/* `map WORD CLASS` rows of a trade block. */
int compile_states(struct compiler *cp, const struct conf_node *block, struct adapter_rows *out);
int compile_class(struct compiler *cp, const struct conf_node *at, struct slice word,
                  enum answer_class *out);
/* The code with `ignore` left out, into to (at least CODE_MAX); n 0 when it is too long. */
#define CODE_MAX 64u
struct slice code_normal(struct slice code, char ignore, char to[CODE_MAX]);

/* compile_api.c */
int compile_apis(struct compiler *cp, struct conf_node *first);
int compile_methods(struct compiler *cp, const struct conf_node *at, uint32_t *methods);

/* on | off; nothing when at is NULL. */
int compile_switch(struct compiler *cp, const struct conf_node *at, bool *out);

/* compile_present.c: `present { ... }` */
int compile_present(struct compiler *cp, struct conf_node *block, struct adapter_present *out);

/* compile_notify.c */
int compile_notifications(struct compiler *cp, struct conf_node *first);

/* compile_notify.c: the sealed part of a message; `at` NULL: nothing */
int compile_decrypt(struct compiler *cp, const struct conf_node *at,
                    struct adapter_notification *n);

/* compile_certificates.c: `certificates { ... }` */
int compile_certificates(struct compiler *cp, struct conf_node *block);

/* compile_bill.c */
int compile_bill(struct compiler *cp, struct conf_node *block);

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
/* conf_find for a block that is to be changed while it is checked. */
static inline struct conf_node *compile_block(struct conf_node *first, const char *name)
{
    return (struct conf_node *)(uintptr_t)conf_find(first, name);
}
/* Number of children of that name. */
uint32_t compile_count(const struct conf_node *block, const char *name);

extern const struct conf_directive api_block_table[], recv_table[], call_table[], trade_table[];
extern const struct conf_directive errors_table[], notification_table[], present_table[],
    certificates_table[];

#endif
