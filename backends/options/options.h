/*
 * options - payd.conf: what it may contain (one table per block), read into one struct. payd and
 * payctl read the same file. Every error is "FILE:LINE: reason". docs/configuration.md is compared
 * with the tables by a test.
 */
#ifndef OPTIONS_OPTIONS_H
#define OPTIONS_OPTIONS_H

#include "core/arena.h"
#include "core/clock.h"
#include "core/conf.h"
#include "core/net.h"
#include "core/vault.h"

enum role { ROLE_ORDER = 1, ROLE_TIMER = 2, ROLE_CALLBACK = 4, ROLE_RELAY = 8 };

#define CALLBACK_STEPS_MAX 32
#define ADDR_RULES_MAX     64

struct callback_options {
    int64_t schedule_us[CALLBACK_STEPS_MAX];
    uint32_t steps;
    int64_t poll_us;
    int64_t timeout_us;
    int64_t active;
    int64_t per_merchant;
    int64_t retry_after_us; /* most that a merchant's Retry-After is worth */
    struct addr_rule allow[ADDR_RULES_MAX], deny[ADDR_RULES_MAX];
    uint32_t nallow, ndeny;
    const char *ca_file; /* NULL = the system's */
};

#define RELAY_GROUPS_MAX 16

struct relay_options {
    const char *redis_path;    /* either this ... */
    const char *redis_address; /* ... or this; both NULL: none */
    uint16_t redis_port;
    const char *redis_user, *redis_password; /* NULL = none */
    int64_t redis_db;
    const char *stream; /* prefix of keys */
    int64_t streams;
    const char *groups[RELAY_GROUPS_MAX];
    uint32_t ngroups;
    int64_t maxlen, batch;
    int64_t poll_us, refill_us, timeout_us;
};

struct timer_options {
    int64_t poll_us;
    int64_t batch;
    int64_t active;
    int64_t certificates_us;
    int64_t bills_us; /* until one that was not to be had is asked for again; 0: off */
    int64_t bills_late_us;
};

/* One `process NAME { }` block. Paths without the unix: prefix, NULL when absent. */
struct process_options {
    const char *name;
    unsigned roles; /* of enum role */
    const char *api, *notify, *internal, *status, *operate;
    uint32_t slot_from, slot_to;
    struct process_options *next;
};

#define CERTIFICATES_MAX  8
#define WATCHED_FILES_MAX 16

struct options {
    struct arena arena; /* owns everything below */
    const char *file;
    const char *database; /* conninfo */
    int64_t writers, readers;
    const char *egress;
    const char *control;                     /* NULL when absent */
    const char *channels;                    /* glob */
    const char *adapters;                    /* folder */
    const char *master_keys[VAULT_KEYS_MAX]; /* files; the first seals */
    uint32_t master_key_count;
    const char *platform_serial, *platform_cert, *platform_key;
    struct {
        const char *serial, *file;
    } certificates[CERTIFICATES_MAX]; /* shown beside platform_cert */
    size_t certificate_count;
    struct {
        const char *name, *file;
    } watched[WATCHED_FILES_MAX]; /* whose end is told */
    size_t watched_count;
    const char *log_dir; /* NULL = stderr */
    const char *log_level;
    int64_t answer_within_us;
    int64_t send_window_us;
    int64_t query_interval_us, query_max_us, query_soon_us, resend_interval_us;
    int64_t not_sent_limit;
    int64_t paying_interval_us, paying_limit_us;
    int64_t reverse_limit;
    int64_t reroute;
    bool late_refund;
    int64_t expire_us;
    int64_t outcomes_us; /* 0: off */
    int64_t max_requests;
    int64_t notify_misses; /* a second, of each channel account */
    struct timer_options timers;
    struct callback_options callbacks;
    struct relay_options relay;
    struct process_options *processes;
};

/* 0, or -1 with *err. options_free also after failure. */
int options_load(struct options *o, const char *file, struct conf_error *err);
void options_free(struct options *o);
const struct process_options *options_process(const struct options *o, const char *name);

/* The tables, for --directives and the docs test: "" (top level), "timers", "callbacks",
 * "relay", "process".
 */
const struct conf_directive *options_table(const char *block);

/* The master keys from their files, which strangers may not read. 0, or -1 with *err. */
int options_vault(const struct options *o, struct vault *v, struct conf_error *err);
/* Whole file into the arena (certificates, keys), at most 256 KiB. SLICE_NULL + *err on failure. */
struct slice options_read_file(struct arena *a, const char *path, struct conf_error *err);

#endif
