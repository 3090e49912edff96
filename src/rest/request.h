/*
 * request.h
 *		An HTTP request as PostgREST hands it on.
 */
#ifndef WALWARDEN_REQUEST_H
#define WALWARDEN_REQUEST_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "people/session.h"
#include "rest/response.h"
#include "token/caller.h"
#include "token/claims.h"
#include "token/limiter.h"

/* The response field with the id of the token, for nginx to log and to remove. */
#define TOKEN_ID_FIELD "X-Walwarden-Token-Id"

typedef enum AuthOutcome
{
	AUTH_UNKNOWN,				/* not tried yet */
	AUTH_NONE,
	AUTH_REFUSED,
	AUTH_LIMITED,				/* refused by its rate limit */
	AUTH_ACCEPTED				/* the identity, or the caller, is set now */
} AuthOutcome;

/* A request. A field that was not sent, is empty or does not apply is NULL. */
typedef struct RestRequest
{
	/* sent by the gateway */
	char	   *method;
	char	   *path;			/* as sent, without the query */
	char	   *query;
	char	   *content_type;
	char	   *content_encoding;
	char	   *idempotency_key;
	char	   *if_match;
	char	   *if_none_match;
	char	   *request_id;
	int			bad_request_status; /* in place of 400 */
	int			busy_status;	/* in place of 503, to ask no other server */

	bool		by_cookie;		/* presents a session */
	AuthOutcome auth;
	Person	   *person;			/* by a session or a JWT; otherwise NULL */
	Claims		claims;			/* of a person without a session */
	pg_uuid_t	token_id;		/* if accepted by a token */
	RateState	rate;

	/* of a token; of a person, as the path has it */
	bool		has_org;
	pg_uuid_t	org_id;
	char	   *org_slug;		/* of a person */
	Membership	membership;		/* of a person */

	/* set by the router */
	const char *operation;
	const text *required_scope; /* of the operation, or NULL */
	const char *action;			/* that a person needs, or NULL */
	pg_uuid_t  *id;				/* from the path */
	int			max_rows;		/* of a page; 0 for a mutation */
	PageKey		after;			/* the item before the page */
	Jsonb	   *filters;		/* of a list, checked; or NULL */
	Jsonb	   *body;			/* of a mutation, checked */
} RestRequest;

extern void rest_request_read(RestRequest *request);
extern bool rest_request_by_token(const RestRequest *request);
extern const char *rest_request_credential(const RestRequest *request);
extern Datum rest_request_handle(const RestRequest *request, const char *handler, bool *isnull);
extern char *rest_new_request_id(void);
extern char *rest_token_id(const pg_uuid_t *token_id);
extern char *rest_rate_limit_field(const RateState *rate);

#endif							/* WALWARDEN_REQUEST_H */
