/*
 * status_copy.c
 *		The copy of a token in its credentials, so that authenticate() reads one row: which
 *		columns, whether they are equal, and the triggers that keep them so.
 *
 * with_token_status() in sql/schema/3_token/token.sql says the same for the verifier in SQL.
 *
 * Invariants: a credential gets the copy whatever the statement wrote there. Copying waits
 * for a concurrent change of the token, and fails if the snapshot does not see the latest
 * version. One case remains: under REPEATABLE READ, a transaction can change a token that got
 * a credential after its snapshot. The functions of this extension rule that out by locking
 * the organisation. Verification finds it if something else writes these tables.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "base/export.h"
#include "base/row_write.h"
#include "base/tables.h"
#include "token/columns.h"
#include "token/status_copy.h"

const StatusCopy status_copies[STATUS_COPIES] = {
	{Anum_credential_org_id, Anum_token_org_id},
	{Anum_credential_token_kind, Anum_token_kind},
	{Anum_credential_scopes, Anum_token_scopes},
	{Anum_credential_role, Anum_token_role},
	{Anum_credential_owner_id, Anum_token_owner_id},
	{Anum_credential_expires_at, Anum_token_expires_at},
	{Anum_credential_stopped, Anum_token_stopped},
	{Anum_credential_networks, Anum_token_networks},
	{Anum_credential_rate_limit, Anum_token_rate_limit}
};

/* Whether both rows have the columns of a copy, of one type. A table of an older version lacks some. */
static bool
has_columns(const StatusCopy *copy, TupleDesc credential, TupleDesc token)
{
	return copy->credential <= credential->natts && copy->token <= token->natts &&
		TupleDescAttr(credential, copy->credential - 1)->atttypid == TupleDescAttr(token, copy->token - 1)->atttypid;
}

/* Whether the copy in a row of credential is what the row of its token has. */
bool
status_copy_is_equal(const StatusCopy *copy, TupleDesc credential, const Datum *values, const bool *nulls,
					 TupleDesc token, const Datum *token_values, const bool *token_nulls)
{
	const int	to = copy->credential - 1;
	const int	from = copy->token - 1;

	if (!has_columns(copy, credential, token) || nulls[to] != token_nulls[from])
		return false;
	return nulls[to] || datum_image_eq(values[to], token_values[from], TupleDescAttr(credential, to)->attbyval, TupleDescAttr(credential, to)->attlen);
}

/* Whether a row of credential belongs to a token. */
bool
credential_is_of(const Row *credential, const pg_uuid_t *token_id)
{
	bool		isnull;
	Datum		stored = row_get(credential, Anum_credential_token_id, &isnull);

	return !isnull && memcmp(DatumGetUUIDP(stored), token_id, sizeof(pg_uuid_t)) == 0;
}

static void
check_trigger(FunctionCallInfo fcinfo, const char *table, bool before)
{
	const TriggerData *trigdata = (const TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(trigdata->tg_event) ||
		(before ? !TRIGGER_FIRED_BEFORE(trigdata->tg_event) : !TRIGGER_FIRED_AFTER(trigdata->tg_event)) ||
		RelationGetRelid(trigdata->tg_relation) != walwarden_relation_oid(table))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function must be fired %s a change of a row of walwarden_internal.%s, by the trigger manager", before ? "before" : "after", table)));
}

/*
 * Trigger BEFORE INSERT OR UPDATE FOR EACH ROW on walwarden_internal.credential: copies the
 * columns of its token; NULL if that does not exist.
 */
