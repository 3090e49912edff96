/*
 * http.c
 *		Requests that PostgREST serves: whether this is one, and ending it.
 *
 * PostgREST takes the status of a response from the SQLSTATE and from whether the request has
 * a role of its own. A request with a token has none, so that it would answer 401 where 403
 * belongs. An error of the state PGRST says status, header fields and body instead.
 */
#include "base/http.h"

#include "lib/stringinfo.h"
#include "utils/guc.h"
#include "utils/json.h"

#define SQLSTATE_POSTGREST MAKE_SQLSTATE('P', 'G', 'R', 'S', 'T')

/* Whether PostgREST has begun a request in this transaction. A client of SQL can pretend it. */
bool
http_in_request(void)
{
	const char *method = GetConfigOption("request.method", true, false);

	return method != NULL && method[0] != '\0';
}

/* Add a member of the body, null where there is no value. */
static void
add_member(StringInfo body, const char *name, const char *value)
{
	appendStringInfo(body, "%c\"%s\":", body->len == 0 ? '{' : ',', name);
	if (value == NULL)
		appendStringInfoString(body, "null");
	else
		escape_json(body, value);
}

/* End the request with a response of PostgREST's form. The statement may contain a token. */
void
http_refuse(const HttpRefusal *refusal)
{
	StringInfoData body;

	initStringInfo(&body);
	add_member(&body, "code", refusal->code);
	add_member(&body, "message", refusal->message);
	add_member(&body, "details", refusal->detail);
	add_member(&body, "hint", refusal->hint);
	appendStringInfoChar(&body, '}');

	error_context_stack = NULL; /* as in refuse_token() */
	ereport(ERROR,
			(errcode(SQLSTATE_POSTGREST),
			 errmsg_internal("%s", body.data),
			 errdetail_internal("{\"status\":%d,\"headers\":{%s}}", refusal->status, refusal->headers == NULL ? "" : refusal->headers),
			 errhidestmt(true),
			 errhidecontext(true)));
}
