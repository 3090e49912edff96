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

#include "base/json.h"

#define SQLSTATE_POSTGREST MAKE_SQLSTATE('P', 'G', 'R', 'S', 'T')

/* Whether PostgREST has begun a request in this transaction. A client of SQL can pretend it. */
bool
http_in_request(void)
{
	const char *method = GetConfigOption("request.method", true, false);

	return method != NULL && method[0] != '\0';
}

/* End the request with a response of PostgREST's form. The statement may contain a token. */
void
http_refuse(const HttpRefusal *refusal)
{
	StringInfoData body;

	initStringInfo(&body);
	json_add_text(&body, "code", refusal->code);
	json_add_text(&body, "message", refusal->message);
	json_add_text(&body, "details", refusal->detail);
	json_add_text(&body, "hint", refusal->hint);
	appendStringInfoChar(&body, '}');

	error_context_stack = NULL; /* as in refuse_token() */
	ereport(ERROR,
			(errcode(SQLSTATE_POSTGREST),
			 errmsg_internal("%s", body.data),
			 errdetail_internal("{\"status\":%d,\"headers\":{%s}}", refusal->status, refusal->headers == NULL ? "" : refusal->headers),
			 errhidestmt(true),
			 errhidecontext(true)));
}
