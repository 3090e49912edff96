/*
 * permission.c
 *		The memberships of a caller, and what the caller may do.
 *
 * A verified subject identifies the person, whatever role the connection uses. Otherwise
 * the current role does, unless it is a superuser's or acts for many people.
 *
 * Invariants: only rows of walwarden_internal.permission permit anything. Rows are read
 * with the active snapshot. What requires a right, and what waited for a lock, takes a new
 * one, so that a statement that goes on for long ends with the right. A caller who is not an
 * operator gets the same error for an unknown organisation as for one in which they have no
 * rights, and the call reads the same rows: the server's statistics would tell the
 * difference. So the right comes first, and nothing is looked up by a name that the caller
 * has no right to.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/call.h"
#include "base/export.h"
#include "base/lock.h"
#include "base/refuse.h"
#include "base/tables.h"
#include "token/caller.h"
#include "token/columns.h"
#include "token/door.h"
#include "token/permission.h"
#include "token/scope_list.h"
#include "token/server_role.h"

/* Whether a row of member counts for a caller who is found by its server role. */
static bool
acts_as_member(const Row *row, const Caller *caller)
{
	bool		isnull;
	Datum		bound = row_get(row, Anum_member_db_role_oid, &isnull);

	return !isnull && server_role_name_holds(&caller->role, DatumGetObjectId(bound), row_text(row, Anum_member_system_identifier));
}

/* Whether a membership is active, and open to somebody who signed in as the caller did. */
static bool
member_is_active(const Row *member, bool by_sso)
{
	bool		isnull;

	return !row_has(member, Anum_member_disabled_at) && !row_has(member, Anum_member_removed_at) &&
		(!by_sso || DatumGetBool(row_get(member, Anum_member_sso, &isnull)));
}

/*
 * The rows of the caller's active memberships: of the one in an organisation or, if org_id
 * is NULL, of all. heap: the table member.
 */
List *
permission_memberships(Relation heap, const Caller *caller, const pg_uuid_t *org_id, Snapshot snapshot)
{
	static const char *const indexes[2][2] = {
		{"member_by_db_role", "member_db_role_key"},
		{"member_by_subject", "member_subject_key"}
	};
	bool		by_subject = caller->subject != NULL;
	ScanKeyData keys[2];
	int			nkeys = 0;
	SysScanDesc scan;
	Row			row = {.heap = heap};
	List	   *found = NIL;

	if (!by_subject && caller->superuser)
		return NIL;
	if (org_id != NULL)
		ScanKeyInit(&keys[nkeys++], Anum_member_org_id, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(org_id));
	if (by_subject)
		ScanKeyInit(&keys[nkeys++], Anum_member_subject, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(caller->subject));
	else
		ScanKeyInit(&keys[nkeys++], Anum_member_db_role, BTEqualStrategyNumber, F_NAMEEQ, NameGetDatum(&caller->role));
	scan = walwarden_scan_begin(heap, indexes[by_subject][org_id != NULL], Anum_member_removed_at, snapshot, nkeys, keys);
	while (HeapTupleIsValid(row.tuple = systable_getnext(scan)))
		if (member_is_active(&row, caller->person != NULL && caller->person->by_sso) &&
			(by_subject || acts_as_member(&row, caller)))
			found = lappend(found, heap_copytuple(row.tuple));
	systable_endscan(scan);
	if (found != NIL && !by_subject && caller_speaks_for_many(&caller->role, snapshot))
		return NIL;
	return found;
}

/* The caller's active membership in an organisation; the row is to be closed. */
static bool
find_membership(Row *row, const Caller *caller, const pg_uuid_t *org_id)
{
	List	   *found;

	row->heap = walwarden_table_open("member");
	found = org_id == NULL ? NIL : permission_memberships(row->heap, caller, org_id, GetActiveSnapshot());
	row->tuple = found == NIL ? NULL : linitial(found);
	return row->tuple != NULL;
}

/* The id of the caller's active membership in an organisation; false if there is none. */
bool
permission_member_id(const Caller *caller, const pg_uuid_t *org_id, pg_uuid_t *id)
{
	Row			row;
	bool		found = find_membership(&row, caller, org_id);

	if (found)
		*id = row_uuid(&row, Anum_member_id);
	row_close(&row);
	return found;
}

