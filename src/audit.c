/*
 * audit.c
 *		The audit chain: the bytes of an entry, the trigger that appends, the
 *		guard that refuses changes.
 *
 * An entry's body is canonical JSON, {"at":..,"jobId":..,"kind":..,"payload":{..}},
 * with the org and the seq inside the payload; its hash is
 * SHA-256(hex(prev_hash) || body). docs/audit-chain.md is the specification.
 *
 * Locking: a chain is extended under a lock of its own (lock.c), taken here,
 * at the moment of appending, and held to the end of the transaction. The head
 * is then read from the entries by index, seeing everything that is committed
 * and everything of this transaction, so that no head is stored anywhere and
 * none can differ from the entries. The lock goes after the commit is visible:
 * whoever gets it next reads the new head.
 *
 * Invariants: one entry follows another in exactly one way, in every isolation
 * level, or the statement fails with 40001; an entry that came with a hash is
 * never hashed again; a transaction that appended is acknowledged when it is
 * durable (commit.c) and never prepared; the CHECK leaves out no check for a row
 * that differs in one byte from what this backend made itself.
 */
#include "walwarden.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "canonical.h"
#include "tables.h"

#define GENESIS_PREFIX "walwarden/audit/v1:"

typedef struct Head
{
	int64		seq;			/* 0 for an empty chain */
	uint8		hash[DIGEST_LEN];
} Head;

/* What the first entry of a chain has as its prev_hash. */
void
audit_genesis(const pg_uuid_t *org_id, uint8 *digest)
{
	char		uuid[UUID_TEXT_LEN + 1];
	DigestPart	parts[2] = {{GENESIS_PREFIX, strlen(GENESIS_PREFIX)}, {uuid, UUID_TEXT_LEN}};

	render_uuid(org_id, uuid);
	digest_sha256(parts, 2, digest);
}

static void
audit_hash(const uint8 *prev_hash, const char *body, size_t body_len, uint8 *hash)
{
	char		hex[DIGEST_HEX_LEN];
	DigestPart	parts[2] = {{hex, DIGEST_HEX_LEN}, {body, body_len}};

	hex_lower(prev_hash, DIGEST_LEN, hex);
	digest_sha256(parts, 2, hash);
}

/* Values of members of a payload, or NULL. */
typedef struct Place
{
	const char *org;
	size_t		org_len;
	const char *seq;
	size_t		seq_len;
} Place;

/* CanonicalVisit */
static void
note_place(void *arg, const char *key, size_t key_len, const char *value, size_t value_len)
{
	Place	   *place = arg;

	if (key_len != 3)
		return;
	if (memcmp(key, "org", 3) == 0)
	{
		place->org = value;
		place->org_len = value_len;
	}
	else if (memcmp(key, "seq", 3) == 0)
	{
		place->seq = value;
		place->seq_len = value_len;
	}
}

/* Whether text comes next, at *p; goes past it. */
static inline bool
comes_next(const char **p, const char *end, const char *text, size_t len)
{
	if ((size_t) (end - *p) < len || memcmp(*p, text, len) != 0)
		return false;
	*p += len;
	return true;
}

#define LITERAL(text) (text), sizeof(text) - 1

/*
 * Whether body is canonical JSON and says what the columns say: at, jobId and
 * kind, then a payload with org and seq among its own members, and nothing else.
 * The first three are compared byte by byte, so that only kind and payload are
 * left to be checked.
 */
