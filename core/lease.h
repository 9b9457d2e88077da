/*
 * lease - places of one cap, shared by the nodes of a group: never one too many, whatever is lost.
 *
 * Each node owns its share, cap / nodes, and needs nobody to use it. A node that has places to
 * spare lends them to one that needs them, for a limited time. What they tell each other goes
 * through a board where each writes its own notes and reads the others'. The board need not be
 * right: a note may be late, stale or lost, the board may forget everything. Why it still holds:
 *
 *  - A node writes beats, numbered notes. A note carries the number of the other's last beat that
 *    its writer had read. Who reads its own number back knows how old the note is at most: as old
 *    as that beat. No clock is compared with another one's.
 *  - A loan in a note holds for the borrower until TERM after the beat that the note answers, less
 * a margin. It binds the lender until TERM after it wrote the note, which was later.
 *  - A borrower lets no call start that could still be open when the loan ends (CALL).
 *  - A lender takes a place back early only when the borrower has answered, to a note with a
 * smaller loan, how many it still holds.
 *
 * So the places that all may use together are never more than the cap, and with the board gone
 * every node is back at its share after TERM. A node that forgot its promises (a restart) uses
 * nothing until they are over or all others have said what they hold.
 *
 * Times are microseconds of one clock of this machine that runs while it sleeps. Pure: no I/O.
 */
#ifndef CORE_LEASE_H
#define CORE_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#define LEASE_NODES    8
#define LEASE_CAP      10000     /* largest cap */
#define LEASE_CALL_MAX 100000000 /* longest call */
#define LEASE_SLACK    5000000   /* TERM is CALL and this */
#define LEASE_BEAT     250000    /* between two beats */

struct lease_terms {
    uint32_t nodes; /* 2..LEASE_NODES */
    uint32_t self;  /* 0..nodes-1 */
    uint32_t cap;
    int64_t call; /* a call is over so long after it was let through, at the latest */
};

/* What was promised to one other node and not taken back for sure. */
struct lease_promise {
    uint32_t beat; /* last note that said so */
    uint32_t count;
    int64_t at; /* when that note was written */
};
#define LEASE_PROMISES 16

struct lease_sent {
    uint32_t beat;
    int64_t at;
};
#define LEASE_SENT 64

struct lease_peer {
    bool known;    /* `seen` is a beat of it */
    bool answered; /* it has read a beat of this life of ours */
    uint32_t seen; /* its last beat */
    int64_t heard; /* when that was read */
    uint32_t need; /* places it would like to borrow */

    uint32_t loan_in; /* it lends us, */
    int64_t loan_until;
    uint32_t hold_out; /* what we last said we hold of it */

    uint32_t loan_out; /* we lend it now */
    uint32_t hold_in;  /* it said it holds of us, after note `hold_beat` */
    int64_t hold_until;
    struct lease_promise promises[LEASE_PROMISES]; /* oldest first */
    uint32_t npromises;
};

struct lease {
    bool ready;         /* lease_init was called */
    uint32_t beat;      /* last one, 0: none yet */
    uint32_t own;       /* places of our share that are not lent */
    uint32_t need;      /* places we would like to borrow */
    int64_t lost_until; /* promises of a former life may bind us until then */
    struct lease_sent sent[LEASE_SENT];
    struct lease_peer peers[LEASE_NODES];
};

/* One note to one node: two integers that a double holds exactly. */
struct lease_note {
    int64_t a, b;
};

int64_t lease_term(const struct lease_terms *t);
uint32_t lease_share(const struct lease_terms *t);

/* lost_until: 0, or until when promises of a former life may bind. */
void lease_init(struct lease *l, const struct lease_terms *t, int64_t lost_until);
/*
 * The next beat. in_use: calls open now; want: places we would like in all. number: of the beat,
 * ever growing (modulo 2^18), for every life of the node another one. Afterwards the notes are
 * written with lease_write; what they promise binds already.
 */
void lease_beat(struct lease *l, const struct lease_terms *t, int64_t now, uint32_t number,
                uint32_t in_use, uint32_t want);
struct lease_note lease_write(const struct lease *l, const struct lease_terms *t, uint32_t peer);
/* A note from a peer as it stands on the board; {0, 0} if there is none. */
void lease_read(struct lease *l, const struct lease_terms *t, uint32_t peer, struct lease_note note,
                int64_t now);

/* Somebody needs places that we may lend: lease_beat may promise some. */
bool lease_asked(const struct lease *l, const struct lease_terms *t, int64_t now);
/* Places that may be in use now; borrowed ones count until a call could outlive the loan. */
uint32_t lease_limit(const struct lease *l, const struct lease_terms *t, int64_t now);
/* Until when something that was promised binds us; 0: nothing is lent. */
int64_t lease_bound_until(const struct lease *l, const struct lease_terms *t, int64_t now);

#endif
