#include "terms.h"

#define X(name, num, text) [num] = text,
static const char *const payment_states[] = {PAYMENT_STATE_TABLE(X)};
static const char *const refund_states[] = {REFUND_STATE_TABLE(X)};
static const char *const reversal_states[] = {REVERSAL_STATE_TABLE(X)};
static const char *const answer_classes[] = {ANSWER_CLASS_TABLE(X)};
static const char *const call_kinds[] = {CALL_KIND_TABLE(X)};
static const char *const payment_methods[] = {PAYMENT_METHOD_TABLE(X)};
#undef X
static const char *const sents[] = {"unknown", "no", "maybe", "answered"};

static const char *word_of(const char *const *words, size_t count, size_t i)
{
    return i < count ? words[i] : "?";
}

static int number_of(const char *const *words, size_t count, struct slice s)
{
    for (size_t i = 0; i < count; i++)
        if (slice_is(s, words[i]))
            return (int)i;
    return -1;
}

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define WORDS(type, function, words)                                                               \
    const char *function##_name(enum type v)                                                       \
    {                                                                                              \
        return word_of(words, COUNT(words), (size_t)v);                                            \
    }                                                                                              \
    int function##_parse(struct slice s)                                                           \
    {                                                                                              \
        return number_of(words, COUNT(words), s);                                                  \
    }

WORDS(payment_state, payment_state, payment_states)
WORDS(refund_state, refund_state, refund_states)
WORDS(reversal_state, reversal_state, reversal_states)
WORDS(answer_class, answer_class, answer_classes)
WORDS(call_kind, call_kind, call_kinds)
WORDS(payment_method, payment_method, payment_methods)
WORDS(sent, sent, sents)
