/*
 * follower.h
 *		The supervisor's hold on the process that follows the chain (follow.h).
 */
#ifndef RUNNER_FOLLOWER_H
#define RUNNER_FOLLOWER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "config.h"
#include "control.h"
#include "follow.h"

/* Begin with {0}. */
typedef struct Follower
{
	FollowStatus *status;		/* shared with the process */
	pid_t		pid;			/* or 0 */
	int64_t		next_start;		/* boottime_ms() */
	bool		stopped;		/* by us */
} Follower;

/* Starts the process if there is none and it is time. */
extern void follower_tend(Follower *follower, const Config *config, Control *control);

/* When it is, or INT64_MAX. */
extern int64_t follower_due(const Follower *follower);

/* A child was reaped: whether it was this one. */
extern bool follower_reaped(Follower *follower, pid_t pid, int status);

/* Ends the process. The next one looks for itself. */
extern void follower_stop(Follower *follower);

/* To be asked before each claim: jobs are for a node that sees its chain. */
extern Sight follower_sight(const Follower *follower);

/* Look and publish now: the work on a job is done. */
extern void follower_ask(Follower *follower);

/* Whether all that was asked for is done, as well as it can be. */
extern bool follower_is_done(const Follower *follower);

#endif							/* RUNNER_FOLLOWER_H */
