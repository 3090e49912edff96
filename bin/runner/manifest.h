/*
 * manifest.h
 *		The manifest of a backup: what it is of, and what its objects contain. Canonical JSON,
 *		stored beside the backup and, as evidence, in the control database.
 */
#ifndef RUNNER_MANIFEST_H
#define RUNNER_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "destination.h"
#include "text.h"
#include "trust.h"

#define MANIFEST_MAX 16384		/* bytes; with the rest of the evidence */

#define METHOD_DUMP "pg_dump"
#define METHOD_BASE "pg_basebackup"

/* Endings of object names. What precedes them is the backup's own: see manifest_stem(). */
#define SUFFIX_DUMP ".dump"
#define SUFFIX_BASE ".tar.gz"
#define SUFFIX_ROWS ".rows.json"
#define SUFFIX_ROLES ".roles.sql"
#define SUFFIX_MANIFEST ".manifest.json"
#define SUFFIX_PREFLIGHT ".preflight"	/* before the others, and not for long */

typedef struct ManifestObject
{
	char	   *name;			/* NULL if the backup has none */
	ObjectDigest digest;
} ManifestObject;

typedef struct Manifest
{
	char	   *org_id;
	char	   *job_id;
	int64_t		fence;
	char	   *database_id;
	char	   *database;
	char	   *method;
	Names		options;
	char	   *engine_version;
	char	   *server_version;
	char	   *system_identifier;
	char	   *time;			/* ISO 8601, UTC */
	char	   *lsn;
	char	   *node;
	ManifestObject artifact;
	ManifestObject rows;		/* pg_dump alone */
	int64_t		tables;
	ManifestObject roles;		/* pg_dump alone */
} Manifest;

/* DATABASE/JOB.FENCE, allocated. */
extern char *manifest_stem(const char *database_id, const char *job_id, int64_t fence);

/* Appends the manifest, signed if the node has a key. */
extern bool manifest_write(const Config *config, const Manifest *manifest, Buffer *out, char **error);

/*
 * Reads a manifest. A result that is_believed() refuses comes with a message. manifest is filled
 * in unless it is malformed.
 */
extern Trust manifest_parse(const Config *config, const char *data, size_t len, Manifest *manifest, char **error);

/* The major version of the server that it is of; 0 if it is none. */
extern int	manifest_major(const Manifest *manifest);

extern void manifest_free(Manifest *manifest);

#endif							/* RUNNER_MANIFEST_H */
