/*
 * restore_cluster.c
 *		The mode new_cluster, and its drills: a base backup, or a dump in a cluster that initdb
 *		makes, in a data directory of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/syntax.h"
#include "bindir.h"
#include "environment.h"
#include "instance.h"
#include "manifest.h"
#include "process.h"
#include "restore.h"
#include "server.h"
#include "stream.h"
#include "text.h"
#include "tree.h"
#include "worker.h"

/* Of this process's one job. */
static Instance instance;

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

	instance.data = text_format("%s/data", worker->scratch);
	instance.scratch = worker->scratch;
	if (!instance_path_fits(instance.data))
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
	int			major = manifest_major(&restore->manifest);

	instance.bindir = bindir_of(&worker->config->bindirs, major);
	if (instance.bindir == NULL)
		return fail(worker, "programs_missing", "node", false, "this node has no programs of PostgreSQL %d", major);
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
	{
		char	   *path = text_format("%s/%s", instance.bindir, programs[i]);
		bool		found = access(path, X_OK) == 0;

		free(path);
		if (!found)
			return fail(worker, "programs_missing", "node", false, "%s has no %s: install the server package of PostgreSQL %d", instance.bindir, programs[i], major);
	}
	return true;
}

static bool
restore_base(Restore *restore, char **error)
{
	Worker	   *worker = restore->worker;
	Process		tar;
	bool		restored = tree_unpack(worker, instance.data, &tar, error);

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
	if (!tree_verify(worker, instance.bindir, instance.data, error))
	{
		fail(worker, "artifact_changed", "backup", false, "%s", *error);
		free(*error);
		*error = NULL;
		return false;
	}
	restore_add_check(restore, "files", "passed", "pg_verifybackup");
	return instance_configure(&instance, error) && instance_find_role(&instance, error) && instance_start(&instance, error);
}

/* The roles of the original without its bootstrap superuser, whom initdb has made. */
static char *
roles_script(const Restore *restore, Server *server)
{
	char	   *identifier = server_identifier(server, instance.role);
	Buffer		script = {0};
	char	   *lines[] = {text_format("CREATE ROLE %s;", instance.role), text_format("CREATE ROLE %s;", identifier)};

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
	Server		server = {.directory = text_copy(instance.data),.user = text_copy(instance.role),.database = text_copy(database)};

	return server;
}

static bool
load_dump(Restore *restore, Server *server, char **error)
{
	char	   *script = roles_script(restore, server);
	Environment environment;
	bool		loaded;

	server_environment(restore->worker, server, &environment);
	loaded = instance_run(&instance, &environment,
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

	instance.role = restore_database_property(restore, "bootstrapRole");
	if (instance.role == NULL)
	{
		*error = text_copy("the file with the row counts names no bootstrap superuser");
		return false;
	}
	user = text_format("--username=%s", instance.role);
	loaded = instance_run(&instance, NULL,
						  ARGUMENTS("initdb", "--pgdata", instance.data, user, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums"),
						  NULL, NULL, error);
	free(user);
	if (!loaded || !instance_configure(&instance, error) || !instance_start(&instance, error))
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
	count = (size_t) PQntuples(result);
	names = allocate(count * sizeof(char *));
	for (size_t i = 0; i < count; i++)
		names[i] = PQgetvalue(result, (int) i, 0);
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

	if (!instance_number(&instance, "Data page checksum version:", &version, &error))
		return node_failed(restore, error);
	if (version == 0)
	{
		restore_add_check(restore, "page_checksums", "not_run", "the cluster has no data checksums");
		return true;
	}
	if (!instance_run(&instance, NULL, ARGUMENTS("pg_checksums", "--check", "--pgdata", instance.data), NULL, NULL, &error))
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
	if (!instance_stop(&instance, &error))
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
	moved = renameat2(AT_FDCWD, instance.data, AT_FDCWD, path, RENAME_NOREPLACE);
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
	instance_kill(&instance);
}

const RestoreMode restore_cluster = {
	.begin = cluster_begin,
	.accept = cluster_accept,
	.restore = cluster_restore,
	.check = cluster_check,
	.finish = cluster_finish,
	.undo = cluster_undo,
};
