/*
 * append.c
 *		The audit chain: the trigger that appends, the CHECK of an entry, the
 *		guard that rejects changes.
 *
 * Locking: a chain is extended under its own lock (base/lock.c), which is acquired when
 * the entry is appended, and held until the end of the transaction. The head is then read
 * from the entries by index. The read sees everything that is committed and everything
 * of this transaction. So no head is stored that could differ from the entries. The lock
 * is released after the commit is visible, so its next holder reads the new head.
 *
 * Invariants: in every isolation level, an entry follows the head of its chain, or the
 * statement fails with 40001. at never decreases within a chain, even if the clock is set back.
 * An entry that is given with a hash is never hashed again. A transaction that appended
 * is acknowledged only when it is durable (commit.c), and cannot be prepared. The CHECK
 * omits no check for a row that differs in even one byte from what this backend appended.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "audit/append.h"
#include "audit/columns.h"
#include "audit/commit.h"
#include "audit/entry.h"
#include "base/digest.h"
#include "base/export.h"
#include "base/lock.h"
#include "base/refuse.h"
#include "base/memory.h"
#include "base/render.h"
#include "base/row_write.h"
#include "base/tables.h"
#include "common/canonical.h"
#include "common/entry.h"
#include "common/syntax.h"

typedef struct Head
{
	int64		seq;			/* 0 for an empty chain */
	TimestampTz at;				/* -infinity for an empty chain */
	uint8		hash[DIGEST_LEN];
} Head;

/*
 * The entry that this backend appended last, byte for byte, so that the CHECK, which
 * runs next, need not repeat the computation. Only a valid body and the hash computed
 * from it are kept. A row that equals this is valid, wherever it comes from. Long entries
 * are not kept.
 */
#define KEPT_BODY_MAX 8192

static struct
{
	bool		valid;
	bool		has_job_id;
	pg_uuid_t	org_id;
	pg_uuid_t	job_id;
	int64		seq;
	TimestampTz at;
	size_t		kind_len;
	size_t		body_len;
	uint8		prev_hash[DIGEST_LEN];
	uint8		hash[DIGEST_LEN];
	char		kind[KIND_MAX];
	char		body[KEPT_BODY_MAX];
}			last_appended;

static void
record_appended(const AuditColumns *columns, const text *body, const uint8 *prev_hash, const uint8 *hash)
{
	last_appended.valid = false;
	if (columns->kind_len > KIND_MAX || VARSIZE_ANY_EXHDR(body) > KEPT_BODY_MAX)
		return;
	last_appended.org_id = *columns->org_id;
	last_appended.has_job_id = columns->job_id != NULL;
	if (columns->job_id != NULL)
		last_appended.job_id = *columns->job_id;
	last_appended.seq = columns->seq;
	last_appended.at = columns->at;
	last_appended.kind_len = columns->kind_len;
	memcpy(last_appended.kind, columns->kind, columns->kind_len);
	last_appended.body_len = VARSIZE_ANY_EXHDR(body);
	memcpy(last_appended.body, VARDATA_ANY(body), last_appended.body_len);
	memcpy(last_appended.prev_hash, prev_hash, DIGEST_LEN);
	memcpy(last_appended.hash, hash, DIGEST_LEN);
	last_appended.valid = true;
}

static bool
is_last_appended(const AuditColumns *columns, const text *body, const bytea *prev_hash, const bytea *hash)
{
	return last_appended.valid &&
		columns->seq == last_appended.seq &&
		columns->at == last_appended.at &&
		memcmp(columns->org_id, &last_appended.org_id, sizeof(pg_uuid_t)) == 0 &&
		(columns->job_id != NULL) == last_appended.has_job_id &&
		(columns->job_id == NULL || memcmp(columns->job_id, &last_appended.job_id, sizeof(pg_uuid_t)) == 0) &&
		columns->kind_len == last_appended.kind_len &&
		memcmp(columns->kind, last_appended.kind, last_appended.kind_len) == 0 &&
		VARSIZE_ANY_EXHDR(prev_hash) == DIGEST_LEN &&
		memcmp(VARDATA_ANY(prev_hash), last_appended.prev_hash, DIGEST_LEN) == 0 &&
		VARSIZE_ANY_EXHDR(hash) == DIGEST_LEN &&
		memcmp(VARDATA_ANY(hash), last_appended.hash, DIGEST_LEN) == 0 &&
		VARSIZE_ANY_EXHDR(body) == last_appended.body_len &&
		memcmp(VARDATA_ANY(body), last_appended.body, last_appended.body_len) == 0;
}

