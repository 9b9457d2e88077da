/*
 * sim - one order's life under faults: the real backends/domain with everything around it
 * simulated.
 *
 * A life is one world: a payment and its refunds, a store, three worker processes, a channel with
 * books of its own, a merchant, a payer, an operator, a clock. Nothing else in the system couples
 * two orders, so a run is many lives, each a pure function of (seed, number) and of the choices
 * that are switched off. Time is virtual; a life ends when nothing is left to happen. No memory is
 * allocated while lives run: a world is one struct with pools, all of them bounded.
 *
 * Whatever may happen or not (a fault, a wish) is a choice at a site: a word and a probability in
 * SITE_TABLE. Each site draws from a stream of its own, so that switching one choice off ("loss.3",
 * the third at its site) moves as little else as possible: that is what makes shrinking work.
 */
#ifndef SIM_H
#define SIM_H

#include "backends/domain/refund.h"

#include <stdio.h>

#define SEC USEC_PER_SEC
#define MS  USEC_PER_MSEC
#define T0  (1795000000LL * SEC)

#define PROCESSES    3
#define FLOWS_MAX    48
#define EVENTS_MAX   256
#define WISHES_MAX   8 /* for a refund */
#define COMMANDS_MAX 4 /* PAYMENT_PAST_MAX + 1, from 1 */
#define REFUNDS_MAX  (WISHES_MAX + COMMANDS_MAX)
#define ATTEMPTS_MAX 1000
#define VERSIONS_MAX 4000
#define CASES_MAX    64
#define WORDS_MAX    16 /* of persons on one case */
#define PERSONS      3
#define NOTICES_MAX  64
#define STEPS_MAX    20000
#define EGRESS_WAIT  (10 * SEC) /* the egress's read time-out */
#define SITE_DRAWS   512        /* choices of one site that can be switched off */

/* What somebody wants and what goes wrong; per mille, times the group's level in a profile. */
#define SITE_TABLE(X)                                                                              \
    X(world, WISH, 0) /* values that are no choice: amounts, policies, styles */                   \
    X(pays, WISH, 700)                                                                             \
    X(pays_at_the_end, WISH, 150)                                                                  \
    X(creates_twice, WISH, 60)                                                                     \
    X(closes, WISH, 150)                                                                           \
    X(asks, WISH, 80)          /* an operator, or a merchant's read that asks the channel */       \
    X(asks_at_once, WISH, 250) /* ... several together */                                          \
    X(refunds, WISH, 450)                                                                          \
    X(refunds_again, WISH, 120) /* the same number */                                              \
    X(refunds_too_much, WISH, 80)                                                                  \
    X(refunds_early, WISH, 30)                                                                     \
    X(refunds_wrong_total, WISH, 30)                                                               \
    X(bank_refuses, BANK, 60)                                                                      \
    X(bank_too_frequent, BANK, 40)                                                                 \
    X(bank_error_undone, BANK, 40) /* an answer that says nothing, nothing was done */             \
    X(bank_error_done, BANK, 40)   /* ... it was done */                                           \
    X(bank_gives_up, BANK, 15)     /* the payer's bank says no for good */                         \
    X(refund_slow, BANK, 400)      /* accepted now, done later */                                  \
    X(refund_fails, BANK, 60)                                                                      \
    X(tells_close, BANK, 200)   /* notifies of closed orders */                                    \
    X(asks_password, BANK, 300) /* of a charge's payer */                                          \
    X(reverses_no_more, BANK, 60)                                                                  \
    X(connect_fails, NET, 50) /* never passed on */                                                \
    X(request_lost, NET, 50)                                                                       \
    X(answer_lost, NET, 60)                                                                        \
    X(notice_lost, NET, 150)                                                                       \
    X(notice_never, NET, 40) /* all of them */                                                     \
    X(notice_twice, NET, 100)                                                                      \
    X(callback_lost, NET, 150)                                                                     \
    X(request_slow, SLOW, 80) /* up to all that the channel's settling time allows */              \
    X(answer_slow, SLOW, 80)                                                                       \
    X(notice_slow, SLOW, 100)                                                                      \
    X(commit_slow, SLOW, 60)                                                                       \
    X(worker_stops, SLOW, 25) /* between commit and send */                                        \
    X(polled_twice, SLOW, 100)                                                                     \
    X(person_rejects, WISH, 100)                                                                   \
    X(person_differs, WISH, 100)                                                                   \
    X(person_alone, WISH, 150) /* tries to confirm what he proposed */                             \
    X(crash, CRASH, 15)                                                                            \
    X(commit_lost, STORE, 40) /* COMMIT sent, its answer lost */                                   \
    X(store_busy, STORE, 30)                                                                       \
    X(clock_jumps, CLOCK, 300)                                                                     \
    X(lies, LIE, 60)            /* another class than the truth */                                 \
    X(refuses_falsely, LIE, 80) /* what it booked */                                               \
    X(wrong_amount, LIE, 60)                                                                       \
    X(paid_twice, LIE, 40)                                                                         \
    X(paid_odd, LIE, 30) /* another amount than was ordered */
