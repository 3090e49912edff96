/*
 * worker.h
 *		The process of one job: what the engines do it with, and how a job ends.
 */
#ifndef RUNNER_WORKER_H
#define RUNNER_WORKER_H

#include <stdbool.h>
#include <sys/types.h>

#include "config.h"
#include "job.h"
#include "progress.h"

/* Why a job failed, as report_job() takes it. */
typedef struct Failure
{
	const char *error_class;	/* bad_reference, destination_unreachable,
								 * engine_failed, ... */
	const char *blames;			/* backup, target or node; NULL for a backup
								 * job */
	bool		retryable;
	char	   *message;		/* allocated; at most 900 bytes */
} Failure;

typedef struct Worker
{
	const Config *config;
	const Job  *job;
	Progress   *progress;
	struct Control *control;	/* this process's own connection */
	char	   *scratch;		/* a directory of this job and fence below
								 * config->work, removed at the end */
	Failure		failure;
} Worker;

/* Fills in failure and returns false, so that engines can "return fail(...)". */
extern bool fail(Worker *worker, const char *error_class, const char *blames, bool retryable, const char *format,...) __attribute__((format(printf, 5, 6)));

/*
 * Reports a state. Ends the process at once if the job is no longer ours (55000, 28000).
 * Repeats over connection losses, however long: the fence decides whether it came too late,
 * and an in_place restore is ended by its clock. detail_json may be NULL.
 */
extern void report(Worker *worker, const char *state, const char *detail_json);
extern void report_evidence(Worker *worker, const char *evidence_json);

/* The engines, each in a file of its name. True if the job was completed and reported; false with failure. */
extern bool run_backup(Worker *worker); /* backup.c, which calls dump.c or
										 * basebackup.c */
extern bool run_restore(Worker *worker);	/* restore.c: restores and drills */
extern bool run_expire(Worker *worker); /* expire.c */

/*
 * Removes what an earlier attempt (a lower fence) of this job left in work, in targets and at
 * the destination. Called before an engine if there was one; and after an attempt that did not
 * end by itself, then with the next fence. False if something may be left outside of work,
 * which is logged: work is swept when the runner starts and ends.
 */
extern bool clean_up_attempts(Worker *worker);

/* How the process of a job ends. */
typedef enum WorkerExit
{
	WORKER_COMPLETED = 0,
	WORKER_FAILED = 1,			/* and has reported it */
	WORKER_LOST = 3,			/* the job is no longer ours */
	WORKER_UNREPORTED = 4		/* its failure was not accepted */
} WorkerExit;

/*
 * Runs the job in this process, which was forked for it, and ends it. control is the
 * supervisor's.
 */
extern void worker_run(pid_t supervisor, const Config *config, const struct Control *control, const Job *job, Progress *progress) __attribute__((noreturn));

/*
 * Removes, in a process that was forked for it, what a job left that did not end by itself:
 * scratch; and what clean_up_attempts() removes, unless the job may have been completed.
 */
extern void worker_clean_up(pid_t supervisor, const Config *config, const Job *job, bool may_be_completed) __attribute__((noreturn));

#endif							/* RUNNER_WORKER_H */
