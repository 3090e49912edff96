/*
 * destination_local.c
 *		A directory below local_root.
 *
 * Invariants: each directory on the way from local_root is opened by itself and without
 * following a symbolic link, so that no name leads out of local_root. An object is written as
 * NAME.part, and gets its name by link() once it is on disk.
 */
#include "destination_kind.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io.h"
#include "text.h"

#define PART ".part"
#define DEPTH_MAX 8				/* of directories that are listed */

/* The path of a destination below local_root, without a slash at its beginning. */
static const char *
path_below_root(const Config *config, const Destination *destination, char **error)
{
	const char *path = destination_place(destination);
	size_t		root_len;

	if (config->local_root == NULL)
	{
		*error = text_copy("this node has no local_root, below which local destinations lie");
		return NULL;
	}
	root_len = strlen(config->local_root);
	while (root_len > 0 && config->local_root[root_len - 1] == '/')
		root_len--;
	if (!text_begins(destination->uri, "file:///") || strncmp(path, config->local_root, root_len) != 0 ||
		(path[root_len] != '/' && path[root_len] != '\0'))
	{
		*error = text_format("%s is not below local_root", destination->uri);
		return NULL;
	}
	return path + root_len;
}

/* Opens the directory name in parent, and makes it first if make and it is missing. */
static int
enter(int parent, const char *name, bool make)
{
	int			fd;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
	{
		errno = EINVAL;
		return -1;
	}
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 || errno != ENOENT || !make)
		return fd;
	if ((mkdirat(parent, name, 0700) < 0 && errno != EEXIST) || fsync(parent) < 0)
		return -1;
	return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Enters each directory of path, from fd on, which it closes. */
static int
walk(int fd, const char *path, bool make)
{
	char	   *copy = text_copy(path);
	char	   *rest = copy;
	char	   *segment;

	while (fd >= 0 && (segment = strsep(&rest, "/")) != NULL)
	{
		int			parent = fd;
		int			failure;

		if (*segment == '\0')
			continue;
		fd = enter(parent, segment, make);
		failure = errno;
		close(parent);
		errno = failure;
	}
	free(copy);
	return fd;
}

/*
 * Opens the directory that holds name, a path below the destination, and sets *leaf to what
 * follows its last slash. Returns -1 with a message; with none if name's directory does not
 * exist in a destination that does, and quiet.
 */
