/*
 * standing.c
 *		What a token is and may do at one moment: the only place where its state
 *		and its effective scopes are decided.
 *
 * Tables are read by index, with a snapshot that the caller gives and without
 * SQL, so that no search_path, operator or policy of the session has a part in
 * it. Rights to read are not checked: the functions that call this decide what
 * of it may leave.
 *
 * Invariants: whatever cannot be found makes a token less able, never more; all
 * rows of one decision come from one snapshot.
 */
#include "walwarden.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "tables.h"

static ScopeList
scope_list_from_array(Datum array)
{
	ArrayType  *scopes = DatumGetArrayTypePCopy(array);
	ScopeList	list = {0, NULL};
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	deconstruct_array(scopes, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	list.names = palloc(sizeof(text *) * Max(n, 1));
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			list.names[list.n++] = DatumGetTextPP(elements[i]);
	return list;
}

Datum
scope_list_array(const ScopeList *list)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(list->n, 1));

	for (int i = 0; i < list->n; i++)
		elements[i] = PointerGetDatum(list->names[i]);
	return PointerGetDatum(construct_array(elements, list->n, TEXTOID, -1, false, TYPALIGN_INT));
}

bool
scope_list_has(const ScopeList *list, const char *name, size_t len)
{
	for (int i = 0; i < list->n; i++)
		if (VARSIZE_ANY_EXHDR(list->names[i]) == len &&
			memcmp(VARDATA_ANY(list->names[i]), name, len) == 0)
			return true;
	return false;
}

static bool
text_is(const text *value, const char *want)
{
	return VARSIZE_ANY_EXHDR(value) == strlen(want) && memcmp(VARDATA_ANY(value), want, strlen(want)) == 0;
}

/* Every scope of the catalogue, by name. */
static ScopeList
all_scopes(Snapshot snapshot)
{
	ScopeList	list = {0, NULL};
	int			room = 32;
	Relation	heap = walwarden_table_open("scope");
	Relation	index = walwarden_index_open("scope_pkey");
	SysScanDesc scan = systable_beginscan_ordered(heap, index, snapshot, 0, NULL);
	HeapTuple	tuple;

	list.names = palloc(sizeof(text *) * room);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		bool		isnull;
		Datum		name = heap_getattr(tuple, Anum_scope_name, RelationGetDescr(heap), &isnull);

		if (list.n == room)
			list.names = repalloc(list.names, sizeof(text *) * (room *= 2));
		list.names[list.n++] = DatumGetTextPCopy(name);
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(heap, AccessShareLock);
	return list;
}

bool
scope_exists(const text *name, Snapshot snapshot)
{
	Row			row;
	bool		found = row_find_text(&row, "scope", "scope_pkey", Anum_scope_name, name, snapshot);

	row_close(&row);
	return found;
}

/* The scopes that a role carries: its override, else its own, NULL for all. */
static ScopeList
role_scopes(const text *role, Snapshot snapshot)
{
	ScopeList	list = {0, NULL};
	Row			row;
	bool		found;
	bool		isnull = true;
	Datum		scopes = (Datum) 0;

	if (row_find_text(&row, "role_override", "role_override_pkey", Anum_role_override_role, role, snapshot))
		scopes = row_get(&row, Anum_role_override_scopes, &isnull);
	if (!isnull)
		list = scope_list_from_array(scopes);
	row_close(&row);
	if (!isnull)
		return list;

	found = row_find_text(&row, "role", "role_pkey", Anum_role_name, role, snapshot);
	if (found)
		scopes = row_get(&row, Anum_role_scopes, &isnull);
	if (!isnull)
		list = scope_list_from_array(scopes);
	row_close(&row);
	if (found && isnull)
		return all_scopes(snapshot);
	return list;
}

/* Whether a role of the server was given kind, and has it still. */
bool
role_grant_exists(const char *kind, const char *role, Snapshot snapshot)
{
	Row			row;
	ScanKeyData keys[2];
	NameData	name;
	bool		granted;

	namestrcpy(&name, role);
	ScanKeyInit(&keys[0], Anum_role_grant_kind, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(kind));
	ScanKeyInit(&keys[1], Anum_role_grant_role, BTEqualStrategyNumber, F_NAMEEQ, NameGetDatum(&name));
	granted = row_find(&row, "role_grant", "role_grant_pkey", 2, keys, snapshot) &&
		!row_has(&row, Anum_role_grant_revoked_at);
	row_close(&row);
	return granted;
}

