/*
 * restore.c
 *		Restores and drills: refuse, fetch, verify, restore, check, report.
 *
 * Invariants: the target is not touched before size, SHA-256 and signature of all that is
 * restored were verified. "backup" is blamed only if its own bytes are at fault: its manifest
 * was read, and an object is not what the manifest or the control database says. If not even
 * the manifest is there, the destination may be another one, or not mounted.
 */
#include "restore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "common/json.h"
#include "config.h"
#include "destination.h"
#include "environment.h"
#include "job.h"
#include "json.h"
#include "log.h"
#include "manifest.h"
#include "names.h"
#include "process.h"
#include "server.h"
#include "stream.h"
#include "text.h"
#include "trust.h"
#include "worker.h"

#define ROLES_MAX ((size_t) 64 << 20)
#define ROWS_MAX ((size_t) 256 << 20)

void
restore_add_check(Restore *restore, const char *name, const char *result, const char *detail)
{
	Buffer	   *checks = &restore->checks;

	buffer_format(checks, "%s{\"name\":\"%s\",\"result\":\"%s\"", checks->len > 0 ? "," : "", name, result);
	if (detail)
	{
		char	   *short_detail = text_slice(detail, strlen(detail) < 480 ? strlen(detail) : 480);

		buffer_text(checks, ",\"detail\":");
		buffer_json(checks, short_detail);
		free(short_detail);
	}
	buffer_text(checks, "}");
	log_line("check %s: %s%s%s", name, result, detail ? ", " : "", detail ? detail : "");
}

char *
restore_database_property(const Restore *restore, const char *name)
{
	Json		rows = {restore->rows, restore->rows ? strlen(restore->rows) : 0};

	return json_text(json_member(json_member(rows, "database"), name));
}

char *
restore_section(Worker *worker, char **name)
{
	const Job  *job = worker->job;
	char	   *section = job_target_section(job);

	if (!names_have(&worker->config->target_sections, section))
	{
		fail(worker, "unknown_target", "target", false, "this node's targets have no section %s", section);
		free(section);
		return NULL;
	}
	/* a drill needs no name and ignores one */
	if (name && strcmp(job->kind, "drill") != 0 && job_target_name(job))
		*name = text_copy(job_target_name(job));
	return section;
}

static bool
take_target(Restore *restore)
{
	Worker	   *worker = restore->worker;

	restore->section = restore_section(worker, &restore->name);
	if (restore->section == NULL)
		return false;
	if (strcmp(worker->job->mode, "in_place") == 0 && !restore->drill && !config_allows_in_place(worker->config, restore->section))
		return fail(worker, "target_not_allowed", "target", false, "allow_in_place of this node does not list %s", restore->section);
	return true;
}

/* The name of the manifest, which follows from that of the artifact. */
static char *
manifest_name(const Job *job)
{
	static const char *const suffixes[] = {SUFFIX_DUMP, SUFFIX_BASE};
	const char *artifact = job->artifact.name;

	for (size_t i = 0; i < 2; i++)
		if (text_ends(artifact, suffixes[i]))
			return text_format("%.*s%s", (int) (strlen(artifact) - strlen(suffixes[i])), artifact, SUFFIX_MANIFEST);
	return NULL;
}

/* Whether the manifest is that of the backup, and of the artifact that the control database knows. */
static bool
is_manifest_of(const Manifest *m, const Job *job)
{
	return strcmp(m->org_id, job->org_id) == 0 && strcmp(m->job_id, job->backup_id) == 0 && m->fence == job->backup_fence &&
		strcmp(m->database_id, job->database_id) == 0 && strcmp(m->artifact.name, job->artifact.name) == 0 &&
		m->artifact.digest.size == job->artifact.size && strcmp(m->artifact.digest.sha256, job->artifact.sha256) == 0;
}

