/*
 * chain_scan.c
 *		Reading the entries of one chain in the order of seq, with the snapshot of the
 *		query.
 *
 * Invariants: entries come one at a time, so that memory does not grow with the chain. The
 * caller calls chain_scan_next() in the memory context in which the scan began.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "audit/chain_scan.h"
#include "audit/columns.h"
#include "base/tables.h"

void
chain_scan_begin(ChainScan *scan, const pg_uuid_t *org_id, const int64 *limits)
{
	ScanKeyData keys[3];

	ScanKeyInit(&keys[0], Anum_audit_entry_org_id, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(org_id));
	if (limits != NULL)
	{
		ScanKeyInit(&keys[1], Anum_audit_entry_seq, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(limits[0]));
		ScanKeyInit(&keys[2], Anum_audit_entry_seq, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(limits[1]));
	}
	scan->entries = walwarden_table_open("audit_entry");
	scan->index = walwarden_index_open("audit_entry_pkey");
	scan->scan = systable_beginscan_ordered(scan->entries, scan->index, GetActiveSnapshot(), limits == NULL ? 1 : 3, keys);
}

HeapTuple
chain_scan_next(ChainScan *scan)
{
	CHECK_FOR_INTERRUPTS();
	return systable_getnext_ordered(scan->scan, ForwardScanDirection);
}

void
chain_scan_end(ChainScan *scan)
{
	systable_endscan_ordered(scan->scan);
	index_close(scan->index, AccessShareLock);
	table_close(scan->entries, AccessShareLock);
}

int64
chain_last_seq(const pg_uuid_t *org_id)
{
	ChainScan	scan;
	HeapTuple	tuple;
	bool		isnull = true;
	int64		seq = 0;

	chain_scan_begin(&scan, org_id, NULL);
	tuple = systable_getnext_ordered(scan.scan, BackwardScanDirection);
	if (HeapTupleIsValid(tuple))
		seq = DatumGetInt64(heap_getattr(tuple, Anum_audit_entry_seq, RelationGetDescr(scan.entries), &isnull));
	chain_scan_end(&scan);
	return isnull ? 0 : seq;
}
