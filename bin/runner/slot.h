/*
 * slot.h
 *		A job that the supervisor holds, and its process.
 */
#ifndef RUNNER_SLOT_H
#define RUNNER_SLOT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "config.h"
#include "control.h"
#include "job.h"
#include "progress.h"

/* What the control database is to be told about a job that did not end by itself. */
typedef enum Debt
{
	DEBT_NONE,
	DEBT_RELEASE,				/* it is given back; if that is refused, it
								 * has failed */
	DEBT_FAILED					/* its process died */
} Debt;

typedef struct Slot
{
	Job		   *job;			/* NULL: the slot is empty */
	Progress   *progress;		/* shared with the process */
	pid_t		pid;			/* or 0 */
	bool		cleaning;		/* the process cleans up; the job is not run */
	int64_t		started;
	int64_t		next_beat;
	int64_t		killed;			/* when it was, or 0 */
	bool		lost;			/* the job is no longer ours */
	Debt		debt;
} Slot;

/* Takes over job, which was asked for then. False if there is no memory to share. */
extern bool slot_fill(Slot *slot, const Config *config, Job *job, int64_t asked);

/* Starts the process: of the job, or of the cleaning up after it. */
extern bool slot_start(Slot *slot, const Config *config, Control *control, bool cleaning);
extern void slot_kill(Slot *slot);

/* Sends a signal to the process and its group. */
extern void slot_signal(const Slot *slot, int sig);

/* Empties the slot. */
extern void slot_release(Slot *slot);

/* One line about the job of a slot. */
extern void slot_line(const Slot *slot, const char *format,...) __attribute__((format(printf, 2, 3)));

#endif							/* RUNNER_SLOT_H */
