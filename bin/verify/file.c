/*
 * file.c
 *		Files below a directory that somebody else made.
 */
#include "file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stop.h"

/* A FIFO would wait without O_NONBLOCK. */
#define FLAGS (O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

static int
open_below(int directory, const char *name, int flags)
{
	int			fd;

	if (directory < 0)
		return -1;
	fd = openat(directory, name, FLAGS | flags);
	/* not there, a link, or not a directory */
	if (fd < 0 && errno != ENOENT && errno != ELOOP && errno != ENOTDIR)
		stop("%s cannot be opened: %s", name, strerror(errno));
	return fd;
}

/* Whether something is there that is no regular file. What cannot be asked about is left to those who open it. */
static bool
is_something_else(int directory, const char *name)
{
	struct stat status;

	return fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(status.st_mode);
}

int
file_open(int directory, const char *name)
{
	int			fd;
	struct stat status;

	/* to open a device, or a FIFO at which somebody waits, has an effect */
	if (directory < 0 || is_something_else(directory, name))
		return -1;
	fd = open_below(directory, name, 0);
	if (fd < 0)
		return -1;
	if (fstat(fd, &status) != 0)
		stop("%s cannot be read: %s", name, strerror(errno));
	if (S_ISREG(status.st_mode))
		return fd;
	close(fd);
	return -1;
}

int
directory_open(int directory, const char *name)
{
	return open_below(directory, name, O_DIRECTORY);
}

int64_t
file_size(int fd, const char *name)
{
	struct stat status;

	if (fstat(fd, &status) != 0)
		stop("%s cannot be read: %s", name, strerror(errno));
	return status.st_size;
}

Content
file_content(int directory, const char *name, size_t limit)
{
	Content		content = {NULL, 0};
	int			fd = file_open(directory, name);
	size_t		room = 0;

	if (fd < 0)
		return content;
	for (;;)
	{
		ssize_t		len;

		if (content.len == room)
		{
			room = room == 0 ? 4096 : 2 * room;
			room = room > limit ? limit + 1 : room;
			content.data = reallocate(content.data, room);
		}
		len = read(fd, content.data + content.len, room - content.len);
		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			stop("%s cannot be read: %s", name, strerror(errno));
		content.len += (size_t) len;
		if (len == 0 || content.len > limit)
			break;
	}
	close(fd);
	/* no room is left behind the end, so that a byte too far is seen */
	content.data = reallocate(content.data, content.len);
	return content;
}

bool
content_is(Content content, const char *data, size_t len)
{
	return content.data && content.len == len && memcmp(content.data, data, len) == 0;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

Names
directory_names(int directory, size_t limit)
{
	Names		names = {NULL, 0};
	size_t		room = 0;
	int			fd = directory < 0 ? -1 : openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR		   *dir;
	struct dirent *entry;

	if (directory < 0)
		return names;
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (dir == NULL)
		stop("a directory cannot be read: %s", strerror(errno));
	while (errno = 0, names.count <= limit && (entry = readdir(dir)) != NULL)
	{
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (names.count == room)
		{
			room = 2 * room + 16;
			names.name = reallocate(names.name, room * sizeof(char *));
		}
		names.name[names.count] = reallocate(NULL, strlen(entry->d_name) + 1);
		memcpy(names.name[names.count++], entry->d_name, strlen(entry->d_name) + 1);
	}
	if (errno != 0)
		stop("a directory cannot be read: %s", strerror(errno));
	closedir(dir);
	if (names.count > 0)
		qsort(names.name, names.count, sizeof(char *), compare_names);
	return names;
}

void
names_free(Names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->name[i]);
	free(names->name);
	names->name = NULL;
	names->count = 0;
}

FileKind
file_kind(int directory, const char *name)
{
	struct stat status;

	if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
		return KIND_OTHER;
	return S_ISREG(status.st_mode) ? KIND_REGULAR : S_ISDIR(status.st_mode) ? KIND_DIRECTORY : KIND_OTHER;
}
