/*
 * store - load and commit: the only SQL on the hot path.
 *
 * Group commit (DESIGN.md section 5): jobs that become ready while commits run go to PostgreSQL
 * together, one statement over unnest arrays per batch, sorted by (slot, id). An order is in at
 * most one running batch and once in it: jobs of one order are run one after another (mailbox).
 * Each job is all or nothing on its own: a job whose version is gone answers STORE_CONFLICT and
 * touches nothing; an error that is not retryable halves the batch until the culprit stands alone.
 *
 * All callbacks come from the loop, never from inside the call. Slices handed to a call must live
 * until its callback; loaded rows live in the caller's arena.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "backends/domain/refund.h"
#include "backends/io/pg.h"

struct store;

struct store_conf {
    const char *conninfo;
    unsigned writers;   /* connections for commits, default 2 */
    unsigned readers;   /* connections for reads, default 2 */
    unsigned batch_max; /* default 128 */
    unsigned queue_max; /* jobs waiting, default 20000 */
};
struct store *store_new(struct loop *l, const struct store_conf *conf, char *err, size_t n);
void store_free(struct store *s);
bool store_ready(const struct store *s);

enum store_result {
    STORE_DONE,
    STORE_CONFLICT, /* commit: version moved on; load again and decide again */
    STORE_EXISTS,   /* create: (mchid, out_trade_no) is taken; load by number */
    STORE_NONE,     /* load: no such row */
    STORE_BUSY,     /* queue full or no database: nothing happened */
    STORE_UNKNOWN /* commit sent, answer lost and not yet cleared up: load and look for the event */
};

/* ---- payments ---- */
struct store_job {
    /* filled by the caller */
    const struct payment *before;    /* version 0: create */
    const struct payment_step *step; /* COMMIT or RECORD */
    const struct payment_event *event;
    /* a refund's step: its images before and after; NULL: the payment's own */
    const struct refund *refund_before, *refund;
    pay_time_t now;
    int64_t attempt_id;       /* when step->attempt.n */
    uint32_t adapter_version; /* of the channel, kept with the attempt */
    int64_t callback_id;      /* when step->callback */
    struct slice callback_body;
    pay_time_t callback_at;     /* first try */
    int64_t case_id;            /* when step->open_case */
    int64_t refund_id;          /* when step->extra.seq */
    struct slice refund_reason; /* of it; empty: by what kind of money it is */
    /* SHA-256 of the call and of the answer that the step is about; empty: none */
    struct slice request_digest, answer_digest;
    void (*done)(void *arg, enum store_result r);
    void *arg;
    /* private to store */
    struct store_job *next;
    void *order;
    int64_t queued_us;
    int kind;   /* of statement */
    bool doubt; /* a COMMIT of it was lost: it may be there already */
    bool won;
};
/* A job that cannot be written (poisoned text, a bug) ends in STORE_BUSY and an alert in the log.
 * STORE_UNKNOWN never reaches done while the store can still find out: it re-reads (slot, id,
 * version, event id) after a lost COMMIT answer and says DONE or CONFLICT. */
void store_commit(struct store *s, struct store_job *job);

typedef void store_payment_cb(void *arg, enum store_result r, const struct payment *p);
/* Reads are batched too. They see every commit whose `done` was called before. */
void store_payment_by_id(struct store *s, int64_t id, struct arena *a, store_payment_cb *cb,
                         void *arg);
void store_payment_by_no(struct store *s, uint32_t slot, struct slice mchid,
                         struct slice out_trade_no, struct arena *a, store_payment_cb *cb,
                         void *arg);

/* The same with one refund of the order: refund->id is 0 where there is no such refund. STORE_NONE:
 * no such refund (by id), no such order (by number). */
typedef void store_refund_cb(void *arg, enum store_result r, const struct payment *p,
                             const struct refund *refund);
void store_refund_by_id(struct store *s, int64_t refund_id, struct arena *a, store_refund_cb *cb,
                        void *arg);
void store_refund_by_no(struct store *s, uint32_t slot, struct slice mchid,
                        struct slice out_trade_no, struct slice out_refund_no, struct arena *a,
                        store_refund_cb *cb, void *arg);

