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

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "tables.h"

#define USAGE_PRECISION (60 * USECS_PER_SEC)

/*
 * Whether the stored time is too old; false where the row is missing. noted is
 * the stored time, owner the table's.
 */
static bool
usage_is_due(const pg_uuid_t *token_id, TimestampTz now, TimestampTz *noted, Oid *owner)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Row			usage;
	bool		due = false;

	if (row_find_uuid(&usage, "token_usage", "token_usage_pkey", Anum_token_usage_token_id, token_id, snapshot))
	{
		bool		isnull;
		Datum		last = row_get(&usage, Anum_token_usage_last_used_at, &isnull);

		if (!isnull)
			*noted = DatumGetTimestampTz(last);
		due = isnull || *noted <= now - USAGE_PRECISION;
	}
	*owner = usage.heap->rd_rel->relowner;
	row_close(&usage);
	UnregisterSnapshot(snapshot);
	return due;
}

/*
 * Note that a token is being used. The caller has checked it; the transaction
 * must be able to call SQL functions. noted is kept by the caller from one use
 * to the next: what is written here can roll back, so only what was read goes
 * there.
 */
void
usage_note(const pg_uuid_t *token_id, TimestampTz *noted)
{
	TimestampTz now;
	Oid			owner;
	Oid			note;
	Oid			argtypes[1] = {UUIDOID};
	Oid			save_userid;
	int			save_sec_context;

	if (XactReadOnly || IsolationUsesXactSnapshot() || RecoveryInProgress())
		return;

	now = GetCurrentTimestamp();
	if (*noted > now - USAGE_PRECISION || !usage_is_due(token_id, now, noted, &owner))
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
