/*
 * dump.c
 *		The method pg_dump: a dump, the number of rows of each table in the same snapshot, and
 *		the roles of the cluster.
 *
 * One transaction exports the snapshot and locks the tables before pg_dump starts, which locks
 * them again. It counts their rows after pg_dump has ended, and still in that snapshot. Because
 * both hold their locks from the beginning, no TRUNCATE or rewrite comes between the dump and
 * the count. An ALTER TABLE that asks for its lock between the two would make pg_dump wait for
 * us for ever: pg_dump gives up after a minute, and the job is tried again.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup.h"
#include "environment.h"
#include "process.h"
#include "rows.h"
#include "server.h"
#include "stream.h"
#include "text.h"
#include "worker.h"

/* A right that is missing today is missing in a minute, too. */
static bool
server_failed(Backup *backup, char *error)
{
	bool		denied = backup->server.denied;

	fail(backup->worker, denied ? "role_insufficient" : "engine_failed", NULL, !denied, "%s", error);
	free(error);
	return false;
}

/* What pg_dump would only find when it comes to the table. */
static bool
check_policies(Backup *backup)
{
	char	   *error = NULL;
	PGresult   *result = server_query(&backup->server,
									  "SELECT format('%I.%I', n.nspname, c.relname), current_user FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
									  "WHERE c.relkind IN ('r', 'p') AND c.relrowsecurity AND row_security_active(c.oid) LIMIT 1", 0, NULL, &error);
	bool		passed;

	if (result == NULL)
		return server_failed(backup, error);
	passed = PQntuples(result) == 0;
	if (!passed)
		fail(backup->worker, "role_insufficient", NULL, false,
			 "row-level security of %s applies to the role %s, which would leave rows out: give it BYPASSRLS", PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1));
	PQclear(result);
	return passed;
}

/* The same: pg_dump comes to large objects last. Nothing of them is read, but the right to is asked for. */
static bool
check_large_objects(Backup *backup)
{
	char	   *error = NULL;
	char	   *count = server_value(&backup->server, "SELECT count(lo_get(oid, 0, 0)) FROM pg_largeobject_metadata", &error);

	free(count);
	return count || server_failed(backup, error);
}

/* Starts a program of the server's major whose output becomes the object stem + suffix. */
static bool
store_output(Backup *backup, const char *const *arguments, const char *suffix, int64_t expected, ManifestObject *object)
{
	Worker	   *worker = backup->worker;
	char	   *name = text_format("%s%s", backup->stem, suffix);
	char	   *program = text_format("%s/%s", backup->server.bindir, arguments[0]);
	const char *argv[16] = {program};
	Environment environment;
	Process		process;
	char	   *error = NULL;
	bool		stored;

	for (size_t i = 1; arguments[i]; i++)
		argv[i] = arguments[i];
	server_environment(worker, &backup->server, &environment);
	stored = process_start(&process, argv, ENVIRONMENT_ENTRIES(environment), STREAM_NULL, STREAM_PIPE, &error);
	environment_free(&environment);
	if (!stored)
	{
		fail(worker, "programs_missing", NULL, false, "%s", error);
		free(error);
	}
	else
		stored = stream_to_object(worker, &process, name, expected, object);
	free(program);
	free(name);
	return stored;
}

static bool
store_rows(Backup *backup, const Rows *rows, const char *database)
{
	Manifest   *m = &backup->manifest;
	char	   *name = text_format("%s%s", backup->stem, SUFFIX_ROWS);
	Buffer		text = {0};
	bool		stored;

	rows_render(rows, database, &text);
	m->tables = (int64_t) rows->tables;
	stored = stream_text(backup->worker, name, &text, &m->rows);
	buffer_free(&text);
	free(name);
	return stored;
}