/* ---- due work ---- */
/* Parts of the slots [from, to] (slot modulo STORE_TIMER_PARTS, a bit each) that the holder may
 * poll for lease_us from the asking on: its share among those who ask for the same slots. Of the
 * busy ones none is given back. lease_us 0: it goes, all are given back. */
#define STORE_TIMER_PARTS 64
typedef void store_parts_cb(void *arg, enum store_result r, uint64_t parts);
void store_timer_parts(struct store *s, uint32_t slot_from, uint32_t slot_to, struct slice holder,
                       int64_t lease_us, uint64_t busy, store_parts_cb *cb, void *arg);

/* What is due at `now` in these parts of the slots, orders and refunds of all channels in turn. Of
 * a channel at most half of what is left of `room` when `busy` has been taken off; of that three
 * quarters are the oldest, the rest the newest. Payments that are `working` are left out. */
struct store_due_wish {
    uint32_t slot_from, slot_to;
    uint64_t parts;
    pay_time_t now;
    unsigned max, room;
    const struct store_due_busy {
        struct slice channel;
        unsigned n;
    } * busy;
    size_t nbusy;
    const int64_t *working; /* ids */
    size_t nworking;
};
struct store_due {
    int64_t payment_id;
    int64_t refund_id;    /* 0: the payment itself */
    struct slice channel; /* that is to be called; lives in the callback */
};
typedef void store_due_cb(void *arg, enum store_result r, const struct store_due *due, size_t n);
void store_due(struct store *s, const struct store_due_wish *wish, store_due_cb *cb, void *arg);

/* The earliest time that anything is or was due at; 0: nothing is planned. */
typedef void store_overdue_cb(void *arg, enum store_result r, pay_time_t oldest);
void store_timer_overdue(struct store *s, store_overdue_cb *cb, void *arg);

/* ---- callbacks ---- */
struct store_callback {
    int64_t id;
    int64_t payment_id;
    uint32_t slot;
    struct slice mchid;
    struct slice app_id;
    struct slice url;
    struct slice body;
    uint32_t tries; /* this one counted */
    bool suspect;   /* its merchant did not answer lately */
    bool webhook;   /* the app wants Standard Webhooks instead of our header scheme */
};
/* Claims due callbacks: counts the try and moves next_at to lease_until in the same statement, so
 * that no other process takes them meanwhile; at most per_merchant of one merchant, counting the
 * calls that the caller still has under way: busy names the merchant of each. Of suspects, which
 * are the named ones and callbacks without an answer so far, suspects_max. */
struct store_callback_wish {
    uint32_t slot_from, slot_to;
    pay_time_t now, lease_until;
    unsigned max, per_merchant, suspects_max;
    const struct slice *busy, *suspects;
    size_t nbusy, nsuspects;
};
typedef void store_callbacks_cb(void *arg, enum store_result r, const struct store_callback *c,
                                size_t n);
void store_callbacks_claim(struct store *s, const struct store_callback_wish *wish, struct arena *a,
                           store_callbacks_cb *cb, void *arg);

enum callback_state {
    CALLBACK_WAITING = 1,
    CALLBACK_DONE = 2,
    CALLBACK_GIVEN_UP = 3,
    CALLBACK_SKIPPED = 4
};
struct store_callback_try {
    const struct store_callback *callback;
    enum callback_state state; /* after this try */
    pay_time_t at;
    pay_time_t next_at; /* WAITING */
    int http_status;    /* 0 = none */
    struct slice error; /* empty when answered */
    int64_t took_us;
    void (*done)(void *arg, enum store_result r);
    void *arg;
};
void store_callback_tried(struct store *s, struct store_callback_try *t);

/* How many wait for a try, and how many were given up, 10000 at most; and since when the oldest of
 * these slots is or will be due, 0: none. */
typedef void store_backlog_cb(void *arg, enum store_result r, int64_t waiting, int64_t given_up,
                              pay_time_t oldest);
void store_callbacks_backlog(struct store *s, uint32_t slot_from, uint32_t slot_to,
                             store_backlog_cb *cb, void *arg);

