/*
 * check.c
 *		walwarden-runner --check: tries all that the configuration names.
 */
#include "check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "bindir.h"
#include "config.h"
#include "control.h"
#include "environment.h"
#include "follow.h"
#include "key.h"
#include "names.h"
#include "process.h"
#include "scratch_database.h"
#include "server.h"
#include "text.h"

#define OUTPUT_MAX 4096

static int	failures;

static void say(bool good, const char *what, const char *format,...) __attribute__((format(printf, 3, 4)));

/* "ok" or "FAIL", what was tried, and what came of it: one line. */
static void
say(bool good, const char *what, const char *format,...)
{
	va_list		arguments;
	char	   *text;

	va_start(arguments, format);
	text = text_vformat(format, arguments);
	va_end(arguments);
	text_make_harmless(text);
	printf("%-4s %s: %s\n", good ? "ok" : "FAIL", what, text);
	free(text);
	if (!good)
		failures++;
}

/* What a program prints, without white space at its end. NULL with a message. */
static char *
output_of(const char *const *argv, char **error)
{
	Environment environment;
	Buffer		text = {0};
	bool		good;

	environment_begin(&environment, NULL, NULL);
	good = process_run(argv, ENVIRONMENT_ENTRIES(environment), NULL, &text, OUTPUT_MAX, error);
	environment_free(&environment);
	if (good)
	{
		while (text.len > 0 && strchr(" \n", text.data[text.len - 1]))
			text.data[--text.len] = '\0';
		return text.data;
	}
	buffer_free(&text);
	return NULL;
}

/* That the control database does not take this node, and what may help. */
static void
say_refused(const Control *control, const char *before, const char *after)
{
	const char *hint = control_hint(control);

	say(false, "control", "%s%s%s%s%s", before, control_message(control), after, hint == NULL ? "" : *after ? " " : ". ", hint ? hint : "");
}

static void
check_control(const Config *config, Control *control)
{
	ControlStatus status;
	char	   *description;
	char	   *said;
	bool		good;

	if (!control_read_token(control))
	{
		say(false, "control", "%s", control_message(control));
		return;
	}
	status = control_describe(control, &description);
	switch (status)
	{
		case CONTROL_DONE:
			say(true, "control", "%s", description);
			say(true, "node", "the token is accepted, and the node is registered");
			free(description);
			good = follow_check(config, control, &said);
			say(good, "chain", "%s", said);
			free(said);
			return;
		case CONTROL_NO_IDENTITY:
			say_refused(control, "the token is not accepted: ", ". Was it issued in the database that control names?");
			return;
		default:
			say_refused(control, "", "");
	}
}

/* The programs for a server of this version. */
static void
check_server_programs(const Config *config, const char *what, int version)
{
	int			major = version / 10000;

	if (bindir_of(&config->bindirs, major) == NULL)
		say(false, what, "the server is PostgreSQL %d, and there is no bindir.%d: install postgresql-client-%d", major, major, major);
}

static bool
answer_is_true(PGconn *connection, const char *query)
{
	PGresult   *result = PQexec(connection, query);
	bool		is_true = PQntuples(result) == 1 && strcmp(PQgetvalue(result, 0, 0), "t") == 0;

	PQclear(result);
	return is_true;
}

/* What stopped restores have left in a target. */
static void
check_abandoned(Server *server, const char *what)
{
	Names		names = {0};
	char	   *error = NULL;

	if (!scratch_databases_abandoned(server, &names, &error))
		say(false, what, "%s", error);
	for (size_t i = 0; i < names.count; i++)
		say(true, what, "a stopped restore left the database %s, which the next one drops", names.name[i]);
	names_free(&names);
	free(error);
}

