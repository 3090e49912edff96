/*
 * bindir.c
 *		The programs of PostgreSQL, for each major version of a server.
 */
#include "bindir.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"
#include "text.h"

#define DEBIAN_BINDIR "/usr/lib/postgresql/%d/bin"
#define MAJOR_MIN 13			/* the first with pg_verifybackup */
#define MAJOR_MAX 99

const char *const bindir_programs[] = {"pg_dump", "pg_dumpall", "pg_restore", "pg_basebackup", "pg_verifybackup", "pg_amcheck", NULL};

/* Whether a directory has all programs; *missing, allocated, is one that it has not, with errno. */
static bool
has_programs(const char *directory, char **missing)
{
	for (const char *const *program = bindir_programs; *program; program++)
	{
		char	   *path = text_format("%s/%s", directory, *program);

		if (access(path, X_OK) < 0)
		{
			*missing = path;
			return false;
		}
		free(path);
	}
	return true;
}

static void
add(Bindirs *bindirs, int major, const char *directory)
{
	Bindir		bindir = {.major = major,.directory = text_copy(directory)};

	bindirs->bindir = reallocate(bindirs->bindir, (bindirs->count + 1) * sizeof(Bindir));
	bindirs->bindir[bindirs->count++] = bindir;
}

void
bindir_set(Bindirs *bindirs, Faults *faults, int line, const char *key, const char *directory)
{
	int64_t		major;
	char	   *missing;

	if (!text_to_int(key + strlen(BINDIR_KEY), MAJOR_MIN, MAJOR_MAX, &major))
		fault(faults, line, "%s: name the major version of a server, such as bindir.15", key);
	else if (bindir_of(bindirs, (int) major))
		fault(faults, line, "%s is given twice", key);
	else if (*directory != '/')
		fault(faults, line, "%s: %s is not an absolute path", key, directory);
	else
	{
		if (!has_programs(directory, &missing))
		{
			fault(faults, line, "%s: %s: %s", key, missing, strerror(errno));
			free(missing);
		}
		add(bindirs, (int) major, directory);
	}
}

void
bindir_find(Bindirs *bindirs, Faults *faults)
{
	for (int major = MAJOR_MIN; major <= MAJOR_MAX; major++)
	{
		char	   *directory = text_format(DEBIAN_BINDIR, major);
		char	   *missing;

		if (has_programs(directory, &missing))
			add(bindirs, major, directory);
		else
			free(missing);
		free(directory);
	}
	if (bindirs->count == 0)
		fault(faults, 0, "bindir.MAJOR is missing, and /usr/lib/postgresql has no programs either");
}

const char *
bindir_of(const Bindirs *bindirs, int major)
{
	for (size_t i = 0; i < bindirs->count; i++)
		if (bindirs->bindir[i].major == major)
			return bindirs->bindir[i].directory;
	return NULL;
}

void
bindir_free(Bindirs *bindirs)
{
	for (size_t i = 0; i < bindirs->count; i++)
		free(bindirs->bindir[i].directory);
	free(bindirs->bindir);
	memset(bindirs, 0, sizeof(*bindirs));
}
