/*
 * destination_rclone.c
 *		A remote of rclone's: S3 and what resembles it.
 *
 * Three things make a backup lie here, and each is met:
 * "rclone rcat" stores what it has when its input ends, for whatever reason it ends, and exits
 * with 0. Therefore only object_commit() ends its input, and object_abort() kills it first and
 * deletes the object afterwards.
 * It also takes TERM for the end of its input. Therefore it is ended by KILL, and by PDEATHSIG.
 * "rclone cat" of a missing object writes nothing and exits with 0. Therefore readers compare
 * the digest, and nothing here says that an object exists because it could be opened.
 */
#include "destination_kind.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "environment.h"
#include "io.h"
#include "process.h"
#include "text.h"

#define MIB (INT64_C(1024) * 1024)
#define CHUNK_MIB_MIN 16
#define CHUNK_MIB_MAX 5120		/* the largest part that S3 takes */

/* S3 takes 10,000 parts: room for twice of what is expected. */
#define PARTS_EXPECTED 5000

/* REMOTE:BUCKET/PATH/name, or NULL with a message. */
static char *
remote_path(const Config *config, const Destination *destination, const char *name, char **error)
{
	const char *place = destination_place(destination);
	size_t		len = strlen(place);

	if (config->rclone_config == NULL)
	{
		*error = text_copy("this node has no rclone_config, which such destinations need");
		return NULL;
	}
	/* a slash would make a path of this machine of it */
	if (destination->credential_ref == NULL || !*destination->credential_ref || strpbrk(destination->credential_ref, "/:,"))
	{
		*error = text_copy("the destination's credentialRef is not the name of a remote of rclone_config");
		return NULL;
	}
	while (len > 0 && place[len - 1] == '/')
		len--;
	if (len == 0)
	{
		*error = text_format("%s names no bucket", destination->uri);
		return NULL;
	}
	return text_format("%s:%.*s%s%s", destination->credential_ref, (int) len, place, *name ? "/" : "", name);
}

/* Starts "rclone command arguments... path"; arguments ends with NULL. */
static bool
start_rclone(const Config *config, Process *process, const char *const *command, const char *path, int in, int out, char **error)
{
	static const char *const passed[] = {"SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"};
	char	   *rclone = process_find("rclone");
	const char *argv[32];
	size_t		argc = 0;
	Environment environment;
	bool		started;

	if (rclone == NULL)
	{
		*error = text_copy("rclone is not installed");
		return false;
	}
	argv[argc++] = rclone;
	argv[argc++] = "--config";
	argv[argc++] = config->rclone_config;
	/* a password of the configuration would be asked for on our pipe */
	argv[argc++] = "--ask-password=false";
	argv[argc++] = "--low-level-retries";
	argv[argc++] = "3";
	argv[argc++] = "--retries";
	argv[argc++] = "1";
	argv[argc++] = "--contimeout";
	argv[argc++] = "15s";
	argv[argc++] = "--timeout";
	argv[argc++] = "60s";
	argv[argc++] = "--stats";
	argv[argc++] = "0";
	argv[argc++] = "--log-level";
	argv[argc++] = "ERROR";
	while (*command)
		argv[argc++] = *command++;
	argv[argc++] = path;
	argv[argc] = NULL;

	environment_begin(&environment, NULL, NULL);
	for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++)
		environment_add(&environment, passed[i], getenv(passed[i]));
	started = process_start(process, argv, ENVIRONMENT_ENTRIES(environment), in, out, error);
	environment_free(&environment);
	free(rclone);
	return started;
}

static void
kill_hard(Process *process)
{
	if (process->pid <= 0)
		return;
	kill(process->pid, SIGKILL);
	process_kill(process);
}

static bool
rclone_create(ObjectWriter *writer, int64_t expected, char **error)
{
	char	   *path = remote_path(writer->config, writer->destination, writer->name, error);
	int64_t		mib = (expected / PARTS_EXPECTED + MIB - 1) / MIB;
	char	   *chunk;
	bool		started;

	if (path == NULL)
		return false;
	if (mib < CHUNK_MIB_MIN)
		mib = CHUNK_MIB_MIN;
	if (mib > CHUNK_MIB_MAX)
		mib = CHUNK_MIB_MAX;
	chunk = text_format("%lldMi", (long long) mib);
	started = start_rclone(writer->config, &writer->process, ARGUMENTS("--s3-chunk-size", chunk, "--b2-chunk-size", mib < 96 ? "96Mi" : chunk, "rcat"),
						   path, STREAM_PIPE, STREAM_NULL, error);
	free(chunk);
	free(path);
	return started;
}

static bool
rclone_write(ObjectWriter *writer, const char *data, size_t len, char **error)
{
	int			failure = write_all(writer->process.in, data, len);

	/* what rclone says of it is better */
	if (failure == EPIPE && process_wait(&writer->process, error))
		*error = text_format("rclone stopped reading %s", writer->name);
	else if (failure != 0 && failure != EPIPE)
		*error = text_format("%s: %s", writer->name, strerror(failure));
	return failure == 0;
}

static bool
rclone_commit(ObjectWriter *writer, char **error)
{
	/* closes rclone's input */
	return process_wait(&writer->process, error);
}

