/*
 * control.c
 *		The control database.
 *
 * Invariants: a statement is one transaction, which authenticates before anything else of it
 * is evaluated: the call depends on what authenticate() returned. No text of this file or of
 * libpq that reaches a log holds the token or the connection string. The server takes JSON
 * apart, so that there is one reader of JSON.
 */
#include "control.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libpq-fe.h>
#include <openssl/crypto.h>

#include "common/hex.h"
#include "common/syntax.h"
#include "config.h"
#include "job.h"
#include "permissions.h"
#include "session.h"
#include "text.h"

#define PARAMETERS_MAX 6

/* authenticate() first: whatever depends on a.ok waits for it. */
#define AS_NODE " FROM (SELECT walwarden.authenticate($1) IS NOT NULL) AS a(ok)"

/*
 * Members of c.job as texts. Operators and types have their schema, as functions have, so that
 * none is found in another one, which the owner of the database put before pg_catalog.
 */
#define MEMBER(key) "c.job OPERATOR(pg_catalog.->>) '" key "'"
#define INNER_MEMBER(path) "c.job OPERATOR(pg_catalog.#>>) '{" path "}'"

/* The columns that make a Job, of c.job */
#define JOB_COLUMNS \
	"c.job_id, c.kind, c.fence, " MEMBER("attempt") ", coalesce(" MEMBER("orgId") ", walwarden.current_org_id()::pg_catalog.text), " \
	MEMBER("databaseId") ", " INNER_MEMBER("database,name") ", " INNER_MEMBER("database,connectionRef") ", coalesce(" INNER_MEMBER("database,method") ", 'pg_dump'), " \
	INNER_MEMBER("destination,id") ", " INNER_MEMBER("destination,provider") ", " INNER_MEMBER("destination,uri") ", " INNER_MEMBER("destination,region") ", " INNER_MEMBER("destination,credentialRef") ", " \
	MEMBER("mode") ", " MEMBER("target") ", " MEMBER("backupJobId") ", " INNER_MEMBER("backup,fence") ", " \
	INNER_MEMBER("backup,artifact,name") ", " INNER_MEMBER("backup,artifact,sizeBytes") ", " INNER_MEMBER("backup,artifact,checksumSha256")

struct Control
{
	const Config *config;
	const char *public_key;
	Session		session;
	char		token[TOKEN_TEXT_LEN + 1];
	bool		registered;		/* this token has registered the node */
};

Control *
control_new(const Config *config, const char *public_key)
{
	Control    *control = allocate(sizeof(Control));

	control->config = config;
	control->session.config = config;
	control->public_key = public_key;
	return control;
}

Control *
control_inherit(const Control *control)
{
	Control    *heir = control_new(control->config, control->public_key);

	memcpy(heir->token, control->token, sizeof(heir->token));
	heir->registered = control->registered;
	return heir;
}

void
control_free(Control *control)
{
	if (control == NULL)
		return;
	session_close(&control->session);
	OPENSSL_cleanse(control->token, sizeof(control->token));
	free(control);
}

void
control_forget(Control *control)
{
	session_forget(&control->session);
}

void
control_interrupt(Control *control, bool (*interrupted) (void))
{
	control->session.interrupted = interrupted;
}

void
control_hurry(Control *control, int seconds)
{
	control->session.patience = seconds;
}

const char *
control_message(const Control *control)
{
	return control->session.message ? control->session.message : "";
}

const char *
control_hint(const Control *control)
{
	return control->session.hint;
}

