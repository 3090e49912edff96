/*
 * instance.h
 *		A cluster of the runner's own: its files and its server.
 */
#ifndef RUNNER_INSTANCE_H
#define RUNNER_INSTANCE_H

#include <stdbool.h>

#include "environment.h"
#include "process.h"
#include "text.h"

typedef struct Instance
{
	const char *bindir;
	const char *scratch;		/* for temporary files of programs */
	char	   *data;			/* the data directory, and that of the socket */
	char	   *role;			/* the bootstrap superuser, or NULL as long as
								 * it is not known */
	Process		postgres;
	bool		runs;
} Instance;

/* Whether a socket in this data directory can have a name. */
extern bool instance_path_fits(const char *data);

/* Each of the following returns false with a message. */

/* Runs a program of bindir: see process_run(). environment is that of no connection if NULL. */
extern bool instance_run(const Instance *instance, const Environment *environment, const char *const *arguments,
						 const char *input, Buffer *output, char **error);

/* A number that pg_controldata prints after this label. */
extern bool instance_number(const Instance *instance, const char *label, long *number, char **error);

/* Replaces what came with the cluster, so that it harms nobody. */
extern bool instance_configure(const Instance *instance, char **error);

/* Sets role by asking the cluster, before it is started: a base backup does not tell before it has recovered. */
extern bool instance_find_role(Instance *instance, char **error);

/* Starts postgres, and waits until it is out of recovery. */
extern bool instance_start(Instance *instance, char **error);

/* With a checkpoint, however long that takes. */
extern bool instance_stop(Instance *instance, char **error);

/* At once, if it runs. */
extern void instance_kill(Instance *instance);

#endif							/* RUNNER_INSTANCE_H */
