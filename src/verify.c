/*
 * verify.c
 *		Streaming verification of one audit chain.
 *
 * Reads the entries in the order of seq with the snapshot of the query, one at
 * a time, and recomputes everything that docs/audit-chain.md promises of the
 * bytes. Whether the present state equals what the chain says is checked in SQL
 * (walwarden._cross_check), which both verifiers share.
 *
 * Invariants: writes nothing; memory does not grow with the chain; a tampered
 * entry gives a verdict, not an error.
 */
#include "walwarden.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "tables.h"

typedef struct Verdict
{
	int64		entries;
	uint8		head[DIGEST_LEN];	/* hash of the last entry, or the start value */
	int64		first_bad_seq;	/* meaningful with reason */
	const char *reason;			/* of the first finding, or NULL */
} Verdict;

static void
found_bad(Verdict *verdict, int64 seq, const char *reason)
{
	if (verdict->reason == NULL)
	{
		verdict->first_bad_seq = seq;
		verdict->reason = reason;
	}
}

/*
 * Judge one entry, which should have seq verdict->entries and follow prev.
 */
static void
judge_entry(HeapTuple tuple, TupleDesc desc, const pg_uuid_t *org_id, const uint8 *prev, Verdict *verdict)
{
	Datum		values[MaxHeapAttributeNumber];	/* a later version's table may have more columns */
	bool		nulls[MaxHeapAttributeNumber];
	AuditColumns columns;
	text	   *kind;
	text	   *body;
	bytea	   *prev_hash;
	bytea	   *hash;
	const char *fault;

	heap_deform_tuple(tuple, desc, values, nulls);
	for (int i = 0; i < Natts_audit_entry; i++)
		if (nulls[i] && i != Anum_audit_entry_job_id - 1)
		{
			found_bad(verdict, verdict->entries, "columns differ from the body");
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
		found_bad(verdict, verdict->entries, "entry is missing");
	if (VARSIZE_ANY_EXHDR(hash) == DIGEST_LEN)
		memcpy(verdict->head, VARDATA_ANY(hash), DIGEST_LEN);
	if (verdict->reason != NULL)
		return;					/* only counting from here on */

	fault = audit_entry_fault(&columns, body, prev_hash, hash);
	if (fault == NULL && memcmp(prev, VARDATA_ANY(prev_hash), DIGEST_LEN) != 0)
		fault = "prev_hash is not the hash of the entry before";
	if (fault != NULL)
		found_bad(verdict, columns.seq, fault);
}

/* Compare the entry that was just read with the expected head, if it is that one. */
static void
judge_expected(Verdict *verdict, int64 expected_seq, const char *expected_hash)
{
	char		hex[DIGEST_HEX_LEN];

	if (verdict->entries != expected_seq)
		return;
	hex_lower(verdict->head, DIGEST_LEN, hex);
	if (memcmp(hex, expected_hash, DIGEST_HEX_LEN) != 0)
		found_bad(verdict, expected_seq, "entry is not the expected one");
}

/*
 * walwarden._verify_chain(org_id, expected_seq, expected_hash,
 *						   OUT entries, OUT head_hash, OUT first_bad_seq, OUT reason)
 *
 * The head of an empty chain is what its first entry would have as prev_hash.
 * expected_seq and expected_hash, both or none, are a head that was seen
 * earlier, that of the empty chain included; the caller has checked their form.
 */
PG_FUNCTION_INFO_V1(walwarden_verify_chain);
Datum
walwarden_verify_chain(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *org_id;
	bool		expecting = !PG_ARGISNULL(1);
	int64		expected_seq = 0;
	char	   *expected_hash = NULL;
	Relation	entries;
	Relation	index;
	TupleDesc	desc;
	MemoryContext per_entry = AllocSetContextCreate(CurrentMemoryContext, "walwarden verification", ALLOCSET_DEFAULT_SIZES);
	MemoryContext save;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Verdict		verdict = {0};
	uint8		prev[DIGEST_LEN];
	char		hex[DIGEST_HEX_LEN];
	TupleDesc	result_desc;
	Datum		values[4];
	bool		nulls[4];

	if (get_call_result_type(fcinfo, NULL, &result_desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) != PG_ARGISNULL(2))
		elog(ERROR, "org_id, or one half of an expected head, is null");
	org_id = PG_GETARG_UUID_P(0);
	if (expecting)
	{
		expected_seq = PG_GETARG_INT64(1);
		expected_hash = text_to_cstring(PG_GETARG_TEXT_PP(2));
		if (strlen(expected_hash) != DIGEST_HEX_LEN)
			elog(ERROR, "expected hash has a wrong length");
	}

	entries = walwarden_table_open("audit_entry");
	index = walwarden_index_open("audit_entry_pkey");
	desc = RelationGetDescr(entries);
	audit_genesis(org_id, prev);
	memcpy(verdict.head, prev, DIGEST_LEN);
	if (expecting)
		judge_expected(&verdict, expected_seq, expected_hash);
	ScanKeyInit(&key, Anum_audit_entry_org_id, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(org_id));
	scan = systable_beginscan_ordered(entries, index, GetActiveSnapshot(), 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		CHECK_FOR_INTERRUPTS();
		verdict.entries++;
		/* not around the scan: it keeps what it allocates */
		save = MemoryContextSwitchTo(per_entry);
		judge_entry(tuple, desc, org_id, prev, &verdict);
		MemoryContextSwitchTo(save);
		memcpy(prev, verdict.head, DIGEST_LEN);
		if (expecting)
			judge_expected(&verdict, expected_seq, expected_hash);
		MemoryContextReset(per_entry);
	}
	MemoryContextDelete(per_entry);
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(entries, AccessShareLock);
	settle_audit();
	if (expecting && verdict.entries < expected_seq)
		found_bad(&verdict, verdict.entries + 1, "tail is lost: the expected entry is missing");

	hex_lower(verdict.head, DIGEST_LEN, hex);
	values[0] = Int64GetDatum(verdict.entries);
	values[1] = PointerGetDatum(cstring_to_text_with_len(hex, DIGEST_HEX_LEN));
	values[2] = Int64GetDatum(verdict.first_bad_seq);
	values[3] = verdict.reason ? CStringGetTextDatum(verdict.reason) : (Datum) 0;
	nulls[0] = nulls[1] = false;
	nulls[2] = nulls[3] = verdict.reason == NULL;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(result_desc), values, nulls)));
}
