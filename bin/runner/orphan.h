/*
 * orphan.h
 *		Children of this process that it did not start: it is the reaper of what their parents
 *		left.
 */
#ifndef RUNNER_ORPHAN_H
#define RUNNER_ORPHAN_H

#include <stdbool.h>
#include <sys/types.h>

/* Kills the children of which is_ours does not say that they, or their process group, are. */
extern void orphans_kill(bool (*is_ours) (const void *arg, pid_t pid, pid_t group), const void *arg);

#endif							/* RUNNER_ORPHAN_H */