/* Connects to each section of a service file, as its jobs would. */
static void
check_sections(const Config *config, Control *control, const char *key, const char *file, const Names *sections)
{
	for (size_t i = 0; i < sections->count; i++)
	{
		const char *const names[] = {"service", "connect_timeout", "application_name", NULL};
		const char *const values[] = {sections->name[i], "10", "walwarden-runner", NULL};
		char	   *what = text_format("%s [%s]", key, sections->name[i]);
		PGconn	   *connection;
		Server		server = {0};
		char	   *error = NULL;

		setenv("PGSERVICEFILE", file, 1);
		connection = server.conn = PQconnectdbParams(names, values, 0);
		unsetenv("PGSERVICEFILE");
		if (PQstatus(connection) != CONNECTION_OK)
			say(false, what, "%s", PQerrorMessage(connection));
		else if (!server_pin(&server, &error))
			say(false, what, "%s", error);
		else
		{
			int			version = PQserverVersion(connection);
			bool		restores = config->targets && strcmp(file, config->targets) == 0;

			if (control_is_same_database(control, connection))
				say(false, what, "this is the control database");
			else if (restores && !answer_is_true(connection, "SELECT rolcreatedb OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user"))
				say(false, what, "role %s cannot create databases: new_database and drills need CREATEDB", PQuser(connection));
			else
				say(true, what, "PostgreSQL %d, database %s, role %s", version / 10000, PQdb(connection), PQuser(connection));
			check_server_programs(config, what, version);
			if (restores)
				check_abandoned(&server, what);
		}
		PQfinish(connection);
		free(error);
		free(what);
	}
}

/* Each program says the version of its directory. */
static void
check_bindirs(const Config *config)
{
	for (size_t i = 0; i < config->bindirs.count; i++)
	{
		int			major = config->bindirs.bindir[i].major;
		const char *directory = config->bindirs.bindir[i].directory;
		char	   *what = text_format("bindir.%d", major);
		char	   *expected = text_format(" (PostgreSQL) %d", major);
		bool		good = true;

		for (const char *const *program = bindir_programs; *program; program++)
		{
			char	   *path = text_format("%s/%s", directory, *program);
			const char *argv[] = {path, "--version", NULL};
			char	   *error = NULL;
			char	   *version = output_of(argv, &error);

			if (version == NULL || strstr(version, expected) == NULL)
			{
				say(false, what, "%s: %s", path, version ? version : error);
				good = false;
			}
			free(version);
			free(error);
			free(path);
		}
		if (good)
			say(true, what, "%s", directory);
		free(what);
		free(expected);
	}
}

static void
check_rclone(const Config *config)
{
	char	   *rclone = process_find("rclone");
	char	   *error = NULL;
	const char *argv[] = {rclone, "--config", config->rclone_config, "listremotes", NULL};
	char	   *remotes = rclone ? output_of(argv, &error) : NULL;

	if (remotes == NULL)
		say(false, "rclone_config", "%s", error ? error : "rclone is not on the PATH");
	else if (*remotes == '\0')
		say(false, "rclone_config", "%s has no remote", config->rclone_config);
	else
		say(true, "rclone_config", "remotes %s", remotes);
	free(rclone);
	free(error);
	free(remotes);
}

static void
check_directory(const char *key, const char *directory)
{
	char	   *path = text_format("%s/check.XXXXXX", directory);
	int			fd = mkstemp(path);

	if (fd < 0)
		say(false, key, "%s: %s", directory, strerror(errno));
	else
	{
		say(true, key, "%s can be written to", directory);
		close(fd);
		unlink(path);
	}
	free(path);
}

int
check_all(const Config *config)
{
	char	   *error = NULL;
	SigningKey *key = config->signing_key ? key_load(config->signing_key, &error) : NULL;
	char	   *public_key = key ? key_public(key) : NULL;
	Control    *control = control_new(config, public_key);

	(void) setvbuf(stdout, NULL, _IOLBF, 0);
	if (config->signing_key)
		say(key != NULL, "signing_key", "%s", key ? public_key : error);
	check_control(config, control);
	check_sections(config, control, "services", config->services, &config->service_sections);
	if (config->targets)
		check_sections(config, control, "targets", config->targets, &config->target_sections);
	check_bindirs(config);
	if (config->rclone_config)
		check_rclone(config);
	check_directory("work", config->work);
	check_directory("state", config->state);
	if (config->local_root)
		check_directory("local_root", config->local_root);
	control_free(control);
	free(public_key);
	key_free(key);
	free(error);
	return failures ? 1 : 0;
}
