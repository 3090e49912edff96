/*
 * bindir.h
 *		The programs of PostgreSQL, for each major version of a server.
 */
#ifndef RUNNER_BINDIR_H
#define RUNNER_BINDIR_H

#include <stddef.h>

#include "fault.h"

#define BINDIR_KEY "bindir."

/* The programs of one major version. */
typedef struct Bindir
{
	int			major;
	char	   *directory;
} Bindir;

typedef struct Bindirs
{
	Bindir	   *bindir;
	size_t		count;
} Bindirs;

/* The programs that each directory has; ends with NULL. */
extern const char *const bindir_programs[];

/* What a line "bindir.MAJOR = directory" says. */
extern void bindir_set(Bindirs *bindirs, Faults *faults, int line, const char *key, const char *directory);

/* Adds those that Debian's packages have put there. */
extern void bindir_find(Bindirs *bindirs, Faults *faults);

/* The directory for a server's major version, or NULL. */
extern const char *bindir_of(const Bindirs *bindirs, int major);
extern void bindir_free(Bindirs *bindirs);

#endif							/* RUNNER_BINDIR_H */
