/*
 * expire.c
 *		Removing the objects of backups.
 */
#include "expire.h"

#include <stdlib.h>
#include <string.h>

#include "common/decimal.h"
#include "common/syntax.h"
#include "destination.h"
#include "manifest.h"
#include "names.h"
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
	int64_t		number;

	(void) size;
	if (fence[digits] == '.' && decimal_read(fence, digits, &number) && number > 0 && number < found->below)
		names_add(&found->names, name);
}

bool
expire_objects(const Config *config, const Destination *destination, const char *database_id, const char *job_id, int64_t below, char **error)
{
	char	   *prefix = text_format("%s/%s.", database_id, job_id);
	Found		found = {.prefix = prefix,.below = below};
	bool		removed = object_list(config, destination, prefix, find_object, &found, error);

	for (int manifests = 0; manifests <= 1; manifests++)
		for (size_t i = 0; removed && i < found.names.count; i++)
			if (text_ends(found.names.name[i], SUFFIX_MANIFEST) == (manifests == 1))
				removed = object_delete(config, destination, found.names.name[i], error);
	names_free(&found.names);
	free(prefix);
	return removed;
}

/*
 * Whether a name is that of an object of another backup: DATABASE/JOB.FENCE and so on. A node
 * chooses the name that it reports, and could have others remove what is not its own.
 */
static bool
is_of_another(const char *name, const Job *job)
{
	const char *backup = name + UUID_TEXT_LEN + 1;
	size_t		len = strlen(name);
	char		database_id[UUID_TEXT_LEN];
	char		backup_id[UUID_TEXT_LEN];

	if (len <= 2 * UUID_TEXT_LEN + 1 || name[UUID_TEXT_LEN] != '/' || backup[UUID_TEXT_LEN] != '.' ||
		!uuid_is_well_formed(name, UUID_TEXT_LEN, database_id) || !uuid_is_well_formed(backup, UUID_TEXT_LEN, backup_id))
		return false;
	return strncmp(database_id, job->database_id, UUID_TEXT_LEN) != 0 || strncmp(backup_id, job->backup_id, UUID_TEXT_LEN) != 0;
}

bool
run_expire(Worker *worker)
{
	const Job  *job = worker->job;
	char	   *error = NULL;

	if (is_of_another(job->artifact.name, job))
		return fail(worker, "bad_reference", NULL, false, "%s is an object of another backup", job->artifact.name);
	/* the artifact by its name as well: another program may have given it one */
	if (expire_objects(worker->config, &job->destination, job->database_id, job->backup_id, INT64_MAX, &error) &&
		object_delete(worker->config, &job->destination, job->artifact.name, &error))
	{
		report(worker, "completed", NULL);
		return true;
	}
	fail(worker, "destination_failed", NULL, true, "%s", error);
	free(error);
	return false;
}
