#include "payment.h"

/* What inputs, events and states are called in the history, in logs and to merchants. */

const char *payment_input_name(enum payment_input i)
{
#define X(name) #name,
    static const char *const names[] = {PAYMENT_INPUT_TABLE(X)};
#undef X

    return (unsigned)i < PAYMENT_INPUT_COUNT ? names[i] : "?";
}

const char *payment_shown_state(const struct payment *p)
{
    return p->state == PAYMENT_SUCCEEDED && p->reversal == REVERSAL_SUCCEEDED
               ? "reversed"
               : payment_state_name(p->state);
}

const char *payment_event_name(enum payment_event_kind k)
{
    static const char *const names[] = {"create", "answer", "notify", "timer",
                                        "close",  "query",  "refund"};

    _Static_assert(sizeof(names) / sizeof(names[0]) == PAYMENT_EVENT_KINDS, "one word each");
    return (unsigned)k < PAYMENT_EVENT_KINDS ? names[k] : "?";
}
