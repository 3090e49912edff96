/*
 * progress.h
 *		How far a job has come, in memory that its process shares with the supervisor.
 */
#ifndef RUNNER_PROGRESS_H
#define RUNNER_PROGRESS_H

#include <stdint.h>

/* What a job is doing. */
typedef enum Phase
{
	PHASE_STARTING,
	PHASE_COPYING,
	PHASE_VERIFYING,
	PHASE_DOWNLOADING,
	PHASE_RESTORING,
	PHASE_CHECKING,
	PHASE_FINISHING,
	PHASE_COUNT
} Phase;

/* In memory shared with the supervisor, which sends it with its heartbeats. */
typedef struct Progress
{
	volatile int64_t bytes_done;
	volatile int64_t bytes_total;	/* 0 if unknown */
	volatile int phase;			/* a Phase */
	volatile int64_t lease_until;	/* CLOCK_BOOTTIME, ms: by when an in_place
									 * restore must have stopped */
	volatile int ending;		/* the last report was begun: the job may be
								 * done already */
} Progress;

/* As heartbeats tell it; allocated. */
extern char *progress_json(const Progress *progress);

#endif							/* RUNNER_PROGRESS_H */
