/*
 * commit_batch - jobs that are written in one transaction, in the order of its statements, and
 * within each as rows are locked.
 */
#ifndef STORE_COMMIT_BATCH_H
#define STORE_COMMIT_BATCH_H

#include "commit.h"

#define BATCH_LIMIT 512

/* One statement each, in this order. */
enum job_kind { JOB_CREATE, JOB_STEP, JOB_ANSWER, JOB_REFUND, JOB_RECORD, JOB_KINDS };

struct batch {
    struct batch *next;
    struct commits *c;
    int64_t sent_us;
    unsigned retries;
    bool look_up; /* losers in doubt: only ask whether they are there */
    bool careful; /* new orders may be there */
    size_t n;
    size_t of_kind[JOB_KINDS];
    struct store_job *jobs[];
};

/* Never NULL; freed with free(). At most BATCH_LIMIT jobs, which stay their owner's. */
struct batch *batch_new(struct commits *c, struct store_job *const *jobs, size_t n);

#endif