/*
 * walwarden_internal.audit_entry_is_valid(org_id, seq, at, kind, job_id, body, prev_hash, hash)
 *
 * The CHECK of walwarden_internal.audit_entry: everything about an entry that can be
 * checked without the other entries.
 */
PG_FUNCTION_INFO_V1(walwarden_audit_entry_is_valid);
Datum
walwarden_audit_entry_is_valid(PG_FUNCTION_ARGS)
{
	AuditColumns columns;
	CanonicalMember members[ENTRY_MEMBERS];
	text	   *kind;
	text	   *body;
	bytea	   *prev_hash;
	bytea	   *hash;

	for (int i = 0; i < 8; i++)
		if (PG_ARGISNULL(i) && i != 4)
			PG_RETURN_BOOL(false);
	kind = PG_GETARG_TEXT_PP(3);
	body = PG_GETARG_TEXT_PP(5);
	prev_hash = PG_GETARG_BYTEA_PP(6);
	hash = PG_GETARG_BYTEA_PP(7);
	columns.org_id = PG_GETARG_UUID_P(0);
	columns.seq = PG_GETARG_INT64(1);
	columns.at = PG_GETARG_TIMESTAMPTZ(2);
	columns.kind = VARDATA_ANY(kind);
	columns.kind_len = VARSIZE_ANY_EXHDR(kind);
	columns.job_id = PG_ARGISNULL(4) ? NULL : PG_GETARG_UUID_P(4);

	PG_RETURN_BOOL(columns.seq > 0 &&
				   kind_is_well_formed(columns.kind, columns.kind_len) &&
				   (is_last_appended(&columns, body, prev_hash, hash) ||
					audit_entry_error(&columns, body, prev_hash, hash, members) == NULL));
}

/*
 * The last entry of a chain. The caller holds the chain's lock, so nobody else can
 * commit another entry. SnapshotSelf sees everything that is committed now and everything
 * that this transaction has written, including rows of the running statement.
 */
static void
read_head(Relation entries, const pg_uuid_t *org_id, Head *head)
{
	/* where this backend last saw a head: only a place to start the search */
	static pg_uuid_t seen_org;
	static int64 seen_seq = 0;

	TupleDesc	desc = RelationGetDescr(entries);
	Relation	index = walwarden_index_open("audit_entry_pkey");
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	last;

	/*
	 * A btree scan reads all matches on a page before it returns the first.
	 * With a lower bound these are only a few. If there is no entry from
	 * there on, it was rolled back, and the search runs without a bound.
	 */
	for (int nkeys = seen_seq > 0 && memcmp(org_id, &seen_org, sizeof(pg_uuid_t)) == 0 ? 2 : 1;; nkeys = 1)
	{
		ScanKeyInit(&keys[0], Anum_audit_entry_org_id, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(org_id));
		ScanKeyInit(&keys[1], Anum_audit_entry_seq, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(seen_seq));
		scan = systable_beginscan_ordered(entries, index, SnapshotSelf, nkeys, keys);
		last = systable_getnext_ordered(scan, BackwardScanDirection);
		if (HeapTupleIsValid(last) || nkeys == 1)
			break;
		systable_endscan_ordered(scan);
	}
	if (HeapTupleIsValid(last))
	{
		bool		isnull[3];
		Datum		seq = heap_getattr(last, Anum_audit_entry_seq, desc, &isnull[0]);
		Datum		at = heap_getattr(last, Anum_audit_entry_at, desc, &isnull[1]);
		Datum		value = heap_getattr(last, Anum_audit_entry_hash, desc, &isnull[2]);
		const bytea *hash;
		TransactionId xmin = HeapTupleHeaderGetXmin(last->t_data);

		/* a decision from a snapshot without the head must not be appended */
		if (IsolationUsesXactSnapshot() &&
			TransactionIdIsNormal(xmin) &&
			!TransactionIdIsCurrentTransactionId(xmin) &&
			XidInMVCCSnapshot(xmin, GetTransactionSnapshot()))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access due to a concurrent append to the audit chain"),
					 errhint("The transaction might succeed if retried.")));
		if (isnull[0] || isnull[1] || isnull[2])
			elog(ERROR, "the last audit entry has no seq, at or hash");
		head->seq = DatumGetInt64(seq);
		head->at = DatumGetTimestampTz(at);
		hash = DatumGetByteaPP(value);
		if (VARSIZE_ANY_EXHDR(hash) != DIGEST_LEN)
			elog(ERROR, "hash of audit entry " INT64_FORMAT " has a wrong length", head->seq);
		memcpy(head->hash, VARDATA_ANY(hash), DIGEST_LEN);
		seen_org = *org_id;
		seen_seq = head->seq;
	}
	else
	{
		head->seq = 0;
		head->at = DT_NOBEGIN;
		audit_genesis(org_id, head->hash);
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
}

