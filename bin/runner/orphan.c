/*
 * orphan.c
 *		Children of this process that it did not start: it is the reaper of what their parents
 *		left.
 *
 * They are found by their parent, because a server's processes have groups of their own.
 */
#include "orphan.h"

#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "text.h"

#define STAT_MAX ((size_t) 4096)

/* The parent and the group of a process. False if it has gone. */
static bool
find_process(pid_t pid, pid_t *parent, pid_t *group)
{
	char	   *path = text_format("/proc/%d/stat", (int) pid);
	Buffer		line = {0};
	char	   *error = NULL;
	char	   *at;
	bool		found = false;

	*parent = *group = 0;
	/* pid (name) state parent group: the name may have anything in it */
	if (read_file(path, STAT_MAX, &line, &error) && (at = strrchr(line.data, ')')) != NULL && strlen(at) > 4)
	{
		*parent = (pid_t) strtol(at + 4, &at, 10);
		*group = (pid_t) strtol(at, NULL, 10);
		found = true;
	}
	buffer_free(&line);
	free(error);
	free(path);
	return found;
}

void
orphans_kill(bool (*is_ours) (const void *arg, pid_t pid, pid_t group), const void *arg)
{
	DIR		   *proc = opendir("/proc");
	struct dirent *entry;

	if (proc == NULL)
		return;
	while ((entry = readdir(proc)) != NULL)
	{
		int64_t		pid;
		pid_t		parent;
		pid_t		group;

		if (text_to_int(entry->d_name, 1, INT32_MAX, &pid) && find_process((pid_t) pid, &parent, &group) &&
			parent == getpid() && !is_ours(arg, (pid_t) pid, group))
			kill((pid_t) pid, SIGKILL);
	}
	closedir(proc);
}
