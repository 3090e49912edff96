/*
 * server.c
 *		Connections to protected databases, restore targets and clusters of the runner's own.
 *
 * Programs get the name of a service, never a password: that is in the service file, in a
 * passfile that it names, or not needed.
 */
#include "server.h"

#include <stdlib.h>
#include <string.h>

#include "bindir.h"
#include "environment.h"
#include "text.h"
#include "worker.h"

#define CONNECT_TIMEOUT "15"
#define KEEPALIVES_IDLE "60"
#define INSUFFICIENT_PRIVILEGE "42501"

/*
 * Databases set these for their users; a snapshot that is held, and a dump, outlast any of them.
 * Until they are set, a name without a schema may be that of a function of the database's owner,
 * which would run as us.
 */
#define SETTINGS \
	"SELECT pg_catalog.set_config(name, value, false) FROM (VALUES " \
	"('search_path', 'pg_catalog, pg_temp'), ('row_security', 'off'), ('statement_timeout', '0'), " \
	"('idle_in_transaction_session_timeout', '0'), ('transaction_timeout', '0'), ('idle_session_timeout', '0'), " \
	"('default_transaction_read_only', 'off'), ('client_min_messages', 'error')) AS s(name, value) " \
	"WHERE EXISTS (SELECT FROM pg_catalog.pg_settings AS p WHERE p.name OPERATOR(pg_catalog.=) s.name)"

char *
server_application_name(const char *job_id, int64_t fence)
{
	return text_format("walwarden-runner %s.%lld", job_id, (long long) fence);
}

/* A server's message on one line, without its last line break. */
static char *
message_of(const char *text)
{
	char	   *copy = text_copy(text);
	size_t		len = strlen(copy);

	while (len > 0 && copy[len - 1] == '\n')
		copy[--len] = '\0';
	text_make_harmless(copy);
	return copy;
}

bool
server_pin(Server *server, char **error)
{
	return server_command(server, SETTINGS, error);
}

bool
server_open(Worker *worker, Server *server, const char *blames)
{
	const char *keywords[10];
	const char *values[10];
	int			n = 0;
	char	   *application = server_application_name(worker->job->id, worker->job->fence);
	char	   *error = NULL;

	if (server->services)
	{
		/*
		 * libpq takes the file from the environment alone; nothing else in
		 * this process uses services
		 */
		setenv("PGSERVICEFILE", server->services, 1);
		setenv("PGSYSCONFDIR", worker->scratch, 1);
		keywords[n] = "service";
		values[n++] = server->section;
	}
	else
	{
		keywords[n] = "host";
		values[n++] = server->directory;
		keywords[n] = "user";
		values[n++] = server->user;
	}
	if (server->database)
	{
		keywords[n] = "dbname";
		values[n++] = server->database;
	}
	keywords[n] = "application_name";
	values[n++] = application;
	keywords[n] = "connect_timeout";
	values[n++] = CONNECT_TIMEOUT;

	/*
	 * a target waits while a backup is fetched, and what forgets connections
	 * is in between
	 */
	keywords[n] = "keepalives_idle";
	values[n++] = KEEPALIVES_IDLE;
	keywords[n] = "client_encoding";
	values[n++] = "UTF8";
	keywords[n] = values[n] = NULL;

	server->conn = PQconnectdbParams(keywords, values, 0);
	free(application);
	if (PQstatus(server->conn) != CONNECTION_OK)
	{
		error = message_of(PQerrorMessage(server->conn));
		fail(worker, "connection_failed", blames, true, "%s", error);
	}
	else if (!server_pin(server, &error))
		fail(worker, "connection_failed", blames, true, "%s", error);
	else
	{
		server->version = PQserverVersion(server->conn);
		server->bindir = bindir_of(&worker->config->bindirs, server->version / 10000);
		if (server->database == NULL)
			server->database = text_copy(PQdb(server->conn));
		if (server->bindir)
			return true;
		fail(worker, "programs_missing", blames ? "node" : NULL, false,
			 "this node has no programs of PostgreSQL %d: install its client package, or set bindir.%d", server->version / 10000, server->version / 10000);
	}
	free(error);
	server_disconnect(server);
	return false;
}

void
server_disconnect(Server *server)
{
	PQfinish(server->conn);
	server->conn = NULL;
}

void
server_close(Server *server)
{
	server_disconnect(server);
	free(server->section);
	free(server->directory);
	free(server->user);
	free(server->database);
	memset(server, 0, sizeof(*server));
}

void
server_environment(const Worker *worker, const Server *server, Environment *environment)
{
	char	   *application = server_application_name(worker->job->id, worker->job->fence);

	environment_begin(environment, server->bindir, worker->scratch);
	environment_add(environment, "PGAPPNAME", application);
	environment_add(environment, "PGCONNECT_TIMEOUT", CONNECT_TIMEOUT);
	environment_add(environment, "PGSYSCONFDIR", worker->scratch);
	environment_add(environment, "PGSERVICEFILE", server->services);
	environment_add(environment, "PGSERVICE", server->section);
	environment_add(environment, "PGHOST", server->directory);
	environment_add(environment, "PGUSER", server->user);
	free(application);
}

PGresult *
server_query(Server *server, const char *sql, int count, const char *const *values, char **error)
{
	PGresult   *result = PQexecParams(server->conn, sql, count, NULL, values, NULL, NULL, 0);
	const char *state;

	if (PQresultStatus(result) == PGRES_TUPLES_OK || PQresultStatus(result) == PGRES_COMMAND_OK)
		return result;
	state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	server->denied = state && strcmp(state, INSUFFICIENT_PRIVILEGE) == 0;
	*error = message_of(PQresultErrorMessage(result));
	PQclear(result);
	return NULL;
}

bool
server_command(Server *server, const char *sql, char **error)
{
	PGresult   *result = server_query(server, sql, 0, NULL, error);

	PQclear(result);
	return result != NULL;
}

char *
server_value(Server *server, const char *sql, char **error)
{
	PGresult   *result = server_query(server, sql, 0, NULL, error);
	char	   *value = NULL;

	if (result && PQntuples(result) == 1 && !PQgetisnull(result, 0, 0))
		value = text_copy(PQgetvalue(result, 0, 0));
	else if (result)
		*error = text_copy("the server did not return a value");
	PQclear(result);
	return value;
}

char *
server_dbname(const char *database)
{
	Buffer		text = {0};

	/* a name with = in it would be taken for a connection string */
	buffer_text(&text, "dbname='");
	for (const char *c = database; *c; c++)
	{
		if (*c == '\'' || *c == '\\')
			buffer_text(&text, "\\");
		buffer_add(&text, c, 1);
	}
	buffer_text(&text, "'");
	return text.data;
}

char *
server_identifier(Server *server, const char *name)
{
	char	   *quoted = PQescapeIdentifier(server->conn, name, strlen(name));
	char	   *copy = text_copy(quoted);

	PQfreemem(quoted);
	return copy;
}

char *
server_literal(Server *server, const char *text)
{
	char	   *quoted = PQescapeLiteral(server->conn, text, strlen(text));
	char	   *copy = text_copy(quoted);

	PQfreemem(quoted);
	return copy;
}
