/*
 * caller.c
 *		The caller: the current user at the call and, if a trusted authenticator has
 *		verified one, the subject of a JWT; or the person of a session.
 *
 * Invariants: the session user is never taken for the caller, because autovacuum runs a
 * table owner's index expressions in a superuser's session. It is recorded, to show who
 * used SET ROLE. It decides only who may speak for a client: whose claims are believed,
 * and who may say from where a token was presented (client.c). The claims are read once
 * per transaction, by the first call of this library, so that a later set_config() has
 * no effect. What they must say is decided in claims.c. A grant counts only for the role
 * that it was made to, not for a later role of the same name (server_role.c). A person has
 * the rights of a member, whatever the role is that serves the request.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/parallel.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "base/export.h"
#include "base/tables.h"
#include "token/caller.h"
#include "token/claims.h"
#include "token/columns.h"
#include "token/scope_list.h"
#include "token/server_role.h"

static bool claims_recorded = false;
static char *claims = NULL;		/* in TopTransactionContext, or NULL */

/*
 * Keep the claims as they are now, unless the transaction has them already.
 * Every entry point of the library calls this first. Fails in a parallel worker, which has
 * neither the identity nor the claims of the transaction.
 */
void
caller_record_claims(void)
{
	const char *setting;

	if (claims_recorded)
		return;
	if (IsParallelWorker())
	{
		error_context_stack = NULL; /* it may quote a token */
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a parallel worker cannot access the identity of the transaction"),
				 errhint("Mark the function that calls walwarden PARALLEL UNSAFE, which is the default, or PARALLEL RESTRICTED if it only asks for the identity."),
				 errhidestmt(true), errhidecontext(true)));
	}
	setting = GetConfigOption("request.jwt.claims", true, false);
	claims = setting == NULL || setting[0] == '\0' ? NULL : MemoryContextStrdup(TopTransactionContext, setting);
	claims_recorded = true;
}

/* At the end of a transaction, whose memory context frees the text. */
void
caller_forget_claims(void)
{
	claims_recorded = false;
	claims = NULL;
}

/* Record the caller, which is the current user, and the session user. */
void
caller_record(Caller *caller)
{
	caller_record_claims();
	caller->userid = GetUserId();
	caller->person = NULL;
	namestrcpy(&caller->role, GetUserNameFromId(caller->userid, false));
	namestrcpy(&caller->login, GetUserNameFromId(GetSessionUserId(), false));
}

/* Find the grant of a kind to a server role, by its name. The row is to be closed. */
static bool
find_role_grant(Row *row, const text *kind, const NameData *role, Snapshot snapshot)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], Anum_role_grant_kind, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(kind));
	ScanKeyInit(&keys[1], Anum_role_grant_role, BTEqualStrategyNumber, F_NAMEEQ, NameGetDatum(role));
	return row_find(row, "role_grant", "role_grant_pkey", lengthof(keys), keys, snapshot);
}

/* Whether a row of role_grant holds for a server role. bound_oid: the column with the OID that its name had. */
static bool
grant_holds(const Row *row, AttrNumber bound_oid, Oid role)
{
	bool		isnull;
	Datum		bound = row_get(row, bound_oid, &isnull);

	return !row_has(row, Anum_role_grant_revoked_at) &&
		server_role_holds(role, DatumGetObjectId(bound), row_text(row, Anum_role_grant_system_identifier));
}

/* Whether a server role has the rights of a grant of this kind. role: its name; userid: its OID. */
static bool
role_grant_exists(const text *kind, const NameData *role, Oid userid, Snapshot snapshot)
{
	Row			row;
	bool		granted = find_role_grant(&row, kind, role, snapshot) && grant_holds(&row, Anum_role_grant_role_oid, userid);

	row_close(&row);
	return granted;
}

/*
 * Read the claims that the login role of the session has verified, in the current memory
 * context. False if there are none, or if the role is not trusted to verify them.
 */
static bool
read_claims(Snapshot snapshot, Claims *read)
{
	Oid			login = GetSessionUserId();
	NameData	name;

	if (claims == NULL || superuser_arg(login))
		return false;
	namestrcpy(&name, GetUserNameFromId(login, false));
	if (!role_grant_exists(cstring_to_text("authenticator"), &name, login, snapshot))
		return false;
	claims_read(claims, read);
	return true;
}

/* The same for a request, by the latest state. */
bool
caller_read_claims(Claims *read)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool		found;

	caller_record_claims();
	found = read_claims(snapshot, read);
	UnregisterSnapshot(snapshot);
	return found;
}

/*
 * Whether a grant of this kind names a role. For what such a role must not be, which does
 * not depend on whether the grant is honoured.
 */