static bool
body_holds(const AuditColumns *columns, const char *body, size_t len, Place *place)
{
	const char *p = body;
	const char *end = body + len;
	const char *kind;
	char		at[ISO_TIME_LEN + 1];
	char		uuid[UUID_TEXT_LEN + 1];
	char		seq[MAXINT8LEN + 1];

	if (len > AUDIT_BODY_MAX ||
		!render_time(columns->at, at) ||
		!comes_next(&p, end, LITERAL("{\"at\":\"")) ||
		!comes_next(&p, end, at, ISO_TIME_LEN) ||
		!comes_next(&p, end, LITERAL("\",\"jobId\":")))
		return false;
	if (columns->job_id == NULL)
	{
		if (!comes_next(&p, end, LITERAL("null")))
			return false;
	}
	else
	{
		render_uuid(columns->job_id, uuid);
		if (!comes_next(&p, end, LITERAL("\"")) ||
			!comes_next(&p, end, uuid, UUID_TEXT_LEN) ||
			!comes_next(&p, end, LITERAL("\"")))
			return false;
	}
	if (!comes_next(&p, end, LITERAL(",\"kind\":\"")))
		return false;
	kind = p - 1;
	if (!comes_next(&p, end, columns->kind, columns->kind_len) ||
		!comes_next(&p, end, LITERAL("\",\"payload\":{")) ||
		!canonical_check(kind, columns->kind_len + 2, AUDIT_BODY_MAX, 1, NULL, NULL))
		return false;

	/* from the payload's brace to before the envelope's */
	p--;
	place->org = place->seq = NULL;
	if (!canonical_check(p, end - 1 - p, AUDIT_BODY_MAX, 1, note_place, place) || end[-1] != '}')
		return false;

	render_uuid(columns->org_id, uuid);
	return place->org != NULL && place->org_len == UUID_TEXT_LEN + 2 &&
		place->org[0] == '"' && memcmp(place->org + 1, uuid, UUID_TEXT_LEN) == 0 &&
		place->seq != NULL && place->seq_len == (size_t) pg_lltoa(columns->seq, seq) &&
		memcmp(place->seq, seq, place->seq_len) == 0;
}

/*
 * What is wrong with an entry by itself, a constant, or NULL. The order of the
 * checks is the SQL verifier's, so that both give one reason.
 */
const char *
audit_entry_fault(const AuditColumns *columns, const text *body, const bytea *prev_hash, const bytea *hash)
{
	const char *bytes = VARDATA_ANY(body);
	size_t		len = VARSIZE_ANY_EXHDR(body);
	uint8		digest[DIGEST_LEN];
	Place		place;

	if (VARSIZE_ANY_EXHDR(prev_hash) != DIGEST_LEN || VARSIZE_ANY_EXHDR(hash) != DIGEST_LEN)
		return "hash does not match the body";
	audit_hash((const uint8 *) VARDATA_ANY(prev_hash), bytes, len, digest);
	if (memcmp(digest, VARDATA_ANY(hash), DIGEST_LEN) != 0)
		return "hash does not match the body";

	if (body_holds(columns, bytes, len, &place))
		return NULL;
	if (!canonical_check(bytes, len, AUDIT_BODY_MAX, 0, NULL, NULL))
		return "body is not canonical JSON";
	return "columns differ from the body";
}

