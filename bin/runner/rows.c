/*
 * rows.c
 *		How many rows each table of a database has.
 *
 * Counted are ordinary tables, partitions among them. Not counted is what has no rows of its
 * own (partitioned tables, views), what a dump computes anew (materialized views) or leaves
 * out (foreign and temporary tables, and tables that belong to an extension). Policies do not
 * hide rows: row_security is off, so that the count fails instead.
 */
#include "rows.h"

#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "json.h"
#include "server.h"
#include "text.h"

#define FORMAT "walwarden/rows/v1"
#define LOCK_AT_ONCE 100

#define TABLES \
	"SELECT format('%I.%I', n.nspname, c.relname) COLLATE \"C\" FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace " \
	"WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' " \
	"AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'e') " \
	"ORDER BY 1"

/* What CREATE DATABASE needs, in whichever columns this version has it. */
#define DATABASE \
	"SELECT jsonb_build_object('name', d.datname, 'encoding', pg_encoding_to_char(d.encoding), 'collate', d.datcollate, 'ctype', d.datctype, " \
	"'provider', coalesce(to_jsonb(d) ->> 'datlocprovider', 'c'), 'locale', coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'), " \
	"'icuRules', to_jsonb(d) ->> 'daticurules', 'bootstrapRole', (SELECT r.rolname FROM pg_roles AS r WHERE r.oid = 10)) " \
	"FROM pg_database AS d WHERE d.datname = current_database()"

static bool
find_tables(Server *server, Rows *rows, char **error)
{
	PGresult   *result = server_query(server, TABLES, 0, NULL, error);

	if (result == NULL)
		return false;
	rows->tables = (size_t) PQntuples(result);
	rows->table = allocate(rows->tables * sizeof(char *));
	rows->count = allocate(rows->tables * sizeof(int64_t));
	for (size_t i = 0; i < rows->tables; i++)
	{
		rows->table[i] = text_copy(PQgetvalue(result, (int) i, 0));
		rows->count[i] = -1;
	}
	PQclear(result);
	return true;
}

bool
rows_lock(Server *server, Rows *rows, char **error)
{
	memset(rows, 0, sizeof(*rows));
	if (!find_tables(server, rows, error) || !server_command(server, "SET LOCAL lock_timeout = '60s'", error))
		return false;
	for (size_t i = 0; i < rows->tables; i += LOCK_AT_ONCE)
	{
		Buffer		sql = {0};
		bool		locked;

		buffer_text(&sql, "LOCK TABLE");
		for (size_t j = i; j < rows->tables && j < i + LOCK_AT_ONCE; j++)
			buffer_format(&sql, "%s ONLY %s", j > i ? "," : "", rows->table[j]);
		buffer_text(&sql, " IN ACCESS SHARE MODE");
		locked = server_command(server, sql.data, error);
		buffer_free(&sql);
		if (!locked)
			return false;
	}
	return true;
}

bool
rows_count(Server *server, Rows *rows, char **error)
{
	for (size_t i = 0; i < rows->tables; i++)
	{
		char	   *sql = text_format("SELECT count(*) FROM ONLY %s", rows->table[i]);
		char	   *count = server_value(server, sql, error);

		free(sql);
		if (count == NULL)
			return false;
		rows->count[i] = strtoll(count, NULL, 10);
		free(count);
	}
	return true;
}

char *
rows_database(Server *server, char **error)
{
	return server_value(server, DATABASE, error);
}

void
rows_render(const Rows *rows, const char *database, Buffer *out)
{
	buffer_format(out, "{\"format\":\"%s\",\"database\":%s,\"tables\":{", FORMAT, database);
	for (size_t i = 0; i < rows->tables; i++)
	{
		buffer_text(out, i > 0 ? "," : "");
		buffer_json(out, rows->table[i]);
		buffer_format(out, ":%lld", (long long) rows->count[i]);
	}
	buffer_text(out, "}}");
	json_make_canonical(out);
}

typedef struct Comparison
{
	const Rows *rows;
	size_t		different;
	char	   *first;
	bool		malformed;
} Comparison;

static int
compare_names(const void *key, const void *element)
{
	return strcmp(key, *(char *const *) element);
}

static void
compare_table(void *arg, const char *key, size_t key_len, const char *value, size_t value_len)
{
	Comparison *comparison = arg;
	const Rows *rows = comparison->rows;
	char	   *table = json_text(json_part(key - 1, key_len + 2));
	char	  **found;
	int64_t		expected;
	int64_t		present;

	if (table == NULL || !json_count(json_part(value, value_len), &expected))
	{
		comparison->malformed = true;
		free(table);
		return;
	}
	found = rows->tables ? bsearch(table, rows->table, rows->tables, sizeof(char *), compare_names) : NULL;
	present = found ? rows->count[found - rows->table] : -1;
	if (present != expected && comparison->different++ == 0)
		comparison->first = found ?
			text_format("%s has %lld rows, the backup has %lld", table, (long long) present, (long long) expected) :
			text_format("%s is missing, the backup has %lld rows", table, (long long) expected);
	free(table);
}

bool
rows_compare(const char *file, size_t len, const Rows *rows, char **difference)
{
	Comparison	comparison = {.rows = rows};

	if (!json_members(json_member(json_part(file, len), "tables"), compare_table, &comparison) || comparison.malformed)
	{
		*difference = text_copy("the file with the row counts is malformed");
		return false;
	}
	if (comparison.different == 0)
		return true;
	*difference = text_format("%s; %zu of %zu tables differ", comparison.first, comparison.different, rows->tables);
	free(comparison.first);
	return false;
}

void
rows_free(Rows *rows)
{
	for (size_t i = 0; i < rows->tables; i++)
		free(rows->table[i]);
	free(rows->table);
	free(rows->count);
	memset(rows, 0, sizeof(*rows));
}