static int
open_directory(const Config *config, const Destination *destination, const char *name, bool make, bool quiet, char **leaf, char **error)
{
	const char *below = path_below_root(config, destination, error);
	const char *slash = strrchr(name, '/');
	int			fd;

	if (below == NULL)
		return -1;
	*leaf = NULL;

	/* local_root itself is never made: it may be a disk that is not mounted */
	fd = open(config->local_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		fd = walk(fd, below, make);
	if (fd < 0)
	{
		*error = text_format("%s: %s", destination->uri, strerror(errno));
		return -1;
	}
	if (slash)
	{
		char	   *directory = text_slice(name, slash - name);

		fd = walk(fd, directory, make);
		if (fd < 0 && !(quiet && errno == ENOENT))
			*error = text_format("%s/%s: %s", destination->uri, directory, strerror(errno));
		free(directory);
	}
	if (fd >= 0)
		*leaf = text_copy(slash ? slash + 1 : name);
	return fd;
}

static bool
local_create(ObjectWriter *writer, int64_t expected, char **error)
{
	char	   *part;

	(void) expected;
	writer->directory = open_directory(writer->config, writer->destination, writer->name, true, false, &writer->leaf, error);
	if (writer->directory < 0)
		return false;
	part = text_format("%s%s", writer->leaf, PART);
	writer->file = openat(writer->directory, part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (writer->file < 0)
		*error = text_format("%s%s: %s", writer->name, PART, strerror(errno));
	free(part);
	return writer->file >= 0;
}

static bool
local_write(ObjectWriter *writer, const char *data, size_t len, char **error)
{
	int			failure = write_all(writer->file, data, len);

	if (failure != 0)
		*error = text_format("%s%s: %s", writer->name, PART, strerror(failure));
	return failure == 0;
}

static bool
local_commit(ObjectWriter *writer, char **error)
{
	char	   *part = text_format("%s%s", writer->leaf, PART);
	bool		linked = false;
	bool		done = fsync(writer->file) == 0;

	if (done)
		done = linked = linkat(writer->directory, part, writer->directory, writer->leaf, 0) == 0;
	if (done)
		done = unlinkat(writer->directory, part, 0) == 0 && fsync(writer->directory) == 0;
	if (!done)
	{
		*error = text_format("%s: %s", writer->name, strerror(errno));
		/* the name that was there before is not ours */
		if (linked)
			unlinkat(writer->directory, writer->leaf, 0);
	}
	free(part);
	if (done)
	{
		close(writer->file);
		close(writer->directory);
	}
	return done;
}

static void
local_abort(ObjectWriter *writer)
{
	if (writer->file >= 0)
	{
		char	   *part = text_format("%s%s", writer->leaf, PART);

		close(writer->file);
		unlinkat(writer->directory, part, 0);
		free(part);
	}
	if (writer->directory >= 0)
		close(writer->directory);
}

/* An object that does not exist is read as an empty one, as rclone has it. */
static bool
local_open(ObjectReader *reader, char **error)
{
	char	   *leaf;
	struct stat info;
	int			directory;

	*error = NULL;
	directory = open_directory(reader->config, reader->destination, reader->name, false, true, &leaf, error);
	if (directory < 0 && *error)
		return false;
	if (directory >= 0)
	{
		reader->file = openat(directory, leaf, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (reader->file < 0 && errno != ENOENT)
			*error = text_format("%s: %s", reader->name, strerror(errno));
		else if (reader->file >= 0 && (fstat(reader->file, &info) < 0 || !S_ISREG(info.st_mode)))
			*error = text_format("%s is not a file", reader->name);
		close(directory);
		free(leaf);
	}
	if (*error)
	{
		if (reader->file >= 0)
			close(reader->file);
		return false;
	}
	return true;
}

static ssize_t
local_read(ObjectReader *reader, char *data, size_t len, char **error)
{
	ssize_t		got;

	if (reader->file < 0)
		return 0;
	do
		got = read(reader->file, data, len);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		*error = text_format("%s: %s", reader->name, strerror(errno));
	return got;
}

static bool
local_close(ObjectReader *reader, char **error)
{
	(void) error;
	if (reader->file >= 0)
		close(reader->file);
	return true;
}

static bool
local_remove(const Config *config, const Destination *destination, const char *name, char **error)
{
	char	   *leaf;
	char	   *part;
	int			directory;
	bool		removed;

	*error = NULL;
	directory = open_directory(config, destination, name, false, true, &leaf, error);
	if (directory < 0)
		return *error == NULL;
	part = text_format("%s%s", leaf, PART);
	removed = (unlinkat(directory, leaf, 0) == 0 || errno == ENOENT) &&
		(unlinkat(directory, part, 0) == 0 || errno == ENOENT) &&
		fsync(directory) == 0;
	if (!removed)
		*error = text_format("%s: %s", name, strerror(errno));
	close(directory);
	free(leaf);
	free(part);
	return removed;
}

typedef struct Listing
{
	const char *prefix;
	ObjectVisit visit;
	void	   *arg;
	char	  **error;
} Listing;

static bool list_directory(const Listing *listing, int directory, const char *path, int depth);

static bool
list_entry(const Listing *listing, int directory, const char *path, const char *name, int depth)
{
	char	   *full = text_format("%s%s%s", path, *path ? "/" : "", name);
	size_t		len = strlen(full);
	size_t		prefix_len = strlen(listing->prefix);
	struct stat info;
	bool		listed = true;

	if (fstatat(directory, name, &info, AT_SYMLINK_NOFOLLOW) < 0)
	{
		/* it may have been removed meanwhile */
		if (errno != ENOENT)
		{
			*listing->error = text_format("%s: %s", full, strerror(errno));
			listed = false;
		}
	}
	else if (S_ISDIR(info.st_mode))
	{
		/* the whole prefix, or a beginning of it, leads here */
		if (strncmp(full, listing->prefix, len < prefix_len ? len : prefix_len) == 0 && depth < DEPTH_MAX)
		{
			int			inner = enter(directory, name, false);

			if (inner >= 0)
				listed = list_directory(listing, inner, full, depth + 1);
			else if (errno != ENOENT)
			{
				*listing->error = text_format("%s: %s", full, strerror(errno));
				listed = false;
			}
		}
	}
	else if (S_ISREG(info.st_mode) && text_begins(full, listing->prefix))
	{
		if (text_ends(full, PART))
		{
			full[len - strlen(PART)] = '\0';
			listing->visit(listing->arg, full, -1);
		}
		else
			listing->visit(listing->arg, full, info.st_size);
	}
	free(full);
	return listed;
}

/* Takes over directory. */
static bool
list_directory(const Listing *listing, int directory, const char *path, int depth)
{
	DIR		   *stream = fdopendir(directory);
	struct dirent *entry;
	bool		listed = true;

	if (stream == NULL)
	{
		*listing->error = text_format("%s: %s", path, strerror(errno));
		close(directory);
		return false;
	}
	while (listed && (errno = 0, entry = readdir(stream)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			listed = list_entry(listing, dirfd(stream), path, entry->d_name, depth);
	if (listed && errno != 0)
	{
		*listing->error = text_format("%s: %s", path, strerror(errno));
		listed = false;
	}
	closedir(stream);
	return listed;
}

static bool
local_list(const Config *config, const Destination *destination, const char *prefix, ObjectVisit visit, void *arg, char **error)
{
	Listing		listing = {.prefix = prefix,.visit = visit,.arg = arg,.error = error};
	char	   *leaf;
	int			directory = open_directory(config, destination, "", false, false, &leaf, error);

	if (directory < 0)
		return false;
	free(leaf);
	return list_directory(&listing, directory, "", 0);
}

const DestinationKind destination_local = {
	.create = local_create,
	.write = local_write,
	.commit = local_commit,
	.abort = local_abort,
	.open = local_open,
	.read = local_read,
	.close = local_close,
	.remove = local_remove,
	.list = local_list,
};
