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
#define URI_MAX 500
#define ARTIFACT_MAX 500

static bool
is_alphanumeric(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Letters, digits and . _ / -, without an empty, . or .. segment; a trailing slash is one. */
static bool
is_path(const char *text, size_t max)
{
	size_t		len = strlen(text);

	if (len == 0 || len > max || !is_alphanumeric(text[0]))
		return false;
	for (const char *segment = text;;)
	{
		size_t		segment_len = strcspn(segment, "/");

		if (segment_len == 0 || (segment[0] == '.' && (segment_len == 1 || (segment_len == 2 && segment[1] == '.'))))
			return false;
		for (size_t i = 0; i < segment_len; i++)
			if (!is_alphanumeric(segment[i]) && (segment[i] == '\0' || strchr("._-", segment[i]) == NULL))
				return false;
		if (segment[segment_len] == '\0')
			return true;
		segment += segment_len + 1;
	}
}

bool
reference_is_safe(const char *text)
{
	return is_path(text, REFERENCE_MAX);
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

/* SCHEME://AUTHORITY/PATH, of the characters that the API allows */
static bool
is_uri(const char *uri)
{
	const char *rest;
	size_t		scheme;
	size_t		authority;

	if (uri == NULL || strlen(uri) > URI_MAX)
		return false;
	scheme = strspn(uri, "abcdefghijklmnopqrstuvwxyz0123456789+.-");
	if (scheme == 0 || uri[0] < 'a' || uri[0] > 'z' || !text_begins(uri + scheme, "://"))
		return false;
	rest = uri + scheme + 3;
	authority = strcspn(rest, "/");
	for (size_t i = 0; i < authority; i++)
		if (!is_alphanumeric(rest[i]) && strchr("._~-:", rest[i]) == NULL)
			return false;
	if (authority > 0 && !is_alphanumeric(rest[0]))
		return false;

	/* segments: none is . or .., none begins with a dash */
	for (rest += authority; *rest;)
	{
		size_t		len = strcspn(++rest, "/");

		if (rest[0] == '-' || (rest[0] == '.' && (len == 1 || (len == 2 && rest[1] == '.'))))
			return false;
		for (size_t i = 0; i < len; i++)
			if (!is_alphanumeric(rest[i]) && strchr("._~-", rest[i]) == NULL)
				return false;
		rest += len;
	}
	return true;
}

/* A directory is for the provider local and for no other. */
static bool
is_provider_of(const char *provider, const char *uri)
{
	return text_begins(uri, "file://") == (strcmp(provider, "local") == 0);
}

const char *
destination_bad_reference(const Destination *destination)
{
	static const char *const providers[] = {"local", "s3", "minio", "gcs", "wasabi", "b2", NULL};

	if (!is_uuid(destination->id))
		return "destination.id";
	if (!is_one_of(destination->provider, providers))
		return "destination.provider";
	if (!is_uri(destination->uri) || !is_provider_of(destination->provider, destination->uri))
		return "destination.uri";
	if (destination->region && (!*destination->region || strlen(destination->region) > 50 || destination->region[0] == '-' ||
								strspn(destination->region, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(destination->region)))
		return "destination.region";
	if (destination->credential_ref && !reference_is_safe(destination->credential_ref))
		return "destination.credentialRef";
	return NULL;
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
	if (restores && (job->target == NULL || !reference_is_safe(job->target)))
		return "target";
	if (!is_uuid(job->backup_id))
		return "backup.id";
	if (job->backup_fence < 1)
		return "backup.fence";
	if (job->artifact.name == NULL || !is_path(job->artifact.name, ARTIFACT_MAX))
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
