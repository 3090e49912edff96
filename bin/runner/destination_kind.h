/*
 * destination_kind.h
 *		What destination.c asks of each kind of destination. For these files alone.
 */
#ifndef RUNNER_DESTINATION_KIND_H
#define RUNNER_DESTINATION_KIND_H

#include <openssl/evp.h>

#include "destination.h"
#include "process.h"

typedef struct DestinationKind DestinationKind;

struct ObjectWriter
{
	const DestinationKind *kind;
	const Config *config;
	const Destination *destination;
	char	   *name;
	EVP_MD_CTX *hash;
	int64_t		size;

	/* a directory */
	int			directory;		/* that the object will be in, or -1 */
	int			file;			/* or -1 */
	char	   *leaf;			/* the object's name in directory */

	/* rclone */
	Process		process;
};

struct ObjectReader
{
	const DestinationKind *kind;
	const Config *config;
	const Destination *destination;
	char	   *name;
	EVP_MD_CTX *hash;
	int64_t		size;
	bool		ended;
	int			file;
	Process		process;
};

typedef void (*ObjectVisit) (void *arg, const char *name, int64_t size);

/* Each returns false, or a negative number, with a message in *error. */
struct DestinationKind
{
	bool		(*create) (ObjectWriter *writer, int64_t expected, char **error);
	bool		(*write) (ObjectWriter *writer, const char *data, size_t len, char **error);
	bool		(*commit) (ObjectWriter *writer, char **error);

	/* Also after a failed create, write or commit. */
	void		(*abort) (ObjectWriter *writer);
	bool		(*open) (ObjectReader *reader, char **error);
	ssize_t		(*read) (ObjectReader *reader, char *data, size_t len, char **error);

	/* Whether the reader's source ended well. Releases it in any case. */
	bool		(*close) (ObjectReader *reader, char **error);
	bool		(*remove) (const Config *config, const Destination *destination, const char *name, char **error);
	bool		(*list) (const Config *config, const Destination *destination, const char *prefix, ObjectVisit visit, void *arg, char **error);
};

extern const DestinationKind destination_local;
extern const DestinationKind destination_rclone;

/* What follows SCHEME:// in a destination's URI. */
extern const char *destination_place(const Destination *destination);

#endif							/* RUNNER_DESTINATION_KIND_H */
