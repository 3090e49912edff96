/*
 * restore_database.c
 *		The modes new_database and in_place, and drills of both: a dump into a database of a
 *		target.
 *
 * A new database is restored under a name of the job's own and gets the one that was asked for
 * when all checks have passed. So it appears whole or not at all; for what a killed job leaves,
 * see scratch_database.c. A restore in place is one transaction.
 */
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "manifest.h"
#include "process.h"
#include "restore.h"
#include "scratch_database.h"
#include "server.h"
#include "text.h"
#include "worker.h"

/* In a drill, in place of what is in use is beside it. */
static bool
is_in_place(const Restore *restore)
{
	return strcmp(restore->worker->job->mode, "in_place") == 0 && !restore->drill;
}

/* pg_restore's message tells whether it is worth trying again. */
static bool
restore_failed(Restore *restore, char *error)
{
	bool		killed = process_was_killed(error);
	bool		passing = killed || strstr(error, "No space left on device") || strstr(error, "server closed the connection") ||
		strstr(error, "terminating connection") || strstr(error, "could not connect") || strstr(error, "connection to server");

	fail(restore->worker, "restore_failed", killed ? "node" : "target", passing, "%s", error);
	free(error);
	return false;
}

static bool
target_failed(Restore *restore, char *error)
{
	fail(restore->worker, "target_failed", "target", false, "%s", error);
	free(error);
	return false;
}

static bool
check_new_name(Restore *restore)
{
	Worker	   *worker = restore->worker;
	const char *values[] = {restore->name};
	char	   *error = NULL;
	PGresult   *result = server_query(&restore->target,
									  "SELECT (SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user), "
									  "EXISTS (SELECT FROM pg_database WHERE datname = $1), current_user", 1, values, &error);
	bool		passed = false;

	if (result == NULL)
		return target_failed(restore, error);
	if (strcmp(PQgetvalue(result, 0, 1), "t") == 0)
		fail(worker, "target_exists", "target", false, "the database %s exists in %s already", restore->name, restore->section);
	else if (strcmp(PQgetvalue(result, 0, 0), "t") != 0)
		fail(worker, "role_insufficient", "target", false, "the role %s may not create databases in %s", PQgetvalue(result, 0, 2), restore->section);
	else
		passed = true;
	PQclear(result);
	return passed;
}

static bool
database_begin(Restore *restore)
{
	Worker	   *worker = restore->worker;

	restore->target.services = worker->config->targets;
	restore->target.section = text_copy(restore->section);
	if (!server_open(worker, &restore->target, "target"))
		return false;
	if (is_in_place(restore))
		return true;
	scratch_databases_sweep(&restore->target);
	return check_new_name(restore);
}

static bool
database_accept(Restore *restore)
{
	Worker	   *worker = restore->worker;
	const Manifest *m = &restore->manifest;
	int			major = manifest_major(m);

	if (strcmp(m->method, METHOD_DUMP) != 0)
		return fail(worker, "mode_unsupported", "target", false, "a base backup is restored as new_cluster, not as %s", worker->job->mode);
	if (restore->target.version / 10000 < major)
		return fail(worker, "target_older", "target", false, "the backup is of PostgreSQL %d, %s has %d", major, restore->section, restore->target.version / 10000);
	return true;
}

static void
add_option(Restore *restore, Buffer *sql, const char *keyword, const char *property)
{
	char	   *value = restore_database_property(restore, property);

	if (value)
	{
		char	   *literal = server_literal(&restore->target, value);

		buffer_format(sql, " %s %s", keyword, literal);
		free(literal);
		free(value);
	}
}