/*
 * The entry that this backend's trigger made last, every byte of it, so that the
 * CHECK, which is asked next, need not compute again what has just been computed.
 * Only what body_holds() is kept, and a hash that was computed over it: what
 * equals this is sound wherever it comes from. Long entries are not kept.
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
}			made_last;

static void
keep_made(const AuditColumns *columns, const text *body, const uint8 *prev_hash, const uint8 *hash)
{
	made_last.valid = false;
	if (columns->kind_len > KIND_MAX || VARSIZE_ANY_EXHDR(body) > KEPT_BODY_MAX)
		return;
	made_last.org_id = *columns->org_id;
	made_last.has_job_id = columns->job_id != NULL;
	if (columns->job_id != NULL)
		made_last.job_id = *columns->job_id;
	made_last.seq = columns->seq;
	made_last.at = columns->at;
	made_last.kind_len = columns->kind_len;
	memcpy(made_last.kind, columns->kind, columns->kind_len);
	made_last.body_len = VARSIZE_ANY_EXHDR(body);
	memcpy(made_last.body, VARDATA_ANY(body), made_last.body_len);
	memcpy(made_last.prev_hash, prev_hash, DIGEST_LEN);
	memcpy(made_last.hash, hash, DIGEST_LEN);
	made_last.valid = true;
}

static bool
is_made_last(const AuditColumns *columns, const text *body, const bytea *prev_hash, const bytea *hash)
{
	return made_last.valid &&
		columns->seq == made_last.seq &&
		columns->at == made_last.at &&
		memcmp(columns->org_id, &made_last.org_id, sizeof(pg_uuid_t)) == 0 &&
		(columns->job_id != NULL) == made_last.has_job_id &&
		(columns->job_id == NULL || memcmp(columns->job_id, &made_last.job_id, sizeof(pg_uuid_t)) == 0) &&
		columns->kind_len == made_last.kind_len &&
		memcmp(columns->kind, made_last.kind, made_last.kind_len) == 0 &&
		VARSIZE_ANY_EXHDR(prev_hash) == DIGEST_LEN &&
		memcmp(VARDATA_ANY(prev_hash), made_last.prev_hash, DIGEST_LEN) == 0 &&
		VARSIZE_ANY_EXHDR(hash) == DIGEST_LEN &&
		memcmp(VARDATA_ANY(hash), made_last.hash, DIGEST_LEN) == 0 &&
		VARSIZE_ANY_EXHDR(body) == made_last.body_len &&
		memcmp(VARDATA_ANY(body), made_last.body, made_last.body_len) == 0;
}

/*
 * walwarden._audit_entry_holds(org_id, seq, at, kind, job_id, body, prev_hash, hash)
 *
 * The CHECK of walwarden.audit_entry: everything that one entry can be held to
 * without the others.
 */
PG_FUNCTION_INFO_V1(walwarden_audit_entry_holds);
Datum
walwarden_audit_entry_holds(PG_FUNCTION_ARGS)
{
	AuditColumns columns;
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
				   (is_made_last(&columns, body, prev_hash, hash) ||
					audit_entry_fault(&columns, body, prev_hash, hash) == NULL));
}

/*
 * The last entry of a chain. The caller holds the chain's lock, so that nobody
 * else can commit another one. SnapshotSelf sees what is committed now and all
 * that this transaction wrote, rows of the running statement included.
 */
static void
read_head(Relation entries, const pg_uuid_t *org_id, Head *head)
{
	/* where this backend saw a head last: not believed, but a good place to start */
	static pg_uuid_t seen_org;
	static int64 seen_seq = 0;

	TupleDesc	desc = RelationGetDescr(entries);
	Relation	index = walwarden_index_open("audit_entry_pkey");
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	last;

	/*
	 * A btree reads all that matches on a page before it gives the first. With
	 * a lower bound that is a few entries; if there is nothing from there on, it
	 * was rolled back, and we look at all.
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
		bool		isnull;
		TransactionId xmin = HeapTupleHeaderGetXmin(last->t_data);
		bytea	   *hash = DatumGetByteaPP(heap_getattr(last, Anum_audit_entry_hash, desc, &isnull));

		/* a fixed snapshot that does not see the head would fork the chain's meaning */
		if (IsolationUsesXactSnapshot() &&
			TransactionIdIsNormal(xmin) &&
			!TransactionIdIsCurrentTransactionId(xmin) &&
			XidInMVCCSnapshot(xmin, GetTransactionSnapshot()))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access due to a concurrent append to the audit chain"),
					 errhint("The transaction might succeed if retried.")));
		head->seq = DatumGetInt64(heap_getattr(last, Anum_audit_entry_seq, desc, &isnull));
		if (VARSIZE_ANY_EXHDR(hash) != DIGEST_LEN)
			elog(ERROR, "hash of audit entry " INT64_FORMAT " has a wrong length", head->seq);
		memcpy(head->hash, VARDATA_ANY(hash), DIGEST_LEN);
		seen_org = *org_id;
		seen_seq = head->seq;
	}
	else
	{
		head->seq = 0;
		audit_genesis(org_id, head->hash);
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
}