static void
refuse_payload(const char *why)
{
	refuse(ERRCODE_INVALID_PARAMETER_VALUE,
		   psprintf("invalid payload for an audit entry: %s", why),
		   psprintf("Give JSON with integers within +-(2^53-1), at most %d levels deep; the whole entry may have at most %d bytes. Write other numbers as strings.",
					CANONICAL_MAX_DEPTH - 2, ENTRY_BODY_MAX),
		   NULL);
}

/* The first byte from p on that is not JSON's white space, or end. */
static const char *
skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
		p++;
	return p;
}

/*
 * A draft of the body of a new entry, in canonical form: the payload, a JSON object, with
 * org and seq added, inside the envelope. The final at and seq are known only under the
 * lock. The draft has at and seq from columns, where seq is one digit, and room for any
 * other seq. members, of which there are ENTRY_MEMBERS, receive those of the payload.
 */
static text *
draft_body(const AuditColumns *columns, const text *payload, CanonicalMember *members)
{
	const char *p = VARDATA_ANY(payload);
	const char *end = p + VARSIZE_ANY_EXHDR(payload);
	StringInfoData raw;
	CanonicalText canonical;
	char		at[ISO_TIME_LEN + 1];
	char		uuid[UUID_TEXT_LEN + 1];
	text	   *body;

	(void) render_time(columns->at, at);
	initStringInfo(&raw);
	appendStringInfo(&raw, "{\"at\":\"%s\",", at);
	if (columns->job_id != NULL)
	{
		render_uuid(columns->job_id, uuid);
		appendStringInfo(&raw, "\"jobId\":\"%s\",", uuid);
	}
	else
		appendStringInfoString(&raw, "\"jobId\":null,");
	render_uuid(columns->org_id, uuid);
	appendStringInfo(&raw, "\"kind\":\"%.*s\",\"payload\":{\"org\":\"%s\",\"seq\":" INT64_FORMAT,
					 (int) columns->kind_len, columns->kind, uuid, columns->seq);

	/* continue inside the braces of the payload */
	p = skip_space(p, end);
	if (p == end || *p != '{')
		refuse(ERRCODE_INVALID_PARAMETER_VALUE,
			   "payload of an audit entry is not a JSON object",
			   "Insert the payload as body, and omit hash, prev_hash, seq and at.",
			   NULL);
	p = skip_space(p + 1, end);
	if (p < end && *p != '}')
		appendStringInfoChar(&raw, ',');
	appendBinaryStringInfo(&raw, p, (int) (end - p));
	appendStringInfoChar(&raw, '}');

	if (!canonical_render(raw.data, raw.len, ENTRY_BODY_MAX, &palloc_memory, &canonical))
		refuse_payload(canonical.error);
	/* checked in the text to be stored, in which no escape can hide a token */
	if (text_contains_token(canonical.data, canonical.len))
		refuse(ERRCODE_INVALID_PARAMETER_VALUE,
			   "an audit entry cannot contain a token",
			   "A token is a secret and is never stored. Treat this token as disclosed and revoke it.",
			   NULL);
	body = palloc(VARHDRSZ + canonical.len + MAXINT8LEN);
	SET_VARSIZE(body, VARHDRSZ + canonical.len);
	memcpy(VARDATA(body), canonical.data, canonical.len);
	pfree(canonical.data);
	pfree(raw.data);

	/* fails if kind needs escapes or text follows the payload */
	if (!audit_body_is_valid(columns, VARDATA(body), VARSIZE(body) - VARHDRSZ, members))
		refuse(ERRCODE_INVALID_PARAMETER_VALUE,
			   "invalid kind or payload for an audit entry",
			   "Give a kind of lower-case words separated by dots, and one JSON object as the payload.",
			   NULL);
	return body;
}

