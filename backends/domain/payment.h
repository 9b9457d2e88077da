/*
 * payment - the life of a payment: event ▸ decide ▸ step. Pure: no I/O, no clock, no heap.
 *
 * payment_decide(aggregate, event, now, policy) says what must be committed (a step: transition and
 * effects) or why nothing is. Nothing is sent or written here; the step's command may be sent only
 * after its commit. The same function serves workers, timer, notifications, payctl and the
 * simulator.
 *
 * Two stages, so that the whole state machine is one table:
 *   1. payment_classify: event + aggregate + now -> one of a closed list of inputs (all guards live
 *      here: amounts compared, "not found" too early or settled, expired, ever sent ...);
 *   2. payment_rules[state][input] -> next state and actions. sql/ is generated from that table.
 *
 * Meaning of `version`: rises by one with every committed step; each version has one history row.
 * `prev_state` is the state before the last move (steps that stay keep it).
 *
 * The egress's marker rules (R2.3): an answer whose `sent` is not SENT_ANSWERED is unknown whatever
 * its class says, and only SENT_NO takes back that an attempt may have been sent.
 */
#ifndef DOMAIN_PAYMENT_H
#define DOMAIN_PAYMENT_H

#include "core/arena.h"
#include "core/clock.h"
#include "core/problem.h"
#include "core/terms.h"

/* What an attempt may have done there; committed means OPEN, only an answer makes it less. */
enum send_mark {
    MARK_UNSENT = 0, /* the egress's own word: never passed on */
    MARK_IDLE = 1,   /* the channel's word: not executed */
    MARK_OPEN = 2    /* anything else, silence included */
};

/* Channels that refused an order before another one took it (R3.6). */
#define PAYMENT_PAST_MAX 2
struct payment_past {
    struct slice channel, account;
    bool paid;             /* money came all the same, and is given back */
    struct slice trade_no; /* the channel's number of it; may be empty */
};

/* The aggregate: row of `payment` with its timer. Slices belong to the loader's arena. */
struct payment {
    int64_t id;
    uint32_t slot;
    uint32_t version; /* 0: does not exist yet */
    enum payment_state state;
    enum payment_state prev_state;
    struct slice mchid;
    struct slice app_id;
    struct slice out_trade_no;
    struct slice digest; /* SHA-256 of the request's content: same number, same content? */
    enum payment_method method;
    struct slice scene, product, store_id; /* may be empty */
    int64_t amount;
    struct slice currency;
    struct slice description;
    struct slice attach;
    struct slice notify_url; /* merchant's; may be empty */
    struct slice payer;      /* who pays and from where, for the channel's calls; may be empty */
    struct slice trace_id;
    struct slice channel;
    struct slice account;
    struct slice route;   /* why this channel */
    uint32_t command_seq; /* of the charging command; its request number: ids.h */
    /* by command, the first first; the order's own only where money for it came too late and is
     * given back */
    struct payment_past past[PAYMENT_PAST_MAX + 1];
    int64_t extra_paid;          /* came over them and did not go back yet */
    uint32_t attempts;           /* attempts committed so far, all kinds */
    bool maybe_sent;             /* some prepare attempt was not answered `not sent` */
    pay_time_t prepare_before;   /* latest send_before of a prepare attempt */
    uint32_t prepare_n;          /* the latest prepare attempt */
    enum send_mark prepare_last; /* what is known of it */
    enum send_mark prepare_past; /* the worst of all earlier ones */
    uint32_t not_sent;           /* prepare attempts answered `not sent` */
    enum call_kind busy_kind;    /* of the latest attempt while it has no answer, else NONE */
    pay_time_t busy_before;      /* its send_before */
    struct slice channel_trade_no;
    struct slice code_url;
    struct slice fail_code;       /* channel's code behind failed/closed */
    enum reversal_state reversal; /* of the charge */
    uint32_t reverse_tries;       /* attempts to reverse it */
    int64_t refund_reserved;      /* of refunds that have not failed */
    int64_t refunded;             /* of them those that succeeded */
    pay_time_t created_at;
    pay_time_t time_expire;
    pay_time_t final_at;     /* entered a final state (our clock) */
    pay_time_t succeeded_at; /* paid (channel's clock); a charge being reversed: seen paid */
    /* timer: one row per unfinished order; due_at 0 = none */
    pay_time_t due_at;
    enum call_kind due_kind; /* what the timer will send */
    uint32_t due_tries;
};