static void
refuse_payload(const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("payload cannot be an audit entry: %s", why),
			 errhint("Payloads are JSON with integers within +-(2^53-1), at most %d levels deep; an entry has at most %d bytes. Write other numbers as strings.",
					 CANONICAL_MAX_DEPTH - 2, AUDIT_BODY_MAX)));
}

/*
 * The body of a new entry but for what only the lock tells: the payload, a JSON
 * object, with org and seq added, in its envelope, in canonical form. at and seq
 * are those of columns, seq in one digit, with room after the text for any other.
 * *seq is where it stands.
 */
static text *
draft_body(const AuditColumns *columns, const text *payload, char **seq)
{
	const char *p = VARDATA_ANY(payload);
	const char *end = p + VARSIZE_ANY_EXHDR(payload);
	StringInfoData raw;
	CanonicalText canonical;
	Place		place;
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

	/* go on inside the payload's own braces */
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
		p++;
	if (p == end || *p != '{')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("payload of an audit entry is not a JSON object"),
				 errhint("Insert the payload as body, and leave hash, prev_hash, seq and at out.")));
	for (p++; p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'); p++)
		 /* skip */ ;
	if (p < end && *p != '}')
		appendStringInfoChar(&raw, ',');
	appendBinaryStringInfo(&raw, p, (int) (end - p));
	appendStringInfoChar(&raw, '}');

	if (!canonical_render(raw.data, raw.len, AUDIT_BODY_MAX, &canonical))
		refuse_payload(canonical.error);
	/* in what will be stored, where no escape hides one */
	if (text_contains_token(canonical.data, canonical.len))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an audit entry cannot contain a token"),
				 errhint("A token is a secret and is never stored; treat this one as disclosed and revoke it.")));
	body = palloc(VARHDRSZ + canonical.len + MAXINT8LEN);
	SET_VARSIZE(body, VARHDRSZ + canonical.len);
	memcpy(VARDATA(body), canonical.data, canonical.len);
	pfree(canonical.data);
	pfree(raw.data);

	/* a kind that needs escapes, a payload that goes on behind its end */
	if (!body_holds(columns, VARDATA(body), VARSIZE(body) - VARHDRSZ, &place))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("kind and payload do not make an audit entry"),
				 errhint("A kind is lower-case words with dots between them, a payload is one JSON object.")));
	*seq = unconstify(char *, place.seq);
	return body;
}

/*
 * Put at and seq into a draft. Both are what body_holds() compares, and nothing
 * else about the text changes, so that it holds for the result.
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
	if (VARSIZE(body) - VARHDRSZ > AUDIT_BODY_MAX)
		refuse_payload("too long");
}

static bytea *
digest_to_bytea(const uint8 *digest)
{
	bytea	   *result = palloc(VARHDRSZ + DIGEST_LEN);

	SET_VARSIZE(result, VARHDRSZ + DIGEST_LEN);
	memcpy(VARDATA(result), digest, DIGEST_LEN);
	return result;
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
 * Trigger BEFORE INSERT FOR EACH ROW on walwarden.audit_entry.
 *
 * hash NULL: a new entry; org_id, kind, job_id and body, which holds the
 * payload, are given, the rest is made here. hash given: a restored entry, which
 * stays as it is; the CHECK decides about it.
 */
