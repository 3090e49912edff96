/*
 * tree.c
 *		Base backups as directories.
 */
#include "tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "environment.h"
#include "process.h"
#include "text.h"

bool
tree_unpack(Worker *worker, const char *directory, Process *process, char **error)
{
	char	   *tar = process_find("tar");
	Environment environment;
	bool		started;

	if (tar == NULL)
	{
		*error = text_copy("tar is not installed");
		return false;
	}
	if (mkdir(directory, 0700) < 0)
	{
		*error = text_format("%s: %s", directory, strerror(errno));
		free(tar);
		return false;
	}
	environment_begin(&environment, NULL, worker->scratch);
	started = process_start(process,
							ARGUMENTS(tar, "--extract", "--gzip", "--no-same-owner", "--directory", directory, "--file=-"),
							ENVIRONMENT_ENTRIES(environment), STREAM_PIPE, STREAM_NULL, error);
	environment_free(&environment);
	free(tar);
	return started;
}

bool
tree_verify(Worker *worker, const char *bindir, const char *directory, char **error)
{
	char	   *program = text_format("%s/pg_verifybackup", bindir);
	Environment environment;
	bool		verified;

	environment_begin(&environment, bindir, worker->scratch);
	verified = process_run(ARGUMENTS(program, "--quiet", directory), ENVIRONMENT_ENTRIES(environment), NULL, NULL, 0, error);
	environment_free(&environment);
	free(program);
	return verified;
}