/*
 * Put at and seq into a draft. The result is valid too, because audit_body_is_valid()
 * compares these two with the columns and nothing else changes.
 */
static void
complete_body(text *body, char *seq, const AuditColumns *columns)
{
	char		digits[MAXINT8LEN + 1];
	int			len = pg_lltoa(columns->seq, digits);
	char	   *end = (char *) body + VARSIZE(body);
	char		at[ISO_TIME_LEN + 1];

	if (!render_time(columns->at, at))
		elog(ERROR, "the clock is out of range");
	memcpy(VARDATA(body) + strlen("{\"at\":\""), at, ISO_TIME_LEN);
	memmove(seq + len, seq + 1, end - (seq + 1));
	memcpy(seq, digits, len);
	SET_VARSIZE(body, VARSIZE(body) + len - 1);
	if (VARSIZE(body) - VARHDRSZ > ENTRY_BODY_MAX)
		refuse_payload("too long");
}

/* An element of the credentials of a token. arg: receives whether it has ended for good. */
static void
visit_credential(void *arg, const char *key, size_t key_len, const char *value, size_t value_len)
{
	static const char *const ended = "\"-infinity\"";
	CanonicalMember until = CANONICAL_MEMBER("validUntil");

	if (canonical_find(value, value_len, ENTRY_BODY_MAX, 4, &until, 1) && until.value != NULL &&
		until.len == strlen(ended) && memcmp(until.value, ended, until.len) == 0)
		*(bool *) arg = true;
}

/* Whether a value of a token has ended at once. token: its image, or without value. */
static bool
has_ended_value(const CanonicalMember *token)
{
	CanonicalMember credentials = CANONICAL_MEMBER("credentials");
	bool		ended = false;

	return token->value != NULL &&
		canonical_find(token->value, token->len, ENTRY_BODY_MAX, 2, &credentials, 1) && credentials.value != NULL &&
		canonical_check(credentials.value, credentials.len, ENTRY_BODY_MAX, 3, visit_credential, &ended) && ended;
}

static bool
kind_is(const AuditColumns *columns, const char *kind)
{
	return columns->kind_len == strlen(kind) && memcmp(columns->kind, kind, columns->kind_len) == 0;
}

/*
 * Whether an entry may take rights away from somebody who has them, beginning with the next
 * transaction. members: of its payload.
 */
static bool
takes_rights(const AuditColumns *columns, const CanonicalMember *members)
{
	static const char *const kinds[] = {
		"authenticator.untrusted", "copy.closed", "legacy.ended", "member.db_role_changed", "member.disabled",
		"member.removed", "member.role_changed", "member.sso_changed", "member.subject_changed", "monitor.revoked",
		"operator.revoked", "org.closed", "org.plan_changed", "rest.revoked", "role.scopes_changed", "runner.revoked",
		"token.disabled", "token.leaked", "token.overlap_ended", "token.revoked", "token.updated"
	};

	for (int i = 0; i < lengthof(kinds); i++)
		if (kind_is(columns, kinds[i]))
			return true;
	/* without an overlap, the old value has ended in the image after it */
	return kind_is(columns, "token.renewed") && has_ended_value(&members[ENTRY_AFTER]);
}

