/*
 * rights.c
 *		What the caller of the running request may do: the scopes of its token, or of the
 *		role of its person in the organisation of the path, and what that role may manage.
 *
 * Invariants: an organisation of which a person is no active member is one that does not
 * exist. A change is made, and an earlier response returned, by the rights that the caller
 * has once all locks are held; whoever takes a right away in the organisation holds its lock
 * until they commit. Overrides of roles, and signing out meanwhile, may bind on the next request.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "base/call.h"
#include "base/compat.h"
#include "base/export.h"
#include "base/invalidation.h"
#include "base/json_schema.h"
#include "people/session.h"
#include "rest/fail.h"
#include "rest/request.h"
#include "rest/rights.h"
#include "token/identity.h"
#include "token/org_cache.h"
#include "token/scope_list.h"
#include "token/status.h"

/* The scopes of the running request, unless they are those of its identity. */
static struct
{
	bool		is_set;
	bool		of_person;
	ScopeList	scopes;
}			effective;

static void
set_scopes(ScopeList scopes, bool of_person)
{
	effective.is_set = true;
	effective.of_person = of_person;
	effective.scopes = scopes;
}

/* Forget the rights of the last request, at the begin and the end of one. */
void
rights_reset(void)
{
	memset(&effective, 0, sizeof(effective));
}

/* The scopes of the running request; NULL if there are none, not even an empty list. */
const ScopeList *
rights_scopes(void)
{
	const TokenStatus *status = identity_status();

	if (effective.is_set)
		return &effective.scopes;
	return status == NULL ? NULL : &status->effective;
}

static void
require_scope(const text *scope)
{
	const ScopeList *scopes = rights_scopes();
	char	   *name;

	if (scopes != NULL && scope_list_has(scopes, VARDATA_ANY(scope), VARSIZE_ANY_EXHDR(scope)))
		return;
	name = text_to_cstring(scope);	/* names of scopes need no escapes */
	if (effective.of_person)
		rest_fail("scope_missing", "your role does not carry the required scope",
				  psprintf("{\"requiredScope\": \"%s\", \"nextAction\": \"Ask an owner or admin of the organisation for a role that carries the scope %s.\"}", name, name));
	rest_fail("scope_missing", "the token does not hold the required scope",
			  psprintf("{\"requiredScope\": \"%s\", \"nextAction\": \"Use a token that was issued with the scope %s."
					   " For a private token, the owner's role must also carry the scope.\"}", name, name));
}

/*
 * Whether a body sets the property of this name. In a POST null sets nothing, in a PATCH it
 * clears a value. What is no object is refused later, when it is compared with its schema.
 */
static bool
sets(Jsonb *body, JsonText name, bool is_post)
{
	JsonbValue	found;

	return JB_ROOT_IS_OBJECT(body) &&
		getKeyJsonValueFromContainer(&body->root, name.data, name.len, &found) != NULL &&
		!(is_post && found.type == jbvNull);
}

/* End a request with 403 unless its caller has the scopes that the properties of the body need. */
static void
require_body_scopes(const char *method, const text *request, Jsonb *body)
{
	const Schema *schema = json_schema_get(request);

	for (int i = 0; i < schema->nproperties; i++)
	{
		const Property *property = &schema->properties[i];

		if (property->schema->scope != NULL && sets(body, property->name, strcmp(method, "POST") == 0))
			require_scope(property->schema->scope);
	}
}

/* walwarden_internal.rest_require_body_scopes(method text, request text, body jsonb) */
PG_FUNCTION_INFO_V1(walwarden_rest_require_body_scopes);
Datum
walwarden_rest_require_body_scopes(PG_FUNCTION_ARGS)
{
	require_body_scopes(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_TEXT_PP(1), PG_GETARG_JSONB_P(2));
	PG_RETURN_VOID();
}

/* The person of a request works in the organisation with this slug, with the scopes of their role. */
void
rights_enter_org(RestRequest *request, const char *slug)
{
	Reading		reading;

	if (!session_membership(request->person, slug, &request->membership))
		rest_fail("no_such_organisation", "no such organisation", "{}");
	request->has_org = true;
	request->org_id = request->membership.org_id;
	request->org_slug = pstrdup(slug);
	reading_begin(&reading, GetActiveSnapshot(), invalidation_generation, false);
	set_scopes(org_cache_role_scopes(&reading, request->membership.role), true);
}

/* End a request with 403 if its caller may not use its operation, whatever the body is. */
void
rights_require(const RestRequest *request)
{
	if (request->required_scope != NULL)
		require_scope(request->required_scope);
	if (request->action != NULL)
	{
		Oid			types[] = {UUIDOID, TEXTOID};
		NullableDatum args[] = {
			{.value = UUIDPGetDatum(&request->org_id)},
			{.value = CStringGetTextDatum(request->action)}
		};

		(void) call_function("rest_require_action", lengthof(args), types, args, NULL);
	}
}

/*
 * Check the rights of a caller again, after a wait, with the active snapshot: also those
 * that the body needs. schema: of the body.
 */
void
rights_renew(RestRequest *request, const char *schema)
{
	if (request->person != NULL)
	{
		if (!session_holds(request->person))
			rest_fail("session_refused", "the session has ended", "{\"nextAction\": \"Sign in again.\"}");
		rights_enter_org(request, request->org_slug);
	}
	else
	{
		TokenStatus status;

		identity_status_at(GetActiveSnapshot(), &status);
		if (status.state != TOKEN_ACTIVE)
			rest_fail("token_refused", "invalid or inactive token",
					  "{\"nextAction\": \"Send a valid token: Authorization: Bearer wal_...\"}");
		set_scopes(status.effective, false);
	}
	rights_require(request);
	require_body_scopes(request->method, cstring_to_text(schema), request->body);
}
