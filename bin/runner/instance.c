/*
 * instance.c
 *		A cluster of the runner's own: its files and its server.
 *
 * A cluster that came from production must not act like it. Its postgresql.auto.conf, which
 * would win over everything but the command line, is removed; so are the files that make a
 * standby of it. Its configuration is replaced: no archiving, no replication, no subscriptions,
 * no libraries that start workers, no TCP, and a socket in a directory that is closed to other
 * users. postgres is our own child, so that it ends with us.
 */
#include "instance.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "environment.h"
#include "process.h"
#include "text.h"

#define SOCKET "/.s.PGSQL.5432"
#define OUTPUT_MAX ((size_t) 65536)
#define CONNECT_TIMEOUT "15"

#define HBA "# Written by walwarden-runner. The directory of the socket is closed to other users.\nlocal all all trust\n"

#define NO_ARCHIVING "archive_mode=off"

bool
instance_path_fits(const char *data)
{
	return strlen(data) + sizeof(SOCKET) <= sizeof(((struct sockaddr_un *) NULL)->sun_path);
}

bool
instance_run(const Instance *instance, const Environment *environment, const char *const *arguments, const char *input, Buffer *output, char **error)
{
	char	   *program = text_format("%s/%s", instance->bindir, arguments[0]);
	const char *argv[24] = {program};
	Environment plain = {0};
	bool		ran;

	for (size_t i = 1; arguments[i]; i++)
		argv[i] = arguments[i];
	if (environment == NULL)
		environment_begin(&plain, instance->bindir, instance->scratch);
	ran = process_run(argv, ENVIRONMENT_ENTRIES(environment ? *environment : plain), input, output, OUTPUT_MAX, error);
	environment_free(&plain);
	free(program);
	return ran;
}

/* A number that pg_controldata prints after this label. */
bool
instance_number(const Instance *instance, const char *label, long *number, char **error)
{
	Buffer		output = {0};
	char	   *line = NULL;

	if (instance_run(instance, NULL, ARGUMENTS("pg_controldata", instance->data), NULL, &output, error) &&
		(line = strstr(output.data, label)) == NULL)
		*error = text_format("pg_controldata does not print \"%s\"", label);
	if (line)
		*number = strtol(line + strlen(label), NULL, 10);
	buffer_free(&output);
	return line != NULL;
}

/* Replaces a file of the data directory, and keeps the one that was there beside it. */
static bool
replace_file(const Instance *instance, const char *name, const char *text, char **error)
{
	char	   *path = text_format("%s/%s", instance->data, name);
	char	   *kept = text_format("%s.restored", path);
	FILE	   *file = NULL;
	bool		written = (rename(path, kept) == 0 || errno == ENOENT) && (file = fopen(path, "wxe")) != NULL && fputs(text, file) >= 0;

	if (file && fclose(file) != 0)
		written = false;
	if (!written)
		*error = text_format("%s: %s", path, strerror(errno));
	free(kept);
	free(path);
	return written;
}

static bool
remove_file(const Instance *instance, const char *name, char **error)
{
	char	   *path = text_format("%s/%s", instance->data, name);
	bool		removed = unlink(path) == 0 || errno == ENOENT;

	if (!removed)
		*error = text_format("%s: %s", path, strerror(errno));
	free(path);
	return removed;
}

bool
instance_configure(const Instance *instance, char **error)
{
	long		prepared;
	long		locks;
	char	   *text;
	bool		configured;

	/* recovery needs at least what the original had */
	if (!instance_number(instance, "max_prepared_xacts setting:", &prepared, error) ||
		!instance_number(instance, "max_locks_per_xact setting:", &locks, error))
		return false;
	text = text_format("# Written by walwarden-runner, which restored this instance. It does not archive, replicate or\n"
					   "# subscribe, and listens on a socket in this directory only. What came with the backup, if\n"
					   "# anything, is in postgresql.conf.restored; postgresql.auto.conf was removed.\n"
					   "listen_addresses = ''\n"
					   "port = 5432\n"
					   "unix_socket_directories = '.'\n"
					   "unix_socket_permissions = 0700\n"
					   "ssl = off\n"
					   "archive_mode = off\n"
					   "archive_command = ''\n"
					   "restore_command = ''\n"
					   "primary_conninfo = ''\n"
					   "shared_preload_libraries = ''\n"
					   "max_logical_replication_workers = 0\n"
					   "max_prepared_transactions = %ld\n"
					   "max_locks_per_transaction = %ld\n"
					   "timezone = 'UTC'\n", prepared, locks);
	configured = remove_file(instance, "postgresql.auto.conf", error) && remove_file(instance, "standby.signal", error) && remove_file(instance, "recovery.signal", error) &&
		replace_file(instance, "postgresql.conf", text, error) && replace_file(instance, "pg_hba.conf", HBA, error) && replace_file(instance, "pg_ident.conf", "", error);
	free(text);
	return configured;
}

