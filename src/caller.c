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
#include "utils/snapmgr.h"

#define JSON_SETTING_LIMIT 65536

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

/*
 * The JSON that a gateway put into a setting. What is no JSON is an error that
 * does not quote it.
 */
Jsonb *
caller_json_setting(const char *name, const char *value)
{
	MemoryContext context = CurrentMemoryContext;
	Jsonb	   *volatile jsonb = NULL;

	PG_TRY();
	{
		if (strlen(value) <= JSON_SETTING_LIMIT)
			jsonb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(value)));
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	if (jsonb == NULL)
	{
		error_context_stack = NULL; /* as in refuse_token(): nothing around it may show */
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is not JSON, or longer than %d bytes", name, JSON_SETTING_LIMIT),
				 errhint("The gateway sets it for each request."),
				 errhidestmt(true), errhidecontext(true)));
	}
	return jsonb;
}

/* The string under key, or NULL when there is none, or it is empty, or value is no object. */
char *
caller_json_string(Jsonb *value, const char *key)
{
	JsonbValue	found;

	if (!JB_ROOT_IS_OBJECT(value) ||
		getKeyJsonValueFromContainer(&value->root, key, (int) strlen(key), &found) == NULL ||
		found.type != jbvString || found.val.string.len == 0)
		return NULL;
	return pnstrdup(found.val.string.val, found.val.string.len);
}

/* The claim sub, when it is a string; NULL otherwise. */
static char *
claimed_subject(void)
{
	if (claims == NULL)
		return NULL;
	return caller_json_string(caller_json_setting("request.jwt.claims", claims), "sub");
}

/* Who calls: the current user, whatever else becomes of it. */
void
caller_note(Caller *caller)
{
	caller_note_claims();
	caller->userid = GetUserId();
	namestrcpy(&caller->role, GetUserNameFromId(caller->userid, false));
}

/*
 * Fill in what the caller is as of now, which may have changed since the call. The
 * subject lies in the current memory context.
 */
void
caller_describe(Caller *caller)
{
	Oid			session = GetSessionUserId();
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	caller->superuser = superuser_arg(caller->userid);
	caller->is_operator = caller->superuser ||
		role_grant_exists("operator", NameStr(caller->role), snapshot);
	caller->subject = NULL;
	if (!superuser_arg(session) &&
		role_grant_exists("authenticator", GetUserNameFromId(session, false), snapshot))
		caller->subject = claimed_subject();
	UnregisterSnapshot(snapshot);
}
