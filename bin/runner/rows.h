/*
 * rows.h
 *		How many rows each table of a database has: counted in the snapshot of a dump, stored
 *		beside it, and compared after a restore.
 */
#ifndef RUNNER_ROWS_H
#define RUNNER_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server.h"
#include "text.h"

typedef struct Rows
{
	char	  **table;			/* as schema.table, quoted where SQL needs it,
								 * in the order of bytes */
	int64_t    *count;			/* -1 if not counted */
	size_t		tables;
} Rows;

/*
 * Finds the tables whose rows pg_dump copies, and locks them against whatever would take their
 * rows from an older snapshot. Call it in a transaction. What takes longer than a minute fails.
 */
extern bool rows_lock(Server *server, Rows *rows, char **error);
extern bool rows_count(Server *server, Rows *rows, char **error);

/* The content of the file. database: JSON about the database, from rows_database(). */
extern void rows_render(const Rows *rows, const char *database, Buffer *out);
extern char *rows_database(Server *server, char **error);

/*
 * Whether the tables that the file names have as many rows now. *difference, allocated, names
 * the first table that has not, and how many have not.
 */
extern bool rows_compare(const char *file, size_t len, const Rows *rows, char **difference);

extern void rows_free(Rows *rows);

#endif							/* RUNNER_ROWS_H */
