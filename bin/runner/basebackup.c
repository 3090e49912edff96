/*
 * basebackup.c
 *		The method pg_basebackup: the whole cluster as one compressed tar, with the WAL that it
 *		needs and a manifest of its files.
 *
 * The time that it is of is taken before it starts: what was committed by then is in it.
 */
#include <stdlib.h>
#include <string.h>

#include "backup.h"
#include "environment.h"
#include "process.h"
#include "scratch.h"
#include "server.h"
#include "stream.h"
#include "text.h"
#include "tree.h"
#include "worker.h"

static const char *const options[] = {"--format=tar", "--wal-method=fetch", "--gzip", "--manifest-checksums=SHA256", "--checkpoint=fast"};

#define OPTION_COUNT (sizeof(options) / sizeof(options[0]))

/* What pg_basebackup would only find when it has begun. */
static bool
check_cluster(Backup *backup, int64_t *size)
{
	Worker	   *worker = backup->worker;
	char	   *error = NULL;
	PGresult   *result = server_query(&backup->server,
									  "SELECT (SELECT string_agg(spcname, ', ') FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global')), "
									  "(SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user), current_user, "
									  "(SELECT sum(pg_database_size(oid)) FROM pg_database WHERE has_database_privilege(oid, 'CONNECT'))", 0, NULL, &error);
	bool		passed = false;

	if (result == NULL)
	{
		fail(worker, "engine_failed", NULL, true, "%s", error);
		free(error);
	}
	else if (!PQgetisnull(result, 0, 0))
		fail(worker, "tablespaces", NULL, false, "the cluster has tablespaces (%s), which one stream cannot hold: use the method pg_dump", PQgetvalue(result, 0, 0));
	else if (strcmp(PQgetvalue(result, 0, 1), "t") != 0)
		fail(worker, "role_insufficient", NULL, false, "the role %s needs the attribute REPLICATION", PQgetvalue(result, 0, 2));
	else
	{
		*size = strtoll(PQgetvalue(result, 0, 3), NULL, 10);
		passed = true;
	}
	PQclear(result);
	return passed;
}

bool
base_store(Backup *backup)
{
	Worker	   *worker = backup->worker;
	const char *argv[OPTION_COUNT + 8];
	size_t		argc = 0;
	char	   *program;
	char	   *name;
	Environment environment;
	Process		process;
	int64_t		size;
	char	   *error = NULL;
	bool		stored;

	if (!check_cluster(backup, &size) || !backup_tool_version(backup, "pg_basebackup", &backup->manifest.engine_version) || !backup_describe(backup))
		return false;
	program = text_format("%s/pg_basebackup", backup->server.bindir);
	name = text_format("%s%s", backup->stem, SUFFIX_BASE);
	argv[argc++] = program;
	argv[argc++] = "--pgdata=-";
	argv[argc++] = "--no-password";
	for (size_t i = 0; i < OPTION_COUNT; i++)
	{
		argv[argc++] = options[i];
		backup_option(backup, options[i]);
	}
	argv[argc] = NULL;
	server_environment(worker, &backup->server, &environment);
	stored = process_start(&process, argv, ENVIRONMENT_ENTRIES(environment), STREAM_NULL, STREAM_PIPE, &error);
	environment_free(&environment);
	if (!stored)
		fail(worker, "programs_missing", NULL, false, "%s", error);
	else
		stored = stream_to_object(worker, &process, name, size, &backup->manifest.artifact);
	free(error);
	free(name);
	free(program);
	return stored;
}

bool
base_verify(Backup *backup)
{
	Worker	   *worker = backup->worker;
	char	   *directory = text_format("%s/verify", worker->scratch);
	Process		process;
	ObjectDigest digest;
	char	   *version = NULL;
	char	   *error = NULL;
	bool		good = backup_tool_version(backup, "pg_verifybackup", &version);

	if (good)
	{
		backup->tool = text_format("pg_verifybackup %.80s", version);
		free(version);
		good = tree_unpack(worker, directory, &process, &error);
		if (!good)
			fail(worker, "node_failed", NULL, true, "%s", error);
	}
	if (good)
	{
		good = stream_from_object(worker, backup->manifest.artifact.name, process.in, &digest) &&
			backup_reread(backup, &backup->manifest.artifact, &digest);
		if (!good)
			process_kill(&process);
		else if (!process_wait(&process, &error))
			good = fail(worker, "verification_failed", NULL, true, "the base backup cannot be unpacked: %s", error);
		else if (!tree_verify(worker, backup->server.bindir, directory, &error))
			good = fail(worker, "verification_failed", NULL, true, "%s", error);
	}
	/* as large as the cluster: not kept any longer than needed */
	remove_tree(directory);
	free(directory);
	free(error);
	return good;
}