enum payment_event_kind {
    PAYMENT_EVENT_CREATE, /* a merchant's request; the aggregate holds the new order, version 0 */
    PAYMENT_EVENT_ANSWER, /* of the channel to attempt_n, or the egress's word about it */
    PAYMENT_EVENT_NOTIFY, /* a verified notification */
    PAYMENT_EVENT_TIMER,
    PAYMENT_EVENT_CLOSE, /* the merchant's wish */
    PAYMENT_EVENT_OPERATOR_QUERY,
    PAYMENT_EVENT_REFUND, /* the merchant's wish (refund.h) */
    PAYMENT_EVENT_KINDS
};
const char *payment_event_name(enum payment_event_kind k); /* "create", "answer", ... */

struct payment_event {
    int64_t id; /* made in C; the history row carries it */
    enum payment_event_kind kind;
    /* ANSWER */
    enum call_kind call;
    uint32_t attempt_n;
    uint32_t asked;      /* version whose step sent that attempt */
    pay_time_t asked_at; /* when: what the channel says of something missing is as old as this */
    enum sent sent;
    int http_status;
    /* ANSWER: a channel that may take the order instead of this one; may be empty */
    struct slice next_channel, next_account;
    /* ANSWER, NOTIFY: the command spoken of, 0 = the order's own */
    uint32_t seq;
    /* ANSWER, NOTIFY: the channel's result in our words (backends/channel) */
    enum answer_class cls;
    struct slice code;
    struct slice message;
    struct slice channel_trade_no;
    int64_t amount;        /* -1 when absent */
    struct slice currency; /* empty when absent */
    pay_time_t paid_at;
    struct slice code_url;
};

/* Everything that is configuration. Microseconds. */
struct payment_policy {
    int64_t send_window;     /* attempt's commit -> send_before: 5 s */
    int64_t query_first;     /* prepare sent, outcome unknown -> first query, not earlier: 120 s */
    int64_t query_interval;  /* then growing: interval * 2^tries ... */
    int64_t query_max;       /* ... up to this */
    int64_t soon;            /* "query soon": duplicate, close says paid */
    int64_t resend_interval; /* prepare not sent or too frequent -> again, growing */
    int64_t settle;          /* after send_before: how long not_found proves nothing */
    uint32_t not_sent_limit; /* attempts never passed on before giving up: 3 */
    bool prepare_resend;     /* adapter: resend=same_number */
    bool prepare_local;      /* nothing is sent: the channel hears of it when the payer comes */
    /* charges */
    int64_t paying_interval;  /* between queries while the payer acts: 5 s */
    int64_t paying_limit;     /* charge -> reversal: 30 s */
    int64_t reverse_earliest; /* after send_before: sooner the channel takes no reversal */
    bool reverse_open;        /* the channel still takes one */
    uint32_t reroute;         /* further channels after one that refused, at most */
    bool late_refund;         /* money for a failed or closed order goes back by itself (R2.9) */
    uint32_t reverse_limit;   /* attempts without a result before a person is asked: 10 */
    bool refund;              /* the channel has refunds */
    bool refund_resend;
    int64_t refund_window; /* after the payment; 0 = no limit */
};

