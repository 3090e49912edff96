/*
 * store.c
 *		Storing a token: its entry, its row, and those of its credentials.
 *
 * Invariant: the tables are written as the entry says, in the same transaction. The images
 * in the entry are made of the rows that were there and of those that are stored.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "audit/append.h"
#include "base/export.h"
#include "base/json.h"
#include "base/render.h"
#include "base/row_write.h"
#include "base/tables.h"
#include "token/columns.h"
#include "token/image.h"
#include "token/limiter.h"
#include "token/status_copy.h"

/* What a change of a token can change. */
static const AttrNumber changing[] = {
	Anum_token_name, Anum_token_scopes, Anum_token_expires_at, Anum_token_expired_at,
	Anum_token_disabled_at, Anum_token_disabled_by, Anum_token_disabled_by_owner, Anum_token_disabled_reason,
	Anum_token_revoked_at, Anum_token_revoked_by, Anum_token_revoked_reason, Anum_token_removed_at,
	Anum_token_audit_seq, Anum_token_labels, Anum_token_networks, Anum_token_rate_limit,
	Anum_token_lifetime_from, Anum_token_notice_for
};

/* What is given once. The column stopped is generated. */
static const AttrNumber constant[] = {
	Anum_token_id, Anum_token_org_id, Anum_token_kind, Anum_token_role, Anum_token_owner_id,
	Anum_token_created_at, Anum_token_created_by, Anum_token_key_name
};

#define TOKEN_COLUMNS_MAX (lengthof(changing) + lengthof(constant))

/* Columns of a credential that its token does not determine. */
static const AttrNumber own_columns[] = {
	Anum_credential_fingerprint, Anum_credential_kind, Anum_credential_created_at, Anum_credential_valid_until, Anum_credential_slot
};

static NullableDatum
field(HeapTupleHeader row, AttrNumber column)
{
	NullableDatum value;

	value.value = GetAttributeByNum(row, column, &value.isnull);
	return value;
}

static const pg_uuid_t *
uuid_field(HeapTupleHeader row, AttrNumber column)
{
	NullableDatum value = field(row, column);

	if (value.isnull)
		elog(ERROR, "unexpected null in a token");
	return DatumGetUUIDP(value.value);
}

/* All credentials of a token, as an array of rows. The caller has an active snapshot. */
static ArrayType *
credentials_of(const pg_uuid_t *token_id)
{
	Relation	heap = walwarden_table_open("credential");
	ArrayBuildState *rows = initArrayResult(heap->rd_rel->reltype, CurrentMemoryContext, false);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_credential_token_id, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(token_id));
	scan = walwarden_scan_begin(heap, "credential_by_token", 0, GetActiveSnapshot(), 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		rows = accumArrayResult(rows, heap_copy_tuple_as_datum(tuple, RelationGetDescr(heap)), false, heap->rd_rel->reltype, CurrentMemoryContext);
	systable_endscan(scan);
	table_close(heap, AccessShareLock);
	return DatumGetArrayTypeP(makeArrayResult(rows, CurrentMemoryContext));
}

/* walwarden_internal.credentials(token_id uuid) */
PG_FUNCTION_INFO_V1(walwarden_credentials);
Datum
walwarden_credentials(PG_FUNCTION_ARGS)
{
	PG_RETURN_ARRAYTYPE_P(credentials_of(PG_GETARG_UUID_P(0)));
}

static void
append_image(StringInfo json, const char *key, HeapTupleHeader token, ArrayType *credentials)
{
	appendStringInfo(json, ",\"%s\":", key);
	if (token == NULL)
		appendStringInfoString(json, "null");
	else
		token_image(json, token, credentials);
}

/*
 * The payload of the entry of a change, as walwarden_internal.change() makes it. was: NULL for
 * a new token; reason: NULL for none.
 */
static text *
change_payload(Jsonb *actor, HeapTupleHeader was, ArrayType *had, HeapTupleHeader token, ArrayType *has, const text *reason)
{
	StringInfoData json;
	char		id[UUID_TEXT_LEN + 1];

	render_uuid(uuid_field(token, Anum_token_id), id);
	json_begin(&json);
	appendStringInfoString(&json, "{\"actor\":");
	JsonbToCString(&json, &actor->root, VARSIZE(actor));
	appendStringInfo(&json, ",\"object\":{\"type\":\"token\",\"id\":\"%s\"}", id);
	append_image(&json, "before", was, had);
	append_image(&json, "after", token, has);
	if (reason != NULL)
	{
		appendStringInfoString(&json, ",\"reason\":");
		json_append_text(&json, VARDATA_ANY(reason), VARSIZE_ANY_EXHDR(reason));
	}
	appendStringInfoChar(&json, '}');
	return (text *) DatumGetPointer(json_end(&json));
}