static bool
role_is_named(const text *kind, const NameData *role, Snapshot snapshot)
{
	Row			row;
	bool		named = find_role_grant(&row, kind, role, snapshot) && !row_has(&row, Anum_role_grant_revoked_at);

	row_close(&row);
	return named;
}

/*
 * Whether a role acts for many people: authenticators and REST roles do. Such a role cannot
 * be the role of a member.
 */
bool
caller_speaks_for_many(const NameData *role, Snapshot snapshot)
{
	return role_is_named(cstring_to_text("authenticator"), role, snapshot) ||
		role_is_named(cstring_to_text("rest"), role, snapshot);
}

/* walwarden_internal.speaks_for_many(role name) */
PG_FUNCTION_INFO_V1(walwarden_speaks_for_many);
Datum
walwarden_speaks_for_many(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(caller_speaks_for_many(PG_GETARG_NAME(0), GetActiveSnapshot()));
}

/* Whether the role of a caller may serve REST v1. */
bool
caller_role_serves_rest(const Caller *caller)
{
	return role_grant_exists(cstring_to_text("rest"), &caller->role, get_role_oid(NameStr(caller->role), true), GetActiveSnapshot());
}

/*
 * Fill in the rights of the caller as of now; they may have changed since the call. The
 * subject is in the current memory context.
 */
void
caller_describe(Caller *caller)
{
	Snapshot	snapshot;
	Claims		read;

	if (caller->person != NULL)
	{
		caller->superuser = caller->is_operator = caller->is_monitor = false;
		caller->subject = caller->person->subject;
		return;
	}

	/*
	 * the wait for a lock of ours reads no messages, so superuser_arg() would
	 * still know the old role
	 */
	AcceptInvalidationMessages();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	caller->superuser = superuser_arg(caller->userid);
	caller->is_operator = caller->superuser ||
		role_grant_exists(cstring_to_text("operator"), &caller->role, caller->userid, snapshot);
	caller->is_monitor = !caller->is_operator &&
		(has_privs_of_role(caller->userid, ROLE_PG_MONITOR) ||
		 role_grant_exists(cstring_to_text("monitor"), &caller->role, caller->userid, snapshot));
	caller->subject = read_claims(snapshot, &read) ? read.subject : NULL;
	UnregisterSnapshot(snapshot);
}

/* Whether a server role is the login of a REST role. login: its name; userid: its OID. */
static bool
is_rest_login(const char *login, Oid userid, Snapshot snapshot)
{
	Relation	heap = walwarden_table_open("role_grant");
	ScanKeyData key;
	SysScanDesc scan;
	Row			row = {.heap = heap};
	bool		found = false;

	ScanKeyInit(&key, Anum_role_grant_kind, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum("rest"));
	scan = walwarden_scan_begin(heap, "role_grant_pkey", 0, snapshot, 1, &key);
	while (!found && HeapTupleIsValid(row.tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		stored = row_get(&row, Anum_role_grant_login, &isnull);

		found = !isnull && strcmp(NameStr(*DatumGetName(stored)), login) == 0 &&
			grant_holds(&row, Anum_role_grant_login_oid, userid);
	}
	systable_endscan(scan);
	table_close(heap, AccessShareLock);
	return found;
}

/* For whom a session may speak, by its session user. The caller of a function is another matter. */
SessionKind
caller_session_kind(Oid session_user, Snapshot snapshot)
{
	NameData	name;

	namestrcpy(&name, GetUserNameFromId(session_user, false));
	if (role_grant_exists(cstring_to_text("authenticator"), &name, session_user, snapshot) || is_rest_login(NameStr(name), session_user, snapshot))
		return SESSION_GATEWAY;
	if (superuser_arg(session_user) || role_grant_exists(cstring_to_text("operator"), &name, session_user, snapshot))
		return SESSION_OPERATOR;
	return SESSION_ORDINARY;
}

/* The columns of type caller. */
static const Oid column_types[Natts_caller] = {
	TEXTOID, NAMEOID, NAMEOID, BOOLOID, BOOLOID, BOOLOID, TEXTOID, BOOLOID, UUIDOID, BOOLOID
};

/* A caller as a result of type caller. door: as messages name it. */
Datum
caller_result(FunctionCallInfo fcinfo, const Caller *caller, const char *door)
{
	const Person *person = caller->person;
	TupleDesc	tupdesc;
	Datum		values[MaxHeapAttributeNumber];
	bool		nulls[MaxHeapAttributeNumber];

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	walwarden_check_type(tupdesc, column_types, lengthof(column_types));
	memset(nulls, true, sizeof(nulls));
	memset(nulls, false, Natts_caller * sizeof(bool));
	values[Anum_caller_door - 1] = CStringGetTextDatum(door);
	values[Anum_caller_role - 1] = NameGetDatum(&caller->role);
	values[Anum_caller_login - 1] = NameGetDatum(&caller->login);
	values[Anum_caller_superuser - 1] = BoolGetDatum(caller->superuser);
	values[Anum_caller_operator - 1] = BoolGetDatum(caller->is_operator);
	values[Anum_caller_monitor - 1] = BoolGetDatum(caller->is_monitor);
	nulls[Anum_caller_subject - 1] = caller->subject == NULL;
	if (caller->subject != NULL)
		values[Anum_caller_subject - 1] = CStringGetTextDatum(caller->subject);
	values[Anum_caller_person - 1] = BoolGetDatum(person != NULL);
	nulls[Anum_caller_session_id - 1] = person == NULL || !person->has_session;
	if (person != NULL && person->has_session)
		values[Anum_caller_session_id - 1] = UUIDPGetDatum(&person->session_id);
	values[Anum_caller_by_sso - 1] = BoolGetDatum(person != NULL && person->by_sso);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls));
}

