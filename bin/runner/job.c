/*
 * job.c
 *		What a claimed job may contain.
 */
#include "job.h"

#include <stdlib.h>
#include <string.h>

#include "common/syntax.h"
#include "text.h"

#define REFERENCE_MAX 128
#define TARGET_NAME_MAX 63		/* a longer name of a database would be cut */
#define URI_MAX 500
#define ARTIFACT_MAX 500

static bool
is_alphanumeric(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Letters, digits and the other characters, beginning with a letter, a digit or an underscore. */
static bool
is_segment(const char *text, size_t len, const char *others)
{
	if (len == 0 || (!is_alphanumeric(text[0]) && text[0] != '_'))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_alphanumeric(text[i]) && strchr(others, text[i]) == NULL)
			return false;
	return true;
}

/* Segments with a slash between them, and none at an end. */
static bool
is_path(const char *text, size_t len, const char *others)
{
	const char *end = text + len;
	const char *slash;

	while ((slash = memchr(text, '/', end - text)) != NULL)
	{
		if (!is_segment(text, slash - text, others))
			return false;
		text = slash + 1;
	}
	return is_segment(text, end - text, others);
}

static bool
is_reference(const char *text, size_t max)
{
	return strlen(text) <= max && is_alphanumeric(text[0]) && is_path(text, strlen(text), "._-");
}

bool
reference_is_safe(const char *text)
{
	return is_reference(text, REFERENCE_MAX);
}

bool
name_is_safe(const char *text)
{
	return reference_is_safe(text) && strchr(text, '/') == NULL;
}

static bool
is_uuid(const char *text)
{
	char		lower[UUID_TEXT_LEN];

	return text && uuid_is_well_formed(text, strlen(text), lower);
}

static bool
is_one_of(const char *text, const char *const *names)
{
	for (; text && *names; names++)
		if (strcmp(text, *names) == 0)
			return true;
	return false;
}

bool
sha256_is_well_formed(const char *text)
{
	return strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

/* Where each provider stores: the schemes of its URIs. */
static const struct
{
	const char *provider;
	const char *schemes[3];
}			providers[] = {
	{"local", {"file"}},
	{"s3", {"s3"}},
	{"gcs", {"gs", "gcs"}},
	{"minio", {"s3", "minio"}},
	{"wasabi", {"s3", "wasabi"}},
	{"b2", {"s3", "b2"}},
};

#define PROVIDERS (sizeof(providers) / sizeof(providers[0]))

static const char *const *
schemes_of(const char *provider)
{
	for (size_t i = 0; provider && i < PROVIDERS; i++)
		if (strcmp(provider, providers[i].provider) == 0)
			return providers[i].schemes;
	return NULL;
}

/* file:///DIRECTORY or SCHEME://BUCKET/PREFIX; a slash may follow */
static bool
is_uri(const char *uri, const char *const *schemes)
{
	const char *rest = uri ? strstr(uri, "://") : NULL;
	char	   *scheme;
	size_t		len;
	size_t		bucket;
	bool		known;

	if (rest == NULL || strlen(uri) > URI_MAX)
		return false;
	scheme = text_slice(uri, rest - uri);
	known = is_one_of(scheme, schemes);
	free(scheme);
	rest += strlen("://");
	len = strlen(rest);
	if (len > 0 && rest[len - 1] == '/')
		len--;
	if (!known || len == 0)
		return false;
	if (text_begins(uri, "file:"))
		return rest[0] == '/' && is_path(rest + 1, len - 1, "._~-");
	bucket = strcspn(rest, "/");
	return is_alphanumeric(rest[0]) && is_segment(rest, bucket, "._-") &&
		(bucket == len || is_path(rest + bucket + 1, len - bucket - 1, "._~-"));
}

const char *
destination_bad_reference(const Destination *destination)
{
	const char *const *schemes = schemes_of(destination->provider);

	if (!is_uuid(destination->id))
		return "destination.id";
	if (schemes == NULL)
		return "destination.provider";
	if (!is_uri(destination->uri, schemes))
		return "destination.uri";
	if (destination->region && (!*destination->region || strlen(destination->region) > 50 || destination->region[0] == '-' ||
								strspn(destination->region, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(destination->region)))
		return "destination.region";
	if (destination->credential_ref && !name_is_safe(destination->credential_ref))
		return "destination.credentialRef";
	return NULL;
}

char *
job_target_section(const Job *job)
{
	return text_slice(job->target, strcspn(job->target, "/"));
}

const char *
job_target_name(const Job *job)
{
	const char *slash = strchr(job->target, '/');

	return slash ? slash + 1 : NULL;
}

/* SECTION/NAME for a restore into something new, SECTION for one in place; a drill needs no NAME. */
static bool
is_target(const Job *job)
{
	bool		in_place = strcmp(job->mode, "in_place") == 0;
	const char *name;

	if (job->target == NULL || !reference_is_safe(job->target))
		return false;
	name = job_target_name(job);
	if (name == NULL)
		return in_place || strcmp(job->kind, "drill") == 0;
	return !in_place && strlen(name) <= TARGET_NAME_MAX && strchr(name, '/') == NULL;
}

const char *
job_bad_reference(const Job *job)
{
	static const char *const kinds[] = {"backup", "restore", "drill", "expire", NULL};
	static const char *const methods[] = {"pg_dump", "pg_basebackup", NULL};
	static const char *const modes[] = {"new_database", "in_place", "new_cluster", NULL};
	const char *bad;
	bool		restores;

	if (!is_uuid(job->id))
		return "job_id";
	if (!is_one_of(job->kind, kinds))
		return "kind";
	if (job->fence < 1)
		return "fence";
	if (!is_uuid(job->org_id))
		return "orgId";
	if (!is_uuid(job->database_id))
		return "databaseId";
	if (!is_one_of(job->method, methods))
		return "database.method";
	if (job->connection_ref && !reference_is_safe(job->connection_ref))
		return "database.connectionRef";
	if ((bad = destination_bad_reference(&job->destination)) != NULL)
		return bad;
	if (strcmp(job->kind, "backup") == 0)
		return job->connection_ref ? NULL : "database.connectionRef";

	restores = strcmp(job->kind, "expire") != 0;
	if (restores && !is_one_of(job->mode, modes))
		return "mode";
	if (restores && !is_target(job))
		return "target";
	if (!is_uuid(job->backup_id))
		return "backup.id";
	if (job->backup_fence < 1)
		return "backup.fence";
	if (job->artifact.name == NULL || !is_reference(job->artifact.name, ARTIFACT_MAX))
		return "backup.artifact.name";
	if (job->artifact.size < 0)
		return "backup.artifact.sizeBytes";
	if (!sha256_is_well_formed(job->artifact.sha256))
		return "backup.artifact.checksumSha256";
	return NULL;
}

void
job_free(Job *job)
{
	if (job == NULL)
		return;
	free(job->id);
	free(job->kind);
	free(job->org_id);
	free(job->database_id);
	free(job->database_name);
	free(job->connection_ref);
	free(job->method);
	free(job->destination.id);
	free(job->destination.provider);
	free(job->destination.uri);
	free(job->destination.region);
	free(job->destination.credential_ref);
	free(job->mode);
	free(job->target);
	free(job->backup_id);
	free(job->artifact.name);
	free(job);
}