PG_FUNCTION_INFO_V1(walwarden_audit_append);
Datum
walwarden_audit_append(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	Datum		values[MaxHeapAttributeNumber];	/* a later version's table may have more columns */
	bool		nulls[MaxHeapAttributeNumber];
	AuditColumns columns;
	Head		head;
	uint8		hash[DIGEST_LEN];
	text	   *kind;
	text	   *body;
	char	   *seq;

	check_trigger("walwarden_audit_append", fcinfo);
	if (!TRIGGER_FIRED_BY_INSERT(trigdata->tg_event) || !TRIGGER_FIRED_FOR_ROW(trigdata->tg_event) ||
		RelationGetRelid(trigdata->tg_relation) != walwarden_relation_oid("audit_entry"))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"walwarden_audit_append\" must be fired by INSERT on walwarden.audit_entry for each row")));

	heap_deform_tuple(trigdata->tg_trigtuple, RelationGetDescr(trigdata->tg_relation), values, nulls);
	if (!nulls[Anum_audit_entry_hash - 1])
		return PointerGetDatum(trigdata->tg_trigtuple);

	if (nulls[Anum_audit_entry_org_id - 1] || nulls[Anum_audit_entry_kind - 1] || nulls[Anum_audit_entry_body - 1] ||
		!nulls[Anum_audit_entry_seq - 1] || !nulls[Anum_audit_entry_at - 1] || !nulls[Anum_audit_entry_prev_hash - 1])
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an audit entry is either new or restored"),
				 errhint("Give org_id, kind, job_id and the payload as body for a new one, or all columns for a restored one.")));

	kind = DatumGetTextPP(values[Anum_audit_entry_kind - 1]);
	columns.org_id = DatumGetUUIDP(values[Anum_audit_entry_org_id - 1]);
	columns.kind = VARDATA_ANY(kind);
	columns.kind_len = VARSIZE_ANY_EXHDR(kind);
	columns.job_id = nulls[Anum_audit_entry_job_id - 1] ? NULL : DatumGetUUIDP(values[Anum_audit_entry_job_id - 1]);

	/* what takes long comes before the lock */
	columns.seq = 0;
	columns.at = 0;
	body = draft_body(&columns, DatumGetTextPP(values[Anum_audit_entry_body - 1]), &seq);

	lock_take(columns.org_id, LOCK_CHAIN);
	read_head(trigdata->tg_relation, columns.org_id, &head);
	columns.seq = head.seq + 1;
	columns.at = GetCurrentTimestamp();
	complete_body(body, seq, &columns);
	audit_hash(head.hash, VARDATA(body), VARSIZE(body) - VARHDRSZ, hash);
	keep_made(&columns, body, head.hash, hash);

	values[Anum_audit_entry_seq - 1] = Int64GetDatum(columns.seq);
	values[Anum_audit_entry_at - 1] = TimestampTzGetDatum(columns.at);
	values[Anum_audit_entry_body - 1] = PointerGetDatum(body);
	values[Anum_audit_entry_prev_hash - 1] = PointerGetDatum(digest_to_bytea(head.hash));
	values[Anum_audit_entry_hash - 1] = PointerGetDatum(digest_to_bytea(hash));
	for (int i = 0; i < Natts_audit_entry; i++)
		if (i != Anum_audit_entry_job_id - 1)
			nulls[i] = false;

	/* an acknowledged entry survives a crash whatever synchronous_commit says */
	commit_note_append();
	lock_forbid_prepare();

	return PointerGetDatum(heap_form_tuple(RelationGetDescr(trigdata->tg_relation), values, nulls));
}

/* Trigger BEFORE anything on what nobody may change. */
PG_FUNCTION_INFO_V1(walwarden_refuse_change);
Datum
walwarden_refuse_change(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	const char *command;

	check_trigger("walwarden_refuse_change", fcinfo);
	command = TRIGGER_FIRED_BY_INSERT(trigdata->tg_event) ? "INSERT" :
		TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event) ? "UPDATE" :
		TRIGGER_FIRED_BY_DELETE(trigdata->tg_event) ? "DELETE" : "TRUNCATE";
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("%s on walwarden.%s is not allowed", command, RelationGetRelationName(trigdata->tg_relation)),
			 errhint("Nobody changes these rows, the owner and superusers included.")));
	PG_RETURN_NULL();
}
