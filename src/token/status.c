/*
 * status.c
 *		The status of a token at one moment: the only place where its state and its
 *		effective scopes are decided.
 *
 * Tables are read by index and without SQL, so no search_path, operator or policy of the
 * session is involved. Data that tokens share comes from org_cache.c. Privileges are not
 * checked; the callers decide what to disclose.
 *
 * Invariants: a row that cannot be found reduces the rights of a token and never extends
 * them. All data of one decision was valid at the same moment. The copy of the token in
 * a credential is trusted: triggers keep it equal, and verification compares the two.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/transam.h"
#include "access/xact.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/call.h"
#include "base/digest.h"
#include "base/export.h"
#include "base/invalidation.h"
#include "base/tables.h"
#include "common/syntax.h"
#include "token/columns.h"
#include "token/credential.h"
#include "token/network.h"
#include "token/org_cache.h"
#include "token/refusal.h"
#include "token/scope_list.h"
#include "token/status.h"
#include "token/usage.h"

static bool
text_is(const text *value, const char *want)
{
	return value != NULL && VARSIZE_ANY_EXHDR(value) == strlen(want) && memcmp(VARDATA_ANY(value), want, strlen(want)) == 0;
}

static void
become(TokenStatus *status, Refusal refusal)
{
	status->state = refusal_state(refusal);
	status->refusal = refusal;
}

/*
 * The columns that decide the status, in the row of the token or in the row of a
 * credential, to which triggers copy them.
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
	AttrNumber	stopped;
	AttrNumber	networks;
	AttrNumber	rate_limit;
} TokenColumns;

static const TokenColumns token_columns = {
	Anum_token_id, Anum_token_org_id, Anum_token_kind, Anum_token_scopes,
	Anum_token_role, Anum_token_owner_id, Anum_token_expires_at, Anum_token_stopped,
	Anum_token_networks, Anum_token_rate_limit
};

static const TokenColumns credential_columns = {
	Anum_credential_token_id, Anum_credential_org_id, Anum_credential_token_kind, Anum_credential_scopes,
	Anum_credential_role, Anum_credential_owner_id, Anum_credential_expires_at, Anum_credential_stopped,
	Anum_credential_networks, Anum_credential_rate_limit
};

/* What its own row says of a token. An unknown value counts as removed. */
static Refusal
stopped_by(const Row *row, const TokenColumns *columns)
{
	const text *stopped = row_text(row, columns->stopped);

	if (stopped == NULL)
		return REFUSAL_NONE;
	for (Refusal refusal = REFUSAL_REVOKED; refusal < REFUSAL_VALUE_RENEWED; refusal++)
		if (text_is(stopped, refusal_name(refusal)))
			return refusal;
	return REFUSAL_REMOVED;
}

/*
 * The state by the token's own row. An expiry that is not on record yet takes its place in
 * the order of precedence; one that is stays, even if the clock has been set back.
 */
static void
judge_token(TokenStatus *status, Refusal stopped)
{
	if (status->has_expiry && status->expires_at <= GetCurrentTimestamp() &&
		(stopped == REFUSAL_NONE || stopped > REFUSAL_EXPIRED))
		stopped = REFUSAL_EXPIRED;
	become(status, stopped);
}

