/*
 * actor.c
 *		The actor in entries: the only format of one, described in docs/audit-chain.md.
 *
 * Invariants: the role and login of a member are personal, so no entry contains them. Nor
 * does it contain those of whoever presented a token, who can be a member of another
 * organisation, unless the role serves REST.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "base/export.h"
#include "base/json.h"
#include "base/render.h"
#include "token/actor.h"
#include "token/caller.h"
#include "token/identity.h"
#include "token/permission.h"

static void
add_uuid(StringInfo actor, const char *name, const pg_uuid_t *value)
{
	char		out[UUID_TEXT_LEN + 1];

	render_uuid(value, out);
	json_add_text(actor, name, out);
}

static void
begin_actor(StringInfo actor, const char *kind)
{
	initStringInfo(actor);
	json_add_text(actor, "kind", kind);
}

/* The server role of a caller, and the login behind it. */
static void
add_role(StringInfo actor, const Caller *caller)
{
	json_add_text(actor, "role", NameStr(caller->role));
	json_add_text(actor, "login", NameStr(caller->login));
}

static char *
end_actor(StringInfo actor)
{
	appendStringInfoChar(actor, '}');
	return actor->data;
}

/*
 * The member as whom a caller acts in an organisation; false for an operator whom no trusted
 * authenticator verified. Such an operator acts as the role that was authorised. A member
 * may have the same role, but somebody else says so, and an id beside the name of the role
 * would disclose whose role it is.
 */
static bool
acting_member(const Caller *caller, const pg_uuid_t *org_id, pg_uuid_t *id)
{
	return !(caller->is_operator && caller->subject == NULL) && permission_member_id(caller, org_id, id);
}

/*
 * An operator, or a member of an organisation, who may have signed in; as JSON. A person
 * without a session, who presented a JWT, is a member as any other.
 */
char *
actor_of_caller(const Caller *caller, const pg_uuid_t *org_id)
{
	bool		in_session = caller->person != NULL && caller->person->has_session;
	StringInfoData actor;
	pg_uuid_t	member_id;

	begin_actor(&actor, in_session ? "session" : caller->is_operator ? "operator" : "member");
	if (caller->is_operator)
		add_role(&actor, caller);
	if (acting_member(caller, org_id, &member_id))
		add_uuid(&actor, "memberId", &member_id);
	if (in_session)
		add_uuid(&actor, "sessionId", &caller->person->session_id);
	return end_actor(&actor);
}

/* The identity of the transaction. */
char *
actor_of_token(const Caller *caller)
{
	const TokenStatus *token = identity_current();
	StringInfoData actor;

	begin_actor(&actor, "token");
	add_role(&actor, caller);
	if (token != NULL)
	{
		if (token->private)
			add_uuid(&actor, "memberId", &token->owner_id);
		add_uuid(&actor, "tokenId", &token->token_id);
	}
	return end_actor(&actor);
}

/* Whoever presented the plaintext of a token. */
static char *
actor_of_bearer(const Caller *caller, const pg_uuid_t *token_id)
{
	StringInfoData actor;

	begin_actor(&actor, "token");
	if (caller_role_serves_rest(caller))
		add_role(&actor, caller);
	if (token_id != NULL)
		add_uuid(&actor, "tokenId", token_id);
	return end_actor(&actor);
}

/* The passage of time, or the person of a session outside of any organisation. */
static char *
actor_of_nobody(const char *kind, const pg_uuid_t *session_id)
{
	StringInfoData actor;

	begin_actor(&actor, kind);
	if (session_id != NULL)
		add_uuid(&actor, "sessionId", session_id);
	return end_actor(&actor);
}

/* walwarden_internal.acting_member_id(c caller, org_id uuid) */
PG_FUNCTION_INFO_V1(walwarden_acting_member_id);
Datum
walwarden_acting_member_id(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));
	Caller		caller;

	caller_argument(fcinfo, 0, &caller);
	if (!acting_member(&caller, PG_GETARG_UUID_P(1), id))
		PG_RETURN_NULL();
	PG_RETURN_UUID_P(id);
}

/* walwarden_internal.actor(who text, c caller, org_id uuid, bearer_of uuid, session_id uuid) */
PG_FUNCTION_INFO_V1(walwarden_actor);
Datum
walwarden_actor(PG_FUNCTION_ARGS)
{
	const char *who = PG_ARGISNULL(0) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(0));
	bool		nobody = strcmp(who, "system") == 0 || strcmp(who, "session") == 0;
	const char *json = NULL;
	Caller		caller = {0};

	if (!nobody)
		caller_argument(fcinfo, 1, &caller);
	if (strcmp(who, "caller") == 0)
		json = actor_of_caller(&caller, PG_ARGISNULL(2) ? NULL : PG_GETARG_UUID_P(2));
	else if (strcmp(who, "token") == 0)
		json = actor_of_token(&caller);
	else if (strcmp(who, "bearer") == 0)
		json = actor_of_bearer(&caller, PG_ARGISNULL(3) ? NULL : PG_GETARG_UUID_P(3));
	else if (nobody)
		json = actor_of_nobody(who, PG_ARGISNULL(4) ? NULL : PG_GETARG_UUID_P(4));
	else
		elog(ERROR, "an actor cannot be \"%s\"", who);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json));
}
