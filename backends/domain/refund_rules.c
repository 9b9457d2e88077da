#include "refund.h"

/* The whole state machine of a refund. t/unit compares it with a copy written by hand. */

#define SEND         ACTION_SEND_PREPARE
#define ASK          ACTION_SEND_QUERY
#define LATER_SEND   ACTION_LATER_PREPARE
#define LATER_QUERY  ACTION_LATER_QUERY
#define SOON_QUERY   ACTION_SOON_QUERY
#define TAKE         ACTION_TAKE
#define CASE         ACTION_CASE
#define IGNORE       ACTION_IGNORE
#define REFUSE       ACTION_REFUSE
#define NOTHING_MORE ACTION_NONE

#define ON(input, to, actions) [INPUT_REFUND_##input] = {REFUND_##to, (actions)}

/* clang-format off */
const struct refund_rule refund_rules[REFUND_STATE_COUNT][REFUND_INPUT_COUNT] = {
    /* A refund is born by the merchant's wish alone. */
    [REFUND_NONE] = {
        ON(CREATE,                PROCESSING, SEND | LATER_QUERY),
        ON(NOT_PAID,              NONE,       REFUSE),
        ON(DIFFERS,               NONE,       REFUSE),
        ON(EXCEEDS,               NONE,       REFUSE),
        ON(TOO_LATE,              NONE,       REFUSE),
        ON(UNSUPPORTED,           NONE,       REFUSE),
        ON(ACCEPTED,              NONE,       IGNORE),
        ON(DONE,                  NONE,       IGNORE),
        ON(REFUSED,               NONE,       IGNORE),
        ON(REFUSED_DOUBTED,       NONE,       IGNORE),
        ON(REFUSED_LONG,          NONE,       IGNORE),
        ON(TOO_FREQUENT,          NONE,       IGNORE),
        ON(DUPLICATE,             NONE,       IGNORE),
        ON(NOT_SENT,              NONE,       IGNORE),
        ON(NOT_SENT_LONG,         NONE,       IGNORE),
        ON(UNKNOWN,               NONE,       IGNORE),
        ON(QUERY_DONE,            NONE,       IGNORE),
        ON(QUERY_MISMATCH,        NONE,       IGNORE),
        ON(QUERY_WAITING,         NONE,       IGNORE),
        ON(QUERY_FAILED,          NONE,       IGNORE),
        ON(QUERY_NOT_FOUND,       NONE,       IGNORE),
        ON(QUERY_NOT_FOUND_EARLY, NONE,       IGNORE),
        ON(QUERY_NOT_FOUND_KEEP,  NONE,       IGNORE),
        ON(QUERY_UNKNOWN,         NONE,       IGNORE),
        ON(NOTIFY_DONE,           NONE,       CASE),
        ON(NOTIFY_MISMATCH,       NONE,       CASE),
        ON(NOTIFY_OTHER,          NONE,       IGNORE),
        ON(TIMER_EARLY,           NONE,       IGNORE),
        ON(TIMER_SEND,            NONE,       IGNORE),
        ON(TIMER_QUERY,           NONE,       IGNORE),
    },
    [REFUND_PROCESSING] = {
        ON(CREATE,                PROCESSING, IGNORE),
        ON(NOT_PAID,              PROCESSING, IGNORE),
        ON(DIFFERS,               PROCESSING, IGNORE),
        ON(EXCEEDS,               PROCESSING, IGNORE),
        ON(TOO_LATE,              PROCESSING, IGNORE),
        ON(UNSUPPORTED,           PROCESSING, IGNORE),
        ON(ACCEPTED,              PROCESSING, TAKE | LATER_QUERY),
        ON(DONE,                  SUCCEEDED,  TAKE),
        ON(REFUSED,               FAILED,     NOTHING_MORE),
        ON(REFUSED_DOUBTED,       PROCESSING, SOON_QUERY),
        ON(REFUSED_LONG,          PROCESSING, CASE | SOON_QUERY),
        ON(TOO_FREQUENT,          PROCESSING, LATER_SEND),
        ON(DUPLICATE,             PROCESSING, SOON_QUERY),
        ON(NOT_SENT,              PROCESSING, LATER_SEND),
        ON(NOT_SENT_LONG,         PROCESSING, CASE | LATER_SEND),
        ON(UNKNOWN,               PROCESSING, LATER_QUERY),
        ON(QUERY_DONE,            SUCCEEDED,  TAKE),
        ON(QUERY_MISMATCH,        PROCESSING, CASE | LATER_QUERY),
        ON(QUERY_WAITING,         PROCESSING, LATER_QUERY),
        ON(QUERY_FAILED,          FAILED,     NOTHING_MORE),
        ON(QUERY_NOT_FOUND,       PROCESSING, SEND | LATER_QUERY),
        ON(QUERY_NOT_FOUND_EARLY, PROCESSING, LATER_QUERY),
        ON(QUERY_NOT_FOUND_KEEP,  PROCESSING, CASE | LATER_QUERY),
        ON(QUERY_UNKNOWN,         PROCESSING, LATER_QUERY),
        ON(NOTIFY_DONE,           SUCCEEDED,  TAKE),
        ON(NOTIFY_MISMATCH,       PROCESSING, CASE | LATER_QUERY),
        ON(NOTIFY_OTHER,          PROCESSING, SOON_QUERY),
        ON(TIMER_EARLY,           PROCESSING, IGNORE),
        ON(TIMER_SEND,            PROCESSING, SEND | LATER_QUERY),
        ON(TIMER_QUERY,           PROCESSING, ASK | LATER_QUERY),
    },
    /* Nothing moves a final refund; who says otherwise opens a case (R2.5). */
    [REFUND_SUCCEEDED] = {
        ON(CREATE,                SUCCEEDED,  IGNORE),
        ON(NOT_PAID,              SUCCEEDED,  IGNORE),
        ON(DIFFERS,               SUCCEEDED,  IGNORE),
        ON(EXCEEDS,               SUCCEEDED,  IGNORE),
        ON(TOO_LATE,              SUCCEEDED,  IGNORE),
        ON(UNSUPPORTED,           SUCCEEDED,  IGNORE),
        ON(ACCEPTED,              SUCCEEDED,  IGNORE),
        ON(DONE,                  SUCCEEDED,  IGNORE),
        ON(REFUSED,               SUCCEEDED,  IGNORE),
        ON(REFUSED_DOUBTED,       SUCCEEDED,  IGNORE),
        ON(REFUSED_LONG,          SUCCEEDED,  IGNORE),
        ON(TOO_FREQUENT,          SUCCEEDED,  IGNORE),
        ON(DUPLICATE,             SUCCEEDED,  IGNORE),
        ON(NOT_SENT,              SUCCEEDED,  IGNORE),
        ON(NOT_SENT_LONG,         SUCCEEDED,  IGNORE),
        ON(UNKNOWN,               SUCCEEDED,  IGNORE),
        ON(QUERY_DONE,            SUCCEEDED,  IGNORE),
        ON(QUERY_MISMATCH,        SUCCEEDED,  CASE),
        ON(QUERY_WAITING,         SUCCEEDED,  IGNORE),
        ON(QUERY_FAILED,          SUCCEEDED,  CASE),
        ON(QUERY_NOT_FOUND,       SUCCEEDED,  CASE),
        ON(QUERY_NOT_FOUND_EARLY, SUCCEEDED,  IGNORE),
        ON(QUERY_NOT_FOUND_KEEP,  SUCCEEDED,  CASE),
        ON(QUERY_UNKNOWN,         SUCCEEDED,  IGNORE),
        ON(NOTIFY_DONE,           SUCCEEDED,  IGNORE),
        ON(NOTIFY_MISMATCH,       SUCCEEDED,  CASE),
        ON(NOTIFY_OTHER,          SUCCEEDED,  CASE),
        ON(TIMER_EARLY,           SUCCEEDED,  IGNORE),
        ON(TIMER_SEND,            SUCCEEDED,  IGNORE),
        ON(TIMER_QUERY,           SUCCEEDED,  IGNORE),
    },
    /* Money that goes out after all, or may, opens a case. */
    [REFUND_FAILED] = {
        ON(CREATE,                FAILED,     IGNORE),
        ON(NOT_PAID,              FAILED,     IGNORE),
        ON(DIFFERS,               FAILED,     IGNORE),
        ON(EXCEEDS,               FAILED,     IGNORE),
        ON(TOO_LATE,              FAILED,     IGNORE),
        ON(UNSUPPORTED,           FAILED,     IGNORE),
        ON(ACCEPTED,              FAILED,     CASE),
        ON(DONE,                  FAILED,     CASE),
        ON(REFUSED,               FAILED,     IGNORE),
        ON(REFUSED_DOUBTED,       FAILED,     IGNORE),
        ON(REFUSED_LONG,          FAILED,     IGNORE),
        ON(TOO_FREQUENT,          FAILED,     IGNORE),
        ON(DUPLICATE,             FAILED,     IGNORE),
        ON(NOT_SENT,              FAILED,     IGNORE),
        ON(NOT_SENT_LONG,         FAILED,     IGNORE),
        ON(UNKNOWN,               FAILED,     IGNORE),
        ON(QUERY_DONE,            FAILED,     CASE),
        ON(QUERY_MISMATCH,        FAILED,     CASE),
        ON(QUERY_WAITING,         FAILED,     CASE),
        ON(QUERY_FAILED,          FAILED,     IGNORE),
        ON(QUERY_NOT_FOUND,       FAILED,     IGNORE),
        ON(QUERY_NOT_FOUND_EARLY, FAILED,     IGNORE),
        ON(QUERY_NOT_FOUND_KEEP,  FAILED,     IGNORE),
        ON(QUERY_UNKNOWN,         FAILED,     IGNORE),
        ON(NOTIFY_DONE,           FAILED,     CASE),
        ON(NOTIFY_MISMATCH,       FAILED,     CASE),
        ON(NOTIFY_OTHER,          FAILED,     IGNORE),
        ON(TIMER_EARLY,           FAILED,     IGNORE),
        ON(TIMER_SEND,            FAILED,     IGNORE),
        ON(TIMER_QUERY,           FAILED,     IGNORE),
    },
};
/* clang-format on */

const char *refund_input_name(enum refund_input i)
{
#define X(name) #name,
    static const char *const names[] = {REFUND_INPUT_TABLE(X)};
#undef X

    return (unsigned)i < REFUND_INPUT_COUNT ? names[i] : "?";
}
