/*
 * remember.c
 *		What the runner remembers of a job until nothing is left of it.
 *
 * The next attempt of a job removes what earlier ones left, but not every job has one: a
 * restore that had begun to write to its target is not tried again, nor is the last attempt.
 * And a node that stood still while another took its job may make something after that.
 *
 * Invariants: a job is remembered before it makes anything, and forgotten before it can be
 * completed. A file without its last line is of a job that had made nothing yet.
 */
#include "remember.h"

#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/syntax.h"
#include "control.h"
#include "io.h"
#include "job.h"
#include "log.h"
#include "scratch.h"
#include "text.h"

#define LAST_LINE "end\n"

/* Texts that were checked: none has a line break. */
static const struct
{
	const char *name;
	size_t		offset;
}			fields[] = {
	{"kind", offsetof(Job, kind)},
	{"database", offsetof(Job, database_id)},
	{"provider", offsetof(Job, destination.provider)},
	{"uri", offsetof(Job, destination.uri)},
	{"region", offsetof(Job, destination.region)},
	{"credential", offsetof(Job, destination.credential_ref)},
	{"mode", offsetof(Job, mode)},
	{"target", offsetof(Job, target)}
};

#define FIELD_COUNT (sizeof(fields) / sizeof(fields[0]))

static char **
field_of(Job *job, size_t i)
{
	return (char **) ((char *) job + fields[i].offset);
}

static char *
path_of(const Config *config, const Job *job)
{
	return text_format("%s/%s.%lld", config->state, job->id, (long long) job->fence);
}

bool
remember_job(const Config *config, const Job *job)
{
	Job			copy = *job;
	Buffer		text = {0};
	char	   *path = path_of(config, job);
	bool		stored;
	int			failure;

	for (size_t i = 0; i < FIELD_COUNT; i++)
		if (*field_of(&copy, i))
			buffer_format(&text, "%s=%s\n", fields[i].name, *field_of(&copy, i));
	buffer_text(&text, LAST_LINE);
	stored = store_file(path, text.data, text.len) && sync_directory(config->state);
	failure = errno;
	buffer_free(&text);
	free(path);
	errno = failure;
	return stored;
}

void
forget_job(const Config *config, const Job *job)
{
	char	   *path = path_of(config, job);

	unlink(path);
	free(path);
}

bool
is_remembered(const Config *config, const Job *job)
{
	char		lower[UUID_TEXT_LEN];
	char	   *path = path_of(config, job);
	bool		there = uuid_is_well_formed(job->id, strlen(job->id), lower) && access(path, F_OK) == 0;

	free(path);
	return there;
}

/* Takes one line of a file. True if it was the last one. */
static bool
take_line(Job *job, char *line)
{
	char	   *value = strchr(line, '=');

	if (strcmp(line, LAST_LINE) == 0)
		return true;
	line[strcspn(line, "\n")] = '\0';
	for (size_t i = 0; value && i < FIELD_COUNT; i++)
		if (strlen(fields[i].name) == (size_t) (value - line) && text_begins(line, fields[i].name))
		{
			free(*field_of(job, i));
			*field_of(job, i) = text_copy(value + 1);
		}
	return false;
}

/* A file that is not whole is removed; one that cannot be read stays. */
static bool
read_job(Job *job, const char *path)
{
	FILE	   *file = fopen(path, "re");
	char		line[1024];
	bool		whole = false;
	bool		read;

	while (file && !whole && fgets(line, sizeof(line), file))
		whole = take_line(job, line);
	read = file && !ferror(file);
	if (!read)
		log_line("%s: %s", path, strerror(errno));
	if (file)
		(void) fclose(file);
	whole = whole && job->kind && job->database_id && job->destination.provider && job->destination.uri;
	if (read && !whole)
		unlink(path);
	return read && whole;
}

void
remembered_jobs(const Config *config, bool (*is_known) (const void *arg, const Job *job), const void *arg, Job ***jobs, int *count)
{
	DIR		   *directory = opendir(config->state);
	struct dirent *entry;

	*jobs = NULL;
	*count = 0;
	while (directory && (entry = readdir(directory)) != NULL)
	{
		Job		   *job = allocate(sizeof(Job));
		char	   *path = text_format("%s/%s", config->state, entry->d_name);

		if (!scratch_name(entry->d_name, &job->id, &job->fence) || is_known(arg, job) || !read_job(job, path))
			job_free(job);
		else
		{
			*jobs = reallocate(*jobs, (*count + 1) * sizeof(Job *));
			(*jobs)[(*count)++] = job;
		}
		free(path);
	}
	if (directory)
		closedir(directory);
}
