/*
 * app_entry.c
 *		Entries that applications append to the chain of an organisation.
 *
 * Invariant: the right is checked before anything of the organisation is locked, and again
 * when it is. A token appends without the lock of its organisation, so whether that is open
 * is asked after the append, which waits for close_org().
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "audit/append.h"
#include "base/export.h"
#include "base/refuse.h"
#include "common/syntax.h"
#include "token/actor.h"
#include "token/caller.h"
#include "token/door.h"
#include "token/identity.h"
#include "token/permission.h"

#define APP_PREFIX "app."

static void
check_kind(const text *kind)
{
	if (kind != NULL && VARSIZE_ANY_EXHDR(kind) > strlen(APP_PREFIX) &&
		memcmp(VARDATA_ANY(kind), APP_PREFIX, strlen(APP_PREFIX)) == 0 &&
		kind_is_well_formed(VARDATA_ANY(kind), VARSIZE_ANY_EXHDR(kind)))
		return;
	refuse(ERRCODE_INVALID_PARAMETER_VALUE,
		   psprintf("invalid audit kind %s", refuse_shown(kind)),
		   "Give app. and lower-case words separated by dots, at most 100 characters, for example app.invoice.sent.",
		   NULL);
}

static bool
is_slug_of(const text *slug, const TokenStatus *token)
{
	return token->org_slug != NULL && VARSIZE_ANY_EXHDR(slug) == VARSIZE_ANY_EXHDR(token->org_slug) &&
		memcmp(VARDATA_ANY(slug), VARDATA_ANY(token->org_slug), VARSIZE_ANY_EXHDR(slug)) == 0;
}

/* walwarden_internal.append_audit(kind text, payload jsonb, job_id uuid, org text) */
PG_FUNCTION_INFO_V1(walwarden_append_audit);
Datum
walwarden_append_audit(PG_FUNCTION_ARGS)
{
	const text *kind = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	const text *org = PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3);
	const TokenStatus *token;
	bool		as_token;
	pg_uuid_t	chain;
	Jsonb	   *data;
	const char *actor;
	Caller		caller;
	const char *payload;
	int64		seq;

	door_caller(&caller);
	token = identity_current();
	if (org == NULL && token == NULL)
		refuse(ERRCODE_INVALID_PARAMETER_VALUE,
			   "organisation is missing",
			   "Name the organisation, or authenticate a token first.",
			   NULL);
	/* what the rights are now, and not when the statement began */
	PushActiveSnapshot(GetTransactionSnapshot());
	as_token = token != NULL && (org == NULL || is_slug_of(org, token)) && caller_role_serves_rest(&caller);
	chain = as_token ? token->org_id : permission_org(&caller, org != NULL ? org : token->org_slug, "audit.append", "org");
	PopActiveSnapshot();
	if (as_token)
		actor = actor_of_token(&caller);
	else
	{
		permission_lock_org(&chain, "audit.append", "org");
		door_caller(&caller);	/* after the wait */
		PushActiveSnapshot(GetTransactionSnapshot());
		actor = actor_of_caller(&caller, &chain);
		PopActiveSnapshot();
	}
	check_kind(kind);
	data = PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1);
	if (data == NULL)
		refuse(ERRCODE_INVALID_PARAMETER_VALUE,
			   "payload is missing",
			   "Give any JSON value with integers only, for example {}.",
			   NULL);

	payload = psprintf("{\"actor\": %s, \"data\": %s}", actor, JsonbToCString(NULL, &data->root, VARSIZE(data)));
	seq = audit_append(&chain, kind, PG_ARGISNULL(2) ? NULL : PG_GETARG_UUID_P(2), cstring_to_text(payload));
	permission_require_open(&chain);
	PG_RETURN_INT64(seq);
}
