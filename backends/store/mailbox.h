/*
 * mailbox - one queue of jobs per order, so that an order is in at most one running batch and once
 * in it. An order is known by its id, a new one by (mchid, out_trade_no).
 *
 * An order is in exactly one place: ready (has a job, none runs) or running. It goes away with its
 * last job.
 */
#ifndef STORE_MAILBOX_H
#define STORE_MAILBOX_H

#include "store.h"

struct mailboxes;

struct mailboxes *mailboxes_new(void);
void mailboxes_free(struct mailboxes *m);
size_t mailboxes_jobs(const struct mailboxes *m);  /* waiting and running */
size_t mailboxes_ready(const struct mailboxes *m); /* orders that could go now */
void mailbox_add(struct mailboxes *m, struct store_job *job);
/* The next job of the oldest ready order, which is running from now on; NULL when none is ready. */
struct store_job *mailbox_take(struct mailboxes *m);
/* What mailbox_take would return. */
const struct store_job *mailbox_first(const struct mailboxes *m);
/* The job won its swap: takes out the waiting jobs of its order that were decided on the image it
 * replaced and can only lose. They are no longer the mailboxes'; linked by `next`. */
struct store_job *mailbox_outrun(struct mailboxes *m, const struct store_job *winner);
/* The job has ended: its order's next one becomes ready. */
void mailbox_done(struct mailboxes *m, struct store_job *job);

#endif
