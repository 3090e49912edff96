/*
 * restore_cluster.c
 *		The mode new_cluster, and its drills: a base backup, or a dump in a cluster that initdb
 *		makes, in a data directory of its own.
 *
 * A cluster that came from production must not act like it. Its postgresql.auto.conf, which
 * would win over everything but the command line, is removed; so are the files that make a
 * standby of it. Its configuration is replaced: no archiving, no replication, no subscriptions,
 * no libraries that start workers, no TCP, and a socket in a directory that is closed to other
 * users. postgres is our own child, so that it ends with us.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/syntax.h"
#include "config.h"
#include "environment.h"
#include "log.h"
#include "process.h"
#include "restore.h"
#include "scratch.h"
#include "server.h"
#include "stream.h"
#include "text.h"
#include "tree.h"
#include "worker.h"

#define SOCKET "/.s.PGSQL.5432"
#define OUTPUT_MAX ((size_t) 65536)

#define HBA "# Written by walwarden-runner. The directory of the socket is closed to other users.\nlocal all all trust\n"

#define NO_ARCHIVING "archive_mode=off"

/* Of this process's one job. */
static struct
{
	const char *bindir;
	char	   *data;			/* the data directory, in scratch */
	char	   *role;			/* the bootstrap superuser */
	Process		postgres;
	bool		runs;
}			cluster;

static bool
is_base(const Restore *restore)
{
	return strcmp(restore->manifest.method, METHOD_BASE) == 0;
}

static bool
node_failed(Restore *restore, char *error)
{
	bool		full = strstr(error, "No space left on device") != NULL;

	fail(restore->worker, full ? "disk_full" : "restore_failed", "node", full, "%s", error);
	free(error);
	return false;
}

static char *
final_path(const Restore *restore)
{
	return text_format("%s/%s", restore->worker->config->work, restore->name);
}

static bool
refuse_existing(Restore *restore)
{
	return fail(restore->worker, "target_exists", "target", false, "the directory %s exists in work already", restore->name);
}

static bool
cluster_begin(Restore *restore)
{
	Worker	   *worker = restore->worker;
	char		lower[UUID_TEXT_LEN];
	char	   *path;
	bool		exists;

	cluster.data = text_format("%s/data", worker->scratch);
	if (strlen(cluster.data) + sizeof(SOCKET) > sizeof(((struct sockaddr_un *) NULL)->sun_path))
		return fail(worker, "node_failed", "node", false, "the path of work is too long for a socket below it");
	if (restore->name == NULL)
		return true;
	/* what looks like the scratch of a job is swept away */
	if (strlen(restore->name) > UUID_TEXT_LEN && uuid_is_well_formed(restore->name, UUID_TEXT_LEN, lower))
		return fail(worker, "bad_reference", "target", false, "a directory may not have the name of a job");
	path = final_path(restore);
	exists = access(path, F_OK) == 0;
	free(path);
	return !exists || refuse_existing(restore);
}

static bool
cluster_accept(Restore *restore)
{
	static const char *const programs[] = {"postgres", "pg_controldata", "pg_checksums", "initdb", "psql"};
	Worker	   *worker = restore->worker;
	int			major = atoi(restore->manifest.server_version);

	cluster.bindir = config_bindir(worker->config, major);
	if (cluster.bindir == NULL)
		return fail(worker, "programs_missing", "node", false, "this node has no programs of PostgreSQL %d", major);
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
	{
		char	   *path = text_format("%s/%s", cluster.bindir, programs[i]);
		bool		found = access(path, X_OK) == 0;

		free(path);
		if (!found)
			return fail(worker, "programs_missing", "node", false, "%s has no %s: install the server package of PostgreSQL %d", cluster.bindir, programs[i], major);
	}
	return true;
}

