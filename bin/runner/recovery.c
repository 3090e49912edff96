/*
 * recovery.c
 *		Backups without a control database: what is at a destination, and how it gets back.
 *
 * What is listed and fetched is what signed manifests say, and nothing else.
 */
#include "recovery.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "destination.h"
#include "io.h"
#include "job.h"
#include "log.h"
#include "manifest.h"
#include "names.h"
#include "text.h"
#include "trust.h"

#define CHUNK 262144

static void
find_manifest(void *arg, const char *name, int64_t size)
{
	if (size >= 0 && text_ends(name, SUFFIX_MANIFEST))
		names_add(arg, name);
}

/* Where a manifest was found. */
typedef enum Place
{
	PLACE_OWN,
	PLACE_BELOW,				/* its destination is below this one */
	PLACE_ABOVE,				/* or above */
	PLACE_OTHER
} Place;

/* Where an object of this name is, if it is to be at own. */
static Place
place_of(const char *name, const char *own)
{
	size_t		name_len = strlen(name);
	size_t		own_len = strlen(own);

	if (strcmp(name, own) == 0)
		return PLACE_OWN;
	if (name_len > own_len && text_ends(name, own) && name[name_len - own_len - 1] == '/')
		return PLACE_BELOW;
	if (own_len > name_len && text_ends(own, name) && own[own_len - name_len - 1] == '/')
		return PLACE_ABOVE;
	return PLACE_OTHER;
}

/* Why a manifest is not taken from there. */
static char *
place_problem(Place place, const char *name, const char *own)
{
	if (place == PLACE_BELOW)
		return text_format("its destination is a directory below: add /%.*s to DESTINATION", (int) (strlen(name) - strlen(own) - 1), name);
	return text_copy(place == PLACE_ABOVE ? "its destination is the directory above: leave out the last part of DESTINATION" :
					 "it is the manifest of another backup");
}

/* Reads a manifest. *data is its text. */
static Trust
load_manifest(const Config *config, const Destination *destination, const char *name, Manifest *manifest, Place *place, char **data, char **error)
{
	ObjectDigest digest;
	Trust		trust;

	*data = NULL;
	*place = PLACE_OWN;
	memset(manifest, 0, sizeof(*manifest));
	if (!object_get(config, destination, name, MANIFEST_MAX, data, &digest, error))
		return TRUST_MALFORMED;
	if (digest.size == 0)
	{
		*error = text_copy("it does not exist");
		return TRUST_MALFORMED;
	}
	trust = manifest_parse(config, *data, digest.size, manifest, error);
	if (trust != TRUST_MALFORMED)
	{
		char	   *stem = manifest_stem(manifest->database_id, manifest->job_id, manifest->fence);
		char	   *own = text_format("%s%s", stem, SUFFIX_MANIFEST);

		*place = place_of(name, own);
		if (*place != PLACE_OWN)
		{
			manifest_free(manifest);
			free(*error);
			*error = place_problem(*place, name, own);
			trust = TRUST_MALFORMED;
		}
		free(own);
		free(stem);
	}
	return trust;
}

static const char *
trust_text(Trust trust)
{
	switch (trust)
	{
		case TRUST_SIGNED:
			return "signed";
		case TRUST_UNCHECKED:
			return "unchecked";
		case TRUST_UNSIGNED:
			return "unsigned";
		case TRUST_STRANGE_KEY:
			return "strange-key";
		case TRUST_BAD_SIGNATURE:
			return "bad-signature";
		case TRUST_MALFORMED:
			break;
	}
	return "malformed";
}

typedef struct Line
{
	char	   *time;
	char	   *text;
} Line;

/* The newest first. */
static int
compare_lines(const void *a, const void *b)
{
	return strcmp(((const Line *) b)->time, ((const Line *) a)->time);
}

int
list_destination(const Config *config, const Destination *destination)
{
	Names		names = {0};
	Line	   *lines;
	size_t		count = 0;
	bool		said = false;
	char	   *error = NULL;
	bool		good = object_list(config, destination, "", find_manifest, &names, &error);

	if (!good)
		complain("%s", error);
	free(error);
	lines = allocate(names.count * sizeof(Line));
	for (size_t i = 0; i < names.count; i++)
	{
		Manifest	m;
		char	   *data;
		char	   *reason = NULL;
		Place		place;
		Trust		trust = load_manifest(config, destination, names.name[i], &m, &place, &data, &reason);
		bool		is_elsewhere = place == PLACE_BELOW || place == PLACE_ABOVE;

		/* a wrong DESTINATION is so for all of them */
		if (trust == TRUST_MALFORMED && !(is_elsewhere && said))
			complain("%s: %s", names.name[i], reason);
		said |= is_elsewhere;
		free(reason);
		if (!is_believed(trust))
			good = false;
		if (trust == TRUST_MALFORMED)
			lines[count].time = text_copy("");
		else
			lines[count].time = text_copy(m.time);
		lines[count].text = trust == TRUST_MALFORMED ?
			text_format("%-27s  %-13s  %-13s  %14s  %s", "-", "-", is_elsewhere ? "elsewhere" : trust_text(trust), "-", names.name[i]) :
			text_format("%-27s  %-13s  %-13s  %14lld  %.*s  %s", m.time, m.method, trust_text(trust), (long long) m.artifact.digest.size,
						(int) (strlen(names.name[i]) - strlen(SUFFIX_MANIFEST)), names.name[i], m.database);
		/* names come from the destination, titles from whoever chose them */
		text_make_harmless(lines[count].text);
		count++;
		manifest_free(&m);
		free(data);
	}
	names_free(&names);
	qsort(lines, count, sizeof(Line), compare_lines);
	printf("%-27s  %-13s  %-13s  %14s  %s\n", "TIME", "METHOD", "SIGNATURE", "BYTES", "NAME AND DATABASE");
	for (size_t i = 0; i < count; i++)
	{
		puts(lines[i].text);
		free(lines[i].text);
		free(lines[i].time);
	}
	free(lines);
	return good ? 0 : 1;
}