/*
 * walwarden_internal.token_change(actor jsonb, was walwarden_internal.token, had walwarden_internal.credential[],
 *		t walwarden_internal.token, has walwarden_internal.credential[], reason text)
 */
PG_FUNCTION_INFO_V1(walwarden_token_change);
Datum
walwarden_token_change(PG_FUNCTION_ARGS)
{
	for (int i = 0; i < 5; i++)
		if (PG_ARGISNULL(i) && i != 1)
			elog(ERROR, "argument %d of token_change() is null", i + 1);
	PG_RETURN_TEXT_P(change_payload(PG_GETARG_JSONB_P(0), PG_ARGISNULL(1) ? NULL : PG_GETARG_HEAPTUPLEHEADER(1), PG_GETARG_ARRAYTYPE_P(2),
									PG_GETARG_HEAPTUPLEHEADER(3), PG_GETARG_ARRAYTYPE_P(4), PG_ARGISNULL(5) ? NULL : PG_GETARG_TEXT_PP(5)));
}

/* Take the values of columns from a row, after the n that are there; returns how many there are then. */
static int
take(HeapTupleHeader row, const AttrNumber *wanted, int nwanted, AttrNumber *columns, NullableDatum *values, int n)
{
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(row),.t_data = row};
	TupleDesc	desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(row), HeapTupleHeaderGetTypMod(row));
	Datum	   *all = palloc(sizeof(Datum) * desc->natts);
	bool	   *nulls = palloc(sizeof(bool) * desc->natts);

	heap_deform_tuple(&tuple, desc, all, nulls);
	for (int i = 0; i < nwanted; i++, n++)
	{
		if (wanted[i] > desc->natts)
			elog(ERROR, "column %d of type %s is missing", wanted[i], format_type_be(desc->tdtypeid));
		columns[n] = wanted[i];
		values[n].value = all[wanted[i] - 1];
		values[n].isnull = nulls[wanted[i] - 1];
	}
	ReleaseTupleDesc(desc);
	return n;
}

/* Find a row and lock it to be changed. The caller closes it, also if there is none. */
static bool
find_to_change(Row *row, const char *table, const char *index, AttrNumber column, RegProcedure equal, Datum value, LockTupleMode mode)
{
	ScanKeyData key;
	bool		found;

	ScanKeyInit(&key, column, BTEqualStrategyNumber, equal, value);
	PushActiveSnapshot(GetTransactionSnapshot());
	found = row_find(row, table, index, 1, &key, GetActiveSnapshot()) && row_lock(row, mode);
	PopActiveSnapshot();
	return found;
}

static void
write_token(HeapTupleHeader token, bool is_new)
{
	AttrNumber	columns[TOKEN_COLUMNS_MAX];
	NullableDatum values[TOKEN_COLUMNS_MAX];
	int			n = take(token, changing, lengthof(changing), columns, values, 0);
	NullableDatum id = field(token, Anum_token_id);
	Row			row;

	if (is_new)
	{
		const AttrNumber token_id = Anum_token_usage_token_id;

		n = take(token, constant, lengthof(constant), columns, values, n);
		row_insert("token", n, columns, values, 0);
		row_insert("token_usage", 1, &token_id, &id, 0);
		return;
	}
	if (!find_to_change(&row, "token", "token_pkey", Anum_token_id, F_UUID_EQ, id.value, LockTupleNoKeyExclusive))
		elog(ERROR, "the token is missing");
	row_update(&row, n, columns, values);
	row_close(&row);
	if (!field(token, Anum_token_rate_limit).isnull &&
		(!field(token, Anum_token_revoked_at).isnull || !field(token, Anum_token_removed_at).isnull))
		limiter_release(DatumGetUUIDP(id.value));
}

/* The credential with the fingerprint of this one, or NULL. */
static HeapTupleHeader
find_same(HeapTupleHeader credential, const Datum *credentials, int n)
{
	NullableDatum wanted = field(credential, Anum_credential_fingerprint);

	if (wanted.isnull)
		elog(ERROR, "a credential has no fingerprint");
	for (int i = 0; i < n; i++)
	{
		HeapTupleHeader other = DatumGetHeapTupleHeader(credentials[i]);
		NullableDatum fingerprint = field(other, Anum_credential_fingerprint);

		if (!fingerprint.isnull && datum_image_eq(wanted.value, fingerprint.value, false, -1))
			return other;
	}
	return NULL;
}

