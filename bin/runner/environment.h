/*
 * environment.h
 *		The whole environment of a program that the runner starts.
 */
#ifndef RUNNER_ENVIRONMENT_H
#define RUNNER_ENVIRONMENT_H

#include <stddef.h>

/* Where programs are, unless a PATH says something else. */
#define SYSTEM_PATH "/usr/local/bin:/usr/bin:/bin"

typedef struct Environment
{
	char	  **entry;			/* NAME=VALUE, then NULL */
	size_t		count;
} Environment;

/*
 * What every program gets: PATH, HOME, TMPDIR, a locale and a time zone. bindir comes first in
 * PATH, unless it is NULL. scratch may be NULL.
 */
extern void environment_begin(Environment *environment, const char *bindir, const char *scratch);

/* Not added if value is NULL. */
extern void environment_add(Environment *environment, const char *name, const char *value);
extern void environment_free(Environment *environment);

#define ENVIRONMENT_ENTRIES(environment) ((const char *const *) (environment).entry)

#endif							/* RUNNER_ENVIRONMENT_H */