/* What an event means for an order: the columns of the state machine. */
#define PAYMENT_INPUT_TABLE(X)                                                                     \
    X(CREATE)                                                                                      \
    X(PREPARE_ACCEPTED)                                                                            \
    X(PREPARE_FAILED)         /* failed or refused: nothing charged, definitely */                 \
    X(PREPARE_FAILED_DOUBTED) /* ... but another attempt has no definitive answer */               \
    X(PREPARE_CLOSED)                                                                              \
    X(PREPARE_TOO_FREQUENT)                                                                        \
    X(PREPARE_DUPLICATE)                                                                           \
    X(PREPARE_NOT_SENT) /* never passed on, may be tried again */                                  \
    X(PREPARE_GIVEN_UP) /* never passed on, limit reached, no attempt maybe sent */                \
    X(PREPARE_UNKNOWN)                                                                             \
    X(QUERY_PAID)     /* success, amount and currency ours */                                      \
    X(QUERY_MISMATCH) /* success with another amount or currency */                                \
    X(QUERY_WAITING)                                                                               \
    X(QUERY_WAITING_LOST_CODE) /* the answer with the code was lost; asking again is allowed */    \
    X(QUERY_WAITING_EARLY)     /* no code yet, and the prepare's own answer may still come */      \
    X(QUERY_WAITING_STALE)     /* answers an attempt that is not the latest */                     \
    X(QUERY_FAILED)                                                                                \
    X(QUERY_CLOSED)                                                                                \
    X(QUERY_NOT_FOUND)         /* settled; the same number may be sent again */                    \
    X(QUERY_NOT_FOUND_EARLY)   /* asked before send_before + settle, or before news: no proof */   \
    X(QUERY_NOT_FOUND_KEEP)    /* settled, but nothing may be sent again */                        \
    X(QUERY_NOT_FOUND_CLOSING) /* settled, and expired or a close is wanted */                     \
    X(QUERY_UNKNOWN)                                                                               \
    X(CLOSE_DONE)                                                                                  \
    X(CLOSE_DONE_EARLY) /* asked while a prepare attempt might still arrive there */               \
    X(CLOSE_PAID)       /* duplicate: the channel says it is paid; a query decides */              \
    X(CLOSE_NOT_FOUND)                                                                             \
    X(CLOSE_NOT_FOUND_LONG) /* ... and so it has been for many tries */                            \
    X(CLOSE_UNKNOWN)                                                                               \
    X(NOTIFY_PAID)                                                                                 \
    X(NOTIFY_MISMATCH)                                                                             \
    X(NOTIFY_FAILED)                                                                               \
    X(NOTIFY_CLOSED)                                                                               \
    X(NOTIFY_OTHER)                                                                                \
    X(CHARGE_PAID) /* answers to a charge (barcode), which is sent once */                         \
    X(CHARGE_MISMATCH)                                                                             \
    X(CHARGE_WAITING) /* the payer types a password, or the channel works on it */                 \
    X(CHARGE_FAILED)  /* nothing charged, definitely; or never passed on */                        \
    X(CHARGE_CLOSED)                                                                               \
    X(CHARGE_UNKNOWN)                                                                              \
    X(POLL_REVERSE)       /* a query brought no final word, and it is time to reverse */           \
    X(POLL_REVERSE_PAID)  /* paid, but its reversal was begun: it is carried through */            \
    X(POLL_REVERSE_SOON)  /* failed there, to be reversed as soon as the channel takes it */       \
    X(POLL_REVERSE_LATE)  /* time to reverse, but the channel takes none any more */               \
    X(PAID_REVERSING)     /* heard that it is paid while it is being reversed */                   \
    X(PAID_REVERSED)      /* ... after it was reversed */                                          \
    X(REVERSE_DONE)       /* reversed, and nobody ever said that it was paid */                    \
    X(REVERSE_DONE_PAID)  /* reversed: all of the money went back */                               \
    X(REVERSE_DONE_EARLY) /* said of an order the channel may not have seen yet: no proof */       \
    X(REVERSE_AGAIN)      /* not done, or no answer */                                             \
    X(REVERSE_AGAIN_LONG) /* ... and so it has been for many tries */                              \
    X(REVERSE_REFUSED)    /* never will be: what was charged stays */                              \
    X(REROUTE)            /* refused, definitely not accepted: another channel takes it */         \
    X(OTHER_PAID)         /* money over a channel that had refused */                              \
    X(OTHER_NEWS)         /* ... anything else of it */                                            \
    X(LATE_PAID)          /* money for a failed or closed order, which goes back */                \
    X(SECOND_PAID)        /* paid again under another channel_trade_no */                          \
    X(TIMER_EARLY)        /* not due (any more) */                                                 \
    X(TIMER_PREPARE)                                                                               \
    X(TIMER_QUERY)                                                                                 \
    X(TIMER_CLOSE)          /* expired, or a close is wanted */                                    \
    X(TIMER_EXPIRED_UNSENT) /* expired or a close is wanted, and no attempt maybe sent */          \
    X(MERCHANT_CLOSE)                                                                              \
    X(MERCHANT_CLOSE_BUSY)   /* a close is on its way already */                                   \
    X(MERCHANT_CLOSE_UNSENT) /* no attempt maybe sent */                                           \
    X(MERCHANT_REVERSE)      /* the merchant's close of a charge */                                \
    X(MERCHANT_REVERSE_SOON) /* ... before the channel takes a reversal */                         \
    X(OPERATOR_QUERY)                                                                              \
    X(OPERATOR_QUERY_BUSY)
enum payment_input {
#define X(name) INPUT_##name,
    PAYMENT_INPUT_TABLE(X)
#undef X
        PAYMENT_INPUT_COUNT
};
const char *payment_input_name(enum payment_input i);