/* A new file of a directory. */
static int
make_file(const char *directory, const char *name, char **path, char **error)
{
	int			file;

	*path = text_format("%s/%s", directory, name);
	file = open(*path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (file < 0)
		*error = text_format("%s: %s", *path, strerror(errno));
	return file;
}

static bool
write_file(int file, const char *path, const char *data, size_t len, char **error)
{
	int			failure = write_all(file, data, len);

	if (failure != 0)
		*error = text_format("%s: %s", path, strerror(failure));
	return failure == 0;
}

/* Whether all of a file was written. Nobody is to restore by mistake from one that was not. */
static bool
end_file(int file, const char *path, bool written, char **error)
{
	if (close(file) < 0 && written)
	{
		*error = text_format("%s: %s", path, strerror(errno));
		written = false;
	}
	if (!written)
		unlink(path);
	return written;
}

static bool
copy_object(ObjectReader *reader, int file, const char *path, char **error)
{
	char	   *chunk = allocate(CHUNK);
	ssize_t		got;
	bool		copied = true;

	while (copied && (got = object_read(reader, chunk, CHUNK, error)) != 0)
		copied = got > 0 && write_file(file, path, chunk, got, error);
	free(chunk);
	return copied;
}

static bool
fetch_object(const Config *config, const Destination *destination, const ManifestObject *object, const char *directory, const char *name, char **error)
{
	char	   *path;
	int			file = make_file(directory, name, &path, error);
	ObjectReader *reader = file >= 0 ? object_open(config, destination, object->name, error) : NULL;
	ObjectDigest digest;
	bool		fetched = false;

	if (reader)
	{
		fetched = copy_object(reader, file, path, error);
		if (fetched)
			fetched = object_close(reader, &digest, error);
		else
			object_abandon(reader);
		if (fetched && !digests_equal(&object->digest, &digest))
		{
			*error = text_format("%s is not what its manifest says: %lld bytes with the SHA-256 %s, not %lld with %s", object->name,
								 (long long) digest.size, digest.sha256, (long long) object->digest.size, object->digest.sha256);
			fetched = false;
		}
	}
	if (file >= 0)
		fetched = end_file(file, path, fetched, error);
	free(path);
	return fetched;
}

static bool
fetch_objects(const Config *config, const Destination *destination, const Manifest *m, const char *text, const char *directory, char **error)
{
	char	   *path = NULL;
	int			file;
	bool		fetched;

	if (mkdir(directory, 0700) < 0)
	{
		*error = text_format("%s: %s", directory, strerror(errno));
		return false;
	}
	file = make_file(directory, "manifest.json", &path, error);
	fetched = file >= 0 && end_file(file, path, write_file(file, path, text, strlen(text), error), error);
	free(path);
	if (!fetched)
		return false;
	if (m->rows.name && (!fetch_object(config, destination, &m->rows, directory, "rows.json", error) ||
						 !fetch_object(config, destination, &m->roles, directory, "roles.sql", error)))
		return false;
	return fetch_object(config, destination, &m->artifact, directory, m->rows.name ? "backup.dump" : "backup.tar.gz", error);
}

int
fetch_backup(const Config *config, const Destination *destination, const char *name, const char *directory)
{
	char	   *object = text_format("%s%s", name, SUFFIX_MANIFEST);
	Manifest	m = {0};
	char	   *data = NULL;
	char	   *error = NULL;
	Place		place;
	Trust		trust = TRUST_MALFORMED;
	bool		fetched = false;

	if (!reference_is_safe(name))
		error = text_copy("this is not a name that list prints");
	else
		trust = load_manifest(config, destination, object, &m, &place, &data, &error);
	if (data && is_believed(trust))
		fetched = fetch_objects(config, destination, &m, data, directory, &error);
	if (fetched)
		printf("%s: %s of %s, %s, %s%s\n", directory, m.method, m.database, m.time, trust_text(trust), trust == TRUST_SIGNED ? " by a trusted key" : ": trusted_keys is not set");
	else
		complain("%s: %s", name, error);
	manifest_free(&m);
	free(data);
	free(error);
	free(object);
	return fetched ? 0 : 1;
}
