/*
 * evidence.c
 *		The manifests of a bundle, and the artifacts that they describe.
 *
 * Invariant: a manifest is OK only if the last entry that records evidence of its job holds
 * the same bytes, and its signature is that of a trusted key of the node that it names.
 */
#include "evidence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/canonical.h"
#include "common/decimal.h"
#include "common/hex.h"
#include "common/json.h"
#include "common/manifest.h"
#include "common/signature.h"
#include "common/syntax.h"
#include "digest.h"
#include "file.h"
#include "json.h"
#include "report.h"
#include "stop.h"
#include "trust.h"

#define KIND "evidence.recorded"

bool
manifest_name_is_well_formed(const char *name)
{
	return strlen(name) == UUID_TEXT_LEN + strlen(MANIFEST_SUFFIX) && uuid_is_canonical(name, UUID_TEXT_LEN) &&
		strcmp(name + UUID_TEXT_LEN, MANIFEST_SUFFIX) == 0;
}

void
evidence_begin(Evidence *evidence, int manifests, int artifacts, const Names *manifest_names, const Names *artifact_names)
{
	memset(evidence, 0, sizeof(*evidence));
	evidence->manifests = manifests;
	evidence->artifacts = artifacts;
	evidence->backups = reallocate(NULL, manifest_names->count * sizeof(Backup));
	for (size_t i = 0; i < manifest_names->count; i++)
	{
		Backup	   *backup = &evidence->backups[evidence->nbackups];

		if (!manifest_name_is_well_formed(manifest_names->name[i]) || file_kind(manifests, manifest_names->name[i]) != KIND_REGULAR)
			continue;
		memset(backup, 0, sizeof(*backup));
		memcpy(backup->job_id, manifest_names->name[i], UUID_TEXT_LEN);
		evidence->nbackups++;
	}
	evidence->artifact_names = *artifact_names;
	evidence->is_named = reallocate(NULL, artifact_names->count * sizeof(bool));
	memset(evidence->is_named, 0, artifact_names->count * sizeof(bool));
}

void
evidence_free(Evidence *evidence)
{
	free(evidence->backups);
	free(evidence->is_named);
}

static int
compare_jobs(const void *job_id, const void *backup)
{
	return memcmp(job_id, ((const Backup *) backup)->job_id, UUID_TEXT_LEN);
}

/* Whether a member of the manifest, if it is there, is the one of the state of the evidence. */
static bool
agrees(Json manifest, const char *key, Json value)
{
	Json		member = json_member(manifest, key);

	return member.data == NULL || json_equal(member, value);
}

void
evidence_take(Evidence *evidence, const Entry *entry)
{
	Backup	   *backup;
	Json		state;
	Json		job;
	Json		manifest;

	if (entry->kind_len != strlen(KIND) || memcmp(entry->kind, KIND, entry->kind_len) != 0 || entry->job_id == NULL)
		return;
	backup = bsearch(entry->job_id, evidence->backups, evidence->nbackups, sizeof(Backup), compare_jobs);
	if (backup == NULL)
		return;
	state = json_member(entry->payload, "after");
	manifest = json_member(state, "manifest");
	job = json_member(state, "backupJobId");
	backup->seq = entry->seq;
	backup->contradicts = !json_is_string(job, backup->job_id, UUID_TEXT_LEN) ||
		!agrees(manifest, "jobId", job) ||
		!agrees(manifest, "fence", json_member(state, "fence")) ||
		!agrees(manifest, "databaseId", json_member(state, "databaseId")) ||
		!agrees(manifest, "orgId", json_member(entry->payload, "org"));
	/* without a manifest that of nothing, which no manifest has */
	digest_bytes(manifest.data, manifest.len, backup->digest);
}

/* NULL, or what is wrong with the signature; *is_signed is whether there is one. */
static const char *
signature_problem(Json manifest, const Trust *trust, bool *is_signed, const VerifierKey **key)
{
	SignedManifest parsed;
	Json		node = json_member(manifest, "node");
	Json		name = json_plain(node);
	Json		key_member = json_member(manifest, "publicKey");
	Json		key_text = json_plain(key_member);
	uint8_t		public_key[PUBLIC_KEY_LEN];
	Signer		signer = {0};
	const char *problem;

	*is_signed = false;
	if (!manifest_read(manifest.data, manifest.len, ENTRY_BODY_MAX, &json_memory, &parsed))
		return "its signature is malformed";
	*is_signed = parsed.has_signature;
	signer.name = name.data;
	signer.name_len = name.len;
	if (key_text.data != NULL && public_key_read(key_text.data, key_text.len, public_key))
		signer.public_key = public_key;
	if (!parsed.has_signature)
		problem = NULL;
	else if ((node.data != NULL && name.data == NULL) || (key_member.data != NULL && signer.public_key == NULL))
		problem = "its node or its key is malformed";
	else
		problem = trust_manifest_problem(trust, &signer, &parsed, key);
	free(parsed.bytes);
	return problem;
}

/* NULL, or why the chain does not vouch for the manifest. */
static const char *
entry_problem(const Backup *backup, Json manifest)
{
	uint8_t		digest[DIGEST_LEN];

	digest_bytes(manifest.data, manifest.len, digest);
	if (backup->seq == 0)
		return "no entry records it";
	if (memcmp(digest, backup->digest, DIGEST_LEN) != 0)
		return "the last entry of its job has another one";
	if (backup->contradicts)
		return "its entry is of another job, fence, database or organisation";
	return NULL;
}