/* What the table says. */
enum payment_action {
    ACTION_NONE = 0,
    ACTION_SEND_PREPARE = 1 << 0, /* command to be sent after the commit (at most one of SEND_*);
                                     a charge where the method charges */
    ACTION_SEND_QUERY = 1 << 1,
    ACTION_SEND_CLOSE = 1 << 2,
    ACTION_LATER_PREPARE = 1 << 3, /* timer: do that later, growing (at most one of LATER_*) */
    ACTION_LATER_QUERY = 1 << 4,
    ACTION_LATER_CLOSE = 1 << 5,
    ACTION_SOON_QUERY = 1 << 6,
    ACTION_TAKE = 1 << 7,          /* take channel_trade_no, code_url, paid_at from the event */
    ACTION_CASE = 1 << 8,          /* a case for a person, and an alert */
    ACTION_IGNORE = 1 << 9,        /* nothing but the attempt's outcome: repeated or meaningless */
    ACTION_REFUSE = 1 << 10,       /* the asker gets STATE_CONFLICT */
    ACTION_SEND_REVERSE = 1 << 11, /* begins the reversal if none was begun */
    ACTION_REVERSED = 1 << 12,     /* ends it: done */
    ACTION_UNREVERSED = 1 << 13,   /* ends it: cannot be done */
    ACTION_REROUTE = 1 << 14,      /* a new command, over the event's next channel */
    ACTION_GIVE_BACK = 1 << 15     /* a refund of money that nobody waits for */
};
struct payment_rule {
    enum payment_state to; /* equal to the row's state: stays */
    unsigned actions;
};
extern const struct payment_rule payment_rules[PAYMENT_STATE_COUNT][PAYMENT_INPUT_COUNT];
/* Is from -> to (from != to) anywhere in the table? The database's CHECK is made from this. */
bool payment_move_allowed(enum payment_state from, enum payment_state to);

/* An unexpired order's timer never lies beyond time_expire + this; from then on it closes. */
#define PAYMENT_EXPIRE_MARGIN (2 * USEC_PER_SEC)
/* Closes answered `not found` before a person is asked. */
#define PAYMENT_CLOSE_TRIES_LONG 8

/* Charges take the money at once and are sent once; what is unknown of them is reversed (R2.8). */
static inline bool payment_is_charge(const struct payment *p)
{
    return p->method == METHOD_BARCODE;
}

/* The state as merchants read it: "reversed" for what was paid and went back. */
const char *payment_shown_state(const struct payment *p);

enum payment_input payment_classify(const struct payment *p, const struct payment_event *e,
                                    pay_time_t now, const struct payment_policy *policy);

enum payment_verdict {
    STEP_COMMIT,  /* `after` is the new image, version + 1, with history row and effects */
    STEP_RECORD,  /* the order does not move: only the attempt's outcome and/or a case */
    STEP_NOTHING, /* nothing to write */
    STEP_REFUSE   /* nothing to write; problem says why */
};

struct payment_attempt {
    uint32_t n; /* 0 = none */
    enum call_kind kind;
    uint32_t command_seq;
    uint32_t version; /* of the step that sends it */
    pay_time_t committed_at;
    pay_time_t send_before;
};

struct payment_outcome { /* of an attempt */
    uint32_t n;          /* 0 = none */
    enum sent sent;
    enum answer_class cls;
    int http_status;
    struct slice code;
    struct slice message;
    pay_time_t answered_at;
};

/* Money that is given back without being asked: a refund is made in the same commit. */
struct payment_extra {
    uint32_t seq; /* of the command that it came over; 0 = none */
    int64_t amount;
    struct slice channel, account;
};

struct payment_step {
    enum payment_verdict verdict;
    enum payment_input input; /* payment_decide's */
    const char *input_name;
    bool mismatch;                  /* a notification whose amount is not ours */
    struct payment after;           /* image to store, timer included */
    bool timer_changed;             /* due_at, due_kind or due_tries differ from before */
    struct payment_attempt attempt; /* to be committed, then sent */
    struct payment_outcome outcome;
    bool callback; /* a final state was entered: callback row in the same commit */
    struct payment_extra extra;
    struct slice reversal_why; /* a reversal is begun by this step: "paying", "unknown" ... */
    bool open_case;
    struct slice case_kind; /* "late_success", "amount_mismatch", "contradiction" ... */
    struct slice case_detail;
    enum problem_code problem; /* STEP_REFUSE */
};

/* Total over all inputs. Slices in *out point into p, e or static text. */
void payment_decide(const struct payment *p, const struct payment_event *e, pay_time_t now,
                    const struct payment_policy *policy, struct payment_step *out);

/* For refund.c: the attempt's outcome, and the case if the actions ask for one. */
void payment_note_facts(const struct payment_event *e, pay_time_t now, unsigned actions,
                        struct slice case_kind, struct payment_step *out);

#endif
