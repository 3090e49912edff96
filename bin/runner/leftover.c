/*
 * leftover.c
 *		What attempts of a job left behind that did not end by themselves.
 *
 * Everything that an attempt leaves has a name with job and fence.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "expire.h"
#include "log.h"
#include "restore.h"
#include "scratch.h"
#include "scratch_database.h"
#include "server.h"
#include "text.h"
#include "worker.h"

#define END_TRIES 100

/*
 * Ends the sessions of an attempt in a target: a statement goes on when its client was killed,
 * and CREATE DATABASE would be done after the database was dropped.
 */
static bool
end_sessions(Server *server, const char *job_id, int64_t fence, char **error)
{
	const struct timespec pause = {.tv_nsec = 100000000};
	char	   *application = server_application_name(job_id, fence);
	const char *values[] = {application};
	int			sessions = 1;

	for (int tries = 0; tries < END_TRIES && sessions > 0; tries++)
	{
		PGresult   *result;

		if (tries > 0)
			nanosleep(&pause, NULL);
		result = server_query(server, "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE application_name = $1", 1, values, error);
		sessions = result ? PQntuples(result) : -1;
		PQclear(result);
	}
	free(application);
	if (sessions > 0)
		*error = text_copy("the sessions of an earlier attempt do not end");
	return sessions == 0;
}

/* Databases of this job's earlier attempts in the server that it restores into. */
static bool
drop_databases(Worker *worker, char **error)
{
	const Job  *job = worker->job;
	Server		server = {.services = worker->config->targets,.section = restore_section(worker, NULL)};
	bool		dropped = server.section && server_open(worker, &server, "target");

	if (!dropped)
		*error = text_copy(worker->failure.message);
	for (int64_t fence = 1; dropped && fence < job->fence; fence++)
		dropped = end_sessions(&server, job->id, fence, error) && scratch_database_drop(&server, job->id, fence, error);
	server_close(&server);
	return dropped;
}

bool
clean_up_attempts(Worker *worker)
{
	const Job  *job = worker->job;
	char	   *error = NULL;
	bool		clean = true;

	for (int64_t fence = 1; fence < job->fence; fence++)
	{
		char	   *path = scratch_path(worker->config, job->id, fence);

		if (!remove_tree(path))
			log_line("%s was not removed", path);
		free(path);
	}
	if (strcmp(job->kind, "backup") == 0)
		clean = expire_objects(worker->config, &job->destination, job->database_id, job->id, job->fence, &error);
	else if (job->mode && strcmp(job->mode, "new_cluster") != 0 && (strcmp(job->mode, "in_place") != 0 || strcmp(job->kind, "drill") == 0))
		clean = drop_databases(worker, &error);
	if (!clean)
		log_line("what earlier attempts left was not removed: %s", error);
	free(error);
	free(worker->failure.message);
	memset(&worker->failure, 0, sizeof(worker->failure));
	return clean;
}