static void
check_trigger(const char *name, FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by the trigger manager", name)));
	if (!TRIGGER_FIRED_BEFORE(((TriggerData *) fcinfo->context)->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be fired BEFORE", name)));
}

/*
 * Refuse a new entry that another trigger may have edited. The CHECK refuses what a later
 * trigger edits, but would accept what an earlier one has, because it is hashed afterwards.
 */
static void
refuse_earlier_triggers(const TriggerData *trigdata)
{
	const TriggerDesc *triggers = trigdata->tg_relation->trigdesc;

	for (int i = 0; i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (trigger->tgoid == trigdata->tg_trigger->tgoid)
			return;
		if (TRIGGER_TYPE_MATCHES(trigger->tgtype, TRIGGER_TYPE_ROW, TRIGGER_TYPE_BEFORE, TRIGGER_TYPE_INSERT) &&
			trigger->tgenabled != TRIGGER_DISABLED)
			refuse(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
				   psprintf("trigger \"%s\" runs before the entry is hashed", trigger->tgname),
				   "Drop this trigger on walwarden_internal.audit_entry, and find out who created it.",
				   NULL);
	}
}

/*
 * Trigger BEFORE INSERT FOR EACH ROW on walwarden_internal.audit_entry.
 *
 * If hash is NULL, the entry is new: org_id, kind, job_id and the payload, in body, are
 * given; the other columns are set here. Otherwise the entry is restored and stays as it
 * is; the CHECK validates it.
 */
PG_FUNCTION_INFO_V1(walwarden_audit_append);
Datum
walwarden_audit_append(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	Datum		values[MaxHeapAttributeNumber]; /* later tables have more */
	bool		nulls[MaxHeapAttributeNumber];
	AuditColumns columns;
	Head		head;
	uint8		hash[DIGEST_LEN];
	text	   *kind;
	text	   *body;
	CanonicalMember members[ENTRY_MEMBERS];
	bool		takes;

	check_trigger("walwarden_audit_append", fcinfo);
	if (!TRIGGER_FIRED_BY_INSERT(trigdata->tg_event) || !TRIGGER_FIRED_FOR_ROW(trigdata->tg_event) ||
		RelationGetRelid(trigdata->tg_relation) != walwarden_relation_oid("audit_entry"))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"walwarden_audit_append\" must be fired by INSERT on walwarden_internal.audit_entry for each row")));

	heap_deform_tuple(trigdata->tg_trigtuple, RelationGetDescr(trigdata->tg_relation), values, nulls);
	if (!nulls[Anum_audit_entry_hash - 1])
		return PointerGetDatum(trigdata->tg_trigtuple);

	if (nulls[Anum_audit_entry_org_id - 1] || nulls[Anum_audit_entry_kind - 1] || nulls[Anum_audit_entry_body - 1] ||
		!nulls[Anum_audit_entry_seq - 1] || !nulls[Anum_audit_entry_at - 1] || !nulls[Anum_audit_entry_prev_hash - 1])
		refuse(ERRCODE_INVALID_PARAMETER_VALUE,
			   "an audit entry is either new or restored",
			   "For a new entry, give org_id, kind, job_id, and the payload as body. For a restored entry, give all columns.",
			   NULL);

	refuse_earlier_triggers(trigdata);
	kind = DatumGetTextPP(values[Anum_audit_entry_kind - 1]);
	columns.org_id = DatumGetUUIDP(values[Anum_audit_entry_org_id - 1]);
	columns.kind = VARDATA_ANY(kind);
	columns.kind_len = VARSIZE_ANY_EXHDR(kind);
	columns.job_id = nulls[Anum_audit_entry_job_id - 1] ? NULL : DatumGetUUIDP(values[Anum_audit_entry_job_id - 1]);

	/* do the slow part before acquiring the lock */
	columns.seq = 0;
	columns.at = 0;
	body = draft_body(&columns, DatumGetTextPP(values[Anum_audit_entry_body - 1]), members);
	takes = takes_rights(&columns, members);

	lock_acquire(columns.org_id, LOCK_CHAIN);
	read_head(trigdata->tg_relation, columns.org_id, &head);
	columns.seq = head.seq + 1;
	columns.at = Max(GetCurrentTimestamp(), head.at);
	complete_body(body, unconstify(char *, members[ENTRY_SEQ].value), &columns);
	audit_hash(head.hash, VARDATA(body), VARSIZE(body) - VARHDRSZ, hash);
	record_appended(&columns, body, head.hash, hash);

	values[Anum_audit_entry_seq - 1] = Int64GetDatum(columns.seq);
	values[Anum_audit_entry_at - 1] = TimestampTzGetDatum(columns.at);
	values[Anum_audit_entry_body - 1] = PointerGetDatum(body);
	values[Anum_audit_entry_prev_hash - 1] = PointerGetDatum(digest_bytea(head.hash));
	values[Anum_audit_entry_hash - 1] = PointerGetDatum(digest_bytea(hash));
	for (int i = 0; i < Natts_audit_entry; i++)
		if (i != Anum_audit_entry_job_id - 1)
			nulls[i] = false;

	/* an acknowledged entry must survive a crash */
	commit_record_append(takes);

	return PointerGetDatum(heap_form_tuple(RelationGetDescr(trigdata->tg_relation), values, nulls));
}