/* Write what differs between the credentials that a token had and those that it has. */
static void
write_credentials(HeapTupleHeader token, ArrayType *had, ArrayType *has)
{
	Datum	   *before;
	Datum	   *after;
	int			nbefore;
	int			nafter;
	const pg_uuid_t *token_id = uuid_field(token, Anum_token_id);

	deconstruct_array(had, ARR_ELEMTYPE(had), -1, false, TYPALIGN_DOUBLE, &before, NULL, &nbefore);
	deconstruct_array(has, ARR_ELEMTYPE(has), -1, false, TYPALIGN_DOUBLE, &after, NULL, &nafter);
	for (int i = 0; i < nbefore; i++)
	{
		static const AttrNumber until = Anum_credential_valid_until;
		HeapTupleHeader old = DatumGetHeapTupleHeader(before[i]);
		HeapTupleHeader new = find_same(old, after, nafter);
		NullableDatum was = field(old, until);
		NullableDatum is = new == NULL ? was : field(new, until);
		Row			row;

		if (new != NULL && was.isnull == is.isnull && (is.isnull || was.value == is.value))
			continue;
		/* unless it has gone by now, or belongs to another token */
		if (find_to_change(&row, "credential", "credential_pkey", Anum_credential_fingerprint, F_BYTEAEQ,
						   field(old, Anum_credential_fingerprint).value, new == NULL ? LockTupleExclusive : LockTupleNoKeyExclusive) &&
			credential_is_of(&row, token_id))
		{
			if (new == NULL)
				row_delete(&row);
			else
				row_update(&row, 1, &until, &is);
		}
		row_close(&row);
	}
	for (int i = 0; i < nafter; i++)
	{
		HeapTupleHeader new = DatumGetHeapTupleHeader(after[i]);
		AttrNumber	columns[lengthof(own_columns) + 2] = {Anum_credential_token_id, Anum_credential_audit_seq};
		NullableDatum values[lengthof(own_columns) + 2] = {field(token, Anum_token_id), field(token, Anum_token_audit_seq)};

		if (find_same(new, before, nbefore) == NULL)
			row_insert("credential", take(new, own_columns, lengthof(own_columns), columns, values, 2), columns, values, 0);
	}
}

/* A token with another audit_seq. */
static HeapTupleHeader
with_audit_seq(HeapTupleHeader token, int64 seq)
{
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(token),.t_data = token};
	TupleDesc	desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(token), HeapTupleHeaderGetTypMod(token));
	int			column = Anum_token_audit_seq;
	Datum		value = Int64GetDatum(seq);
	bool		isnull = false;
	HeapTuple	changed = heap_modify_tuple_by_cols(&tuple, desc, 1, &column, &value, &isnull);

	ReleaseTupleDesc(desc);
	return changed->t_data;		/* still of its row type */
}

/*
 * walwarden_internal.store_token(actor jsonb, event text, was walwarden_internal.token, t walwarden_internal.token,
 *		credentials walwarden_internal.credential[], reason text)
 */
PG_FUNCTION_INFO_V1(walwarden_store_token);
Datum
walwarden_store_token(PG_FUNCTION_ARGS)
{
	HeapTupleHeader was = PG_ARGISNULL(2) ? NULL : PG_GETARG_HEAPTUPLEHEADER(2);
	HeapTupleHeader token;
	const pg_uuid_t *org_id;
	ArrayType  *had;
	ArrayType  *has = PG_ARGISNULL(4) ? NULL : PG_GETARG_ARRAYTYPE_P(4);
	text	   *payload;

	for (int i = 0; i < 4; i++)
		if (PG_ARGISNULL(i) && i != 2)
			elog(ERROR, "argument %d of store_token() is null", i + 1);
	token = PG_GETARG_HEAPTUPLEHEADER(3);
	org_id = uuid_field(token, Anum_token_org_id);
	PushActiveSnapshot(GetTransactionSnapshot());
	had = credentials_of(uuid_field(token, Anum_token_id));
	PopActiveSnapshot();
	payload = change_payload(PG_GETARG_JSONB_P(0), was, had, token, has == NULL ? had : has, PG_ARGISNULL(5) ? NULL : PG_GETARG_TEXT_PP(5));
	token = with_audit_seq(token, audit_append(org_id, PG_GETARG_TEXT_PP(1), NULL, payload));
	write_token(token, was == NULL);
	if (has != NULL)
		write_credentials(token, had, has);
	PG_RETURN_HEAPTUPLEHEADER(token);
}
