/*
 * expire.c
 *		Removing backups: those that have expired, and what attempts of a job left that did not
 *		end well.
 */
#include <stdlib.h>
#include <string.h>

#include "destination.h"
#include "log.h"
#include "manifest.h"
#include "restore.h"
#include "scratch.h"
#include "server.h"
#include "text.h"
#include "worker.h"

/* Objects of one job. */
typedef struct Found
{
	const char *prefix;			/* DATABASE/JOB. */
	int64_t		below;			/* only of lower fences; INT64_MAX for all */
	Names		names;
} Found;

/* A destination may hold others' objects: only names that are made as ours are. */
static void
find_object(void *arg, const char *name, int64_t size)
{
	Found	   *found = arg;
	const char *fence = name + strlen(found->prefix);
	size_t		digits = strspn(fence, "0123456789");
	char	   *text;
	int64_t		number;

	(void) size;
	if (digits == 0 || fence[digits] != '.')
		return;
	text = text_slice(fence, digits);
	if (text_to_int(text, 1, INT64_MAX, &number) && number < found->below)
	{
		found->names.name = reallocate(found->names.name, (found->names.count + 1) * sizeof(char *));
		found->names.name[found->names.count++] = text_copy(name);
	}
	free(text);
}

static bool
is_manifest(const char *name)
{
	size_t		len = strlen(name);

	return len > strlen(SUFFIX_MANIFEST) && strcmp(name + len - strlen(SUFFIX_MANIFEST), SUFFIX_MANIFEST) == 0;
}

/*
 * Removes the objects of a job. Manifests go last, so that a backup that is only half removed
 * can still be found.
 */
static bool
remove_objects(const Config *config, const Destination *destination, const char *database_id, const char *job_id, int64_t below, char **error)
{
	char	   *prefix = text_format("%s/%s.", database_id, job_id);
	Found		found = {.prefix = prefix,.below = below};
	bool		removed = object_list(config, destination, prefix, find_object, &found, error);

	for (int manifests = 0; manifests <= 1; manifests++)
		for (size_t i = 0; removed && i < found.names.count; i++)
			if (is_manifest(found.names.name[i]) == (manifests == 1))
				removed = object_delete(config, destination, found.names.name[i], error);
	for (size_t i = 0; i < found.names.count; i++)
		free(found.names.name[i]);
	free(found.names.name);
	free(prefix);
	return removed;
}

bool
run_expire(Worker *worker)
{
	const Job  *job = worker->job;
	char	   *error = NULL;

	/* the artifact by its name as well: another program may have given it one */
	if (remove_objects(worker->config, &job->destination, job->database_id, job->backup_id, INT64_MAX, &error) &&
		object_delete(worker->config, &job->destination, job->artifact.name, &error))
	{
		report(worker, "completed", NULL);
		return true;
	}
	fail(worker, "destination_failed", NULL, true, "%s", error);
	free(error);
	return false;
}

/* Databases of this job's earlier attempts in the server that it restores into. */
static bool
drop_databases(Worker *worker, char **error)
{
	const Job  *job = worker->job;
	const Names *sections = &worker->config->target_sections;
	const char *slash = strrchr(job->target, '/');
	char	   *section = text_is_among(job->target, sections->name, sections->count) || slash == NULL ?
		text_copy(job->target) : text_slice(job->target, slash - job->target);
	Server		server = {.services = worker->config->targets,.section = section};
	bool		dropped = text_is_among(section, sections->name, sections->count) && server_open(worker, &server, "target");

	if (!dropped)
		*error = text_copy(worker->failure.message ? worker->failure.message : "the target is unknown");
	for (int64_t fence = 1; dropped && fence < job->fence; fence++)
	{
		char	   *name = restore_scratch_database(job->id, fence);
		char	   *sql = text_format("DROP DATABASE IF EXISTS %s WITH (FORCE)", name);

		dropped = server_command(&server, sql, error);
		free(sql);
		free(name);
	}
	server_close(&server);
	return dropped;
}

void
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
		clean = remove_objects(worker->config, &job->destination, job->database_id, job->id, job->fence, &error);
	else if (job->mode && strcmp(job->mode, "new_cluster") != 0 && (strcmp(job->mode, "in_place") != 0 || strcmp(job->kind, "drill") == 0))
		clean = drop_databases(worker, &error);
	if (!clean)
		log_line("what earlier attempts left was not removed: %s", error);
	free(error);
	free(worker->failure.message);
	memset(&worker->failure, 0, sizeof(worker->failure));
}
