/*
 * backup.c
 *		A backup job: store, read again, sign, record, report.
 *
 * Invariants: the manifest is the last object that is stored, and evidence is recorded before
 * the job is completed. A job that fails removes its objects.
 */
#include "backup.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control.h"
#include "destination.h"
#include "environment.h"
#include "log.h"
#include "manifest.h"
#include "names.h"
#include "process.h"
#include "server.h"
#include "stream.h"
#include "text.h"
#include "worker.h"

#define VERSION_MAX 200
#define ISO_NOW "to_char(statement_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

void
backup_option(Backup *backup, const char *option)
{
	names_add(&backup->manifest.options, option);
}

bool
backup_describe(Backup *backup)
{
	Manifest   *m = &backup->manifest;
	char	   *error = NULL;
	PGresult   *result = server_query(&backup->server,
									  "SELECT " ISO_NOW ", CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, "
									  "current_setting('server_version'), (SELECT system_identifier FROM pg_control_system())",
									  0, NULL, &error);

	if (result == NULL)
	{
		fail(backup->worker, "connection_failed", NULL, true, "%s", error);
		free(error);
		return false;
	}
	m->time = text_copy(PQgetvalue(result, 0, 0));
	m->lsn = text_copy(PQgetvalue(result, 0, 1));
	m->server_version = text_copy(PQgetvalue(result, 0, 2));
	m->system_identifier = text_copy(PQgetvalue(result, 0, 3));
	PQclear(result);
	return true;
}

bool
backup_tool_version(Backup *backup, const char *program, char **version)
{
	char	   *path = text_format("%s/%s", backup->server.bindir, program);
	Environment environment;
	Buffer		line = {0};
	char	   *error = NULL;
	bool		ran;

	environment_begin(&environment, backup->server.bindir, backup->worker->scratch);
	ran = process_run(ARGUMENTS(path, "--version"), ENVIRONMENT_ENTRIES(environment), NULL, &line, VERSION_MAX, &error);
	environment_free(&environment);
	free(path);
	if (!ran)
	{
		fail(backup->worker, "programs_missing", NULL, process_was_killed(error), "%s", error);
		free(error);
		buffer_free(&line);
		return false;
	}
	line.data[strcspn(line.data, "\n")] = '\0';
	/* "pg_dump (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)" */
	*version = text_copy(strstr(line.data, ") ") ? strstr(line.data, ") ") + 2 : line.data);
	buffer_free(&line);
	return true;
}

bool
backup_reread(Backup *backup, const ManifestObject *object, const ObjectDigest *digest)
{
	if (digests_equal(&object->digest, digest))
		return true;
	return fail(backup->worker, "destination_failed", NULL, true,
				"%s: %lld bytes were written, and the destination returned %lld bytes that differ",
				object->name, (long long) object->digest.size, (long long) digest->size);
}

/*
 * Which destinations work is known to the control database. The object has a name of the job's,
 * so that it is found if it is left behind.
 */
static bool
check_destination(Backup *backup)
{
	Worker	   *worker = backup->worker;
	char	   *name = text_format("%s%s", backup->stem, SUFFIX_PREFLIGHT);
	char	   *error = NULL;
	bool		works = destination_preflight(worker->config, &worker->job->destination, name, &error);

	if (worker->control)
		control_report_destination(worker->control, worker->job->destination.id, works ? NULL : error);
	if (!works)
		fail(worker, "destination_failed", NULL, true, "%s", error);
	free(error);
	free(name);
	return works;
}

static void
remove_objects(Backup *backup)
{
	static const char *const suffixes[] = {SUFFIX_MANIFEST, SUFFIX_DUMP, SUFFIX_BASE, SUFFIX_ROWS, SUFFIX_ROLES};

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
	{
		char	   *name = text_format("%s%s", backup->stem, suffixes[i]);
		char	   *error = NULL;

		if (!object_delete(backup->worker->config, &backup->worker->job->destination, name, &error))
			log_line("%s was not removed: %s", name, error);
		free(error);
		free(name);
	}
}

static void
report_completed(Backup *backup, const Buffer *manifest)
{
	const ManifestObject *artifact = &backup->manifest.artifact;
	Buffer		json = {0};
	char		now[32];
	time_t		seconds = time(NULL);
	struct tm	utc;

	if (strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &utc)) == 0)
		*now = '\0';
	buffer_format(&json, "{\"manifest\":%s,\"integrityVerification\":{\"result\":\"passed\",\"checkedAt\":\"%s\",\"tool\":", manifest->data, now);
	buffer_json(&json, backup->tool);
	buffer_format(&json, "},\"recoverableFrom\":\"%s\",\"recoverableTo\":\"%s\"}", backup->manifest.time, backup->manifest.time);
	report_evidence(backup->worker, json.data);
	buffer_free(&json);

	buffer_text(&json, "{\"artifact\":{\"name\":");
	buffer_json(&json, artifact->name);
	buffer_format(&json, ",\"sizeBytes\":%lld,\"checksumSha256\":\"%s\"}}", (long long) artifact->digest.size, artifact->digest.sha256);
	report(backup->worker, "completed", json.data);
	buffer_free(&json);
}

static bool
make_backup(Backup *backup)
{
	Worker	   *worker = backup->worker;
	const Job  *job = worker->job;
	bool		dump = strcmp(job->method, METHOD_DUMP) == 0;
	Manifest   *m = &backup->manifest;
	Buffer		manifest = {0};
	ManifestObject stored = {0};
	char	   *name;
	char	   *error = NULL;
	bool		done;

	if (!names_have(&worker->config->service_sections, job->connection_ref))
		return fail(worker, "unknown_connection", NULL, false, "this node's services have no section %s", job->connection_ref);
	if (!check_destination(backup))
		return false;
	backup->server.services = worker->config->services;
	backup->server.section = text_copy(job->connection_ref);
	if (!server_open(worker, &backup->server, NULL))
		return false;

	m->org_id = text_copy(job->org_id);
	m->job_id = text_copy(job->id);
	m->fence = job->fence;
	m->database_id = text_copy(job->database_id);
	m->database = text_copy(job->database_name ? job->database_name : "");
	m->method = text_copy(job->method);
	m->node = text_copy(worker->config->node);

	report(worker, "running", NULL);
	worker->progress->phase = PHASE_COPYING;
	if (!(dump ? dump_store(backup) : base_store(backup)))
		return false;

	/* the rest is between us and the destination */
	server_disconnect(&backup->server);
	report(worker, "finalizing", NULL);
	worker->progress->phase = PHASE_VERIFYING;
	if (!(dump ? dump_verify(backup) : base_verify(backup)))
		return false;

	worker->progress->phase = PHASE_FINISHING;
	if (!manifest_write(worker->config, m, &manifest, &error))
	{
		fail(worker, "signing_failed", NULL, false, "%s", error);
		free(error);
		buffer_free(&manifest);
		return false;
	}
	name = text_format("%s%s", backup->stem, SUFFIX_MANIFEST);
	done = stream_text(worker, name, &manifest, &stored);
	if (done)
		report_completed(backup, &manifest);
	free(stored.name);
	free(name);
	buffer_free(&manifest);
	return done;
}

bool
run_backup(Worker *worker)
{
	Backup		backup = {.worker = worker};
	bool		done;

	backup.stem = manifest_stem(worker->job->database_id, worker->job->id, worker->job->fence);
	done = make_backup(&backup);
	if (!done)
		remove_objects(&backup);
	server_close(&backup.server);
	manifest_free(&backup.manifest);
	free(backup.stem);
	free(backup.tool);
	return done;
}
