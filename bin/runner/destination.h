/*
 * destination.h
 *		Objects at a destination: a directory, or a remote of rclone.
 *
 * An object appears whole or not at all. Names come from the runner itself and are
 * relative to the destination's URI.
 */
#ifndef RUNNER_DESTINATION_H
#define RUNNER_DESTINATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "config.h"
#include "job.h"

typedef struct ObjectWriter ObjectWriter;
typedef struct ObjectReader ObjectReader;

/* What an object holds, as it was written or read. */
typedef struct ObjectDigest
{
	int64_t		size;
	char		sha256[65];
} ObjectDigest;

extern bool digests_equal(const ObjectDigest *a, const ObjectDigest *b);

/* Each returns false or NULL with a message in *error. */

/* expected: about how many bytes will come, or 0; large objects need larger chunks. */
extern ObjectWriter *object_create(const Config *config, const Destination *destination, const char *name, int64_t expected, char **error);
extern bool object_write(ObjectWriter *writer, const void *data, size_t len, char **error);

/*
 * Publishes the object. Call it only when the source of the bytes has ended well. Frees the
 * writer; if it fails, nothing is left behind.
 */
extern bool object_commit(ObjectWriter *writer, ObjectDigest *digest, char **error);

/* Leaves nothing behind. */
extern void object_abort(ObjectWriter *writer);

/* An object that does not exist is read as an empty one: rclone does not tell them apart. */
extern ObjectReader *object_open(const Config *config, const Destination *destination, const char *name, char **error);

/* Bytes read, 0 at the end, -1 on error. */
extern ssize_t object_read(ObjectReader *reader, void *data, size_t len, char **error);

/*
 * What was read; false if that is not all. Frees the reader. Some destinations end a missing
 * or damaged object early without an error: compare the digest with what was written.
 */
extern bool object_close(ObjectReader *reader, ObjectDigest *digest, char **error);

/* Gives up reading: frees the reader. */
extern void object_abandon(ObjectReader *reader);

/* A small object at once. data of object_get() is allocated and terminated; larger than limit is an error. */
extern bool object_put(const Config *config, const Destination *destination, const char *name,
					   const char *data, size_t len, ObjectDigest *digest, char **error);
extern bool object_get(const Config *config, const Destination *destination, const char *name,
					   size_t limit, char **data, ObjectDigest *digest, char **error);

/* True if the object does not exist afterwards, nor an unfinished one of its name. */
extern bool object_delete(const Config *config, const Destination *destination, const char *name, char **error);

/* Calls visit for each object whose name begins with prefix; size is -1 for an unfinished one. */
extern bool object_list(const Config *config, const Destination *destination, const char *prefix,
						void (*visit) (void *arg, const char *name, int64_t size), void *arg, char **error);

/* Write an object of this name, read, compare, delete. */
extern bool destination_preflight(const Config *config, const Destination *destination, const char *name, char **error);

#endif							/* RUNNER_DESTINATION_H */
