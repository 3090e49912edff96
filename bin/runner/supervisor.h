/*
 * supervisor.h
 *		Claims jobs, starts a process for each, and sends their heartbeats.
 */
#ifndef RUNNER_SUPERVISOR_H
#define RUNNER_SUPERVISOR_H

#include <stdbool.h>

#include "config.h"

/*
 * Runs until SIGTERM or SIGINT, or with once until there is no job or one has ended. Returns
 * the exit code: 0, or 1 if it cannot begin or the one job failed. Frees config, which is allocated.
 */
extern int	supervise(Config *config, bool once);

#endif							/* RUNNER_SUPERVISOR_H */