/* The capabilities of a caller in an organisation; NULL: outside of any. */
static ScopeList
capabilities(const Caller *caller, const pg_uuid_t *org_id)
{
	Snapshot	snapshot = GetActiveSnapshot();
	ScopeList	list = {0, NULL};
	Row			member;

	if (find_membership(&member, caller, org_id))
	{
		Row			role;

		if (row_find_text(&role, "role", "role_pkey", Anum_role_name, row_text(&member, Anum_member_role), snapshot))
			list = scope_list_from_row(&role, Anum_role_capabilities);
		row_close(&role);
	}
	row_close(&member);
	scope_list_prepend(&list, caller->is_monitor ? "monitor" : NULL);
	scope_list_prepend(&list, caller->is_operator ? "operator" : NULL);
	scope_list_prepend(&list, caller->superuser ? "superuser" : NULL);
	return list;
}

/* Whether a caller has the right to an action in an organisation; NULL: outside of any. */
static bool
may(const Caller *caller, const pg_uuid_t *org_id, const text *action, const text *target)
{
	ScanKeyData keys[2];
	Row			row;
	bool		permitted = false;

	ScanKeyInit(&keys[0], Anum_permission_action, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(action));
	ScanKeyInit(&keys[1], Anum_permission_target, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(target));
	if (row_find(&row, "permission", "permission_pkey", lengthof(keys), keys, GetActiveSnapshot()))
	{
		ScopeList	any_of = scope_list_from_row(&row, Anum_permission_any_of);
		ScopeList	held = capabilities(caller, org_id);

		for (int i = 0; i < any_of.n && !permitted; i++)
			permitted = scope_list_has(&held, VARDATA_ANY(any_of.names[i]), VARSIZE_ANY_EXHDR(any_of.names[i]));
	}
	row_close(&row);
	return permitted;
}

/* Require that the caller of the running door has the right to an action. */
static void
require(const Caller *caller, const pg_uuid_t *org_id, const text *action, const text *target)
{
	const Oid	types[] = {UUIDOID, TEXTOID, TEXTOID};
	const NullableDatum args[] = {
		{.value = UUIDPGetDatum(org_id),.isnull = org_id == NULL},
		{.value = PointerGetDatum(action)},
		{.value = PointerGetDatum(target)}
	};
	bool		isnull;

	if (may(caller, org_id, action, target))
		return;
	(void) call_function("refuse_action", lengthof(args), types, args, &isnull);
	elog(ERROR, "refuse_action() has refused nothing");
}

/*
 * Find the organisation with a slug among those of which the caller is an active member. All
 * of these are read, whatever the slug is. The row is to be closed.
 */
static bool
find_member_org(Row *org, const Caller *caller, const text *slug)
{
	Relation	members = walwarden_table_open("member");
	List	   *found = permission_memberships(members, caller, NULL, GetActiveSnapshot());
	ListCell   *cell;

	org->heap = walwarden_table_open("org");
	org->tuple = NULL;
	foreach(cell, found)
	{
		Row			member = {members, lfirst(cell)};
		pg_uuid_t	org_id = row_uuid(&member, Anum_member_org_id);
		Row			row;

		if (row_find_uuid(&row, "org", "org_pkey", Anum_org_id, &org_id, GetActiveSnapshot()) && slug != NULL &&
			row_text_is(&row, Anum_org_slug, VARDATA_ANY(slug), VARSIZE_ANY_EXHDR(slug)))
			org->tuple = heap_copytuple(row.tuple);
		row_close(&row);
	}
	table_close(members, AccessShareLock);
	return org->tuple != NULL;
}