static bool
plan_has_tokens(const text *plan, Snapshot snapshot)
{
	Row			row;
	bool		isnull = true;
	bool		tokens = false;

	if (row_find_text(&row, "plan", "plan_pkey", Anum_plan_name, plan, snapshot))
		tokens = DatumGetBool(row_get(&row, Anum_plan_api_tokens, &isnull));
	row_close(&row);
	return !isnull && tokens;
}

const char *
token_state_name(TokenState state)
{
	switch (state)
	{
		case TOKEN_ACTIVE:
			return "active";
		case TOKEN_INACTIVE:
			return "inactive";
		case TOKEN_DISABLED:
			return "disabled";
		case TOKEN_EXPIRED:
			return "expired";
		case TOKEN_REVOKED:
			return "revoked";
		case TOKEN_UNKNOWN:
			break;
	}
	return "unknown";
}

static void
become(Standing *standing, TokenState state, const char *reason)
{
	standing->state = state;
	standing->reason = reason;
}

/* State by the token's own row: the first that holds. */
static void
judge_token(Standing *standing, const Row *token)
{
	if (row_has(token, Anum_token_removed_at))
		become(standing, TOKEN_UNKNOWN, "removed");
	else if (row_has(token, Anum_token_revoked_at))
		become(standing, TOKEN_REVOKED, "revoked");
	else if (standing->has_expiry && standing->expires_at <= GetCurrentTimestamp())
		become(standing, TOKEN_EXPIRED, "expired");
	else if (row_has(token, Anum_token_disabled_at))
		become(standing, TOKEN_DISABLED, "disabled");
	else
		become(standing, TOKEN_ACTIVE, NULL);
}

/* The org's slug, and its plan's say in the state. */
static void
judge_org(Standing *standing, Snapshot snapshot)
{
	Row			org;
	text	   *plan = NULL;

	if (row_find_uuid(&org, "org", "org_pkey", Anum_org_id, &standing->org_id, snapshot))
	{
		standing->org_slug = row_text(&org, Anum_org_slug);
		plan = row_text(&org, Anum_org_plan);
	}
	row_close(&org);
	if (standing->state == TOKEN_ACTIVE && (plan == NULL || !plan_has_tokens(plan, snapshot)))
		become(standing, TOKEN_INACTIVE, "plan without API tokens");
}

/* The owner's subject and role, and their say in the state. */
static text *
judge_owner(Standing *standing, const pg_uuid_t *owner_id, Snapshot snapshot)
{
	Row			owner;
	text	   *role = NULL;
	const char *stopped = "owner missing";

	if (row_find_uuid(&owner, "member", "member_pkey", Anum_member_id, owner_id, snapshot))
	{
		standing->subject = row_text(&owner, Anum_member_subject);
		role = row_text(&owner, Anum_member_role);
		stopped = row_has(&owner, Anum_member_removed_at) ? "owner removed" :
			row_has(&owner, Anum_member_disabled_at) ? "owner disabled" : NULL;
	}
	row_close(&owner);
	if (standing->state == TOKEN_ACTIVE && stopped != NULL)
		become(standing, TOKEN_INACTIVE, stopped);
	return role;
}

/* Fill in standing for a token's row; everything is allocated in the current context. */
static void
standing_of_row(const Row *token, Snapshot snapshot, Standing *standing)
{
	bool		isnull;
	Datum		value;
	text	   *role = row_text(token, Anum_token_role);
	text	   *owner_role = NULL;
	ScopeList	carried;
	bool		private;

	standing->token_id = row_uuid(token, Anum_token_id);
	standing->org_id = row_uuid(token, Anum_token_org_id);
	standing->kind = row_text(token, Anum_token_kind);
	standing->legacy = text_is(standing->kind, "legacy");
	value = row_get(token, Anum_token_expires_at, &isnull);
	standing->has_expiry = !isnull;
	standing->expires_at = isnull ? 0 : DatumGetTimestampTz(value);

	judge_token(standing, token);
	judge_org(standing, snapshot);
	value = row_get(token, Anum_token_owner_id, &isnull);
	private = !isnull;
	if (private)
		owner_role = judge_owner(standing, DatumGetUUIDP(value), snapshot);

	/* the token's own scopes, in whose place a role may stand: its own, or, for a legacy token, its owner's */
	value = row_get(token, Anum_token_scopes, &isnull);
	if (!isnull)
		standing->scopes = scope_list_from_array(value);
	carried = standing->scopes;
	if (standing->legacy)
		role = owner_role;
	if (role != NULL)
		carried = role_scopes(role, snapshot);

	/* what is left of them now; nothing for a token that is not active */
	if (standing->state != TOKEN_ACTIVE)
		return;
	standing->effective = carried;
	if (private)
	{
		ScopeList	limit = {0, NULL};

		if (owner_role != NULL)
			limit = role_scopes(owner_role, snapshot);
		standing->effective.n = 0;
		standing->effective.names = palloc(sizeof(text *) * Max(carried.n, 1));
		for (int i = 0; i < carried.n; i++)
		{
			text	   *name = carried.names[i];

			if (scope_list_has(&limit, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)))
				standing->effective.names[standing->effective.n++] = name;
		}
	}
}