enum site {
#define X(name, group, permille) SITE_##name,
    SITE_TABLE(X)
#undef X
        SITES
};
enum group {
    GROUP_WISH,
    GROUP_BANK,
    GROUP_NET,
    GROUP_SLOW,
    GROUP_CRASH,
    GROUP_STORE,
    GROUP_CLOCK,
    GROUP_LIE,
    GROUPS
};
const char *site_name(enum site s);

struct profile { /* what sort of life */
    const char *name;
    unsigned weight;
    unsigned level[GROUPS];
};
extern const struct profile profiles[];
extern const unsigned profile_count;

/* Choices that may not happen; or, with `only`, the only ones that may. */
struct choices {
    bool only;
    uint64_t set[SITES][SITE_DRAWS / 64];
};

/* ---- events ---- */

#define EVENT_TABLE(X)                                                                             \
    X(create)      /* merchant: a = process */                                                     \
    X(close)       /* merchant */                                                                  \
    X(ask)         /* operator */                                                                  \
    X(refund)      /* merchant: a = wish */                                                        \
    X(pay)         /* payer: a = charging command, b = 1 again */                                  \
    X(expire)      /* the bank's own: a = charging command */                                      \
    X(refund_done) /* the bank works off a refund: a = which, b = 1 fails */                       \
    X(notice)      /* the bank tells: a = which */                                                 \
    X(poll)        /* timers */                                                                    \
    X(load)        /* a flow reads its image; a = flow, for all that follow */                     \
    X(commit)                                                                                      \
    X(result)                                                                                      \
    X(send)                                                                                        \
    X(arrive) /* at the bank: a = flow * 1024 + attempt */                                         \
    X(answer)                                                                                      \
    X(look)     /* a person at a case: a = case * 256 + person */                                  \
    X(word)     /* ... and his word: b = enum word */                                              \
    X(callback) /* a = which */                                                                    \
    X(jump)     /* PostgreSQL's clock */
enum event_kind {
#define X(name) EVENT_##name,
    EVENT_TABLE(X)
#undef X
        EVENT_KINDS
};
struct event {
    int64_t at; /* true time since the life began */
    uint32_t seq;
    uint8_t kind;
    uint8_t b;
    uint16_t a;
    uint32_t gen; /* of the flow */
};

/* ---- the store: rows as sql/ has them ---- */

enum fate { FATE_NONE, FATE_WAITS, FATE_FLIES, FATE_ARRIVED, FATE_DEAD };

struct attempt_row {
    enum call_kind kind;
    uint32_t command_seq;
    uint32_t version;
    int refund; /* index, -1 = the payment's */
    pay_time_t committed_at, send_before;
    bool answered;
    enum sent sent;
    enum answer_class cls;
    /* not stored: what truly becomes of it, and until when it may go out */
    enum fate fate;
    int64_t deadline;
};
struct refund_row {
    struct refund r;
    int wish;
};
struct callback_row {
    int subject; /* refund index, -1 = the payment */
    int state;
    unsigned tries;
    bool told;
};
struct reversal_row {
    enum reversal_state state; /* NONE: no row */
    int64_t amount;
    uint32_t tries;
};
enum word { WORD_NONE, WORD_REFUNDED, WORD_ACCEPTED, WORD_DISMISSED, WORD_REJECT };
struct decision_row {
    enum word decision;
    uint8_t proposed_by, second_by; /* persons */
    enum { DECISION_WAITS, DECISION_CONFIRMED, DECISION_REJECTED } state;
};
struct case_row {
    struct slice kind, detail, trade_no;
    bool closed;
    unsigned ndecisions;
    struct decision_row decisions[WORDS_MAX];
};
struct rows {
    bool exists;
    struct payment p;
    unsigned nrefunds, nattempts, ncallbacks, ncases, nhistory;
    struct refund_row refunds[REFUNDS_MAX];
    struct attempt_row attempts[ATTEMPTS_MAX + 1]; /* by n */
    int64_t history[VERSIONS_MAX + 1];             /* event's id, by version */
    struct callback_row callbacks[REFUNDS_MAX + 1];
    struct case_row cases[CASES_MAX];
    struct reversal_row reversal;
    /* what the last step was, for the checks of the next */
    const char *last_input;
    pay_time_t last_at;
    uint32_t last_attempt;
};

