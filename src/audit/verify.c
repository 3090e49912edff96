/*
 * verify.c
 *		Streaming verification of one audit chain.
 *
 * Reads the entries one at a time, in the order of seq, with the snapshot of the query,
 * and recomputes everything that docs/audit-chain.md specifies about their bytes. In the same
 * pass it notes what they say of the objects that they describe; described.c then compares
 * the rows. What else there is to compare is in sql/schema/9_close/verify.sql.
 *
 * Invariants: nothing is written. Memory does not grow with the chain. A tampered entry
 * leads to a verdict, not to an error.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "audit/chain_scan.h"
#include "audit/columns.h"
#include "audit/commit.h"
#include "audit/described.h"
#include "audit/entry.h"
#include "base/digest.h"
#include "base/export.h"
#include "base/progress.h"
#include "common/entry.h"
#include "common/hex.h"

typedef struct Verdict
{
	int64		entries;
	uint8		head[DIGEST_LEN];	/* hash of the last entry, or genesis */
	TimestampTz at;				/* of the last entry judged */
	int64		first_bad_seq;	/* meaningful with reason */
	const char *reason;			/* of the first finding, or NULL */
} Verdict;

static void
record_error(Verdict *verdict, int64 seq, const char *reason)
{
	if (verdict->reason == NULL)
	{
		verdict->first_bad_seq = seq;
		verdict->reason = reason;
	}
}

/*
 * Judge one entry, which should have the seq verdict->entries and follow prev, and add it to
 * described, unless that is NULL.
 */
static void
judge_entry(HeapTuple tuple, TupleDesc desc, const pg_uuid_t *org_id, const uint8 *prev, Verdict *verdict, Described *described)
{
	Datum		values[MaxHeapAttributeNumber]; /* later tables have more */
	bool		nulls[MaxHeapAttributeNumber];
	AuditColumns columns;
	CanonicalMember members[ENTRY_MEMBERS];
	text	   *kind;
	text	   *body;
	bytea	   *prev_hash;
	bytea	   *hash;
	const char *error;

	heap_deform_tuple(tuple, desc, values, nulls);
	for (int i = 0; i < Natts_audit_entry; i++)
		if (nulls[i] && i != Anum_audit_entry_job_id - 1)
		{
			record_error(verdict, verdict->entries, "columns differ from the body");
			return;
		}
	kind = DatumGetTextPP(values[Anum_audit_entry_kind - 1]);
	body = DatumGetTextPP(values[Anum_audit_entry_body - 1]);
	prev_hash = DatumGetByteaPP(values[Anum_audit_entry_prev_hash - 1]);
	hash = DatumGetByteaPP(values[Anum_audit_entry_hash - 1]);
	columns.org_id = org_id;
	columns.seq = DatumGetInt64(values[Anum_audit_entry_seq - 1]);
	columns.at = DatumGetTimestampTz(values[Anum_audit_entry_at - 1]);
	columns.kind = VARDATA_ANY(kind);
	columns.kind_len = VARSIZE_ANY_EXHDR(kind);
	columns.job_id = nulls[Anum_audit_entry_job_id - 1] ? NULL : DatumGetUUIDP(values[Anum_audit_entry_job_id - 1]);

	if (columns.seq != verdict->entries)
		record_error(verdict, verdict->entries, "entry is missing");
	if (VARSIZE_ANY_EXHDR(hash) == DIGEST_LEN)
		memcpy(verdict->head, VARDATA_ANY(hash), DIGEST_LEN);
	if (verdict->reason != NULL)
		return;					/* from here on only count */

	error = audit_entry_error(&columns, body, prev_hash, hash, members);
	if (error == NULL && memcmp(prev, VARDATA_ANY(prev_hash), DIGEST_LEN) != 0)
		error = "prev_hash does not match the hash of the previous entry";
	if (error == NULL && columns.at < verdict->at)
		error = "at is earlier than in the previous entry";
	verdict->at = columns.at;
	if (error != NULL)
		record_error(verdict, columns.seq, error);
	else if (described != NULL)
		described_add(described, columns.seq, members);
}

/* An earlier head, possibly of the empty chain. */
typedef struct Expected
{
	int64		seq;
	const char *hash;			/* NULL if nothing is expected */
} Expected;

/* Compare the entry just read with the expected head, if it has that seq. */
static void
judge_expected(Verdict *verdict, const Expected *expected)
{
	char		hex[DIGEST_HEX_LEN];

	if (expected->hash == NULL || verdict->entries != expected->seq)
		return;
	hex_lower(verdict->head, DIGEST_LEN, hex);
	if (memcmp(hex, expected->hash, DIGEST_HEX_LEN) != 0)
		record_error(verdict, expected->seq, "entry is not the expected one");
}