/* Fill in status from a row. Its pointers are in the current memory context or belong to org_cache.c. */
static void
status_of_row(const Row *token, const TokenColumns *columns, Reading *reading, TokenStatus *status)
{
	bool		isnull;
	Datum		value;
	text	   *role = row_text(token, columns->role);
	const CachedOrg *org;
	const CachedOwner *owner = NULL;
	ScopeList	carried;

	status->token_id = row_uuid(token, columns->id);
	status->org_id = row_uuid(token, columns->org_id);
	status->kind = row_text(token, columns->kind);
	status->legacy = text_is(status->kind, "legacy");
	status->role = role;
	value = row_get(token, columns->expires_at, &isnull);
	status->has_expiry = !isnull;
	status->expires_at = isnull ? 0 : DatumGetTimestampTz(value);
	status->ends_at = isnull ? DT_NOEND : status->expires_at;

	value = row_get(token, columns->networks, &isnull);
	status->is_bounded = !isnull;
	if (!isnull)
		status->networks = network_list_from_array(value);
	value = row_get(token, columns->rate_limit, &isnull);
	if (!isnull)
	{
		status->is_bounded = true;
		status->rate_limit = DatumGetInt32(value);
	}

	judge_token(status, stopped_by(token, columns));
	org = org_cache_org(reading, &status->org_id);
	if (org != NULL)
		status->org_slug = org->slug;
	if (status->state == TOKEN_ACTIVE && org != NULL && org->closed)
		become(status, REFUSAL_ORG_CLOSED);
	if (status->state == TOKEN_ACTIVE && (org == NULL || !org->has_tokens))
		become(status, REFUSAL_PLAN);

	value = row_get(token, columns->owner_id, &isnull);
	status->private = !isnull;
	if (status->private)
	{
		Refusal		refusal = REFUSAL_OWNER_MISSING;

		status->owner_id = *DatumGetUUIDP(value);
		owner = org_cache_owner(reading, &status->owner_id);
		if (owner != NULL)
		{
			status->subject = owner->subject;
			status->owner_has_nodes = owner->has_nodes;
			refusal = owner->refusal;
		}
		if (status->state == TOKEN_ACTIVE && refusal != REFUSAL_NONE)
			become(status, refusal);
	}

	/* the scopes of the token, unless it or, if legacy, its owner has a role */
	value = row_get(token, columns->scopes, &isnull);
	if (!isnull)
		status->scopes = scope_list_from_array(value);
	carried = status->scopes;
	if (status->legacy)
		role = owner == NULL ? NULL : owner->role;
	if (role != NULL)
		carried = org_cache_role_scopes(reading, role);

	/* of these, the scopes that hold now; none if the token is not active */
	if (status->state != TOKEN_ACTIVE)
		return;
	status->effective = carried;
	if (status->private)
	{
		ScopeList	limit = {0, NULL};

		if (owner != NULL)
			limit = org_cache_role_scopes(reading, owner->role);
		status->effective.n = 0;
		status->effective.names = palloc(sizeof(text *) * Max(carried.n, 1));
		for (int i = 0; i < carried.n; i++)
		{
			text	   *name = carried.names[i];

			if (scope_list_has(&limit, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)))
				status->effective.names[status->effective.n++] = name;
		}
	}
}

/*
 * Whether a token was issued by this transaction, and so may never come to exist: its row is
 * not there without the transaction's own changes.
 */
static bool
token_is_uncommitted(const Row *credential)
{
	pg_uuid_t	token_id;
	Snapshot	snapshot;
	Row			token;
	bool		committed;

	if (!TransactionIdIsCurrentTransactionId(row_xmin(credential)))
		return false;
	token_id = row_uuid(credential, Anum_credential_token_id);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	snapshot->curcid = FirstCommandId;	/* of a copy */
	committed = row_find_uuid(&token, "token", "token_pkey", Anum_token_id, &token_id, snapshot);
	row_close(&token);
	UnregisterSnapshot(snapshot);
	return !committed;
}

/* What usage.c needs to know. An unknown slot counts as none, because it is an index there. */
static UsedCredential
used_credential(const Row *credential)
{
	UsedCredential used = {row_uuid(credential, Anum_credential_token_id), USAGE_NO_SLOT, 0};
	bool		isnull;
	Datum		value = row_get(credential, Anum_credential_slot, &isnull);

	if (!isnull && DatumGetInt16(value) >= 0 && DatumGetInt16(value) < USAGE_SLOTS)
		used.slot = DatumGetInt16(value);
	value = row_get(credential, Anum_credential_created_at, &isnull);
	if (!isnull)
		used.created_at = DatumGetTimestampTz(value);
	return used;
}

/* The status of the token of a credential, in one reading. */
static void
read_credential(CredentialKind kind, const uint8 *fingerprint, Reading *reading, TokenStatus *status)
{
	Row			credential;
	ScanKeyData key;
	bytea	   *stored = palloc(VARHDRSZ + DIGEST_LEN);
	bool		isnull;
	Datum		value;

	memset(status, 0, sizeof(TokenStatus));
	become(status, REFUSAL_UNKNOWN);
	SET_VARSIZE(stored, VARHDRSZ + DIGEST_LEN);
	memcpy(VARDATA(stored), fingerprint, DIGEST_LEN);
	ScanKeyInit(&key, Anum_credential_fingerprint, BTEqualStrategyNumber, F_BYTEAEQ, PointerGetDatum(stored));
	if (row_find(&credential, "credential", "credential_pkey", 1, &key, reading->snapshot) &&
		text_is(row_text(&credential, Anum_credential_kind), kind == CREDENTIAL_LEGACY ? "legacy" : "bearer") &&
		row_has(&credential, Anum_credential_org_id) &&
		row_has(&credential, Anum_credential_token_kind))
	{
		reading_record(reading, row_xmin(&credential));
		status_of_row(&credential, &credential_columns, reading, status);
		status->credential = used_credential(&credential);
		status->is_uncommitted = token_is_uncommitted(&credential);
		value = row_get(&credential, Anum_credential_valid_until, &isnull);
		if (!isnull)
		{
			TimestampTz until = DatumGetTimestampTz(value);

			if (status->state == TOKEN_ACTIVE && until <= GetCurrentTimestamp())
			{
				become(status, REFUSAL_VALUE_RENEWED);
				status->effective.n = 0;
			}
			status->ends_at = Min(status->ends_at, until);
		}
	}
	row_close(&credential);
}