bool
instance_find_role(Instance *instance, char **error)
{
	static const char before[] = "rolname = \"";
	Buffer		output = {0};
	const char *begin;
	const char *end;
	bool		ran = instance_run(instance, NULL, ARGUMENTS("postgres", "--single", "-D", instance->data, "-c", NO_ARCHIVING, "template1"),
								   "SELECT rolname FROM pg_catalog.pg_authid WHERE oid = 10\n", &output, error);

	if (ran)
	{
		begin = strstr(output.data, before);
		if (begin && (end = strstr(begin += strlen(before), "\"\t(typeid")) != NULL)
			instance->role = text_slice(begin, end - begin);
		else
			*error = text_copy("the cluster has no bootstrap superuser");
	}
	buffer_free(&output);
	return instance->role != NULL;
}

/* Whether a child has ended; it is left for process_wait(). */
static bool
has_ended(const Process *process)
{
	siginfo_t	info = {0};

	return waitid(P_PID, process->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid != 0;
}

/*
 * Whether the server has started. A server that accepts connections but not ours, for example
 * because its superuser may not log in, will never do so: *error is set.
 */
static bool
is_ready(const Instance *instance, char **error)
{
	const char *keywords[] = {"host", "port", "user", "dbname", "connect_timeout", NULL};
	const char *values[] = {instance->data, "5432", instance->role, "template1", CONNECT_TIMEOUT, NULL};
	PGconn	   *conn;
	PGresult   *result = NULL;
	bool		ready;

	if (PQpingParams(keywords, values, 0) != PQPING_OK)
		return false;
	conn = PQconnectdbParams(keywords, values, 0);
	if (PQstatus(conn) == CONNECTION_OK)
		result = PQexec(conn, "SELECT pg_catalog.pg_is_in_recovery()");
	else
		*error = text_format("the restored cluster accepts no connection: %s", PQerrorMessage(conn));
	ready = PQresultStatus(result) == PGRES_TUPLES_OK && strcmp(PQgetvalue(result, 0, 0), "f") == 0;
	PQclear(result);
	PQfinish(conn);
	return ready;
}

bool
instance_start(Instance *instance, char **error)
{
	char	   *program = text_format("%s/postgres", instance->bindir);
	Environment environment;
	bool		started;

	environment_begin(&environment, instance->bindir, instance->scratch);
	started = process_start(&instance->postgres, ARGUMENTS(program, "-D", instance->data, "-c", NO_ARCHIVING),
							ENVIRONMENT_ENTRIES(environment), STREAM_NULL, STREAM_NULL, error);
	environment_free(&environment);
	free(program);
	if (!started)
		return false;
	while (!is_ready(instance, error))
	{
		if (*error)
		{
			process_kill(&instance->postgres);
			return false;
		}
		if (has_ended(&instance->postgres))
		{
			if (process_wait(&instance->postgres, error))
				*error = text_copy("postgres stopped by itself");
			return false;
		}
		usleep(100000);
	}
	instance->runs = true;
	return true;
}

bool
instance_stop(Instance *instance, char **error)
{
	instance->runs = false;
	kill(instance->postgres.pid, SIGINT);
	return process_wait(&instance->postgres, error);
}

void
instance_kill(Instance *instance)
{
	if (instance->runs)
		process_kill(&instance->postgres);
	instance->runs = false;
}