/* In the transaction whose snapshot this is. */
static bool
store_in_snapshot(Backup *backup, const char *snapshot, Rows *rows)
{
	Server	   *server = &backup->server;
	char	   *option = text_format("--snapshot=%s", snapshot);
	char	   *dbname = server_dbname(server->database);
	char	   *error = NULL;
	char	   *database = NULL;
	char	   *size = NULL;
	bool		stored = rows_lock(server, rows, &error) &&
		(database = rows_database(server, &error)) != NULL &&
		(size = server_value(server, "SELECT pg_database_size(current_database())", &error)) != NULL;

	if (!stored)
		server_failed(backup, error);
	else
	{
		backup_option(backup, "--format=custom");
		backup_option(backup, "--snapshot");
		stored = store_output(backup,
							  ARGUMENTS("pg_dump", "--format=custom", option, "--lock-wait-timeout=60000", "--no-password", "--dbname", dbname),
							  SUFFIX_DUMP, strtoll(size, NULL, 10), &backup->manifest.artifact);
		if (stored && !rows_count(server, rows, &error))
			stored = server_failed(backup, error);
	}
	if (stored)
		stored = store_rows(backup, rows, database);
	free(option);
	free(dbname);
	free(database);
	free(size);
	return stored;
}

bool
dump_store(Backup *backup)
{
	Server	   *server = &backup->server;
	char	   *error = NULL;
	char	   *snapshot = NULL;
	char	   *dbname;
	Rows		rows = {0};
	bool		stored;

	if (!check_policies(backup) || !check_large_objects(backup) || !backup_tool_version(backup, "pg_dump", &backup->manifest.engine_version))
		return false;

	/* the time and LSN are taken before the snapshot: what is older is in it */
	if (!backup_describe(backup))
		return false;
	if (!server_command(server, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", &error) ||
		(snapshot = server_value(server, "SELECT pg_export_snapshot()", &error)) == NULL)
		return server_failed(backup, error);
	stored = store_in_snapshot(backup, snapshot, &rows);
	free(snapshot);
	rows_free(&rows);
	if (!stored)
		return false;
	if (!server_command(server, "COMMIT", &error))
		return server_failed(backup, error);
	dbname = server_dbname(server->database);
	stored = store_output(backup,
						  ARGUMENTS("pg_dumpall", "--roles-only", "--no-role-passwords", "--no-password", "--database", dbname),
						  SUFFIX_ROLES, 0, &backup->manifest.roles);
	free(dbname);
	return stored;
}

/* pg_restore reads the whole dump and writes its SQL to nowhere. */
static bool
read_dump(Backup *backup)
{
	Worker	   *worker = backup->worker;
	char	   *program = text_format("%s/pg_restore", backup->server.bindir);
	Environment environment;
	Process		process;
	ObjectDigest digest;
	char	   *error = NULL;
	bool		good;

	environment_begin(&environment, backup->server.bindir, worker->scratch);
	good = process_start(&process, ARGUMENTS(program, "--file=/dev/null"), ENVIRONMENT_ENTRIES(environment), STREAM_PIPE, STREAM_NULL, &error);
	environment_free(&environment);
	free(program);
	if (!good)
		fail(worker, "programs_missing", NULL, false, "%s", error);
	else if (!stream_from_object(worker, backup->manifest.artifact.name, process.in, &digest) ||
			 !backup_reread(backup, &backup->manifest.artifact, &digest))
	{
		process_kill(&process);
		good = false;
	}
	else if (!process_wait(&process, &error))
		good = fail(worker, "verification_failed", NULL, true, "the dump cannot be read again: %s", error);
	free(error);
	return good;
}

static bool
read_object(Backup *backup, const ManifestObject *object)
{
	ObjectDigest digest;

	return stream_from_object(backup->worker, object->name, -1, &digest) && backup_reread(backup, object, &digest);
}

bool
dump_verify(Backup *backup)
{
	char	   *version;

	if (!backup_tool_version(backup, "pg_restore", &version))
		return false;
	backup->tool = text_format("pg_restore %.80s", version);
	free(version);
	return read_dump(backup) && read_object(backup, &backup->manifest.rows) && read_object(backup, &backup->manifest.roles);
}