/* Runs a program of bindir with this text as its input. *output, unless output is NULL, receives what it prints. */
static bool
run_program(Restore *restore, const Environment *environment, const char *const *arguments, const char *input, char **output, char **error)
{
	char	   *program = text_format("%s/%s", cluster.bindir, arguments[0]);
	const char *argv[24] = {program};
	Environment plain = {0};
	Process		process;
	Buffer		text = {0};
	char		chunk[4096];
	ssize_t		got;
	bool		ran;

	for (size_t i = 1; arguments[i]; i++)
		argv[i] = arguments[i];
	if (environment == NULL)
		environment_begin(&plain, cluster.bindir, restore->worker->scratch);
	ran = process_start(&process, argv, ENVIRONMENT_ENTRIES(environment ? *environment : plain), input ? STREAM_PIPE : STREAM_NULL,
						output ? STREAM_PIPE : STREAM_NULL, error);
	environment_free(&plain);
	free(program);
	if (!ran)
		return false;
	/* a program that is given much prints little, and the other way round */
	for (size_t len = input ? strlen(input) : 0; len > 0;)
	{
		got = write(process.in, input, len);
		if (got < 0 && errno != EINTR)
			break;
		if (got > 0)
		{
			input += got;
			len -= got;
		}
	}
	if (process.in >= 0)
	{
		close(process.in);
		process.in = -1;
	}
	while (output && ((got = read(process.out, chunk, sizeof(chunk))) > 0 || (got < 0 && errno == EINTR)))
		if (got > 0 && text.len < OUTPUT_MAX)
			buffer_add(&text, chunk, got);
	buffer_add(&text, "", 0);
	ran = process_wait(&process, error);
	if (ran && output)
		*output = text.data;
	else
		buffer_free(&text);
	return ran;
}

/* A number that pg_controldata prints after this label. */
static bool
control_number(Restore *restore, const char *label, long *number, char **error)
{
	char	   *output;
	char	   *line;

	if (!run_program(restore, NULL, ARGUMENTS("pg_controldata", cluster.data), NULL, &output, error))
		return false;
	line = strstr(output, label);
	if (line)
		*number = strtol(line + strlen(label), NULL, 10);
	else
		*error = text_format("pg_controldata does not print \"%s\"", label);
	free(output);
	return line != NULL;
}

