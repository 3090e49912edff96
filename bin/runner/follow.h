/*
 * follow.h
 *		The process that follows the chain of the node's organisation.
 *
 * It reads the hashes of new entries, which must follow the head that it knows, and signs how
 * far it has come. It looks once a poll, and takes as long as it takes: the supervisor only
 * asks it what it has seen.
 */
#ifndef RUNNER_FOLLOW_H
#define RUNNER_FOLLOW_H

#include <stdbool.h>
#include <sys/types.h>

#include "config.h"
#include "control.h"

/* What the last look at the chain has shown. */
typedef enum Sight
{
	SIGHT_NONE,					/* there was none yet */
	SIGHT_GOOD,					/* it is the chain that this node knows */
	SIGHT_BLIND,				/* the chain cannot be read, or what is known
								 * of it not be kept */
	SIGHT_ALARM					/* it is another chain, and nobody has
								 * accepted it */
} Sight;

/* In memory shared with the supervisor, which gets SIGCHLD when something of it changes. */
typedef struct FollowStatus
{
	volatile int sight;			/* a Sight */
	volatile int asked;			/* the supervisor counts what it asks for: to
								 * look and publish now */
	volatile int done;			/* as many of them are done, well or not */
} FollowStatus;

/* SIGUSR1 makes it look at once. */
extern void follow_run(pid_t supervisor, const Config *config, const Control *control, FollowStatus *status) __attribute__((noreturn));

/* Compares the chain with what is known of it, without a change. *said: one line, allocated. False if jobs would not be claimed. */
extern bool follow_check(const Config *config, Control *control, char **said);

#endif							/* RUNNER_FOLLOW_H */
