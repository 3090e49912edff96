/*
 * origin.c
 *		Requests that another site has made a browser send.
 *
 * A browser adds the cookie of a session to a request, whoever wrote the page that sends
 * it. SameSite=Strict alone does not stop that: another port of the same host is the same
 * site. nginx rejects the same requests before they get here (postgrest/nginx.conf).
 *
 * Invariant: with a cookie, and for signing in and out, a change is served only if the
 * browser says that it comes from our own origin or from nowhere, and if it has what no
 * form can send. A token is no part of this, because no browser adds one by itself.
 */
#include "postgres.h"

#include "common/syntax.h"
#include "rest/fail.h"
#include "rest/origin.h"

#define SESSION_PATH "/api/v1/session"
#define LEAKS_PATH "/api/v1/leaks"

static bool
is(const char *value, const char *wanted)
{
	return value != NULL && strcmp(value, wanted) == 0;
}

/* Whether a browser says that a page of ours made it send the request, or nobody. */
static bool
is_from_here(const RequestOrigin *request)
{
	if (request->fetch_site != NULL)
		return is(request->fetch_site, "same-origin") || is(request->fetch_site, "none");
	return request->origin == NULL || is(request->own_origin, request->origin);
}

/* End a request with 403 if another site may be behind it. */
void
origin_check(const RequestOrigin *request)
{
	const char *type = request->content_type;
	bool		signs = is(request->path, SESSION_PATH);
	bool		keyless = signs || is(request->path, LEAKS_PATH);

	if (request->method == NULL || is(request->method, "GET") || is(request->method, "HEAD") || is(request->method, "OPTIONS"))
		return;
	if (request->session == NULL && !signs)
		return;
	if (is_from_here(request) &&
		(type == NULL || media_type_is_json(type, strlen(type))) &&
		(keyless || request->idempotency_key != NULL))
		return;
	rest_fail_field("cross_site", "the request may come from another site", NULL,
					"Send it from a page of the same origin, with Content-Type: application/json and an Idempotency-Key.");
}
