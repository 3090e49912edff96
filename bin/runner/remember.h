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

/*
 * The jobs that are remembered, as an allocated array of jobs for job_free(). They have what
 * cleaning up needs, and nothing else.
 */
extern void remembered_jobs(const Config *config, Job ***jobs, int *count);

#endif							/* RUNNER_REMEMBER_H */