/* An argument of type caller, as SQL got it of caller(). Its user is not known any more. */
void
caller_argument(FunctionCallInfo fcinfo, int n, Caller *caller)
{
	static const AttrNumber never_null[] = {
		Anum_caller_role, Anum_caller_login, Anum_caller_superuser, Anum_caller_operator,
		Anum_caller_monitor, Anum_caller_person, Anum_caller_by_sso
	};
	HeapTupleHeader record;
	HeapTupleData tuple;
	TupleDesc	tupdesc;
	Datum		values[MaxHeapAttributeNumber];
	bool		nulls[MaxHeapAttributeNumber];

	if (PG_ARGISNULL(n))
		elog(ERROR, "the caller is missing");
	record = PG_GETARG_HEAPTUPLEHEADER(n);
	tuple.t_len = HeapTupleHeaderGetDatumLength(record);
	tuple.t_data = record;
	tupdesc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(record), HeapTupleHeaderGetTypMod(record));
	walwarden_check_type(tupdesc, column_types, lengthof(column_types));
	memset(nulls, true, sizeof(nulls));
	heap_deform_tuple(&tuple, tupdesc, values, nulls);
	ReleaseTupleDesc(tupdesc);
	for (int i = 0; i < lengthof(never_null); i++)
		if (nulls[never_null[i] - 1])
			elog(ERROR, "column %d of the caller is null", never_null[i]);
	caller->userid = InvalidOid;
	caller->role = *DatumGetName(values[Anum_caller_role - 1]);
	caller->login = *DatumGetName(values[Anum_caller_login - 1]);
	caller->superuser = DatumGetBool(values[Anum_caller_superuser - 1]);
	caller->is_operator = DatumGetBool(values[Anum_caller_operator - 1]);
	caller->is_monitor = DatumGetBool(values[Anum_caller_monitor - 1]);
	caller->subject = nulls[Anum_caller_subject - 1] ? NULL : TextDatumGetCString(values[Anum_caller_subject - 1]);
	caller->person = NULL;
	if (DatumGetBool(values[Anum_caller_person - 1]))
	{
		Person	   *person = palloc0(sizeof(Person));

		person->has_session = !nulls[Anum_caller_session_id - 1];
		if (person->has_session)
			person->session_id = *DatumGetUUIDP(values[Anum_caller_session_id - 1]);
		person->subject = caller->subject;
		person->by_sso = DatumGetBool(values[Anum_caller_by_sso - 1]);
		caller->person = person;
	}
}

/* Whether a grant of one of kinds, an array, passes a test. */
static bool
any_grant(FunctionCallInfo fcinfo, bool must_hold)
{
	Name		role = PG_GETARG_NAME(0);
	ScopeList	kinds = scope_list_from_array(PG_GETARG_DATUM(1));
	bool		found = false;

	for (int i = 0; i < kinds.n && !found; i++)
		found = must_hold ? role_grant_exists(kinds.names[i], role, get_role_oid(NameStr(*role), true), GetActiveSnapshot())
			: role_is_named(kinds.names[i], role, GetActiveSnapshot());
	return found;
}

/* walwarden_internal.is_granted(role name, kinds text[]) */
PG_FUNCTION_INFO_V1(walwarden_is_granted);
Datum
walwarden_is_granted(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(any_grant(fcinfo, true));
}

/* walwarden_internal.is_named(role name, kinds text[]) */
PG_FUNCTION_INFO_V1(walwarden_is_named);
Datum
walwarden_is_named(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(any_grant(fcinfo, false));
}
