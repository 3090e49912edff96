/*
 * expire.h
 *		Removing the objects of backups.
 */
#ifndef RUNNER_EXPIRE_H
#define RUNNER_EXPIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "job.h"

/*
 * Removes the objects of a backup job's attempts with a lower fence; INT64_MAX for all.
 * Manifests go last, so that a backup that is only half removed can still be found.
 */
extern bool expire_objects(const Config *config, const Destination *destination, const char *database_id, const char *job_id, int64_t below, char **error);

#endif							/* RUNNER_EXPIRE_H */
