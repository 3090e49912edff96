/*
 * scratch.h
 *		Scratch directories of jobs: WORK/JOB.FENCE.
 */
#ifndef RUNNER_SCRATCH_H
#define RUNNER_SCRATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"

/* Whether name is JOB.FENCE. If so, *job_id is allocated. */
extern bool scratch_name(const char *name, char **job_id, int64_t *fence);

/* Allocated. */
extern char *scratch_path(const Config *config, const char *job_id, int64_t fence);

/* Removes a directory with all that it contains, without following links. True if it is gone. */
extern bool remove_tree(const char *path);

/* Removes every scratch directory. Call it only when no job runs. */
extern void scratch_sweep(const Config *config);

#endif							/* RUNNER_SCRATCH_H */
