/*
 * caller.c
 *		Who is calling: the current user at entry and, where a trusted
 *		authenticator verified one, the subject of a JWT.
 *
 * Invariants: the session user is never taken for the caller, because autovacuum
 * runs a table owner's index expressions in a superuser's session; the claims
 * are read once a transaction, by the first call of this library, so that a
 * later set_config() changes nothing.
 */
#include "walwarden.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/snapmgr.h"

static bool claims_noted = false;
static char *claims = NULL;		/* in TopTransactionContext, or NULL */

/*
 * Keep the claims as they are now, unless the transaction has them already.
 * Every entry point of the library calls this first.
 */
void
caller_note_claims(void)
{
	const char *setting;

	if (claims_noted)
		return;
	setting = GetConfigOption("request.jwt.claims", true, false);
	claims = setting == NULL || setting[0] == '\0' ? NULL : MemoryContextStrdup(TopTransactionContext, setting);
	claims_noted = true;
}

/* At the end of a transaction, whose memory context takes the text along. */
void
caller_forget_claims(void)
{
	claims_noted = false;
	claims = NULL;
}

/* The claim sub, when it is a string; NULL otherwise. */
static char *
claimed_subject(void)
{
	Jsonb	   *jsonb;
	JsonbValue	found;

	if (claims == NULL)
		return NULL;
	jsonb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(claims)));
	if (!JB_ROOT_IS_OBJECT(jsonb) ||
		getKeyJsonValueFromContainer(&jsonb->root, "sub", 3, &found) == NULL ||
		found.type != jbvString || found.val.string.len == 0)
		return NULL;
	return pnstrdup(found.val.string.val, found.val.string.len);
}

/*
 * Fill in the caller as of now. The result lies in the current memory context.
 */
void
caller_resolve(Caller *caller)
{
	Oid			session = GetSessionUserId();
	Snapshot	snapshot;

	caller_note_claims();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	caller->userid = GetUserId();
	namestrcpy(&caller->role, GetUserNameFromId(caller->userid, false));
	caller->superuser = superuser_arg(caller->userid);
	caller->is_operator = caller->superuser ||
		role_grant_exists("operator", NameStr(caller->role), snapshot);
	caller->subject = NULL;
	if (!superuser_arg(session) &&
		role_grant_exists("authenticator", GetUserNameFromId(session, false), snapshot))
		caller->subject = claimed_subject();
	UnregisterSnapshot(snapshot);
}