/* With the encoding and the locale of the original; its settings and rights are not restored. */
static bool
create_database(Restore *restore, const char *name, char **error)
{
	char	   *identifier = server_identifier(&restore->target, name);
	char	   *provider = restore_database_property(restore, "provider");
	Buffer		sql = {0};
	bool		created;

	buffer_format(&sql, "CREATE DATABASE %s TEMPLATE template0", identifier);
	add_option(restore, &sql, "ENCODING", "encoding");
	add_option(restore, &sql, "LC_COLLATE", "collate");
	add_option(restore, &sql, "LC_CTYPE", "ctype");
	if (provider && strcmp(provider, "i") == 0)
	{
		buffer_text(&sql, " LOCALE_PROVIDER icu");
		add_option(restore, &sql, "ICU_LOCALE", "locale");
		add_option(restore, &sql, "ICU_RULES", "icuRules");
	}
	else if (provider && strcmp(provider, "b") == 0)
	{
		buffer_text(&sql, " LOCALE_PROVIDER builtin");
		add_option(restore, &sql, "BUILTIN_LOCALE", "locale");
	}
	else if (restore->target.version >= 150000)
		buffer_text(&sql, " LOCALE_PROVIDER libc");
	created = scratch_database_own(&restore->target, name, error) && server_command(&restore->target, sql.data, error);
	buffer_free(&sql);

	/* until it has its name it is nobody else's */
	buffer_format(&sql, "REVOKE ALL ON DATABASE %s FROM PUBLIC", identifier);
	created = created && server_command(&restore->target, sql.data, error);
	buffer_free(&sql);
	free(provider);
	free(identifier);
	return created;
}

static bool
database_restore(Restore *restore)
{
	const Job  *job = restore->worker->job;
	char	   *scratch;
	char	   *dbname;
	char	   *error = NULL;
	bool		restored;

	if (is_in_place(restore))
	{
		dbname = server_dbname(restore->target.database);
		restored = restore_run(restore, &restore->target,
							   ARGUMENTS("--clean", "--if-exists", "--single-transaction", "--dbname", dbname), &error);
		free(dbname);
		return restored || restore_failed(restore, error);
	}
	scratch = scratch_database_name(job->id, job->fence);
	restored = create_database(restore, scratch, &error);
	if (!restored)
		target_failed(restore, error);
	else if (!restore_run(restore, &restore->target, ARGUMENTS("--dbname", scratch), &error))
		restored = restore_failed(restore, error);
	free(scratch);
	return restored;
}

static bool
database_check(Restore *restore)
{
	Worker	   *worker = restore->worker;
	bool		in_place = is_in_place(restore);
	Server		server = {.services = worker->config->targets,.section = text_copy(restore->section)};
	char	   *name = in_place ? text_copy(restore->target.database) : scratch_database_name(worker->job->id, worker->job->fence);
	bool		passed;

	server.database = text_copy(name);
	/* others may write to a database that was restored in place */
	passed = server_open(worker, &server, "target") &&
		restore_check_rows(restore, &server, in_place ? "target" : "backup") &&
		restore_check_indexes(restore, &server, &name, 1, "target");
	server_close(&server);
	free(name);
	return passed;
}

static bool
drop_scratch(Restore *restore, char **error)
{
	return scratch_database_drop(&restore->target, restore->worker->job->id, restore->worker->job->fence, error);
}

static bool
database_finish(Restore *restore)
{
	char	   *error = NULL;
	bool		finished = true;

	if (is_in_place(restore))
		return true;
	if (restore->drill)
		finished = drop_scratch(restore, &error);
	else
	{
		char	   *scratch = scratch_database_name(restore->worker->job->id, restore->worker->job->fence);
		char	   *name = server_identifier(&restore->target, restore->name);
		char	   *grant = text_format("GRANT CONNECT, TEMPORARY ON DATABASE %s TO PUBLIC", scratch);
		char	   *rename = text_format("ALTER DATABASE %s RENAME TO %s", scratch, name);

		finished = server_command(&restore->target, grant, &error) && server_command(&restore->target, rename, &error);
		free(grant);
		free(rename);
		free(name);
		free(scratch);
	}
	return finished || target_failed(restore, error);
}

static void
database_undo(Restore *restore)
{
	char	   *error = NULL;

	if (restore->target.conn && !is_in_place(restore) && !drop_scratch(restore, &error))
		log_line("the scratch database was not dropped: %s", error);
	free(error);
}

const RestoreMode restore_database = {
	.begin = database_begin,
	.accept = database_accept,
	.restore = database_restore,
	.check = database_check,
	.finish = database_finish,
	.undo = database_undo,
};