/* Judge the entries of a chain one after the other. */
static void
judge_chain(const pg_uuid_t *org_id, const Expected *expected, Verdict *verdict, Described *described)
{
	MemoryContext per_entry = AllocSetContextCreate(CurrentMemoryContext, "walwarden verification", ALLOCSET_DEFAULT_SIZES);
	ChainScan	scan;
	HeapTuple	tuple;
	uint8		prev[DIGEST_LEN];

	audit_genesis(org_id, prev);
	memcpy(verdict->head, prev, DIGEST_LEN);
	judge_expected(verdict, expected);
	if (progress_is_shown())
		progress_begin("verification: entries", org_id, chain_last_seq(org_id));
	chain_scan_begin(&scan, org_id, NULL);
	while (HeapTupleIsValid(tuple = chain_scan_next(&scan)))
	{
		MemoryContext save;

		verdict->entries++;
		progress_advance(verdict->entries);
		/* not around the scan, which keeps its own allocations */
		save = MemoryContextSwitchTo(per_entry);
		judge_entry(tuple, RelationGetDescr(scan.entries), org_id, prev, verdict, described);
		MemoryContextSwitchTo(save);
		memcpy(prev, verdict->head, DIGEST_LEN);
		judge_expected(verdict, expected);
		MemoryContextReset(per_entry);
	}
	MemoryContextDelete(per_entry);
	chain_scan_end(&scan);
	flush_audit();
	if (expected->hash != NULL && verdict->entries < expected->seq)
		record_error(verdict, verdict->entries + 1, "tail is lost: the expected entry is missing");
}

/* What verify_chain() returns. */
static Datum
result_row(TupleDesc desc, const Verdict *verdict, bool compared, const Difference *difference)
{
	char		hex[DIGEST_HEX_LEN];
	Datum		values[7];
	bool		nulls[7];

	hex_lower(verdict->head, DIGEST_LEN, hex);
	values[0] = Int64GetDatum(verdict->entries);
	values[1] = PointerGetDatum(cstring_to_text_with_len(hex, DIGEST_HEX_LEN));
	values[2] = Int64GetDatum(verdict->first_bad_seq);
	values[3] = verdict->reason ? CStringGetTextDatum(verdict->reason) : (Datum) 0;
	values[4] = Int64GetDatum(difference->seq);
	values[5] = difference->reason ? CStringGetTextDatum(difference->reason) : (Datum) 0;
	values[6] = Int64GetDatum(difference->credentials);
	nulls[0] = nulls[1] = false;
	nulls[2] = nulls[3] = verdict->reason == NULL;
	nulls[4] = !difference->has_seq;
	nulls[5] = difference->reason == NULL;
	nulls[6] = !compared || difference->unmatched || difference->reason != NULL;
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/*
 * walwarden_internal.verify_chain(org_id, expected_seq, expected_hash, compare_rows,
 *						   OUT entries, OUT head_hash, OUT first_bad_seq, OUT reason,
 *						   OUT differing_seq, OUT difference, OUT credentials)
 *
 * The head of an empty chain is the prev_hash that its first entry would have.
 * expected_seq and expected_hash, both or neither, are an earlier head, possibly of the
 * empty chain. The caller has checked their form. The rows are compared if the entries are
 * sound: difference is the first that was found.
 */
PG_FUNCTION_INFO_V1(walwarden_verify_chain);
Datum
walwarden_verify_chain(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *org_id;
	Expected	expected = {0, NULL};
	Described  *described;
	bool		compared;
	Difference	difference = {0};
	Verdict		verdict = {.at = DT_NOBEGIN};
	TupleDesc	result_desc;

	if (get_call_result_type(fcinfo, NULL, &result_desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) != PG_ARGISNULL(2) || PG_ARGISNULL(3))
		elog(ERROR, "org_id, one half of an expected head, or compare_rows is null");
	org_id = PG_GETARG_UUID_P(0);
	if (!PG_ARGISNULL(1))
	{
		expected.seq = PG_GETARG_INT64(1);
		expected.hash = text_to_cstring(PG_GETARG_TEXT_PP(2));
		if (strlen(expected.hash) != DIGEST_HEX_LEN)
			elog(ERROR, "expected hash has a wrong length");
	}

	described = PG_GETARG_BOOL(3) ? described_begin(org_id) : NULL;
	judge_chain(org_id, &expected, &verdict, described);
	compared = described != NULL && verdict.reason == NULL;
	if (compared)
		difference = described_compare(described);
	progress_end();
	PG_RETURN_DATUM(result_row(result_desc, &verdict, compared, &difference));
}