/* Find the organisation with a slug, in which the caller has the right to an action. The row is to be closed. */
static void
find_permitted_org(Row *org, const Caller *caller, const text *slug, const text *action, const text *target)
{
	pg_uuid_t	id = {{0}};
	bool		found;

	if (caller->is_operator)
		found = row_find_text(org, "org", "org_slug_key", Anum_org_slug, slug, GetActiveSnapshot());
	else
		found = find_member_org(org, caller, slug);
	if (found)
		id = row_uuid(org, Anum_org_id);
	require(caller, found ? &id : NULL, action, target);
	if (!found)
		refuse(ERRCODE_UNDEFINED_OBJECT,
			   psprintf("organisation %s does not exist", refuse_shown(slug)),
			   "To see the organisations, run SELECT slug FROM walwarden.list_orgs(). Slugs are lower-case.",
			   NULL);
}

/* The same for C: its id. */
pg_uuid_t
permission_org(const Caller *caller, const text *slug, const char *action, const char *target)
{
	Row			org;
	pg_uuid_t	id;

	find_permitted_org(&org, caller, slug, cstring_to_text(action), cstring_to_text(target));
	id = row_uuid(&org, Anum_org_id);
	row_close(&org);
	return id;
}

/*
 * Refuse a change of an organisation that is closed. Closing is final. Whatever changes an
 * organisation calls this after it has acquired the lock of the organisation, or appended to
 * its chain: close_org() holds both until it commits. org: its row, which may not be there.
 */
static void
require_open(const Row *org)
{
	if (org->tuple != NULL && row_has(org, Anum_org_closed_at))
		refuse(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
			   psprintf("organisation %s is closed", refuse_shown(row_text(org, Anum_org_slug))),
			   "Closing is final. You can still list, verify and export what it has, and erase its members.",
			   NULL);
}

/* The same for C, which has the id. Reads with a new snapshot. */
void
permission_require_open(const pg_uuid_t *org_id)
{
	Row			org;

	PushActiveSnapshot(GetTransactionSnapshot());
	(void) row_find_uuid(&org, "org", "org_pkey", Anum_org_id, org_id, GetActiveSnapshot());
	require_open(&org);
	row_close(&org);
	PopActiveSnapshot();
}

/*
 * Lock an organisation. Changes in one organisation run one after the other, so anything
 * that is counted, compared or permitted under this lock still holds at commit. It is always
 * acquired before the locks of tokens and of the chain. The permission was checked before,
 * so that a stranger cannot make others wait. It is checked again here, because the caller
 * may have lost it while waiting. In a closed organisation only members can be erased. The
 * row is to be closed.
 */
static void
lock_org(Row *org, const pg_uuid_t *org_id, const text *action, const text *target)
{
	const char *name = text_to_cstring(action);
	Caller		caller;

	lock_acquire(org_id, LOCK_ORGANISATION);
	door_caller(&caller);
	PushActiveSnapshot(GetTransactionSnapshot());
	(void) row_find_uuid(org, "org", "org_pkey", Anum_org_id, org_id, GetActiveSnapshot());
	require(&caller, org_id, action, target);
	if (strcmp(name, "member.erase") != 0 && strcmp(name, "org.close") != 0)
		require_open(org);
	PopActiveSnapshot();
}

/* The same for C. */
void
permission_lock_org(const pg_uuid_t *org_id, const char *action, const char *target)
{
	Row			org;

	lock_org(&org, org_id, cstring_to_text(action), cstring_to_text(target));
	row_close(&org);
}

/* An argument that is never NULL. */
static text *
text_argument(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		elog(ERROR, "an argument is missing");
	return PG_GETARG_TEXT_PP(n);
}

/* A row as a result; NULL if there is none. Closes it. */
static Datum
row_result(FunctionCallInfo fcinfo, Row *row)
{
	Datum		result = (Datum) 0;

	fcinfo->isnull = row->tuple == NULL;
	if (row->tuple != NULL)
		result = heap_copy_tuple_as_datum(row->tuple, RelationGetDescr(row->heap));
	row_close(row);
	return result;
}

/* walwarden_internal.memberships(c caller): the caller's active memberships */
PG_FUNCTION_INFO_V1(walwarden_memberships);
Datum
walwarden_memberships(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Caller		caller;
	Relation	heap;
	ListCell   *cell;

	caller_argument(fcinfo, 0, &caller);
	InitMaterializedSRF(fcinfo, 0);
	heap = walwarden_table_open("member");
	foreach(cell, permission_memberships(heap, &caller, NULL, GetActiveSnapshot()))
		tuplestore_puttuple(rsinfo->setResult, lfirst(cell));
	table_close(heap, AccessShareLock);
	return (Datum) 0;
}

