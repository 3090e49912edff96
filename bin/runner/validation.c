/*
 * validation.c
 *		Checks of what was restored.
 */
#include <stdlib.h>
#include <string.h>

#include "environment.h"
#include "io.h"
#include "log.h"
#include "process.h"
#include "restore.h"
#include "rows.h"
#include "server.h"
#include "text.h"
#include "worker.h"

#define CHECK_SCHEMA "walwarden_check"
#define OUTPUT_MAX ((size_t) 800)

bool
restore_check_rows(Restore *restore, Server *server, const char *blames)
{
	Rows		rows = {0};
	char	   *error = NULL;
	char	   *difference = NULL;
	char	   *detail;
	bool		counted;
	bool		equal = false;

	counted = server_command(server, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", &error) &&
		rows_lock(server, &rows, &error) && rows_count(server, &rows, &error) &&
		server_command(server, "COMMIT", &error);
	if (!counted)
		fail(restore->worker, "check_failed", "target", false, "the rows of the restored database cannot be counted: %s", error);
	else
		equal = rows_compare(restore->rows, strlen(restore->rows), &rows, &difference);
	rows_free(&rows);
	free(error);
	if (equal)
	{
		detail = text_format("%lld tables", (long long) restore->manifest.tables);
		restore_add_check(restore, "row_counts", "passed", detail);
		free(detail);
	}
	else if (counted)
		fail(restore->worker, "row_counts_differ", blames, false, "%s", difference);
	free(difference);
	return equal;
}

/* Runs pg_amcheck over one database. What it finds it prints to its standard output, and exits with 2. */
static bool
run_amcheck(Restore *restore, Server *server, const char *blames)
{
	Worker	   *worker = restore->worker;
	char	   *program = text_format("%s/pg_amcheck", server->bindir);
	char	   *dbname = server_dbname(server->database);
	Environment environment;
	Process		process;
	Buffer		found = {0};
	char	   *error = NULL;
	bool		passed;

	server_environment(worker, server, &environment);

	/*
	 * the database as an argument of its own: a maintenance database would
	 * forget the host
	 */
	passed = process_start(&process, ARGUMENTS(program, "--heapallindexed", "--no-password", dbname),
						   ENVIRONMENT_ENTRIES(environment), STREAM_NULL, STREAM_PIPE, &error);
	environment_free(&environment);
	free(program);
	free(dbname);
	if (!passed)
		fail(worker, "programs_missing", "node", false, "%s", error);
	else
	{
		(void) read_all(process.out, OUTPUT_MAX, &found);
		passed = process_wait(&process, &error);
		if (!passed && process_was_killed(error))
			fail(worker, "check_failed", "node", true, "%s", error);
		else if (!passed && found.len > 0)
			fail(worker, "index_corrupt", blames, false, "pg_amcheck found in %s: %s", server->database, found.data);
		else if (!passed)
			fail(worker, "check_failed", "target", false, "%s", error);
	}
	buffer_free(&found);
	free(error);
	return passed;
}

/* With the extension amcheck, in a schema of ours if the database has it not yet. */
static bool
check_database(Restore *restore, Server *server, const char *blames)
{
	char	   *error = NULL;
	char	   *installed = server_value(server, "SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'", &error);
	bool		ours = installed && strcmp(installed, "0") == 0;
	bool		ready = installed != NULL &&
		(!ours || server_command(server, "CREATE SCHEMA " CHECK_SCHEMA, &error)) &&
		(!ours || server_command(server, "CREATE EXTENSION amcheck SCHEMA " CHECK_SCHEMA, &error));
	bool		passed = false;

	free(installed);
	if (ready)
		passed = run_amcheck(restore, server, blames);
	else
		fail(restore->worker, "check_failed", "target", false, "amcheck: %s", error);
	free(error);
	error = NULL;
	if (ours && (!server_command(server, "DROP EXTENSION IF EXISTS amcheck", &error) || !server_command(server, "DROP SCHEMA IF EXISTS " CHECK_SCHEMA, &error)))
		log_line("schema " CHECK_SCHEMA " was not removed: %s", error);
	free(error);
	return passed;
}

bool
restore_check_indexes(Restore *restore, Server *server, char *const *databases, size_t count, const char *blames)
{
	char	   *error = NULL;
	char	   *reason = server_value(server,
									  "SELECT CASE WHEN NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN 'the role of the target is no superuser' "
									  "WHEN NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'amcheck') THEN 'the server does not have the extension amcheck' "
									  "ELSE '' END", &error);
	char	   *detail;

	if (reason == NULL)
	{
		fail(restore->worker, "check_failed", "target", false, "%s", error);
		free(error);
		return false;
	}
	if (*reason)
	{
		restore_add_check(restore, "indexes", "not_run", reason);
		free(reason);
		return true;
	}
	free(reason);
	for (size_t i = 0; i < count; i++)
	{
		Server		inner = {.services = server->services,.section = text_copy(server->section),
		.directory = text_copy(server->directory),.user = text_copy(server->user),.database = text_copy(databases[i])};
		bool		passed = server_open(restore->worker, &inner, "target") && check_database(restore, &inner, blames);

		server_close(&inner);
		if (!passed)
			return false;
	}
	detail = text_format("pg_amcheck --heapallindexed, %zu database%s", count, count == 1 ? "" : "s");
	restore_add_check(restore, "indexes", "passed", detail);
	free(detail);
	return true;
}