/*
 * The same by a snapshot, after a wait. The pointers in status are as those of
 * status_of_row().
 */
void
token_status_of_credential_at(CredentialKind kind, const uint8 *fingerprint, Snapshot snapshot, TokenStatus *status)
{
	Reading		reading;

	reading_begin(&reading, snapshot, invalidation_generation, false);
	read_credential(kind, fingerprint, &reading, status);
}

/*
 * The status of the token of a credential, as committed now. The caller must not let the
 * client tell apart the states other than TOKEN_ACTIVE. generation is its value before
 * anything was read. The pointers in status are valid until the next call.
 */
void
token_status_of_credential(CredentialKind kind, const uint8 *fingerprint, TokenStatus *status, uint64 *generation)
{
	Reading		reading = {0};
	bool		remember = true;
	bool		consistent = false;

	/* with what is remembered, with what this remembers anew, or without */
	for (int attempt = 0; !consistent; attempt++)
	{
		Snapshot	snapshot;

		*generation = invalidation_begin();
		snapshot = RegisterSnapshot(GetLatestSnapshot());
		/* only if it would be younger than the rows are */
		if (attempt == 1 && TransactionIdPrecedes(reading.newest, snapshot->xmin))
			org_cache_forget();
		else if (attempt > 0)
			remember = false;
		reading_begin(&reading, snapshot, *generation, remember);
		read_credential(kind, fingerprint, &reading, status);
		consistent = reading_consistent(&reading);
		UnregisterSnapshot(snapshot);
	}
}

/* The same for the text of a token as a client presents it. */
void
token_status_of_bearer(const char *value, size_t len, TokenStatus *status)
{
	uint8		fingerprint[DIGEST_LEN];
	uint64		generation;

	if (!token_is_well_formed(value, len))
	{
		memset(status, 0, sizeof(TokenStatus));
		become(status, REFUSAL_MALFORMED);
		return;
	}
	bearer_fingerprint(value, len, fingerprint);
	token_status_of_credential(CREDENTIAL_BEARER, fingerprint, status, &generation);
}

/*
 * Whether a token was issued for a node: a node token, or a token whose role may register
 * nodes. REST v1 is closed to such a token, whatever became of its owner.
 */
bool
token_status_is_for_node(const TokenStatus *status)
{
	return text_is(status->kind, "node") ||
		(status->role != NULL && role_is_capable(status->role, "register_nodes", GetActiveSnapshot()));
}

/*
 * Whether a token speaks for a node, and so may use the runner protocol: it was issued for
 * one and, if it is private, the role of its owner may have nodes now.
 */
bool
token_status_speaks_for_node(const TokenStatus *status)
{
	return token_status_is_for_node(status) && (!status->private || status->owner_has_nodes);
}

/* What a call site of token_status() keeps. */
typedef struct StatusSite
{
	TupleDesc	result;
	OrgCache   *cache;
} StatusSite;

/*
 * walwarden_internal.token_status(t token, OUT state text, OUT effective_scopes text[])
 *
 * For listings, which must agree with authenticate(). The rest is read with the snapshot
 * of the query, once for all its rows.
 */
PG_FUNCTION_INFO_V1(walwarden_token_status);
Datum
walwarden_token_status(PG_FUNCTION_ARGS)
{
	StatusSite *site = fcinfo->flinfo->fn_extra;
	Row			token;
	Reading		reading;
	TokenStatus status = {0};
	Datum		values[2];
	bool		nulls[2] = {false, false};

	if (site == NULL)
	{
		site = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(StatusSite));
		site->result = call_site_row(fcinfo);
		fcinfo->flinfo->fn_extra = site;
	}
	row_of_value(&token, "token", PG_GETARG_HEAPTUPLEHEADER(0));
	reading_begin_shared(&reading, GetActiveSnapshot(), &site->cache, fcinfo->flinfo->fn_mcxt);
	status_of_row(&token, &token_columns, &reading, &status);
	row_close(&token);
	values[0] = CStringGetTextDatum(token_state_name(status.state));
	nulls[1] = status.legacy;
	values[1] = nulls[1] ? (Datum) 0 : scope_list_array(&status.effective);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(site->result, values, nulls)));
}

/* walwarden_internal.role_scopes(role text) */
PG_FUNCTION_INFO_V1(walwarden_role_scopes);
Datum
walwarden_role_scopes(PG_FUNCTION_ARGS)
{
	Reading		reading;
	ScopeList	list;

	reading_begin(&reading, GetActiveSnapshot(), invalidation_generation, false);
	list = org_cache_role_scopes(&reading, PG_GETARG_TEXT_PP(0));
	PG_RETURN_DATUM(scope_list_array(&list));
}