/* ---- reference data ---- */
struct store_limit {
    uint32_t rate, window, burst; /* requests per window (s), 0 = nginx.conf's */
};
struct store_key { /* one app key with what the edge needs */
    struct slice serial, alg, material_sealed, mchid, app_id;
    bool on; /* key, app and merchant enabled */
    uint32_t base_slot, span;
    pay_time_t valid_from, valid_to;
    struct store_limit app_limit, merchant_limit;
    struct slice allow; /* networks, blank between them; empty: from anywhere */
    bool allow_alert;   /* report calls from elsewhere, do not refuse them */
    struct slice scheme;
    bool md5_allowed;
};
typedef void store_key_cb(void *arg, enum store_result r, const struct store_key *k);
void store_key_get(struct store *s, struct slice serial, struct arena *a, store_key_cb *cb,
                   void *arg);
/* Serials whose key, app or merchant changed at or after `since`, with the newest change time.
 * STORE_BUSY with n > 0: there are n, more than the arena holds. */
typedef void store_changes_cb(void *arg, enum store_result r, const struct slice *serials, size_t n,
                              pay_time_t newest);
void store_keys_changed(struct store *s, pay_time_t since, struct arena *a, store_changes_cb *cb,
                        void *arg);
/* The key an app's callbacks are signed with: its enabled HMAC key, or none (the platform's). */
void store_app_signing_key(struct store *s, struct slice app_id, struct arena *a, store_key_cb *cb,
                           void *arg);

struct store_account {
    struct slice channel, account, mchid; /* mchid empty: shared by all merchants */
    struct slice config;                  /* JSON */
    struct slice secrets_sealed;
    bool on;
    struct slice certificates; /* PEM behind each other, that the channel published */
};
typedef void store_accounts_cb(void *arg, enum store_result r, const struct store_account *a,
                               size_t n);
void store_accounts_get(struct store *s, struct arena *a, store_accounts_cb *cb, void *arg);

/* May this process ask for the account's certificates now? STORE_DONE: yes, and nobody else for
 * lease_us; STORE_NONE: it is not due, or another does. */
typedef void store_refresh_cb(void *arg, enum store_result r);
void store_refresh_claim(struct store *s, struct slice channel, struct slice account,
                         int64_t lease_us, store_refresh_cb *cb, void *arg);
/* What came: a JSON array of {serial, pem, valid_from, valid_to}, kept; due again in next_us. */
void store_refresh_done(struct store *s, struct slice channel, struct slice account,
                        struct slice certificates, int64_t next_us, store_refresh_cb *cb,
                        void *arg);

/* ---- bills of channels ----
 * Whose turn it is to fetch one: of the seven days up to `newest` ("2026-09-01", in China) the
 * oldest whose bill is not stored and that nobody asks for, for lease_us; days before the account
 * was registered never. `day` is null when there is none; `stored` is the newest day that is
 * stored. */
typedef void store_bill_cb(void *arg, enum store_result r, struct slice day, struct slice stored);
void store_bill_claim(struct store *s, struct slice channel, struct slice account,
                      struct slice newest, int64_t lease_us, store_bill_cb *cb, void *arg);
/* It was not to be had; somebody asks again in again_us. STORE_DONE: it is late, and this is the
 * first time that anybody says so. STORE_NONE: else. */
struct store_bill_failure {
    struct slice channel, account, day, reason;
    int64_t again_us;
    bool late;
};
void store_bill_failed(struct store *s, const struct store_bill_failure *f, store_refresh_cb *cb,
                       void *arg);

/* ---- the process itself ---- */
/* Leases a process number (ids.h) for lease_us; renew with the same holder. */
typedef void store_lease_cb(void *arg, enum store_result r, uint32_t process);
void store_lease(struct store *s, struct slice holder, int64_t lease_us, bool shadow,
                 store_lease_cb *cb, void *arg);
/* PostgreSQL's clock, with the loop time in the middle of the round trip. */
typedef void store_clock_cb(void *arg, enum store_result r, pay_time_t pg_now, int64_t mono_us);
void store_clock(struct store *s, store_clock_cb *cb, void *arg);

#endif
