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

bool
scratch_name(const char *name, char **job_id, int64_t *fence)
{
	char		lower[UUID_TEXT_LEN];

	if (strlen(name) <= UUID_TEXT_LEN + 1 || !uuid_is_well_formed(name, UUID_TEXT_LEN, lower) ||
		name[UUID_TEXT_LEN] != '.' || !text_to_int(name + UUID_TEXT_LEN + 1, 1, INT64_MAX, fence))
		return false;
	*job_id = text_slice(name, UUID_TEXT_LEN);
	return true;
}

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

void
scratch_sweep(const Config *config)
{
	DIR		   *directory = opendir(config->work);
	struct dirent *entry;
	char	   *job_id;
	int64_t		fence;

	if (directory == NULL)
		return;
	while ((entry = readdir(directory)) != NULL)
		if (scratch_name(entry->d_name, &job_id, &fence))
		{
			char	   *path = scratch_path(config, job_id, fence);

			remove_tree(path);
			free(path);
			free(job_id);
		}
	closedir(directory);
}
