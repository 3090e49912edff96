/*
 * environment.c
 *		The whole environment of a program that the runner starts.
 *
 * Nothing is inherited but what is named here, so that no PG or RCLONE variable of the
 * service, and no AWS_CA_BUNDLE, decides what a backup contains or where it goes.
 */
#include "environment.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

void
environment_begin(Environment *environment, const char *bindir, const char *scratch)
{
	char	   *path = bindir ? text_format("%s:%s", bindir, SYSTEM_PATH) : text_copy(SYSTEM_PATH);

	memset(environment, 0, sizeof(*environment));
	environment_add(environment, "PATH", path);
	environment_add(environment, "HOME", getenv("HOME"));
	environment_add(environment, "TMPDIR", scratch);
	environment_add(environment, "LC_ALL", "C.UTF-8");
	environment_add(environment, "TZ", "UTC");
	free(path);
}

void
environment_add(Environment *environment, const char *name, const char *value)
{
	if (value == NULL)
		return;
	environment->entry = reallocate(environment->entry, (environment->count + 2) * sizeof(char *));
	environment->entry[environment->count++] = text_format("%s=%s", name, value);
	environment->entry[environment->count] = NULL;
}

void
environment_free(Environment *environment)
{
	for (size_t i = 0; i < environment->count; i++)
		free(environment->entry[i]);
	free(environment->entry);
	memset(environment, 0, sizeof(*environment));
}
