/*
 * stream.c
 *		Bytes on their way between programs, files and destinations.
 */
#include "stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "destination.h"
#include "io.h"
#include "process.h"
#include "text.h"
#include "worker.h"

#define CHUNK 262144

/* A backup job blames nobody. */
static const char *
node_of(const Worker *worker)
{
	return strcmp(worker->job->kind, "backup") == 0 || strcmp(worker->job->kind, "expire") == 0 ? NULL : "node";
}

static bool
destination_failed(Worker *worker, char *error)
{
	fail(worker, "destination_failed", node_of(worker), true, "%s", error);
	free(error);
	return false;
}

bool
stream_to_object(Worker *worker, Process *process, const char *name, int64_t expected, ManifestObject *object)
{
	char	   *error = NULL;
	ObjectWriter *writer = object_create(worker->config, &worker->job->destination, name, expected, &error);
	char	   *chunk;
	ssize_t		got;

	if (writer == NULL)
	{
		process_kill(process);
		return destination_failed(worker, error);
	}
	worker->progress->bytes_done = 0;
	worker->progress->bytes_total = 0;
	chunk = allocate(CHUNK);
	while ((got = read(process->out, chunk, CHUNK)) != 0)
	{
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 || !object_write(writer, chunk, got, &error))
			break;
		worker->progress->bytes_done += got;
	}
	free(chunk);
	if (got != 0)
	{
		if (got < 0)
			error = text_format("%s: %s", process->program, strerror(errno));
		process_kill(process);
		object_abort(writer);
		return destination_failed(worker, error);
	}
	if (!process_wait(process, &error))
	{
		/*
		 * so say a server, and pg_dump of a sequence, in English; in another
		 * language it is tried again
		 */
		bool		denied = strstr(error, "permission denied for ") || strstr(error, "user may lack SELECT privilege");

		object_abort(writer);
		fail(worker, denied ? "role_insufficient" : "engine_failed", node_of(worker), !denied, "%s", error);
		free(error);
		return false;
	}
	if (!object_commit(writer, &object->digest, &error))
		return destination_failed(worker, error);
	object->name = text_copy(name);
	return true;
}

bool
stream_text(Worker *worker, const char *name, const Buffer *text, ManifestObject *object)
{
	char	   *error = NULL;

	if (!object_put(worker->config, &worker->job->destination, name, text->data, text->len, &object->digest, &error))
		return destination_failed(worker, error);
	object->name = text_copy(name);
	return true;
}

bool
stream_from_object(Worker *worker, const char *name, int to, ObjectDigest *digest)
{
	char	   *error = NULL;
	ObjectReader *reader = object_open(worker->config, &worker->job->destination, name, &error);
	char	   *chunk;
	ssize_t		got;
	int			failure = 0;

	if (reader == NULL)
		return destination_failed(worker, error);
	worker->progress->bytes_done = 0;
	chunk = allocate(CHUNK);
	while (failure == 0 && (got = object_read(reader, chunk, CHUNK, &error)) > 0)
	{
		if (to >= 0)
			failure = write_all(to, chunk, got);
		if (failure == EPIPE)
		{
			/* a program that has read enough: its exit code will tell */
			to = -1;
			failure = 0;
		}
		worker->progress->bytes_done += got;
	}
	free(chunk);
	if (failure != 0 || got < 0)
	{
		object_abandon(reader);
		if (failure == 0)
			return destination_failed(worker, error);
		return fail(worker, failure == ENOSPC || failure == EDQUOT ? "disk_full" : "node_failed", node_of(worker), true,
					"writing %s to the work directory: %s", name, strerror(failure));
	}
	if (!object_close(reader, digest, &error))
		return destination_failed(worker, error);
	return true;
}

bool
stream_file(int from, int to)
{
	char	   *chunk = allocate(CHUNK);
	ssize_t		got;
	int			failure = 0;

	while (failure == 0 && ((got = read(from, chunk, CHUNK)) > 0 || (got < 0 && errno == EINTR)))
		if (got > 0)
			failure = write_all(to, chunk, got);
	if (failure == 0 && got < 0)
		failure = errno;
	free(chunk);
	/* a program that has read enough: its exit code will tell */
	errno = failure == EPIPE ? 0 : failure;
	return errno == 0;
}