/* ---- workers ---- */

enum origin { FROM_CREATE, FROM_CLOSE, FROM_ASK, FROM_REFUND, FROM_NOTICE, FROM_TIMER };
enum commit_result { RESULT_DONE, RESULT_CONFLICT, RESULT_EXISTS, RESULT_BUSY };
enum flow_end { END_SETTLED, END_REFUSED, END_EXISTS, END_NONE, END_BUSY, END_UNKNOWN, END_DIED };

struct flow {
    bool used, of_refund, doubt, committed, reverse_open;
    uint8_t process;
    enum origin origin;
    int which; /* wish or notice */
    uint32_t gen;
    struct payment p;
    struct refund r, r_after;
    struct payment_event e;
    struct payment_step step;
    struct payment_attempt attempt;
    int refund_index;    /* of r in the store, -1 = none yet */
    pay_time_t now;      /* of the decision */
    int64_t deadline;    /* send_before in true time */
    uint32_t waits_for;  /* attempt whose answer is still wanted */
    unsigned candidates; /* further channels that the edge named */
    unsigned conflicts, retries;
    enum commit_result result;
    struct payment_event answer; /* under way */
};

/* ---- the bank: its own books ---- */

enum bank_state { BANK_NONE, BANK_OPEN, BANK_PAID, BANK_CLOSED, BANK_DEAD, BANK_REVERSED };

struct bank_order {
    enum bank_state state;
    int64_t amount;
    int64_t took;     /* all payments */
    int64_t returned; /* of it, by a reversal */
    unsigned payments;
    bool irreversible;
};
enum bank_refund_state { BANK_REFUND_NONE, BANK_REFUND_RUNS, BANK_REFUND_DONE, BANK_REFUND_FAILED };
struct bank_refund {
    enum bank_refund_state state;
    uint32_t command_seq;
    int64_t amount;
};
struct notice {
    enum answer_class cls;
    int refund; /* -1 = of the payment */
    uint32_t command_seq;
    int64_t amount;
    struct slice trade_no;
    unsigned tries;
    bool never, acked;
};
struct bank {
    struct bank_order orders[COMMANDS_MAX]; /* by command_seq */
    struct bank_refund refunds[REFUNDS_MAX];
    struct notice notices[NOTICES_MAX];
    unsigned nnotices;
    /* style */
    bool duplicates;    /* a known number is "duplicate", else answered as the first time */
    bool closes_unseen; /* success for a number it never saw, which may still come */
    bool expires;
    bool names_currency, names_refund_amount;
};

/* ---- people ---- */

struct wish { /* for a refund */
    int64_t amount, total;
    unsigned tries;
    bool heard;
    int64_t id; /* the refund that it became */
};
struct merchant {
    int64_t acked_id;
    unsigned creates;
    bool close_taken;
    unsigned nwishes;
    struct wish wishes[WISHES_MAX];
};

struct world {
    uint64_t seed;
    const struct profile *profile;
    const struct choices *choices;
    FILE *trace;
    /* time */
    int64_t t, jump, quiet; /* true time; PostgreSQL's error; no choices from then on */
    int64_t skew[PROCESSES];
    int64_t up_at[PROCESSES];
    bool jumped, lied, odd; /* has happened in this life */
    /* what is about to happen: a heap */
    struct event events[EVENTS_MAX];
    unsigned nevents;
    uint32_t seq;
    int64_t next_poll;
    unsigned steps;
    uint32_t draws[SITES], values[SITES];
    /* who takes part */
    struct payment_policy policy;
    int64_t reverse_window; /* after the creation; 0 = always open */
    struct payment order;   /* as the merchant wants it */
    int64_t next_id;
    struct rows rows;
    struct flow flows[FLOWS_MAX];
    uint32_t next_gen;
    struct bank bank;
    struct merchant merchant;
    /* verdict */
    const char *broken; /* the invariant */
    char detail[200];
    uint32_t fired[4096]; /* site << 16 | draw of each choice that happened */
    unsigned nfired;
};