bool
control_read_token(Control *control)
{
	const char *path = control->config->token_file;
	char		text[TOKEN_TEXT_LEN + 3];
	char	   *error = NULL;
	ssize_t		len;
	int			fd;

	if (!file_is_guarded(path, true, &error))
	{
		session_say(&control->session, "token_file: %s", error);
		free(error);
		return false;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = fd < 0 ? -1 : read(fd, text, sizeof(text));
	if (fd >= 0)
		close(fd);
	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		len--;
	if (len < 0 || !token_is_well_formed(text, len))
	{
		session_say(&control->session, "token_file: %s holds no token: wal_ and 64 hex digits", path);
		OPENSSL_cleanse(text, sizeof(text));
		return false;
	}
	if (memcmp(control->token, text, TOKEN_TEXT_LEN) != 0)
	{
		memcpy(control->token, text, TOKEN_TEXT_LEN);
		control->token[TOKEN_TEXT_LEN] = '\0';
		control->registered = false;
	}
	OPENSSL_cleanse(text, sizeof(text));
	return true;
}

/* The token is $1, values follow. */
static ControlStatus
call_control(Control *control, const char *statement, int count, const char *const *values, PGresult **result)
{
	const char *parameters[PARAMETERS_MAX] = {control->token};

	*result = NULL;
	if (!*control->token && !control_read_token(control))
		return CONTROL_REFUSED;
	for (int i = 0; i < count; i++)
		parameters[i + 1] = values[i];
	return session_call(&control->session, statement, count + 1, parameters, result);
}

static ControlStatus
register_node(Control *control)
{
	const char *values[] = {control->config->node, RUNNER_VERSION, control->public_key};
	PGresult   *result;
	ControlStatus status;

	status = call_control(control, "SELECT walwarden.register_node(CASE WHEN a.ok THEN $2 END, $3, $4)" AS_NODE, 3, values, &result);
	PQclear(result);
	if (status == CONTROL_DONE)
		control->registered = true;
	else if (status == CONTROL_NOT_OURS || status == CONTROL_REFUSED)
	{
		char	   *said = text_copy(control_message(control));

		session_say(&control->session, "cannot register as node %s: %s", control->config->node, said);
		free(said);
		return CONTROL_REFUSED;
	}
	return status;
}

/* As call_control(), with the token that the file has now if the server rejects this one. */
static ControlStatus
call(Control *control, const char *statement, int count, const char *const *values, PGresult **result)
{
	ControlStatus status;

	for (int attempt = 1;; attempt++)
	{
		char		before[TOKEN_TEXT_LEN];

		status = control->registered ? CONTROL_DONE : register_node(control);
		if (status == CONTROL_DONE)
			status = call_control(control, statement, count, values, result);
		if (status != CONTROL_NO_IDENTITY || attempt > 1)
			return status;
		memcpy(before, control->token, sizeof(before));
		if (!control_read_token(control) || memcmp(before, control->token, sizeof(before)) == 0)
		{
			OPENSSL_cleanse(before, sizeof(before));
			return CONTROL_NO_IDENTITY;
		}
		OPENSSL_cleanse(before, sizeof(before));
	}
}

/* As call(), for calls about no job of ours: 55000 then says that the node is not registered. */
static ControlStatus
call_as_node(Control *control, const char *statement, int count, const char *const *values, PGresult **result)
{
	ControlStatus status = call(control, statement, count, values, result);

	if (status != CONTROL_NOT_OURS)
		return status;
	control->registered = false;
	return CONTROL_REFUSED;
}

/* A call whose result does not matter. */
static ControlStatus
call_void(Control *control, const char *statement, int count, const char *const *values)
{
	PGresult   *result;
	ControlStatus status = call(control, statement, count, values, &result);

	if (status == CONTROL_DONE)
		PQclear(result);
	return status;
}

/* The next column of a row, allocated; NULL for null. */
static char *
take_text(const PGresult *result, int row, int *column)
{
	int			at = (*column)++;

	return PQgetisnull(result, row, at) ? NULL : text_copy(PQgetvalue(result, row, at));
}

/* The same, with the empty text for null. */
static char *
take_some_text(const PGresult *result, int row, int *column)
{
	char	   *text = take_text(result, row, column);

	return text ? text : text_copy("");
}

/* -1 for anything but a number. */
static int64_t
take_number(const PGresult *result, int row, int *column)
{
	int64_t		value;

	return text_to_int(PQgetvalue(result, row, (*column)++), 0, INT64_MAX, &value) ? value : -1;
}

static Job *
take_job(const PGresult *result, int row)
{
	Job		   *job = allocate(sizeof(Job));
	int			column = 0;
	char	   *sha256;

	job->id = take_some_text(result, row, &column);
	job->kind = take_some_text(result, row, &column);
	job->fence = take_number(result, row, &column);
	job->attempt = (int) take_number(result, row, &column);
	job->org_id = take_text(result, row, &column);
	job->database_id = take_text(result, row, &column);
	job->database_name = take_text(result, row, &column);
	job->connection_ref = take_text(result, row, &column);
	job->method = take_text(result, row, &column);
	job->destination.id = take_text(result, row, &column);
	job->destination.provider = take_text(result, row, &column);
	job->destination.uri = take_text(result, row, &column);
	job->destination.region = take_text(result, row, &column);
	job->destination.credential_ref = take_text(result, row, &column);
	job->mode = take_text(result, row, &column);
	job->target = take_text(result, row, &column);
	job->backup_id = take_text(result, row, &column);
	job->backup_fence = take_number(result, row, &column);
	job->artifact.name = take_text(result, row, &column);
	job->artifact.size = take_number(result, row, &column);
	sha256 = take_text(result, row, &column);
	if (sha256 && sha256_is_well_formed(sha256))
		memcpy(job->artifact.sha256, sha256, sizeof(job->artifact.sha256));
	free(sha256);
	return job;
}

/* A text[] of names, which need no quotes within theirs. */
static char *
array_of(const Names *names)
{
	Buffer		array = {0};

	buffer_text(&array, "{");
	for (size_t i = 0; i < names->count; i++)
		buffer_format(&array, "%s\"%s\"", i ? "," : "", names->name[i]);
	buffer_text(&array, "}");
	return array.data;
}

ControlStatus
control_claim(Control *control, const char *kinds, const Names *connections, Job **job)
{
	char	   *sections = array_of(connections);
	char	   *lease = text_format("%d s", control->config->lease);
	const char *values[] = {kinds, lease, sections};
	PGresult   *result;
	ControlStatus status;

	status = call_as_node(control, "SELECT " JOB_COLUMNS AS_NODE ", LATERAL walwarden.claim_job(CASE WHEN a.ok THEN $2::pg_catalog.text[] END, $3::interval, $4::pg_catalog.text[]) AS c", 3, values, &result);
	free(sections);
	free(lease);
	*job = NULL;
	if (status == CONTROL_DONE)
	{
		if (PQntuples(result) > 0)
			*job = take_job(result, 0);
		else
			status = CONTROL_NOTHING;
		PQclear(result);
	}
	return status;
}

ControlStatus
control_held(Control *control, Job ***jobs, int *count)
{
	PGresult   *result;
	ControlStatus status = call_as_node(control, "SELECT " JOB_COLUMNS AS_NODE ", LATERAL (SELECT h.* FROM walwarden.held_jobs() AS h WHERE a.ok OFFSET 0) AS c", 0, NULL, &result);

	*jobs = NULL;
	*count = 0;
	if (status == CONTROL_DONE)
	{
		*count = PQntuples(result);
		*jobs = allocate((size_t) *count * sizeof(Job *));
		for (int i = 0; i < *count; i++)
			(*jobs)[i] = take_job(result, i);
		PQclear(result);
	}
	return status;
}

/* A call about a job that the node holds. first, second: what follows the fence, for as many as count says. */
static ControlStatus
call_for_job(Control *control, const Job *job, const char *statement, int count, const char *first, const char *second)
{
	char	   *fence = text_format("%lld", (long long) job->fence);
	const char *values[] = {job->id, fence, first, second};
	ControlStatus status = call_void(control, statement, 2 + count, values);

	free(fence);
	return status;
}

ControlStatus
control_heartbeat(Control *control, const Job *job, const char *progress_json)
{
	return call_for_job(control, job, "SELECT walwarden.heartbeat_job(CASE WHEN a.ok THEN $2::pg_catalog.uuid END, $3::bigint, $4::pg_catalog.jsonb)" AS_NODE, 1, progress_json, NULL);
}

ControlStatus
control_report(Control *control, const Job *job, const char *state, const char *detail_json)
{
	return call_for_job(control, job, "SELECT walwarden.report_job(CASE WHEN a.ok THEN $2::pg_catalog.uuid END, $3::bigint, $4, $5::pg_catalog.jsonb)" AS_NODE, 2, state, detail_json);
}

ControlStatus
control_evidence(Control *control, const Job *job, const char *evidence_json)
{
	return call_for_job(control, job, "SELECT walwarden.record_evidence(CASE WHEN a.ok THEN $2::pg_catalog.uuid END, $3::bigint, $4::pg_catalog.jsonb)" AS_NODE, 1, evidence_json, NULL);
}

ControlStatus
control_release(Control *control, const Job *job)
{
	return call_for_job(control, job, "SELECT walwarden.release_job(CASE WHEN a.ok THEN $2::pg_catalog.uuid END, $3::bigint)" AS_NODE, 0, NULL, NULL);
}

ControlStatus
control_report_destination(Control *control, const char *destination_id, const char *error)
{
	Buffer		detail = {0};
	const char *values[] = {destination_id, error ? "f" : "t", NULL};
	ControlStatus status;

	if (error)
	{
		buffer_text(&detail, "{\"message\": ");
		buffer_json(&detail, error);
		buffer_text(&detail, "}");
	}
	values[2] = detail.data;
	status = call_void(control, "SELECT walwarden.report_destination(CASE WHEN a.ok THEN $2::pg_catalog.uuid END, $3::boolean, $4::pg_catalog.jsonb)" AS_NODE, 3, values);
	buffer_free(&detail);
	return status;
}

/* A row of control_chain(); without an entry it is the only one. */
static bool
take_entry(const PGresult *result, int row, ChainEntry *entry)
{
	int			column = 2;

	entry->seq = take_number(result, row, &column);
	return entry->seq > 0 && hex_read(PQgetvalue(result, row, column), PQgetlength(result, row, column), entry->hash, sizeof(entry->hash));
}

/* What the database said of its chain, or why it is not taken. */
static ControlStatus
take_page(Control *control, const PGresult *result, ChainPage *page)
{
	int			rows = PQntuples(result);

	if (rows > 0 && strcmp(PQgetvalue(result, 0, 0), "t") == 0)
	{
		session_close(&control->session);
		session_say(&control->session, "the server is a standby");
		return CONTROL_AWAY;
	}
	if (rows == 0 || !uuid_is_well_formed(PQgetvalue(result, 0, 1), PQgetlength(result, 0, 1), page->org_id))
	{
		session_say(&control->session, "the chain has no organisation");
		return CONTROL_REFUSED;
	}
	if (rows == 1 && PQgetisnull(result, 0, 2))
		return CONTROL_DONE;
	page->entries = allocate(rows * sizeof(ChainEntry));
	for (; page->count < rows; page->count++)
		if (!take_entry(result, page->count, &page->entries[page->count]))
		{
			session_say(&control->session, "an entry of the chain has no seq and hash");
			return CONTROL_REFUSED;
		}
	return CONTROL_DONE;
}

ControlStatus
control_chain(Control *control, int64_t after_seq, int max, ChainPage *page)
{
	char	   *after = text_format("%lld", (long long) after_seq);
	char	   *rows = text_format("%d", max);
	const char *values[] = {after, rows};
	PGresult   *result;
	ControlStatus status;

	memset(page, 0, sizeof(*page));
	status = call_as_node(control, "SELECT pg_catalog.pg_is_in_recovery(), walwarden.current_org_id(), h.seq, h.hash" AS_NODE " LEFT JOIN LATERAL walwarden.chain_hashes(CASE WHEN a.ok THEN $2::bigint END, $3::integer) AS h ON true ORDER BY h.seq", 2, values, &result);
	free(after);
	free(rows);
	if (status == CONTROL_DONE)
	{
		status = take_page(control, result, page);
		PQclear(result);
	}
	return status;
}

ControlStatus
control_publish(Control *control, const char *note)
{
	PGresult   *result;
	ControlStatus status = call_as_node(control, "SELECT walwarden.publish_checkpoint(CASE WHEN a.ok THEN $2 END)" AS_NODE, 1, &note, &result);

	if (status == CONTROL_DONE)
		PQclear(result);
	return status;
}

ControlStatus
control_report_alarm(Control *control, int64_t seq, const char *known, const char *seen, int64_t *accepted)
{
	char	   *at = text_format("%lld", (long long) seq);
	const char *values[] = {at, known, seen};
	PGresult   *result;
	ControlStatus status = call_as_node(control, "SELECT walwarden.report_alarm(CASE WHEN a.ok THEN $2::bigint END, $3, $4)" AS_NODE, 3, values, &result);

	free(at);
	*accepted = 0;
	if (status == CONTROL_DONE)
	{
		if (PQntuples(result) == 1 && !PQgetisnull(result, 0, 0) && !text_to_int(PQgetvalue(result, 0, 0), 1, INT64_MAX, accepted))
			*accepted = 0;
		PQclear(result);
	}
	return status;
}

ControlStatus
control_describe(Control *control, char **description)
{
	PGresult   *result;
	ControlStatus status = call(control, "SELECT pg_catalog.format('database %s of PostgreSQL %s, organisation %s', pg_catalog.current_database(), pg_catalog.current_setting('server_version'), walwarden.current_org())" AS_NODE " WHERE a.ok", 0, NULL, &result);

	*description = NULL;
	if (status == CONTROL_DONE)
	{
		*description = text_copy(PQntuples(result) == 1 ? PQgetvalue(result, 0, 0) : "");
		text_make_harmless(*description);
		PQclear(result);
	}
	return status;
}

#define WHICH_DATABASE "pg_catalog.format('%s %s', extract(epoch FROM pg_catalog.pg_postmaster_start_time()), pg_catalog.current_database())"

bool
control_is_same_database(Control *control, PGconn *other)
{
	PGresult   *theirs = PQexec(other, "SELECT " WHICH_DATABASE);
	PGresult   *ours;
	bool		same = false;

	if (call(control, "SELECT " WHICH_DATABASE AS_NODE " WHERE a.ok", 0, NULL, &ours) == CONTROL_DONE)
	{
		same = PQntuples(theirs) == 1 && PQntuples(ours) == 1 && strcmp(PQgetvalue(theirs, 0, 0), PQgetvalue(ours, 0, 0)) == 0;
		PQclear(ours);
	}
	PQclear(theirs);
	return same;
}