/* walwarden_internal.caller_member(c caller, org_id uuid) */
PG_FUNCTION_INFO_V1(walwarden_caller_member);
Datum
walwarden_caller_member(PG_FUNCTION_ARGS)
{
	Caller		caller;
	Row			row;

	caller_argument(fcinfo, 0, &caller);
	(void) find_membership(&row, &caller, PG_GETARG_UUID_P(1));
	return row_result(fcinfo, &row);
}

/* walwarden_internal.member_org(c caller, slug text) */
PG_FUNCTION_INFO_V1(walwarden_member_org);
Datum
walwarden_member_org(PG_FUNCTION_ARGS)
{
	Caller		caller;
	Row			row;

	caller_argument(fcinfo, 0, &caller);
	(void) find_member_org(&row, &caller, PG_GETARG_TEXT_PP(1));
	return row_result(fcinfo, &row);
}

/* walwarden_internal.capabilities(c caller, org_id uuid) */
PG_FUNCTION_INFO_V1(walwarden_capabilities);
Datum
walwarden_capabilities(PG_FUNCTION_ARGS)
{
	Caller		caller;
	ScopeList	list;

	caller_argument(fcinfo, 0, &caller);
	list = capabilities(&caller, PG_ARGISNULL(1) ? NULL : PG_GETARG_UUID_P(1));
	PG_RETURN_DATUM(scope_list_array(&list));
}

/* walwarden_internal.may(c caller, org_id uuid, action text, target text) */
PG_FUNCTION_INFO_V1(walwarden_may);
Datum
walwarden_may(PG_FUNCTION_ARGS)
{
	Caller		caller;

	caller_argument(fcinfo, 0, &caller);
	PG_RETURN_BOOL(may(&caller, PG_ARGISNULL(1) ? NULL : PG_GETARG_UUID_P(1), text_argument(fcinfo, 2), text_argument(fcinfo, 3)));
}

/* walwarden_internal.require(c caller, org_id uuid, action text, target text) */
PG_FUNCTION_INFO_V1(walwarden_require);
Datum
walwarden_require(PG_FUNCTION_ARGS)
{
	Caller		caller;

	caller_argument(fcinfo, 0, &caller);
	PushActiveSnapshot(GetTransactionSnapshot());
	require(&caller, PG_ARGISNULL(1) ? NULL : PG_GETARG_UUID_P(1), text_argument(fcinfo, 2), text_argument(fcinfo, 3));
	PopActiveSnapshot();
	PG_RETURN_VOID();
}

/* walwarden_internal.permitted_org(c caller, slug text, action text, target text) */
PG_FUNCTION_INFO_V1(walwarden_permitted_org);
Datum
walwarden_permitted_org(PG_FUNCTION_ARGS)
{
	Caller		caller;
	Row			org;

	caller_argument(fcinfo, 0, &caller);
	PushActiveSnapshot(GetTransactionSnapshot());
	find_permitted_org(&org, &caller, PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1), text_argument(fcinfo, 2), text_argument(fcinfo, 3));
	PopActiveSnapshot();
	return row_result(fcinfo, &org);
}

/* walwarden_internal.require_open(org_id uuid) */
PG_FUNCTION_INFO_V1(walwarden_require_open);
Datum
walwarden_require_open(PG_FUNCTION_ARGS)
{
	permission_require_open(PG_GETARG_UUID_P(0));
	PG_RETURN_VOID();
}

/* walwarden_internal.lock_org(org_id uuid, action text, target text) */
PG_FUNCTION_INFO_V1(walwarden_lock_org);
Datum
walwarden_lock_org(PG_FUNCTION_ARGS)
{
	Row			org;

	if (PG_ARGISNULL(0))
		elog(ERROR, "there is no organisation to lock");
	lock_org(&org, PG_GETARG_UUID_P(0), text_argument(fcinfo, 1), text_argument(fcinfo, 2));
	return row_result(fcinfo, &org);
}