/* world.c */
void world_run(struct world *w, uint64_t seed, uint64_t life, const struct choices *c, FILE *trace);
bool chance(struct world *w, enum site s);
uint64_t pick(struct world *w, enum site s, uint64_t below);
int64_t slow(struct world *w, enum site s, int64_t base, int64_t more);
void later(struct world *w, int64_t in, enum event_kind k, unsigned a, unsigned b, uint32_t gen);
pay_time_t process_now(const struct world *w, unsigned process);
bool honest(const struct world *w); /* nobody lied, no clock jumped so far */
void broken(struct world *w, const char *invariant, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void say(const struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define SAY(w, ...)                                                                                \
    do {                                                                                           \
        if (__builtin_expect((w)->trace != NULL, 0))                                               \
            say((w), __VA_ARGS__);                                                                 \
    } while (0)

/* rows.c */
enum commit_result rows_commit(struct world *w, struct flow *f);
bool rows_known(const struct world *w, const struct flow *f);
int rows_refund_by_id(const struct world *w, int64_t id);
int rows_refund_by_wish(const struct world *w, int wish);
void rows_load(const struct world *w, int refund, struct payment *p, struct refund *r);
/* One person's word on a case: what he is told became of it. */
enum said {
    SAID_PROPOSED,
    SAID_CONFIRMED,
    SAID_REJECTED,
    SAID_CLOSED,
    SAID_SAME,
    SAID_DIFFERS,
    SAID_NOTHING
};
enum said rows_say(struct world *w, unsigned which, unsigned person, enum word word);
/* the earliest due_at, 0 = none */
pay_time_t rows_due(const struct world *w);

/* worker.c */
struct flow *flow_start(struct world *w, unsigned process, enum origin from, int which);
void flow_load(struct world *w, struct flow *f);
void flow_commit(struct world *w, struct flow *f);
void flow_result(struct world *w, struct flow *f);
void flow_send(struct world *w, struct flow *f);
void flow_answer(struct world *w, struct flow *f);
/* What comes back to the call under way: its class and facts. */
void flow_answered(struct world *w, struct flow *f, int64_t in, enum sent sent,
                   const struct payment_event *what);
void flow_decide(struct world *w, struct flow *f);
void worker_crash(struct world *w, unsigned process);
unsigned worker_any(struct world *w); /* PROCESSES when none is up */
bool worker_busy(const struct world *w, unsigned process);
void poll_timers(struct world *w);
void poll_soon(struct world *w);

/* bank.c */
/* of an attempt; flow and gen: who waits for the answer, if it still lives */
void bank_arrive(struct world *w, uint32_t attempt, unsigned flow, uint32_t gen);
/* A payer holds what he can pay with; the bank hears of it when he comes. */
void bank_expects(struct world *w, uint32_t seq);
void bank_pay(struct world *w, uint32_t seq, bool again);
void bank_expire(struct world *w, uint32_t seq);
void bank_refund_ends(struct world *w, unsigned refund, bool fails);
void bank_notice(struct world *w, unsigned which);
void bank_told(struct world *w, unsigned which, bool taken);

/* people.c */
void people_start(struct world *w);
void merchant_creates(struct world *w);
void merchant_closes(struct world *w);
void operator_asks(struct world *w);
void merchant_refunds(struct world *w, unsigned wish);
void merchant_called(struct world *w, unsigned callback);
void merchant_hears(struct world *w, struct flow *f, enum flow_end end);

/* persons.c */
void persons_called(struct world *w, unsigned which);
void person_looks(struct world *w, unsigned which, unsigned person);
void person_speaks(struct world *w, unsigned which, unsigned person, enum word word);

/* check*.c */
void check_decision(struct world *w, const struct flow *f);
void check_step(struct world *w, const struct flow *f, const struct payment *before,
                const struct refund *refund_before);
void check_refusal(struct world *w, const struct flow *f);
void check_word(struct world *w, unsigned which, enum word word, const struct payment *before,
                const struct case_row *was);
void check_rows(struct world *w);
void check_end(struct world *w);

/* shrink.c */
/* The choices that a broken life needs to break as it did; w is left as it ran with them. */
void shrink(struct world *w, uint64_t seed, uint64_t life, struct choices *c);

#endif