static bool
judge_manifest(Restore *restore, Trust trust, const char *name, const char *error)
{
	Worker	   *worker = restore->worker;

	switch (trust)
	{
		case TRUST_MALFORMED:
			return fail(worker, "manifest_damaged", "backup", false, "%s: %s", name, error);
		case TRUST_BAD_SIGNATURE:
			return fail(worker, "signature_invalid", "backup", false, "%s: %s", name, error);
		case TRUST_STRANGE_KEY:
			return fail(worker, "key_untrusted", "node", false, "%s: %s", name, error);
		case TRUST_UNSIGNED:
			return fail(worker, "manifest_unsigned", "node", false, "%s: %s", name, error);
		case TRUST_SIGNED:
		case TRUST_UNCHECKED:
			break;
	}
	restore->is_signed = trust == TRUST_SIGNED;
	if (!is_manifest_of(&restore->manifest, worker->job))
		return fail(worker, "manifest_damaged", "backup", false, "%s is not the manifest of this backup", name);
	return true;
}

static bool
fetch_manifest(Restore *restore)
{
	Worker	   *worker = restore->worker;
	char	   *name = manifest_name(worker->job);
	char	   *data = NULL;
	ObjectDigest digest;
	char	   *error = NULL;
	bool		good;

	if (name == NULL)
		return fail(worker, "unknown_format", "node", false, "%s was not made by walwarden-runner", worker->job->artifact.name);
	good = object_get(worker->config, &worker->job->destination, name, MANIFEST_MAX, &data, &digest, &error);
	if (!good)
		fail(worker, "destination_failed", "node", true, "%s", error);
	else if (digest.size == 0)
		good = fail(worker, "manifest_missing", "node", true, "%s is not at the destination", name);
	else
	{
		Trust		trust = manifest_parse(worker->config, data, digest.size, &restore->manifest, &error);

		good = judge_manifest(restore, trust, name, error);
	}
	free(data);
	free(error);
	free(name);
	return good;
}

/* After an object was read without an error. */
static bool
judge_object(Worker *worker, const ManifestObject *object, const ObjectDigest *digest)
{
	if (digests_equal(&object->digest, digest))
		return true;
	if (digest->size == 0)
		return fail(worker, "artifact_missing", "backup", false, "%s is not at the destination", object->name);
	if (digest->size != object->digest.size)
		return fail(worker, "artifact_changed", "backup", false, "%s has %lld bytes at the destination, the backup had %lld",
					object->name, (long long) digest->size, (long long) object->digest.size);
	return fail(worker, "artifact_changed", "backup", false, "the SHA-256 of %s is %s, that of the backup was %s", object->name, digest->sha256, object->digest.sha256);
}

static bool
fetch_small(Restore *restore, const ManifestObject *object, size_t limit, char **data)
{
	Worker	   *worker = restore->worker;
	ObjectDigest digest;
	char	   *error = NULL;

	if (object_get(worker->config, &worker->job->destination, object->name, limit, data, &digest, &error))
		return judge_object(worker, object, &digest);
	fail(worker, "destination_failed", "node", true, "%s", error);
	free(error);
	return false;
}

static bool
check_room(Worker *worker, int64_t needed)
{
	struct statvfs info;

	if (statvfs(worker->scratch, &info) == 0 && (int64_t) info.f_bavail * (int64_t) info.f_frsize < needed)
		return fail(worker, "disk_full", "node", true, "the work directory has %lld bytes free, the artifact alone has %lld",
					(long long) info.f_bavail * (long long) info.f_frsize, (long long) needed);
	return true;
}

