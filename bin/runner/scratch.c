/*
 * scratch.c
 *		Scratch directories of jobs.
 */
#include "scratch.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/syntax.h"
#include "log.h"
#include "text.h"

char *
scratch_path(const Config *config, const char *job_id, int64_t fence)
{
	return text_format("%s/%s.%lld", config->work, job_id, (long long) fence);
}

static int
remove_one(const char *path, const struct stat *info, int type, struct FTW *at)
{
	(void) info;
	(void) type;
	(void) at;
	/* go on with the others: the directory itself tells in the end */
	if (remove(path) < 0 && errno != ENOENT)
		log_line("cannot remove %s: %s", path, strerror(errno));
	return 0;
}

bool
remove_tree(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return access(path, F_OK) < 0 && errno == ENOENT;
}

static bool
is_scratch(const char *name)
{
	char		lower[UUID_TEXT_LEN];
	int64_t		fence;

	return strlen(name) > UUID_TEXT_LEN + 1 && uuid_is_well_formed(name, UUID_TEXT_LEN, lower) &&
		name[UUID_TEXT_LEN] == '.' && text_to_int(name + UUID_TEXT_LEN + 1, 1, INT64_MAX, &fence);
}

void
scratch_sweep(const Config *config)
{
	DIR		   *directory = opendir(config->work);
	struct dirent *entry;

	if (directory == NULL)
		return;
	while ((entry = readdir(directory)) != NULL)
		if (is_scratch(entry->d_name))
		{
			char	   *path = text_format("%s/%s", config->work, entry->d_name);

			remove_tree(path);
			free(path);
		}
	closedir(directory);
}
