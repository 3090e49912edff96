/*
 * restore.h
 *		What restore.c asks of each mode, and the checks that follow a restore.
 */
#ifndef RUNNER_RESTORE_H
#define RUNNER_RESTORE_H

#include "manifest.h"
#include "server.h"
#include "text.h"
#include "worker.h"

typedef struct Restore
{
	Worker	   *worker;
	bool		drill;			/* nothing is left of it */
	char	   *section;		/* of the targets file */
	char	   *name;			/* of the new database or cluster; NULL in
								 * place, and in a drill */
	Server		target;			/* not of a new cluster */
	Manifest	manifest;
	bool		is_signed;		/* by a trusted key */
	char	   *rows;			/* the content of the file */
	char	   *roles;
	char	   *artifact;		/* its file in scratch */
	Buffer		checks;			/* JSON, without the brackets */
} Restore;

/*
 * Each mode refuses what can be refused before anything is fetched, then restores, then
 * checks what came of it and finishes. begin and restore leave nothing behind if they fail.
 */
typedef struct RestoreMode
{
	bool		(*begin) (Restore *restore);

	/* With the manifest known, and nothing else fetched. */
	bool		(*accept) (Restore *restore);
	bool		(*restore) (Restore *restore);
	bool		(*check) (Restore *restore);
	bool		(*finish) (Restore *restore);

	/* After a failure of any of these. */
	void		(*undo) (Restore *restore);
} RestoreMode;

extern const RestoreMode restore_database;	/* new_database and in_place, of a
											 * dump */
extern const RestoreMode restore_cluster;	/* new_cluster, of either method */

/*
 * The section of the targets file that a job's target names: SECTION/NAME, or SECTION where no
 * name is needed; allocated. *name, unless name is NULL, receives the name if there is one.
 * NULL with the worker's failure.
 */
extern char *restore_section(Worker *worker, char **name);

/* Adds a check to the report. detail may be NULL. */
extern void restore_add_check(Restore *restore, const char *name, const char *result, const char *detail);

/* Runs pg_restore over the artifact. arguments end with NULL. */
extern bool restore_run(Restore *restore, Server *server, const char *const *arguments, char **error);

/* Compares the rows of a database with those of the backup; blames decides who is at fault if they differ. */
extern bool restore_check_rows(Restore *restore, Server *server, const char *blames);

/*
 * Runs pg_amcheck over the databases, in schemas of its own that it removes again. Without a superuser it is not run.
 */
extern bool restore_check_indexes(Restore *restore, Server *server, char *const *databases, size_t count, const char *blames);

/* A member of "database" in the file with the row counts, allocated, or NULL. */
extern char *restore_database_property(const Restore *restore, const char *name);

#endif							/* RUNNER_RESTORE_H */