static bool
fetch_artifact(Restore *restore)
{
	Worker	   *worker = restore->worker;
	const ManifestObject *object = &restore->manifest.artifact;
	ObjectDigest digest;
	int			file;
	bool		good;

	restore->artifact = text_format("%s/artifact", worker->scratch);
	worker->progress->bytes_total = object->digest.size;
	file = open(restore->artifact, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (file < 0)
		return fail(worker, "node_failed", "node", true, "%s: %s", restore->artifact, strerror(errno));
	good = stream_from_object(worker, object->name, file, &digest);
	if (close(file) < 0 && good)
		good = fail(worker, "node_failed", "node", true, "%s: %s", restore->artifact, strerror(errno));
	worker->progress->bytes_total = 0;
	if (!good)
		return false;
	report(worker, "verifying", NULL);
	return judge_object(worker, object, &digest);
}

static bool
fetch(Restore *restore, const RestoreMode *mode)
{
	Worker	   *worker = restore->worker;
	const Manifest *m = &restore->manifest;

	worker->progress->phase = PHASE_DOWNLOADING;
	if (!fetch_manifest(restore) || !mode->accept(restore) || !check_room(worker, m->artifact.digest.size))
		return false;
	if (m->rows.name && !fetch_small(restore, &m->rows, ROWS_MAX, &restore->rows))
		return false;
	if (m->roles.name && !fetch_small(restore, &m->roles, ROLES_MAX, &restore->roles))
		return false;
	return fetch_artifact(restore);
}

bool
restore_run(Restore *restore, Server *server, const char *const *arguments, char **error)
{
	char	   *program = text_format("%s/pg_restore", server->bindir);

	/*
	 * a subscription is no content; it keeps its database from being dropped,
	 * and the slot of the original is not ours
	 */
	const char *argv[16] = {program, "--exit-on-error", "--no-password", "--no-subscriptions"};
	size_t		argc = 4;
	Environment environment;
	bool		restored;

	while (*arguments)
		argv[argc++] = *arguments++;
	argv[argc++] = restore->artifact;
	argv[argc] = NULL;
	server_environment(restore->worker, server, &environment);
	/* so that the server notices within a second if pg_restore is killed */
	if (server->version >= 140000)
		environment_add(&environment, "PGOPTIONS", "-c client_connection_check_interval=1s");
	restored = process_run(argv, ENVIRONMENT_ENTRIES(environment), NULL, NULL, 0, error);
	environment_free(&environment);
	free(program);
	return restored;
}

static int64_t
now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static bool
run(Restore *restore, const RestoreMode *mode)
{
	Worker	   *worker = restore->worker;
	int64_t		begun;
	int64_t		fetched;
	int64_t		restored;
	Buffer		json = {0};

	if (!take_target(restore) || !mode->begin(restore))
		return false;
	begun = now_seconds();
	report(worker, "downloading", NULL);
	if (!fetch(restore, mode))
		return false;
	report(worker, "manifest_verified", NULL);
	restore_add_check(restore, "checksums", "passed", "size and SHA-256 of every object");
	restore_add_check(restore, "signature", restore->is_signed ? "passed" : "not_run",
					  restore->is_signed ? NULL : "this node has no trusted_keys");
	fetched = now_seconds();

	worker->progress->phase = PHASE_RESTORING;
	report(worker, "restoring", NULL);
	if (!mode->restore(restore))
		return false;
	restored = now_seconds();

	worker->progress->phase = PHASE_CHECKING;
	report(worker, "finalizing", NULL);
	if (!mode->check(restore) || !mode->finish(restore))
		return false;
	worker->progress->phase = PHASE_FINISHING;
	buffer_format(&json, "{\"validation\":{\"result\":\"passed\",\"checks\":[%s],\"measured\":{\"fetchSeconds\":%lld,\"restoreSeconds\":%lld,\"checkSeconds\":%lld}}}",
				  restore->checks.data, (long long) (fetched - begun), (long long) (restored - fetched), (long long) (now_seconds() - restored));
	report(worker, "completed", json.data);
	buffer_free(&json);
	return true;
}

bool
run_restore(Worker *worker)
{
	const RestoreMode *mode = strcmp(worker->job->mode, "new_cluster") == 0 ? &restore_cluster : &restore_database;
	Restore		restore = {.worker = worker,.drill = strcmp(worker->job->kind, "drill") == 0};
	bool		done = run(&restore, mode);

	if (!done)
		mode->undo(&restore);
	server_close(&restore.target);
	manifest_free(&restore.manifest);
	free(restore.section);
	free(restore.name);
	free(restore.rows);
	free(restore.roles);
	free(restore.artifact);
	buffer_free(&restore.checks);
	return done;
}
