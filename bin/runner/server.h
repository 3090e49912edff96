/*
 * server.h
 *		Connections to protected databases, restore targets and clusters of the runner's own.
 */
#ifndef RUNNER_SERVER_H
#define RUNNER_SERVER_H

#include <stdbool.h>

#include <libpq-fe.h>

#include "environment.h"
#include "worker.h"

typedef struct Server
{
	/* by a section of a service file */
	const char *services;
	char	   *section;

	/* or to a socket in a directory */
	char	   *directory;
	char	   *user;

	char	   *database;		/* NULL: that of the section; set by
								 * server_open() */
	PGconn	   *conn;
	int			version;		/* 150014 */
	bool		denied;			/* the last statement failed because the role
								 * lacks a right */
	const char *bindir;			/* of the programs of its major version */
} Server;

/* By which the sessions of an attempt are known; allocated. */
extern char *server_application_name(const char *job_id, int64_t fence);

/* Pins the search_path of a connection and ends its timeouts, before anything else is asked of it. */
extern bool server_pin(Server *server, char **error);

/*
 * Connects, with search_path pinned and no timeouts. Returns false with the worker's failure,
 * which blames "target", "node", or NULL in a backup.
 */
extern bool server_open(Worker *worker, Server *server, const char *blames);

/* Ends the session; programs can still be started for the server. */
extern void server_disconnect(Server *server);
extern void server_close(Server *server);

/* The environment of programs that connect to the same server. */
extern void server_environment(const Worker *worker, const Server *server, Environment *environment);

/* Runs a statement with count parameters. NULL with a message if it fails. */
extern PGresult *server_query(Server *server, const char *sql, int count, const char *const *values, char **error);

/* The same for a statement whose result does not matter, and for one that returns one text, allocated. */
extern bool server_command(Server *server, const char *sql, char **error);
extern char *server_value(Server *server, const char *sql, char **error);

/* A database's name as programs take it, whatever is in it; allocated. */
extern char *server_dbname(const char *database);

/* For SQL texts; allocated. */
extern char *server_identifier(Server *server, const char *name);
extern char *server_literal(Server *server, const char *text);

#endif							/* RUNNER_SERVER_H */
