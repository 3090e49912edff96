/*
 * destination.c
 *		Objects at a destination, whatever kind it is of.
 *
 * Sizes and hashes are taken here, of what passes, and never from what a destination says
 * about itself.
 */
#include "destination.h"

#include <stdlib.h>
#include <string.h>

#include "common/hex.h"
#include "destination_kind.h"
#include "text.h"

#define PREFLIGHT_TEXT "walwarden-runner writes, reads and deletes this object to find out whether it can.\n"

static const DestinationKind *
kind_of(const Destination *destination)
{
	return strcmp(destination->provider, "local") == 0 ? &destination_local : &destination_rclone;
}

const char *
destination_place(const Destination *destination)
{
	const char *separator = strstr(destination->uri, "://");

	return separator ? separator + 3 : destination->uri;
}

static EVP_MD_CTX *
begin_hash(void)
{
	EVP_MD_CTX *hash = EVP_MD_CTX_new();

	if (hash == NULL || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1)
		abort();
	return hash;
}

static void
end_hash(EVP_MD_CTX *hash, int64_t size, ObjectDigest *digest)
{
	unsigned char bytes[EVP_MAX_MD_SIZE];
	unsigned int len;

	if (EVP_DigestFinal_ex(hash, bytes, &len) != 1)
		abort();
	hex_lower(bytes, len, digest->sha256);
	digest->sha256[2 * len] = '\0';
	digest->size = size;
}

static void
free_writer(ObjectWriter *writer)
{
	EVP_MD_CTX_free(writer->hash);
	free(writer->name);
	free(writer->leaf);
	free(writer);
}

ObjectWriter *
object_create(const Config *config, const Destination *destination, const char *name, int64_t expected, char **error)
{
	ObjectWriter *writer = allocate(sizeof(ObjectWriter));

	writer->kind = kind_of(destination);
	writer->config = config;
	writer->destination = destination;
	writer->name = text_copy(name);
	writer->hash = begin_hash();
	writer->directory = -1;
	writer->file = -1;
	writer->process.pid = -1;
	if (writer->kind->create(writer, expected, error))
		return writer;
	object_abort(writer);
	return NULL;
}

bool
object_write(ObjectWriter *writer, const void *data, size_t len, char **error)
{
	if (!writer->kind->write(writer, data, len, error))
		return false;
	if (EVP_DigestUpdate(writer->hash, data, len) != 1)
		abort();
	writer->size += (int64_t) len;
	return true;
}

bool
object_commit(ObjectWriter *writer, ObjectDigest *digest, char **error)
{
	if (!writer->kind->commit(writer, error))
	{
		object_abort(writer);
		return false;
	}
	end_hash(writer->hash, writer->size, digest);
	free_writer(writer);
	return true;
}

void
object_abort(ObjectWriter *writer)
{
	writer->kind->abort(writer);
	free_writer(writer);
}

ObjectReader *
object_open(const Config *config, const Destination *destination, const char *name, char **error)
{
	ObjectReader *reader = allocate(sizeof(ObjectReader));

	reader->kind = kind_of(destination);
	reader->config = config;
	reader->destination = destination;
	reader->name = text_copy(name);
	reader->file = -1;
	reader->process.pid = -1;
	if (!reader->kind->open(reader, error))
	{
		free(reader->name);
		free(reader);
		return NULL;
	}
	reader->hash = begin_hash();
	return reader;
}

ssize_t
object_read(ObjectReader *reader, void *data, size_t len, char **error)
{
	ssize_t		got = reader->kind->read(reader, data, len, error);

	if (got > 0 && EVP_DigestUpdate(reader->hash, data, got) != 1)
		abort();
	if (got > 0)
		reader->size += got;
	if (got == 0)
		reader->ended = true;
	return got;
}

bool
object_close(ObjectReader *reader, ObjectDigest *digest, char **error)
{
	bool		well = reader->kind->close(reader, error);

	if (well && !reader->ended)
	{
		*error = text_format("%s was not read to its end", reader->name);
		well = false;
	}
	end_hash(reader->hash, reader->size, digest);
	EVP_MD_CTX_free(reader->hash);
	free(reader->name);
	free(reader);
	return well;
}

void
object_abandon(ObjectReader *reader)
{
	ObjectDigest ignored;
	char	   *error = NULL;

	object_close(reader, &ignored, &error);
	free(error);
}

bool
object_delete(const Config *config, const Destination *destination, const char *name, char **error)
{
	return kind_of(destination)->remove(config, destination, name, error);
}

bool
object_list(const Config *config, const Destination *destination, const char *prefix, ObjectVisit visit, void *arg, char **error)
{
	return kind_of(destination)->list(config, destination, prefix, visit, arg, error);
}

bool
object_put(const Config *config, const Destination *destination, const char *name, const char *data, size_t len, ObjectDigest *digest, char **error)
{
	ObjectWriter *writer = object_create(config, destination, name, (int64_t) len, error);

	if (writer == NULL)
		return false;
	if (object_write(writer, data, len, error))
		return object_commit(writer, digest, error);
	object_abort(writer);
	return false;
}

bool
object_get(const Config *config, const Destination *destination, const char *name, size_t limit, char **data, ObjectDigest *digest, char **error)
{
	ObjectReader *reader = object_open(config, destination, name, error);
	Buffer		buffer = {0};
	char		chunk[16384];
	ssize_t		got = 0;
	bool		read = false;

	if (reader == NULL)
		return false;
	while (buffer.len <= limit && (got = object_read(reader, chunk, sizeof(chunk), error)) > 0)
		buffer_add(&buffer, chunk, got);
	if (got > 0)
		*error = text_format("%s is larger than %zu bytes", name, limit);
	if (got != 0)
		object_abandon(reader);
	else
		read = object_close(reader, digest, error);
	if (!read)
	{
		buffer_free(&buffer);
		return false;
	}
	buffer_add(&buffer, "", 0);
	*data = buffer.data;
	return true;
}

bool
destination_preflight(const Config *config, const Destination *destination, const char *name, char **error)
{
	ObjectDigest written;
	ObjectDigest found;
	char	   *text = NULL;
	bool		works = object_put(config, destination, name, PREFLIGHT_TEXT, strlen(PREFLIGHT_TEXT), &written, error);

	if (works)
	{
		works = object_get(config, destination, name, strlen(PREFLIGHT_TEXT), &text, &found, error);
		if (works && !digests_equal(&written, &found))
		{
			*error = text_format("the destination returned %lld bytes that differ from the %lld written to it", (long long) found.size, (long long) written.size);
			works = false;
		}
		if (works)
			works = object_delete(config, destination, name, error);
		else
		{
			char	   *ignored = NULL;

			object_delete(config, destination, name, &ignored);
			free(ignored);
		}
	}
	free(text);
	return works;
}

bool
digests_equal(const ObjectDigest *a, const ObjectDigest *b)
{
	return a->size == b->size && strcmp(a->sha256, b->sha256) == 0;
}