/*
 * Append an entry to a chain and return its seq. payload: a JSON object. Call it as late as
 * possible, because the chain is locked from here to the end of the transaction.
 */
int64
audit_append(const pg_uuid_t *org_id, const text *kind, const pg_uuid_t *job_id, const text *payload)
{
	static const AttrNumber columns[] = {Anum_audit_entry_org_id, Anum_audit_entry_kind, Anum_audit_entry_job_id, Anum_audit_entry_body};
	const NullableDatum values[] = {
		{UUIDPGetDatum(org_id), org_id == NULL},
		{PointerGetDatum(kind), kind == NULL},
		{UUIDPGetDatum(job_id), job_id == NULL},
		{PointerGetDatum(payload), payload == NULL}
	};

	return DatumGetInt64(row_insert("audit_entry", lengthof(columns), columns, values, Anum_audit_entry_seq));
}

/* walwarden_internal.append_body(org_id uuid, kind text, job_id uuid, payload text) */
PG_FUNCTION_INFO_V1(walwarden_append_body);
Datum
walwarden_append_body(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(audit_append(PG_ARGISNULL(0) ? NULL : PG_GETARG_UUID_P(0),
								 PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1),
								 PG_ARGISNULL(2) ? NULL : PG_GETARG_UUID_P(2),
								 PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3)));
}

/* The trigger on tables and events that nobody may change. */
PG_FUNCTION_INFO_V1(walwarden_refuse_change);
Datum
walwarden_refuse_change(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	const char *relation;
	const char *command;
	const char *hint;

	check_trigger("walwarden_refuse_change", fcinfo);
	relation = RelationGetRelationName(trigdata->tg_relation);
	command = TRIGGER_FIRED_BY_INSERT(trigdata->tg_event) ? "INSERT" :
		TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event) ? "UPDATE" :
		TRIGGER_FIRED_BY_DELETE(trigdata->tg_event) ? "DELETE" : "TRUNCATE";
	if (strcmp(relation, "audit_entry") == 0)
		hint = "Entries are never changed. To correct one, append another entry.";
	else if (strcmp(relation, "scope") == 0)
		hint = "Scopes are never changed. To add one, call walwarden.create_scope().";
	else
		hint = "These rows are built in. Only an update of the extension changes them.";
	refuse(ERRCODE_INSUFFICIENT_PRIVILEGE,
		   psprintf("%s on walwarden_internal.%s is not allowed", command, relation),
		   hint, NULL);
	PG_RETURN_NULL();
}