/* Replaces a file of the data directory, and keeps the one that was there beside it. */
static bool
replace_file(const char *name, const char *text, char **error)
{
	char	   *path = text_format("%s/%s", cluster.data, name);
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
remove_file(const char *name, char **error)
{
	char	   *path = text_format("%s/%s", cluster.data, name);
	bool		removed = unlink(path) == 0 || errno == ENOENT;

	if (!removed)
		*error = text_format("%s: %s", path, strerror(errno));
	free(path);
	return removed;
}

static bool
configure(Restore *restore, char **error)
{
	long		prepared;
	long		locks;
	char	   *text;
	bool		configured;

	/* recovery needs at least what the original had */
	if (!control_number(restore, "max_prepared_xacts setting:", &prepared, error) ||
		!control_number(restore, "max_locks_per_xact setting:", &locks, error))
		return false;
	text = text_format("# Written by walwarden-runner, which restored this cluster. It does not archive, replicate or\n"
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
	configured = remove_file("postgresql.auto.conf", error) && remove_file("standby.signal", error) && remove_file("recovery.signal", error) &&
		replace_file("postgresql.conf", text, error) && replace_file("pg_hba.conf", HBA, error) && replace_file("pg_ident.conf", "", error);
	free(text);
	return configured;
}

/* The name of the bootstrap superuser, which a base backup does not tell before it has recovered. */
static bool
find_role(Restore *restore, char **error)
{
	static const char before[] = "rolname = \"";
	char	   *output;
	char	   *begin;
	char	   *end;

	if (!run_program(restore, NULL, ARGUMENTS("postgres", "--single", "-D", cluster.data, "-c", NO_ARCHIVING, "template1"),
					 "SELECT rolname FROM pg_catalog.pg_authid WHERE oid = 10\n", &output, error))
		return false;
	begin = strstr(output, before);
	if (begin && (end = strstr(begin += strlen(before), "\"\t(typeid")) != NULL)
		cluster.role = text_slice(begin, end - begin);
	else
		*error = text_copy("the cluster has no bootstrap superuser");
	free(output);
	return cluster.role != NULL;
}

/* Whether a child has ended; it is left for process_wait(). */
static bool
has_ended(const Process *process)
{
	siginfo_t	info = {0};

	return waitid(P_PID, process->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid != 0;
}

static bool
is_ready(void)
{
	const char *keywords[] = {"host", "port", "user", "dbname", NULL};
	const char *values[] = {cluster.data, "5432", cluster.role, "template1", NULL};
	PGconn	   *conn = PQconnectdbParams(keywords, values, 0);
	PGresult   *result = PQstatus(conn) == CONNECTION_OK ? PQexec(conn, "SELECT pg_catalog.pg_is_in_recovery()") : NULL;
	bool		ready = PQresultStatus(result) == PGRES_TUPLES_OK && strcmp(PQgetvalue(result, 0, 0), "f") == 0;

	PQclear(result);
	PQfinish(conn);
	return ready;
}

/* Starts postgres, and waits until it is out of recovery. */
static bool
start_postgres(Restore *restore, char **error)
{
	char	   *program = text_format("%s/postgres", cluster.bindir);
	Environment environment;
	bool		started;

	environment_begin(&environment, cluster.bindir, restore->worker->scratch);
	started = process_start(&cluster.postgres, ARGUMENTS(program, "-D", cluster.data, "-c", NO_ARCHIVING),
							ENVIRONMENT_ENTRIES(environment), STREAM_NULL, STREAM_NULL, error);
	environment_free(&environment);
	free(program);
	if (!started)
		return false;
	while (!is_ready())
	{
		if (has_ended(&cluster.postgres))
		{
			if (process_wait(&cluster.postgres, error))
				*error = text_copy("postgres stopped by itself");
			return false;
		}
		usleep(100000);
	}
	cluster.runs = true;
	return true;
}

/* With a checkpoint, however long that takes. */
static bool
stop_postgres(char **error)
{
	cluster.runs = false;
	kill(cluster.postgres.pid, SIGINT);
	return process_wait(&cluster.postgres, error);
}

static bool
restore_base(Restore *restore, char **error)
{
	Worker	   *worker = restore->worker;
	Process		tar;
	bool		restored = tree_unpack(worker, cluster.data, &tar, error);

	if (restored)
	{
		int			file = open(restore->artifact, O_RDONLY | O_CLOEXEC);

		restored = file >= 0 && stream_file(file, tar.in);
		if (!restored)
			*error = text_format("%s: %s", restore->artifact, strerror(errno));
		if (file >= 0)
			close(file);
		if (restored)
			restored = process_wait(&tar, error);
		else
			process_kill(&tar);
	}
	if (!restored)
		return false;
	unlink(restore->artifact);
	if (!tree_verify(worker, cluster.bindir, cluster.data, error))
	{
		fail(worker, "artifact_changed", "backup", false, "%s", *error);
		free(*error);
		*error = NULL;
		return false;
	}
	restore_add_check(restore, "files", "passed", "pg_verifybackup");
	return configure(restore, error) && find_role(restore, error) && start_postgres(restore, error);
}

/* The roles of the original without its bootstrap superuser, whom initdb has made. */
static char *
roles_script(const Restore *restore, Server *server)
{
	char	   *identifier = server_identifier(server, cluster.role);
	Buffer		script = {0};
	char	   *lines[] = {text_format("CREATE ROLE %s;", cluster.role), text_format("CREATE ROLE %s;", identifier)};

	for (const char *line = restore->roles; *line;)
	{
		size_t		len = strcspn(line, "\n");
		size_t		whole = len + (line[len] == '\n');

		if ((strlen(lines[0]) != len || strncmp(line, lines[0], len) != 0) && (strlen(lines[1]) != len || strncmp(line, lines[1], len) != 0))
			buffer_add(&script, line, whole);
		line += whole;
	}
	buffer_add(&script, "", 0);
	free(lines[0]);
	free(lines[1]);
	free(identifier);
	return script.data;
}

/* A server to connect to; its members belong to it. */
static Server
own_server(const char *database)
{
	Server		server = {.directory = text_copy(cluster.data),.user = text_copy(cluster.role),.database = text_copy(database)};

	return server;
}

static bool
load_dump(Restore *restore, Server *server, char **error)
{
	char	   *script = roles_script(restore, server);
	Environment environment;
	bool		loaded;

	server_environment(restore->worker, server, &environment);
	loaded = run_program(restore, &environment,
						 ARGUMENTS("psql", "--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1", "--dbname=template1"),
						 script, NULL, error);
	environment_free(&environment);
	free(script);

	/*
	 * with --create it has the name, the settings and the rights of the
	 * original
	 */
	return loaded && restore_run(restore, server, ARGUMENTS("--create", "--clean", "--if-exists", "--dbname=template1"), error);
}

static bool
restore_dump(Restore *restore, char **error)
{
	char	   *user;
	Server		server;
	bool		loaded;

	cluster.role = restore_database_property(restore, "bootstrapRole");
	if (cluster.role == NULL)
	{
		*error = text_copy("the file with the row counts names no bootstrap superuser");
		return false;
	}
	user = text_format("--username=%s", cluster.role);
	loaded = run_program(restore, NULL,
						 ARGUMENTS("initdb", "--pgdata", cluster.data, user, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums"),
						 NULL, NULL, error);
	free(user);
	if (!loaded || !configure(restore, error) || !start_postgres(restore, error))
		return false;
	server = own_server("template1");
	loaded = server_open(restore->worker, &server, "node") && load_dump(restore, &server, error);
	server_close(&server);
	return loaded;
}

static bool
cluster_restore(Restore *restore)
{
	char	   *error = NULL;

	if (is_base(restore) ? restore_base(restore, &error) : restore_dump(restore, &error))
		return true;
	/* without a message the failure is known already */
	return error ? node_failed(restore, error) : false;
}

static bool
check_dump(Restore *restore)
{
	char	   *name = restore_database_property(restore, "name");
	Server		server = own_server(name);
	bool		passed = server_open(restore->worker, &server, "node") &&
		restore_check_rows(restore, &server, "backup") && restore_check_indexes(restore, &server, &name, 1, "node");

	server_close(&server);
	free(name);
	return passed;
}

static bool
check_base(Restore *restore)
{
	Server		server = own_server("template1");
	char	   *error = NULL;
	PGresult   *result = NULL;
	char	  **names;
	size_t		count;
	bool		passed;

	if (!server_open(restore->worker, &server, "node"))
		return false;
	result = server_query(&server, "SELECT datname FROM pg_database WHERE datallowconn AND datconnlimit <> -2 ORDER BY datname", 0, NULL, &error);
	if (result == NULL)
	{
		server_close(&server);
		return node_failed(restore, error);
	}
	count = PQntuples(result);
	names = allocate(count * sizeof(char *));
	for (size_t i = 0; i < count; i++)
		names[i] = PQgetvalue(result, i, 0);
	/* the files are those of the original: so is what is wrong with them */
	passed = restore_check_indexes(restore, &server, names, count, "backup");
	free(names);
	PQclear(result);
	server_close(&server);
	return passed;
}

/* Of a cluster that was stopped. */
static bool
check_pages(Restore *restore)
{
	char	   *error = NULL;
	long		version;

	if (!control_number(restore, "Data page checksum version:", &version, &error))
		return node_failed(restore, error);
	if (version == 0)
	{
		restore_add_check(restore, "page_checksums", "not_run", "the cluster has no data checksums");
		return true;
	}
	if (!run_program(restore, NULL, ARGUMENTS("pg_checksums", "--check", "--pgdata", cluster.data), NULL, NULL, &error))
	{
		fail(restore->worker, "pages_corrupt", is_base(restore) ? "backup" : "node", false, "%s", error);
		free(error);
		return false;
	}
	restore_add_check(restore, "page_checksums", "passed", NULL);
	return true;
}

static bool
cluster_check(Restore *restore)
{
	char	   *error = NULL;

	if (!(is_base(restore) ? check_base(restore) : check_dump(restore)))
		return false;
	if (!stop_postgres(&error))
		return node_failed(restore, error);
	return check_pages(restore);
}

static bool
cluster_finish(Restore *restore)
{
	char	   *path;
	int			moved;

	if (restore->drill)
		return true;			/* scratch is removed with what is in it */
	path = final_path(restore);
	moved = syscall(SYS_renameat2, AT_FDCWD, cluster.data, AT_FDCWD, path, 1 /* RENAME_NOREPLACE */ );
	free(path);
	if (moved == 0)
		return true;
	if (errno == EEXIST)
		return refuse_existing(restore);
	return node_failed(restore, text_format("%s: %s", restore->name, strerror(errno)));
}

static void
cluster_undo(Restore *restore)
{
	(void) restore;
	if (cluster.runs)
		process_kill(&cluster.postgres);
	cluster.runs = false;
}

const RestoreMode restore_cluster = {
	.begin = cluster_begin,
	.accept = cluster_accept,
	.restore = cluster_restore,
	.check = cluster_check,
	.finish = cluster_finish,
	.undo = cluster_undo,
};
