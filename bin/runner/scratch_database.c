/*
 * scratch_database.c
 *		Databases that exist while a job works on them.
 *
 * The session that creates such a database is the one that gives it its name in the end, or
 * drops it, and a job has no second one. So when this session is over, the database is nobody's,
 * whatever the control database knows of the job, and whoever finds it may drop it. An advisory
 * lock, taken before the database exists, tells whether the session lives: pg_locks shows it to
 * everybody, from every database of the server.
 */
#include "scratch_database.h"

#include <stdlib.h>

#include "log.h"
#include "names.h"
#include "server.h"
#include "text.h"

#define KEY(name) "pg_catalog.hashtextextended(" name ", 0)"

/* A lock with a key of 64 bits has its halves in two columns, and 1 in a third. */
#define ABANDONED \
	"SELECT d.datname FROM pg_catalog.pg_database AS d WHERE d.datname ~ '^walwarden_[0-9a-f]{32}_[0-9]+$' " \
	"AND pg_catalog.pg_has_role(d.datdba, 'USAGE') AND NOT EXISTS (SELECT FROM pg_catalog.pg_locks AS l " \
	"WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND (l.classid::bigint << 32 | l.objid::bigint) = " KEY("d.datname") ") " \
	"ORDER BY 1"

char *
scratch_database_name(const char *job_id, int64_t fence)
{
	Buffer		name = {0};

	buffer_text(&name, "walwarden_");
	for (const char *c = job_id; *c; c++)
		if (*c != '-')
			buffer_add(&name, c, 1);
	buffer_format(&name, "_%lld", (long long) fence);
	return name.data;
}

bool
scratch_database_own(Server *server, const char *name, char **error)
{
	const char *values[] = {name};
	PGresult   *result = server_query(server, "SELECT pg_catalog.pg_advisory_lock(" KEY("$1") ")", 1, values, error);

	PQclear(result);
	return result != NULL;
}

bool
scratch_database_drop(Server *server, const char *job_id, int64_t fence, char **error)
{
	char	   *name = scratch_database_name(job_id, fence);
	char	   *sql = text_format("DROP DATABASE IF EXISTS %s WITH (FORCE)", name);
	bool		dropped = server_command(server, sql, error);

	free(sql);
	free(name);
	return dropped;
}

bool
scratch_databases_abandoned(Server *server, Names *names, char **error)
{
	PGresult   *result = server_query(server, ABANDONED, 0, NULL, error);

	for (int i = 0; result && i < PQntuples(result); i++)
		names_add(names, PQgetvalue(result, i, 0));
	PQclear(result);
	return result != NULL;
}

void
scratch_databases_sweep(Server *server)
{
	Names		names = {0};
	char	   *error = NULL;

	if (!scratch_databases_abandoned(server, &names, &error))
		log_line("databases that restores left behind were not looked for: %s", error);
	free(error);
	for (size_t i = 0; i < names.count; i++)
	{
		char	   *sql = text_format("DROP DATABASE IF EXISTS %s", names.name[i]);

		/* without force: a program of that job may still be about to end */
		error = NULL;
		if (server_command(server, sql, &error))
			log_line("dropped %s, which a restore left behind", names.name[i]);
		else
			log_line("%s, which a restore left behind, was not dropped: %s", names.name[i], error);
		free(error);
		free(sql);
	}
	names_free(&names);
}
