/*
 * commit_params - jobs as the arrays of the statements in commit_sql.c. The order of the parameters
 * there and here is the same. Jobs are of one kind and already sorted.
 */
#ifndef STORE_COMMIT_PARAMS_H
#define STORE_COMMIT_PARAMS_H

#include "store.h"

struct pg_params *params_create(struct store_job *const *jobs, size_t n);
struct pg_params *params_step(struct store_job *const *jobs, size_t n);
struct pg_params *params_answer(struct store_job *const *jobs, size_t n);
struct pg_params *params_refund(struct store_job *const *jobs, size_t n);
struct pg_params *params_record(struct store_job *const *jobs, size_t n);
struct pg_params *params_known(struct store_job *const *jobs, size_t n);

/* The step moves nothing but what an answer can: sql_answer is enough for it. */
bool step_is_answer(const struct store_job *job);

#endif
