/*
 * usage.c
 *		When a token was last used.
 *
 * Invariants: noting a use never waits for another transaction and never makes
 * a change of the token wait; it writes at most once a minute for a token; it
 * never fails a request for reasons of concurrency, and so leaves alone
 * read-only transactions and those whose snapshot is fixed.
 */
#include "walwarden.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "tables.h"

#define USAGE_PRECISION (60 * USECS_PER_SEC)

/* Whether the stored time is too old; false where the row is missing. */
static bool
usage_is_due(Relation usage, const pg_uuid_t *token_id, Snapshot snapshot)
{
	Relation	index = walwarden_index_open("token_usage_pkey");
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		due = false;

	ScanKeyInit(&key, Anum_token_usage_token_id, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(token_id));
	scan = systable_beginscan(usage, RelationGetRelid(index), true, snapshot, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		last = heap_getattr(tuple, Anum_token_usage_last_used_at, RelationGetDescr(usage), &isnull);

		due = isnull || DatumGetTimestampTz(last) <= GetCurrentTimestamp() - USAGE_PRECISION;
	}
	systable_endscan(scan);
	index_close(index, AccessShareLock);
	return due;
}

/*
 * Note that a token is being used. The caller has checked it; the transaction
 * must be able to call SQL functions.
 */
void
usage_note(const pg_uuid_t *token_id, Snapshot snapshot)
{
	Relation	usage;
	bool		due;
	Oid			owner;
	Oid			note;
	Oid			argtypes[1] = {UUIDOID};
	Oid			save_userid;
	int			save_sec_context;

	if (XactReadOnly || IsolationUsesXactSnapshot() || RecoveryInProgress())
		return;

	usage = walwarden_table_open("token_usage");
	due = usage_is_due(usage, token_id, snapshot);
	owner = usage->rd_rel->relowner;
	table_close(usage, AccessShareLock);
	if (!due)
		return;

	note = LookupFuncName(list_make2(makeString("walwarden"), makeString("_note_usage")), 1, argtypes, false);
	GetUserIdAndSecContext(&save_userid, &save_sec_context);
	PG_TRY();
	{
		SetUserIdAndSecContext(owner, save_sec_context | SECURITY_LOCAL_USERID_CHANGE);
		OidFunctionCall1(note, UUIDPGetDatum(token_id));
	}
	PG_FINALLY();
	{
		SetUserIdAndSecContext(save_userid, save_sec_context);
	}
	PG_END_TRY();
}