/*
 * Standing of whatever token a credential opens: kind is bearer or legacy. The
 * caller provides a registered snapshot, and treats every state but TOKEN_ACTIVE
 * alike towards whoever presented the credential.
 */
void
standing_of_credential(const char *kind, const uint8 *fingerprint, Snapshot snapshot, Standing *standing)
{
	Row			credential;
	Row			token;
	ScanKeyData key;
	bytea	   *stored = palloc(VARHDRSZ + DIGEST_LEN);
	pg_uuid_t	token_id;
	bool		found;
	bool		isnull;
	bool		ended = false;

	memset(standing, 0, sizeof(Standing));
	SET_VARSIZE(stored, VARHDRSZ + DIGEST_LEN);
	memcpy(VARDATA(stored), fingerprint, DIGEST_LEN);
	ScanKeyInit(&key, Anum_credential_fingerprint, BTEqualStrategyNumber, F_BYTEAEQ, PointerGetDatum(stored));
	found = row_find(&credential, "credential", "credential_pkey", 1, &key, snapshot) &&
		text_is(row_text(&credential, Anum_credential_kind), kind);
	if (found)
	{
		Datum		until = row_get(&credential, Anum_credential_valid_until, &isnull);

		ended = !isnull && DatumGetTimestampTz(until) <= GetCurrentTimestamp();
		token_id = row_uuid(&credential, Anum_credential_token_id);
	}
	row_close(&credential);
	if (!found)
	{
		become(standing, TOKEN_UNKNOWN, "unknown");
		return;
	}

	if (row_find_uuid(&token, "token", "token_pkey", Anum_token_id, &token_id, snapshot))
		standing_of_row(&token, snapshot, standing);
	else
		become(standing, TOKEN_UNKNOWN, "unknown");
	row_close(&token);
	if (ended && standing->state == TOKEN_ACTIVE)
		become(standing, TOKEN_EXPIRED, "value renewed");
}

/* The same for a bearer value as a client presents it. */
void
standing_of_value(const char *value, size_t len, Snapshot snapshot, Standing *standing)
{
	uint8		fingerprint[DIGEST_LEN];

	if (!token_is_well_formed(value, len))
	{
		memset(standing, 0, sizeof(Standing));
		become(standing, TOKEN_UNKNOWN, "malformed");
		return;
	}
	token_fingerprint(value, len, fingerprint);
	standing_of_credential("bearer", fingerprint, snapshot, standing);
}

/*
 * walwarden._token_standing(token_id uuid, OUT state, OUT reason, OUT effective_scopes)
 *
 * For listings, which must agree with authenticate(); it reads with the
 * snapshot of the query.
 */
PG_FUNCTION_INFO_V1(walwarden_token_standing);
Datum
walwarden_token_standing(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *token_id = PG_GETARG_UUID_P(0);
	TupleDesc	tupdesc;
	Row			token;
	Standing	standing;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	memset(&standing, 0, sizeof(standing));
	become(&standing, TOKEN_UNKNOWN, "unknown");
	if (row_find_uuid(&token, "token", "token_pkey", Anum_token_id, token_id, GetActiveSnapshot()))
		standing_of_row(&token, GetActiveSnapshot(), &standing);
	row_close(&token);

	values[0] = CStringGetTextDatum(token_state_name(standing.state));
	nulls[1] = standing.reason == NULL;
	values[1] = nulls[1] ? (Datum) 0 : CStringGetTextDatum(standing.reason);
	nulls[2] = standing.legacy;
	values[2] = nulls[2] ? (Datum) 0 : scope_list_array(&standing.effective);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}

/* walwarden._role_scopes(role text) */
PG_FUNCTION_INFO_V1(walwarden_role_scopes);
Datum
walwarden_role_scopes(PG_FUNCTION_ARGS)
{
	ScopeList	list = role_scopes(PG_GETARG_TEXT_PP(0), GetActiveSnapshot());

	PG_RETURN_DATUM(scope_list_array(&list));
}
