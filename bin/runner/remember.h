/*
 * remember.h
 *		What the runner remembers of a job until nothing is left of it: STATE/JOB.FENCE.
 */
#ifndef RUNNER_REMEMBER_H
#define RUNNER_REMEMBER_H

#include <stdbool.h>

#include "config.h"
#include "job.h"

/* Writes down where the job is about to make something. False with errno. */
extern bool remember_job(const Config *config, const Job *job);

/* Nothing is left of the job, or what there is may be its result. */
extern void forget_job(const Config *config, const Job *job);

/* Whether something may be left of the job. */
extern bool is_remembered(const Config *config, const Job *job);

/*
 * The jobs that are remembered and not known, as an allocated array of jobs for job_free().
 * They have what cleaning up needs, and nothing else. is_known() is asked by id and fence,
 * before a file is read: one of a job that runs may be being written.
 */
extern void remembered_jobs(const Config *config, bool (*is_known) (const void *arg, const Job *job), const void *arg, Job ***jobs, int *count);

#endif							/* RUNNER_REMEMBER_H */
