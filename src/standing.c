/*
 * standing.c
 *		What a token is and may do at one moment: the only place where its state
 *		and its effective scopes are decided.
 *
 * Tables are read by index and without SQL, so that no search_path, operator or
 * policy of the session has a part in it. What tokens have in common comes from
 * facts.c. Rights to read are not checked: the functions that call this decide what
 * of it may leave.
 *
 * Invariants: whatever cannot be found makes a token less able, never more; all
 * that goes into one decision held at one moment. A credential is believed about
 * its token: triggers keep it true, verification compares.
 */
#include "walwarden.h"

#include "access/htup_details.h"
#include "access/skey.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "tables.h"

ScopeList
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

bool
scope_exists(const text *name, Snapshot snapshot)
{
	Row			row;
	bool		found = row_find_text(&row, "scope", "scope_pkey", Anum_scope_name, name, snapshot);

	row_close(&row);
	return found;
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

/*
 * Where to find what decides about a token: in its own row, or in that of a
 * credential, to which triggers copy it.
 */
typedef struct TokenColumns
{
	AttrNumber	id;
	AttrNumber	org_id;
	AttrNumber	kind;
	AttrNumber	scopes;
	AttrNumber	role;
	AttrNumber	owner_id;
	AttrNumber	expires_at;
	AttrNumber	stopped;		/* by what; 0: three columns of the token say it */
} TokenColumns;

static const TokenColumns token_columns = {
	Anum_token_id, Anum_token_org_id, Anum_token_kind, Anum_token_scopes,
	Anum_token_role, Anum_token_owner_id, Anum_token_expires_at, 0
};

static const TokenColumns credential_columns = {
	Anum_credential_token_id, Anum_credential_org_id, Anum_credential_token_kind, Anum_credential_scopes,
	Anum_credential_role, Anum_credential_owner_id, Anum_credential_expires_at, Anum_credential_stopped
};

/* By what of its own a token is stopped; what nobody knows stops for good. */
static TokenState
stopped_state(const Row *row, const TokenColumns *columns)
{
	const text *stopped;

	if (columns->stopped == 0)
		return row_has(row, Anum_token_removed_at) ? TOKEN_UNKNOWN :
			row_has(row, Anum_token_revoked_at) ? TOKEN_REVOKED :
			row_has(row, Anum_token_disabled_at) ? TOKEN_DISABLED : TOKEN_ACTIVE;

	stopped = row_text(row, columns->stopped);
	return stopped == NULL ? TOKEN_ACTIVE :
		text_is(stopped, "disabled") ? TOKEN_DISABLED :
		text_is(stopped, "revoked") ? TOKEN_REVOKED : TOKEN_UNKNOWN;
}

/* State by the token itself: the first that holds. */
static void
judge_token(Standing *standing, TokenState stopped)
{
	if (stopped == TOKEN_UNKNOWN)
		become(standing, TOKEN_UNKNOWN, "removed");
	else if (stopped == TOKEN_REVOKED)
		become(standing, TOKEN_REVOKED, "revoked");
	else if (standing->has_expiry && standing->expires_at <= GetCurrentTimestamp())
		become(standing, TOKEN_EXPIRED, "expired");
	else if (stopped == TOKEN_DISABLED)
		become(standing, TOKEN_DISABLED, "disabled");
	else
		become(standing, TOKEN_ACTIVE, NULL);
}

/* Fill in standing from a row; what it points to lies in the current context or belongs to facts.c. */
static void
standing_of_row(const Row *token, const TokenColumns *columns, Reading *reading, Standing *standing)
{
	bool		isnull;
	Datum		value;
	text	   *role = row_text(token, columns->role);
	const OrgFacts *org;
	const OwnerFacts *owner = NULL;
	ScopeList	carried;
	bool		private;

	reading_note(reading, row_xmin(token));
	standing->token_id = row_uuid(token, columns->id);
	standing->org_id = row_uuid(token, columns->org_id);
	standing->kind = row_text(token, columns->kind);
	standing->legacy = text_is(standing->kind, "legacy");
	standing->role = role;
	value = row_get(token, columns->expires_at, &isnull);
	standing->has_expiry = !isnull;
	standing->expires_at = isnull ? 0 : DatumGetTimestampTz(value);
	standing->ends_at = isnull ? DT_NOEND : standing->expires_at;

	judge_token(standing, stopped_state(token, columns));
	org = facts_of_org(reading, &standing->org_id);
	if (org != NULL)
		standing->org_slug = org->slug;
	if (standing->state == TOKEN_ACTIVE && (org == NULL || !org->has_tokens))
		become(standing, TOKEN_INACTIVE, "plan without API tokens");

	value = row_get(token, columns->owner_id, &isnull);
	private = !isnull;
	if (private)
	{
		const char *stopped = "owner missing";

		owner = facts_of_owner(reading, DatumGetUUIDP(value));
		if (owner != NULL)
		{
			standing->subject = owner->subject;
			stopped = owner->stopped;
		}
		if (standing->state == TOKEN_ACTIVE && stopped != NULL)
			become(standing, TOKEN_INACTIVE, stopped);
	}

	/* the token's own scopes, in whose place a role may stand: its own, or, for a legacy token, its owner's */
	value = row_get(token, columns->scopes, &isnull);
	if (!isnull)
		standing->scopes = scope_list_from_array(value);
	carried = standing->scopes;
	if (standing->legacy)
		role = owner == NULL ? NULL : owner->role;
	if (role != NULL)
		carried = facts_role_scopes(reading, role);

	/* what is left of them now; nothing for a token that is not active */
	if (standing->state != TOKEN_ACTIVE)
		return;
	standing->effective = carried;
	if (private)
	{
		ScopeList	limit = {0, NULL};

		if (owner != NULL)
			limit = facts_role_scopes(reading, owner->role);
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

/* The standing of whatever token a credential opens, in one reading. */
static void
read_credential(ValueKind kind, const uint8 *fingerprint, Reading *reading, Standing *standing)
{
	Row			credential;
	ScanKeyData key;
	bytea	   *stored = palloc(VARHDRSZ + DIGEST_LEN);
	bool		isnull;
	Datum		value;

	memset(standing, 0, sizeof(Standing));
	become(standing, TOKEN_UNKNOWN, "unknown");
	SET_VARSIZE(stored, VARHDRSZ + DIGEST_LEN);
	memcpy(VARDATA(stored), fingerprint, DIGEST_LEN);
	ScanKeyInit(&key, Anum_credential_fingerprint, BTEqualStrategyNumber, F_BYTEAEQ, PointerGetDatum(stored));
	if (row_find(&credential, "credential", "credential_pkey", 1, &key, reading->snapshot) &&
		text_is(row_text(&credential, Anum_credential_kind), kind == VALUE_PAIR ? "legacy" : "bearer") &&
		row_has(&credential, Anum_credential_org_id) &&
		row_has(&credential, Anum_credential_token_kind))
	{
		standing_of_row(&credential, &credential_columns, reading, standing);
		value = row_get(&credential, Anum_credential_valid_until, &isnull);
		if (!isnull)
		{
			TimestampTz until = DatumGetTimestampTz(value);

			if (standing->state == TOKEN_ACTIVE && until <= GetCurrentTimestamp())
			{
				become(standing, TOKEN_EXPIRED, "value renewed");
				standing->effective.n = 0;
			}
			standing->ends_at = Min(standing->ends_at, until);
		}
	}
	row_close(&credential);
}

/*
 * Standing of whatever token a credential opens, by what is committed now. The
 * caller treats every state but TOKEN_ACTIVE alike towards whoever presented the
 * credential. generation is what it was before anything was read. What standing
 * points to holds until the next call.
 */
void
standing_of_credential(ValueKind kind, const uint8 *fingerprint, Standing *standing, uint64 *generation)
{
	bool		remember = true;
	bool		consistent;

	do
	{
		Reading		reading;
		Snapshot	snapshot;

		*generation = cache_generation;
		snapshot = RegisterSnapshot(GetLatestSnapshot());
		reading_begin(&reading, snapshot, *generation, remember);
		read_credential(kind, fingerprint, &reading, standing);
		consistent = reading_consistent(&reading);
		UnregisterSnapshot(snapshot);
		remember = false;
	} while (!consistent);
}

/* The same for a bearer value as a client presents it. */
void
standing_of_value(const char *value, size_t len, Standing *standing)
{
	uint8		fingerprint[DIGEST_LEN];
	uint64		generation;

	if (!token_is_well_formed(value, len))
	{
		memset(standing, 0, sizeof(Standing));
		become(standing, TOKEN_UNKNOWN, "malformed");
		return;
	}
	token_fingerprint(value, len, fingerprint);
	standing_of_credential(VALUE_BEARER, fingerprint, standing, &generation);
}

/*
 * Node tokens, and those whose role may register nodes: they speak the runner
 * protocol and open nothing of REST v1. Roles are built in and do not change.
 */
bool
standing_speaks_for_node(const Standing *standing)
{
	static const char right[] = "register_nodes";
	Row			role;
	bool		found = false;

	if (text_is(standing->kind, "node"))
		return true;
	if (standing->role == NULL)
		return false;
	if (row_find_text(&role, "role", "role_pkey", Anum_role_name, standing->role, GetActiveSnapshot()))
	{
		bool		isnull;
		Datum		value = row_get(&role, Anum_role_capabilities, &isnull);
		ScopeList	capabilities = {0, NULL};

		if (!isnull)
			capabilities = scope_list_from_array(value);
		found = scope_list_has(&capabilities, right, strlen(right));
	}
	row_close(&role);
	return found;
}

static Size
room_of(const text *value)
{
	return value == NULL ? 0 : MAXALIGN(VARSIZE_ANY(value));
}

static text *
put_text(char **at, const text *value)
{
	text	   *copy = (text *) *at;

	if (value == NULL)
		return NULL;
	memcpy(copy, value, VARSIZE_ANY(value));
	*at += room_of(value);
	return copy;
}

static Size
room_of_list(const ScopeList *list)
{
	Size		room = MAXALIGN(sizeof(text *) * list->n);

	for (int i = 0; i < list->n; i++)
		room += room_of(list->names[i]);
	return room;
}

static void
put_list(char **at, ScopeList *copy, const ScopeList *list)
{
	copy->n = list->n;
	copy->names = (text **) *at;
	*at += MAXALIGN(sizeof(text *) * list->n);
	for (int i = 0; i < list->n; i++)
		copy->names[i] = put_text(at, list->names[i]);
}

/* A copy in one piece of memory, which the caller frees by pfree(). */
ResolvedToken *
standing_flatten(const Standing *standing, MemoryContext context)
{
	Size		room = MAXALIGN(sizeof(ResolvedToken)) +
		room_of(standing->org_slug) + room_of(standing->kind) + room_of(standing->role) + room_of(standing->subject) +
		room_of_list(&standing->scopes) + room_of_list(&standing->effective);
	ResolvedToken *token = MemoryContextAllocZero(context, room);
	char	   *at = (char *) token + MAXALIGN(sizeof(ResolvedToken));

	token->standing = *standing;
	token->standing.org_slug = put_text(&at, standing->org_slug);
	token->standing.kind = put_text(&at, standing->kind);
	token->standing.role = put_text(&at, standing->role);
	token->standing.subject = put_text(&at, standing->subject);
	put_list(&at, &token->standing.scopes, &standing->scopes);
	put_list(&at, &token->standing.effective, &standing->effective);
	Assert(at == (char *) token + room);
	return token;
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
	Reading		reading;
	Standing	standing;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	memset(&standing, 0, sizeof(standing));
	become(&standing, TOKEN_UNKNOWN, "unknown");
	reading_begin(&reading, GetActiveSnapshot(), cache_generation, false);
	if (row_find_uuid(&token, "token", "token_pkey", Anum_token_id, token_id, reading.snapshot))
		standing_of_row(&token, &token_columns, &reading, &standing);
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
	Reading		reading;
	ScopeList	list;

	reading_begin(&reading, GetActiveSnapshot(), cache_generation, false);
	list = facts_role_scopes(&reading, PG_GETARG_TEXT_PP(0));
	PG_RETURN_DATUM(scope_list_array(&list));
}