/* Reports on one manifest, of which manifest is the canonical text, or none. */
static void
report_manifest(const Backup *backup, Json manifest, const Chain *chain, const Trust *trust, Report *report)
{
	const char *problem = NULL;
	const VerifierKey *key = NULL;
	bool		is_signed = false;

	if (manifest.data == NULL)
		problem = "it is not a canonical JSON object";
	if (problem == NULL)
		problem = signature_problem(manifest, trust, &is_signed, &key);
	if (problem == NULL && chain->sound)
		problem = entry_problem(backup, manifest);
	if (problem != NULL)
		report_check(report, VERDICT_FAIL, "manifest %s: %s", backup->job_id, problem);
	else if (!chain->sound)
		report_check(report, VERDICT_SKIP, "manifest %s: the chain is not sound", backup->job_id);
	else if (!is_signed)
		report_check(report, VERDICT_SKIP, "manifest %s: it is not signed, entry %lld has it", backup->job_id, (long long) backup->seq);
	else
		report_check(report, VERDICT_OK, "manifest %s: signed by %s, entry %lld has it", backup->job_id, key->name, (long long) backup->seq);
}

static int
compare_name(const void *name, const void *element)
{
	return strcmp(name, *(char *const *) element);
}

/* The last component of the name of an object; terminated. False if no file can have this name. */
static bool
read_file_name(Json object, char *name, size_t size)
{
	Json		path = json_plain(json_member(object, "name"));
	const char *slash = path.data == NULL ? NULL : memrchr(path.data, '/', path.len);
	const char *begin = slash == NULL ? path.data : slash + 1;
	size_t		len = path.data == NULL ? 0 : (size_t) (path.data + path.len - begin);

	if (len == 0 || len >= size)
		return false;
	memcpy(name, begin, len);
	name[len] = '\0';
	return strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static const char *
object_problem(Json object, int fd, const char *name, int64_t *size)
{
	Json		checksum = json_member(object, "checksumSha256");
	Json		size_member = json_member(object, "sizeBytes");
	int64_t		expected;
	uint8_t		digest[DIGEST_LEN];
	char		hex[2 * DIGEST_LEN];

	/* before it is read, which may take long */
	if (size_member.data != NULL && (!decimal_read(size_member.data, size_member.len, &expected) || expected != file_size(fd, name)))
		return "it has not the size that the manifest names";
	digest_file(fd, name, digest, size);
	hex_lower(digest, DIGEST_LEN, hex);
	if (!json_is_string(checksum, hex, sizeof(hex)))
		return "it has not the SHA-256 that the manifest names";
	return NULL;
}

/* Reports on an object that a manifest describes. Only the artifact itself is missed. */
static void
report_object(Evidence *evidence, const Backup *backup, Json manifest, const char *key, bool is_missed, Report *report)
{
	Json		object = json_member(manifest, key);
	char		name[256];
	char	  **found;
	int			fd;
	int64_t		size;
	const char *problem;

	if (object.data == NULL)
		return;
	if (!read_file_name(object, name, sizeof(name)))
	{
		if (is_missed)
			report_check(report, VERDICT_SKIP, "artifact of %s: the manifest names no file", backup->job_id);
		return;
	}
	found = evidence->artifact_names.count == 0 ? NULL :
		bsearch(name, evidence->artifact_names.name, evidence->artifact_names.count, sizeof(char *), compare_name);
	fd = found == NULL ? -1 : file_open(evidence->artifacts, name);
	if (fd < 0)
	{
		if (is_missed)
			report_check(report, VERDICT_SKIP, "artifact %s: it is not here", name);
		return;
	}
	evidence->is_named[found - evidence->artifact_names.name] = true;
	problem = object_problem(object, fd, name, &size);
	close(fd);
	if (problem == NULL)
		report_check(report, VERDICT_OK, "artifact %s: %lld bytes", name, (long long) size);
	else
		report_check(report, VERDICT_FAIL, "artifact %s: %s", name, problem);
}

/* The text of a manifest, allocated; none if it is not canonical. */
static Json
read_manifest(const Evidence *evidence, const Backup *backup)
{
	char		name[UUID_TEXT_LEN + sizeof(MANIFEST_SUFFIX)];
	Content		text;

	(void) snprintf(name, sizeof(name), "%s" MANIFEST_SUFFIX, backup->job_id);
	text = file_content(evidence->manifests, name, ENTRY_BODY_MAX);
	if (text.data != NULL && text.len > 0 && text.data[0] == '{' && canonical_check(text.data, text.len, ENTRY_BODY_MAX, 0, NULL, NULL))
		return json_part(text.data, text.len);
	free(text.data);
	return json_part(NULL, 0);
}

void
evidence_report(Evidence *evidence, const Chain *chain, const Trust *trust, Report *report)
{
	for (size_t i = 0; i < evidence->nbackups; i++)
	{
		Json		manifest = read_manifest(evidence, &evidence->backups[i]);

		report_manifest(&evidence->backups[i], manifest, chain, trust, report);
		free((char *) manifest.data);
	}
	for (size_t i = 0; i < evidence->nbackups; i++)
	{
		Json		manifest = read_manifest(evidence, &evidence->backups[i]);

		report_object(evidence, &evidence->backups[i], manifest, "artifact", true, report);
		report_object(evidence, &evidence->backups[i], manifest, "rows", false, report);
		report_object(evidence, &evidence->backups[i], manifest, "roles", false, report);
		free((char *) manifest.data);
	}
	for (size_t i = 0; i < evidence->artifact_names.count; i++)
		if (!evidence->is_named[i])
			report_check(report, VERDICT_FAIL, "artifact %s: no manifest names it", evidence->artifact_names.name[i]);
}
