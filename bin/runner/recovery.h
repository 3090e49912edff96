/*
 * recovery.h
 *		Backups without a control database: what is at a destination, and how it gets back.
 */
#ifndef RUNNER_RECOVERY_H
#define RUNNER_RECOVERY_H

#include "config.h"
#include "job.h"

/* walwarden-runner list DESTINATION: backups found by their manifests, without a control database. */
extern int	list_destination(const Config *config, const Destination *destination);

/*
 * walwarden-runner fetch NAME DIRECTORY DESTINATION: the objects of one of them as files of a
 * new directory, after signature, sizes and SHA-256 were verified. Both return an exit code.
 */
extern int	fetch_backup(const Config *config, const Destination *destination, const char *name, const char *directory);

#endif							/* RUNNER_RECOVERY_H */
