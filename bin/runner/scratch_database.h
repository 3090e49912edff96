/*
 * scratch_database.h
 *		Databases that exist while a job works on them.
 */
#ifndef RUNNER_SCRATCH_DATABASE_H
#define RUNNER_SCRATCH_DATABASE_H

#include <stdbool.h>
#include <stdint.h>

#include "names.h"
#include "server.h"

/* walwarden_JOB_FENCE, which needs no quotes in SQL. Allocated. */
extern char *scratch_database_name(const char *job_id, int64_t fence);

/*
 * The database of this name, which does not exist yet, is this session's for as long as the
 * session lives. False with a message.
 */
extern bool scratch_database_own(Server *server, const char *name, char **error);

/* Drops the database of an attempt if it exists, and ends its sessions. False with a message. */
extern bool scratch_database_drop(Server *server, const char *job_id, int64_t fence, char **error);

/* Adds the databases that are no session's, and that our role may drop. False with a message. */
extern bool scratch_databases_abandoned(Server *server, Names *names, char **error);

/* Drops them, and logs it. */
extern void scratch_databases_sweep(Server *server);

#endif							/* RUNNER_SCRATCH_DATABASE_H */