static bool rclone_remove(const Config *config, const Destination *destination, const char *name, char **error);

static void
rclone_abort(ObjectWriter *writer)
{
	char	   *error = NULL;

	kill_hard(&writer->process);
	rclone_remove(writer->config, writer->destination, writer->name, &error);
	free(error);
}

static bool
rclone_open(ObjectReader *reader, char **error)
{
	char	   *path = remote_path(reader->config, reader->destination, reader->name, error);
	bool		started;

	if (path == NULL)
		return false;
	started = start_rclone(reader->config, &reader->process, ARGUMENTS("cat"), path, STREAM_NULL, STREAM_PIPE, error);
	free(path);
	return started;
}

static ssize_t
rclone_read(ObjectReader *reader, char *data, size_t len, char **error)
{
	ssize_t		got;

	do
		got = read(reader->process.out, data, len);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		*error = text_format("%s: %s", reader->name, strerror(errno));
	return got;
}

/* Calls visit for each line "SIZE PATH" of the listing of a directory. */
static bool
list_directory(const Config *config, const Destination *destination, const char *directory, ObjectVisit visit, void *arg, char **error)
{
	char	   *path = remote_path(config, destination, directory, error);
	Process		process;
	FILE	   *lines;
	char	   *line = NULL;
	size_t		room = 0;
	ssize_t		len;
	bool		started;
	bool		read;

	if (path == NULL)
		return false;
	started = start_rclone(config, &process, ARGUMENTS("lsf", "--recursive", "--files-only", "--format", "sp", "--separator", " "),
						   path, STREAM_NULL, STREAM_PIPE, error);
	free(path);
	if (!started)
		return false;
	/* what has not been listed has not been seen to be missing */
	lines = fdopen(process.out, "r");
	if (lines == NULL)
	{
		*error = text_format("rclone: %s", strerror(errno));
		process_kill(&process);
		return false;
	}
	process.out = -1;
	while ((len = getline(&line, &room, lines)) > 0)
	{
		char	   *name = strchr(line, ' ');
		int64_t		size;

		if (name == NULL || line[len - 1] != '\n')
			continue;
		*name++ = line[len - 1] = '\0';
		if (text_to_int(line, 0, INT64_MAX, &size))
		{
			char	   *full = text_format("%s%s%s", directory, *directory ? "/" : "", name);

			visit(arg, full, size);
			free(full);
		}
	}
	free(line);
	read = !ferror(lines);
	(void) fclose(lines);
	if (!process_wait(&process, error))
		return false;
	if (!read)
		*error = text_copy("rclone: its listing could not be read");
	return read;
}

typedef struct Filter
{
	const char *prefix;
	ObjectVisit visit;
	void	   *arg;
} Filter;

static void
visit_prefixed(void *arg, const char *name, int64_t size)
{
	Filter	   *filter = arg;

	if (text_begins(name, filter->prefix))
		filter->visit(filter->arg, name, size);
}

static bool
rclone_list(const Config *config, const Destination *destination, const char *prefix, ObjectVisit visit, void *arg, char **error)
{
	Filter		filter = {.prefix = prefix,.visit = visit,.arg = arg};
	const char *slash = strrchr(prefix, '/');
	char	   *directory = text_slice(prefix, slash ? slash - prefix : 0);
	bool		listed = list_directory(config, destination, directory, visit_prefixed, &filter, error);

	free(directory);
	return listed;
}

static void
find_name(void *arg, const char *name, int64_t size)
{
	const char **wanted = arg;

	(void) size;
	if (*wanted && strcmp(*wanted, name) == 0)
		*wanted = NULL;
}

/* Whether the destination answers, and does not have the object. */
static bool
is_missing(const Config *config, const Destination *destination, const char *name)
{
	const char *wanted = name;
	char	   *error = NULL;
	bool		listed = rclone_list(config, destination, name, find_name, &wanted, &error);

	free(error);
	return listed && wanted != NULL;
}

static bool
rclone_close(ObjectReader *reader, char **error)
{
	if (!reader->ended)
	{
		kill_hard(&reader->process);
		return true;
	}
	if (process_wait(&reader->process, error))
		return true;
	/* to some versions of rclone a missing object is an error */
	if (reader->size > 0 || !is_missing(reader->config, reader->destination, reader->name))
		return false;
	free(*error);
	*error = NULL;
	return true;
}

static bool
rclone_remove(const Config *config, const Destination *destination, const char *name, char **error)
{
	char	   *path = remote_path(config, destination, name, error);
	Process		process;
	bool		removed;

	if (path == NULL)
		return false;
	removed = start_rclone(config, &process, ARGUMENTS("deletefile"), path, STREAM_NULL, STREAM_NULL, error) &&
		process_wait(&process, error);
	free(path);
	if (removed)
		return true;

	/* deleting what does not exist fails as well */
	if (!is_missing(config, destination, name))
		return false;
	free(*error);
	*error = NULL;
	return true;
}

const DestinationKind destination_rclone = {
	.create = rclone_create,
	.write = rclone_write,
	.commit = rclone_commit,
	.abort = rclone_abort,
	.open = rclone_open,
	.read = rclone_read,
	.close = rclone_close,
	.remove = rclone_remove,
	.list = rclone_list,
};