PG_FUNCTION_INFO_V1(walwarden_copy_token_status);
Datum
walwarden_copy_token_status(PG_FUNCTION_ARGS)
{
	const TriggerData *trigdata;
	HeapTuple	credential;
	TupleDesc	desc;
	int			columns[STATUS_COPIES];
	Datum		values[STATUS_COPIES] = {0};
	bool		nulls[STATUS_COPIES];
	int			n = 0;
	bool		isnull;
	Datum		token_id;
	Row			token;
	bool		exists;

	check_trigger(fcinfo, "credential", true);
	trigdata = (const TriggerData *) fcinfo->context;
	credential = TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event) ? trigdata->tg_newtuple : trigdata->tg_trigtuple;
	desc = RelationGetDescr(trigdata->tg_relation);
	token_id = heap_getattr(credential, Anum_credential_token_id, desc, &isnull);

	CommandCounterIncrement();	/* to see what this statement has changed */
	PushActiveSnapshot(GetTransactionSnapshot());
	token.heap = NULL;
	exists = !isnull && row_find_uuid(&token, "token", "token_pkey", Anum_token_id, DatumGetUUIDP(token_id), GetActiveSnapshot()) &&
		row_lock(&token, LockTupleShare);
	PopActiveSnapshot();
	for (int i = 0; i < STATUS_COPIES; i++)
	{
		/* altered by somebody: verification tells */
		if (exists && !has_columns(&status_copies[i], desc, RelationGetDescr(token.heap)))
			continue;
		columns[n] = status_copies[i].credential;
		nulls[n] = true;
		if (exists)
			values[n] = row_get(&token, status_copies[i].token, &nulls[n]);
		n++;
	}
	credential = heap_modify_tuple_by_cols(credential, desc, n, columns, values, nulls);
	if (token.heap != NULL)
		row_close(&token);
	return PointerGetDatum(credential);
}

/* Whether a row of credential has all copies of a row of token. */
static bool
is_copy(HeapTuple credential, TupleDesc desc, TupleDesc token, const Datum *token_values, const bool *token_nulls)
{
	Datum	   *values = palloc(sizeof(Datum) * desc->natts);
	bool	   *nulls = palloc(sizeof(bool) * desc->natts);

	heap_deform_tuple(credential, desc, values, nulls);
	for (int i = 0; i < STATUS_COPIES; i++)
		if (!status_copy_is_equal(&status_copies[i], desc, values, nulls, token, token_values, token_nulls))
			return false;
	return true;
}

/*
 * Trigger AFTER INSERT OR UPDATE OR DELETE FOR EACH ROW on walwarden_internal.token: has the
 * trigger above copy again where the copy differs, also for a token that is restored after its
 * credential.
 */
PG_FUNCTION_INFO_V1(walwarden_refresh_token_status);
Datum
walwarden_refresh_token_status(PG_FUNCTION_ARGS)
{
	const TriggerData *trigdata;
	HeapTuple	token;
	TupleDesc	desc;
	Datum	   *values;
	bool	   *nulls;
	Relation	heap;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *stale = NIL;
	ListCell   *cell;

	check_trigger(fcinfo, "token", false);
	trigdata = (const TriggerData *) fcinfo->context;
	token = TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event) ? trigdata->tg_newtuple : trigdata->tg_trigtuple;
	desc = RelationGetDescr(trigdata->tg_relation);
	values = palloc(sizeof(Datum) * desc->natts);
	nulls = palloc(sizeof(bool) * desc->natts);
	heap_deform_tuple(token, desc, values, nulls);
	if (nulls[Anum_token_id - 1])
		return PointerGetDatum(NULL);
	ScanKeyInit(&key, Anum_credential_token_id, BTEqualStrategyNumber, F_UUID_EQ, values[Anum_token_id - 1]);
	if (TRIGGER_FIRED_BY_DELETE(trigdata->tg_event))
		memset(nulls, true, desc->natts);

	CommandCounterIncrement();	/* to see this change */
	heap = walwarden_table_open("credential");
	PushActiveSnapshot(GetTransactionSnapshot());
	scan = walwarden_scan_begin(heap, "credential_by_token", 0, GetActiveSnapshot(), 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		if (!is_copy(tuple, RelationGetDescr(heap), desc, values, nulls))
			stale = lappend(stale, heap_copytuple(tuple));
	systable_endscan(scan);
	foreach(cell, stale)
	{
		static const AttrNumber token_id = Anum_credential_token_id;
		const NullableDatum same = {values[Anum_token_id - 1], false};
		Row			row = {heap, lfirst(cell)};

		/* unless it belongs to another token by now */
		if (row_lock(&row, LockTupleNoKeyExclusive) && credential_is_of(&row, DatumGetUUIDP(same.value)))
			row_update(&row, 1, &token_id, &same);
	}
	PopActiveSnapshot();
	table_close(heap, AccessShareLock);
	return PointerGetDatum(NULL);
}
