/*
 * session.c
 *		The sessions of people: who presents a cookie, and of which organisations they are
 *		a member. People who present a JWT have no session.
 *
 * Invariants: a session counts only while it has neither ended nor expired nor been idle
 * for too long, and while its subject is an active member of an organisation that is not
 * closed. All of it is read again for each request, so a change binds on the next one.
 * The text of a cookie goes from the header field to the check, and from
 * walwarden_new_cookie() to the header field of the response; SQL and PL/pgSQL see its
 * hash alone. What is read does not depend on the slug that a request names. Whoever came by
 * single sign-on has only the memberships for which that is enabled. A session of which the
 * table does not say that a link began it counts as one of them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/digest.h"
#include "base/export.h"
#include "base/tables.h"
#include "people/columns.h"
#include "people/idle.h"
#include "people/session.h"
#include "token/columns.h"
#include "token/mint.h"
#include "token/permission.h"

#define COOKIE_ATTRIBUTES "; Path=/; Secure; HttpOnly; SameSite=Strict"

/* The field Set-Cookie of the response; NULL for none. It belongs to the running request. */
static char *cookie_field = NULL;
static bool cookie_cleared = false;

/* Whether a row of session is of somebody who came by single sign-on. */
bool
session_is_by_sso(const Row *row)
{
	static const char *const link = "link";

	return !row_text_is(row, Anum_session_method, link, strlen(link));
}

/* Whether a row of session counts now. */
static bool
is_open(const Row *row)
{
	bool		isnull;

	return !row_has(row, Anum_session_ended_at) && row_has(row, Anum_session_subject) &&
		DatumGetTimestampTz(row_get(row, Anum_session_expires_at, &isnull)) > GetCurrentTimestamp();
}

/* The organisation of a membership, if it has this slug (any, if NULL) and is not closed. */
static bool
org_matches(const pg_uuid_t *org_id, const char *slug, Snapshot snapshot)
{
	Row			org;
	bool		matches = false;

	if (row_find_uuid(&org, "org", "org_pkey", Anum_org_id, org_id, snapshot) && !row_has(&org, Anum_org_closed_at))
		matches = slug == NULL || row_text_is(&org, Anum_org_slug, slug, strlen(slug));
	row_close(&org);
	return matches;
}

/*
 * Find the active membership of a person in the organisation with this slug; in any, if
 * it is NULL. Reads all of them in either case.
 */
static bool
find_membership(const Person *person, const char *slug, Snapshot snapshot, Membership *membership)
{
	const Caller caller = {.person = person,.subject = person->subject};
	Relation	members = walwarden_table_open("member");
	ListCell   *cell;
	bool		found = false;

	foreach(cell, permission_memberships(members, &caller, NULL, snapshot))
	{
		Row			row = {members, lfirst(cell)};
		pg_uuid_t	org_id = row_uuid(&row, Anum_member_org_id);

		if (!org_matches(&org_id, slug, snapshot))
			continue;
		membership->member_id = row_uuid(&row, Anum_member_id);
		membership->org_id = org_id;
		membership->role = row_text(&row, Anum_member_role);
		found = true;
	}
	table_close(members, AccessShareLock);
	return found;
}

/* The person whose session a cookie is, in the current memory context. This is a use of the session. */
bool
session_find(const char *cookie, Person *person)
{
	uint8		hash[DIGEST_LEN];
	Snapshot	snapshot;
	ScanKeyData key;
	Row			row;
	Membership	any;
	TimestampTz created_at = 0;
	bool		isnull;
	bool		found;

	if (strlen(cookie) != SECRET_TEXT_LEN)
		return false;
	secret_hash(cookie, hash);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ScanKeyInit(&key, Anum_session_cookie_hash, BTEqualStrategyNumber, F_BYTEAEQ, PointerGetDatum(digest_bytea(hash)));
	found = row_find(&row, "session", "session_cookie_hash_key", 1, &key, snapshot) && is_open(&row);
	if (found)
	{
		person->has_session = true;
		person->session_id = row_uuid(&row, Anum_session_id);
		person->subject = text_to_cstring(row_text(&row, Anum_session_subject));
		person->by_sso = session_is_by_sso(&row);
		created_at = DatumGetTimestampTz(row_get(&row, Anum_session_created_at, &isnull));
	}
	row_close(&row);
	found = found && find_membership(person, NULL, snapshot, &any);
	UnregisterSnapshot(snapshot);
	return found && idle_use(&person->session_id, created_at);
}

/* Whether a person without a session is a member anywhere, so that a JWT is accepted. */
bool
session_may_start(const Person *person)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Membership	any;
	bool		found = find_membership(person, NULL, snapshot, &any);

	UnregisterSnapshot(snapshot);
	return found;
}

/* Whether the session of a person still counts, after a wait. True for a person without one. */
bool
session_holds(const Person *person)
{
	Row			row;
	bool		holds;

	if (!person->has_session)
		return true;
	holds = row_find_uuid(&row, "session", "session_pkey", Anum_session_id, &person->session_id, GetActiveSnapshot()) && is_open(&row);

	row_close(&row);
	return holds;
}

/* The active membership of a person in the organisation with a slug, in the current memory context. */
bool
session_membership(const Person *person, const char *slug, Membership *membership)
{
	return find_membership(person, slug, GetActiveSnapshot(), membership);
}

/* Forget what the last request has left. */
void
session_cookie_reset(void)
{
	cookie_field = NULL;
	cookie_cleared = false;
}

/* The field Set-Cookie of the response to the running request, or NULL. */
const char *
session_cookie_field(void)
{
	return cookie_field;
}

/* Whether that field removes the cookie. */
bool
session_cookie_is_cleared(void)
{
	return cookie_cleared;
}

/*
 * walwarden_internal.new_cookie()
 *
 * A new cookie, which the response to the running request sets if it succeeds. Returns
 * its SHA-256.
 */
PG_FUNCTION_INFO_V1(walwarden_new_cookie);
Datum
walwarden_new_cookie(PG_FUNCTION_ARGS)
{
	char		secret[SECRET_TEXT_LEN + 1] = "";
	uint8		hash[DIGEST_LEN];

	mint_secret(secret, hash);
	cookie_field = MemoryContextStrdup(TopTransactionContext, psprintf(SESSION_COOKIE "=%s" COOKIE_ATTRIBUTES, secret));
	explicit_bzero(secret, sizeof(secret));
	PG_RETURN_BYTEA_P(digest_bytea(hash));
}

/* walwarden_internal.clear_cookie(): the response to the running request removes the cookie */
PG_FUNCTION_INFO_V1(walwarden_clear_cookie);
Datum
walwarden_clear_cookie(PG_FUNCTION_ARGS)
{
	cookie_field = MemoryContextStrdup(TopTransactionContext, SESSION_COOKIE "=" COOKIE_ATTRIBUTES "; Max-Age=0");
	cookie_cleared = true;
	PG_RETURN_VOID();
}
