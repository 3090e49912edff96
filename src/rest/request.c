/*
 * request.c
 *		An HTTP request as PostgREST passes it on, for REST v1 and for pre_request().
 *
 * PostgREST stores the header fields, with lower-case names, as one JSON object in
 * request.headers. It would not pass on the bearer token, nor the original method,
 * path, query and media type, so nginx has copied these to X-Walwarden-*. A session
 * that runs SQL can set all of them, but gains nothing that a call of authenticate()
 * would not give; or, if its login role is trusted to verify JWTs, nothing that it could
 * not claim anyway. PostgREST itself has verified what is in Authorization.
 *
 * Invariants: a token goes only from the setting to the check and leaves the setting
 * with it, so SQL and PL/pgSQL never see one. Contradictory credentials are rejected;
 * none of them is preferred.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "base/call.h"
#include "base/compat.h"
#include "base/digest.h"
#include "base/export.h"
#include "base/http.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/render.h"
#include "base/standby.h"
#include "base/tables.h"
#include "common/canonical.h"
#include "common/entry.h"
#include "common/hex.h"
#include "common/syntax.h"
#include "people/session.h"
#include "rest/columns.h"
#include "rest/fail.h"
#include "rest/origin.h"
#include "rest/request.h"
#include "token/caller.h"
#include "token/claims.h"
#include "token/client.h"
#include "token/door.h"
#include "token/identity.h"
#include "token/limiter.h"
#include "token/network.h"
#include "token/refusal.h"
#include "token/stat.h"
#include "token/status.h"

#define HEADERS_SETTING "request.headers"
#define COOKIES_SETTING "request.cookies"

/* nginx has moved the cookie there. */
#define SESSION_FIELD "x-walwarden-session"

/* nginx lets nothing but a JWT through. */
#define JWT_FIELD "authorization"

static const char *const auth_names[] = {
	[AUTH_NONE] = "none",
	[AUTH_REFUSED] = "bad",
	[AUTH_LIMITED] = "good",
	[AUTH_ACCEPTED] = "good",
};

/* The header fields of the request, or NULL outside a request. */
static Jsonb *
request_headers(void)
{
	const char *setting = GetConfigOption(HEADERS_SETTING, true, false);

	if (setting == NULL || setting[0] == '\0')
		return NULL;
	return json_setting(HEADERS_SETTING, setting);
}

/* The header fields from which a token or a legacy credential is taken. */
static const char *const token_fields[] = {
	"x-walwarden-token", "x-wallarmapi-token", "x-wallarmapi-uuid", "x-wallarmapi-secret"
};

/* Whether a member of the request's fields holds a credential, under its own name or another. */
static bool
holds_credential(const JsonbValue *name, const JsonbValue *value)
{
	for (int i = 0; i < lengthof(token_fields); i++)
		if (json_is(name, token_fields[i]))
			return true;
	return json_is(name, SESSION_FIELD) ||
		(value->type == jbvString && text_contains_token(value->val.string.val, value->val.string.len));
}

/* For the rest of the transaction. */
static void
replace_setting(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
}

/* Take the cookie of a session out of the cookies, if a gateway has passed it on. */
static void
hide_cookie(void)
{
	const char *setting = GetConfigOption(COOKIES_SETTING, true, false);
	Jsonb	   *rest;

	if (setting == NULL || strstr(setting, SESSION_COOKIE) == NULL)
		return;
	rest = DatumGetJsonbP(DirectFunctionCall2(jsonb_delete, JsonbPGetDatum(json_setting(COOKIES_SETTING, setting)), CStringGetTextDatum(SESSION_COOKIE)));
	replace_setting(COOKIES_SETTING, JsonbToCString(NULL, &rest->root, VARSIZE(rest)));
}

/*
 * Take the credentials out of the header fields for the rest of the transaction:
 * functions and triggers that serve the request read this setting, and any role can be
 * their author. jwt: a JWT too, which the own functions of a team may need.
 */
static void
hide_credentials(Jsonb *headers, bool jwt)
{
	JsonbIterator *iterator = JsonbIteratorInit(&headers->root);
	JsonbIteratorToken token;
	JsonbValue	name;
	JsonbValue	value;
	Datum		rest = JsonbPGetDatum(headers);

	while ((token = JsonbIteratorNext(&iterator, &name, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&iterator, &value, true);
		if (holds_credential(&name, &value) || (jwt && json_is(&name, JWT_FIELD)))
			rest = DirectFunctionCall2(jsonb_delete, rest,
									   PointerGetDatum(cstring_to_text_with_len(name.val.string.val, name.val.string.len)));
	}
	if (rest != JsonbPGetDatum(headers))
	{
		Jsonb	   *hidden = DatumGetJsonbP(rest);

		replace_setting(HEADERS_SETTING, JsonbToCString(NULL, &hidden->root, VARSIZE(hidden)));
	}
	hide_cookie();
}

/* Reject contradictory or incomplete credentials. */
static AuthOutcome
refuse_credentials(void)
{
	stat_count(REFUSAL_MALFORMED);
	return AUTH_REFUSED;
}

static AuthOutcome
outcome_of(Refusal refusal)
{
	return refusal == REFUSAL_NONE ? AUTH_ACCEPTED :
		refusal == REFUSAL_RATE_LIMITED ? AUTH_LIMITED : AUTH_REFUSED;
}

/*
 * Authenticate the request, and hide its credentials. On success its token is the
 * identity of the transaction. rate: receives the state of the token's rate limit.
 */
static AuthOutcome
authenticate_request(Jsonb *headers, RateState *rate)
{
	NetworkAddress client;
	char	   *bearer;
	char	   *token;
	char	   *legacy_uuid;
	char	   *legacy_secret;

	caller_record_claims();
	if (headers == NULL)
		return AUTH_NONE;
	bearer = json_string(headers, "x-walwarden-token");
	token = json_string(headers, "x-wallarmapi-token");
	legacy_uuid = json_string(headers, "x-wallarmapi-uuid");
	legacy_secret = json_string(headers, "x-wallarmapi-secret");
	hide_credentials(headers, false);

	/* half a legacy credential is invalid, and so is a second credential */
	if (legacy_uuid != NULL || legacy_secret != NULL)
	{
		if (bearer != NULL || token != NULL || legacy_uuid == NULL || legacy_secret == NULL)
			return refuse_credentials();
		client_address_from_text(json_string(headers, "x-walwarden-client"), &client);
		return outcome_of(identity_authenticate_legacy(legacy_uuid, legacy_secret, &client, rate));
	}
	if (bearer != NULL && token != NULL && strcmp(bearer, token) != 0)
		return refuse_credentials();
	if (bearer == NULL)
		bearer = token;
	if (bearer == NULL)
		return AUTH_NONE;
	client_address_from_text(json_string(headers, "x-walwarden-client"), &client);
	return outcome_of(identity_authenticate_bearer(bearer, strlen(bearer), &client, rate));
}

/* From now on, a person is the caller, in the memory of the request. */
static AuthOutcome
accept_person(RestRequest *request, Person *person)
{
	request->person = person;
	door_act_for(person);
	return AUTH_ACCEPTED;
}

/* Find the person of a JWT that PostgREST has verified. Fails with the reason if there is none. */
static AuthOutcome
authenticate_jwt(RestRequest *request)
{
	Person	   *person = palloc0(sizeof(Person));

	if (!claims_can_be_accepted() || !caller_read_claims(&request->claims))
		rest_fail("jwt_not_accepted", "the server does not accept JWTs",
				  "{\"nextAction\": \"A superuser sets walwarden.jwt_issuer and walwarden.jwt_audience, and calls walwarden.trust_authenticator() for the login role of PostgREST.\"}");
	if (request->claims.refused != NULL)
		rest_fail_field("claim_refused", "a claim of the JWT is missing or is not accepted", request->claims.refused, NULL);
	person->subject = request->claims.subject;
	person->by_sso = true;
	if (!session_may_start(person))
		rest_fail("not_a_member", "the person is no active member of any organisation, or single sign-on is not enabled for them",
				  "{\"nextAction\": \"Ask an owner or admin of the organisation.\"}");
	return accept_person(request, person);
}

/*
 * Authenticate a person by the cookie of a session or by a JWT, and hide it. On success
 * the person is the caller.
 */
static AuthOutcome
authenticate_person(RestRequest *request, Jsonb *headers, const char *cookie, const char *jwt)
{
	Person	   *person = palloc0(sizeof(Person));

	caller_record_claims();
	hide_credentials(headers, true);

	/* none is preferred */
	for (int i = 0; i < lengthof(token_fields); i++)
		if (json_string(headers, token_fields[i]) != NULL)
			return refuse_credentials();
	if (cookie != NULL && jwt != NULL)
		return refuse_credentials();
	if (RecoveryInProgress())
		rest_fail("standby", "the server is a read-only standby", "{}");
	if (jwt != NULL)
		return authenticate_jwt(request);
	return session_find(cookie, person) ? accept_person(request, person) : AUTH_REFUSED;
}

/* A random id: 32 hex digits. */
char *
rest_new_request_id(void)
{
	uint8		random[16];
	char	   *id = palloc0(2 * sizeof(random) + 1);

	if (!pg_strong_random(random, sizeof(random)))
		elog(ERROR, "could not generate random bytes");
	hex_lower(random, sizeof(random), id);
	return id;
}

/* The header field RateLimit: how many uses remain, and for how many seconds. */
char *
rest_rate_limit_field(const RateState *rate)
{
	return psprintf("\"token\";r=%d;t=%d", rate->remaining, rate->reset);
}

/* The id of a token, for TOKEN_ID_FIELD. */
char *
rest_token_id(const pg_uuid_t *token_id)
{
	char	   *text = palloc0(UUID_TEXT_LEN + 1);

	render_uuid(token_id, text);
	return text;
}

/* The id that the request has, if it is harmless in a log; otherwise a new one. */
static char *
request_id(Jsonb *headers)
{
	char	   *id = headers == NULL ? NULL : json_string(headers, "x-request-id");

	return id != NULL && request_id_is_harmless(id, strlen(id)) ? id : rest_new_request_id();
}

/* A header field, or NULL. */
static char *
header(Jsonb *headers, const char *name)
{
	return headers == NULL ? NULL : json_string(headers, name);
}

/* The status that the gateway asks for in place of another one, or that one. */
static int
status_in_place_of(int status, const char *wanted)
{
	bool		fits = wanted != NULL && strlen(wanted) == 3 && wanted[0] == '4' && strspn(wanted, "0123456789") == 3;

	return fits ? (int) strtol(wanted, NULL, 10) : status;
}

static void
check_origin(const RestRequest *request, Jsonb *headers, const char *cookie)
{
	RequestOrigin origin = {
		.method = request->method,
		.path = request->path,
		.content_type = request->content_type,
		.idempotency_key = request->idempotency_key,
		.session = cookie,
		.fetch_site = header(headers, "x-walwarden-fetch-site"),
		.origin = header(headers, "x-walwarden-origin"),
		.own_origin = header(headers, "x-walwarden-own-origin")
	};

	origin_check(&origin);
}

/* Fill in the fields that the gateway sent, and authenticate. The router fills in the rest. */
void
rest_request_read(RestRequest *request)
{
	Jsonb	   *headers = request_headers();
	const char *cookie;
	const char *jwt;

	request->method = header(headers, "x-walwarden-method");
	request->path = header(headers, "x-walwarden-path");
	request->query = header(headers, "x-walwarden-query");
	request->content_type = header(headers, "x-walwarden-content-type");
	request->content_encoding = header(headers, "x-walwarden-content-encoding");
	request->bad_request_status = status_in_place_of(400, header(headers, "x-walwarden-bad-request"));
	request->busy_status = status_in_place_of(503, header(headers, "x-walwarden-busy"));
	request->idempotency_key = header(headers, "idempotency-key");
	request->if_match = header(headers, "if-match");
	request->if_none_match = header(headers, "if-none-match");
	request->request_id = request_id(headers);

	cookie = header(headers, SESSION_FIELD);
	jwt = header(headers, JWT_FIELD);
	request->by_cookie = cookie != NULL;
	check_origin(request, headers, cookie);
	if (standby_is_behind())
		rest_fail("standby", "the standby is too far behind its primary", "{}");

	request->auth = cookie != NULL || jwt != NULL ?
		authenticate_person(request, headers, cookie, jwt) :
		authenticate_request(headers, &request->rate);
	if (rest_request_by_token(request))
	{
		/* copies, because a failed request outlives its identity */
		const TokenStatus *status = identity_status();

		request->has_org = true;
		request->org_id = status->org_id;
		request->token_id = status->token_id;
	}
}

/* Whether a token was accepted. */
bool
rest_request_by_token(const RestRequest *request)
{
	return request->auth == AUTH_ACCEPTED && request->person == NULL;
}

/* The outcome of authentication as SQL names it; NULL before authentication. */
const char *
rest_request_credential(const RestRequest *request)
{
	return auth_names[request->auth];
}

typedef struct RequestRow
{
	Datum		values[MaxHeapAttributeNumber]; /* somebody can add some */
	bool		nulls[MaxHeapAttributeNumber];
} RequestRow;

static void
set_field(RequestRow *row, AttrNumber field, Datum value)
{
	row->values[field - 1] = value;
	row->nulls[field - 1] = false;
}

static void
set_text(RequestRow *row, AttrNumber field, const char *value)
{
	if (value != NULL)
		set_field(row, field, CStringGetTextDatum(value));
}

/* The request as a row of type walwarden_internal.rest_request. */
static Datum
make_row(const RestRequest *request, Oid type)
{
	static const Oid types[Natts_rest_request] = {
		TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, UUIDOID, UUIDOID, TEXTOID, UUIDOID,
		INT4OID, TIMESTAMPTZOID, TEXTOID, JSONBOID, UUIDOID, TEXTOID, UUIDOID, JSONBOID, TIMESTAMPTZOID, BYTEAOID
	};
	TupleDesc	desc = lookup_rowtype_tupdesc_copy(type, -1);
	RequestRow	row;

	walwarden_check_type(desc, types, lengthof(types));
	memset(row.nulls, true, sizeof(row.nulls));
	set_text(&row, Anum_rest_request_method, request->method);
	set_text(&row, Anum_rest_request_path, request->path);
	set_text(&row, Anum_rest_request_query, request->query);
	set_text(&row, Anum_rest_request_content_type, request->content_type);
	set_text(&row, Anum_rest_request_idempotency_key, request->idempotency_key);
	set_text(&row, Anum_rest_request_request_id, request->request_id);
	set_text(&row, Anum_rest_request_credential, rest_request_credential(request));
	set_text(&row, Anum_rest_request_operation, request->operation);
	if (request->has_org)
		set_field(&row, Anum_rest_request_org_id, UUIDPGetDatum(&request->org_id));
	if (rest_request_by_token(request))
		set_field(&row, Anum_rest_request_token_id, UUIDPGetDatum(&request->token_id));
	if (request->person != NULL && request->person->has_session)
		set_field(&row, Anum_rest_request_session_id, UUIDPGetDatum(&request->person->session_id));
	else if (request->person != NULL)
	{
		set_field(&row, Anum_rest_request_jwt_expires_at, TimestampTzGetDatum(request->claims.expires_at));
		set_field(&row, Anum_rest_request_claims_hash, PointerGetDatum(digest_bytea(request->claims.hash)));
	}
	if (request->org_slug != NULL)
	{
		set_text(&row, Anum_rest_request_org, request->org_slug);
		set_field(&row, Anum_rest_request_member_id, UUIDPGetDatum(&request->membership.member_id));
	}
	if (request->id != NULL)
		set_field(&row, Anum_rest_request_id, UUIDPGetDatum(request->id));
	if (request->max_rows > 0)
	{
		set_field(&row, Anum_rest_request_max_rows, Int32GetDatum(request->max_rows));
		set_field(&row, Anum_rest_request_after_at, TimestampTzGetDatum(request->after.at));
		set_text(&row, Anum_rest_request_after_id, request->after.id);
	}
	if (request->filters != NULL)
		set_field(&row, Anum_rest_request_filters, JsonbPGetDatum(request->filters));
	if (request->body != NULL)
		set_field(&row, Anum_rest_request_body, JsonbPGetDatum(request->body));
	return HeapTupleGetDatum(heap_form_tuple(desc, row.values, row.nulls));
}

/* Call the handler of an operation, which returns json, or null unless isnull is NULL. */
Datum
rest_request_handle(const RestRequest *request, const char *handler, bool *isnull)
{
	Oid			type = get_rel_type_id(walwarden_relation_oid("rest_request"));
	NullableDatum row = {.value = make_row(request, type)};

	return call_function(handler, 1, &type, &row, isnull);
}

/*
 * walwarden_internal.canonical_json(input bytea, any_spelling boolean, OUT canonical text, OUT error text, OUT error_at integer, OUT duplicate_key text)
 *
 * The canonical form of JSON from outside, or the error and its position in bytes.
 * duplicate_key: only if that is the error.
 */
PG_FUNCTION_INFO_V1(walwarden_canonical_json);
Datum
walwarden_canonical_json(PG_FUNCTION_ARGS)
{
	bytea	   *input = PG_GETARG_BYTEA_PP(0);
	bool		any_spelling = PG_GETARG_BOOL(1);
	const char *text = VARDATA_ANY(input);
	size_t		len = VARSIZE_ANY_EXHDR(input);
	bool		ok;
	TupleDesc	tupdesc;
	CanonicalText json;
	Datum		values[4] = {0};
	bool		nulls[4] = {true, true, true, true};

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	ok = any_spelling ? canonical_render_request(text, len, ENTRY_BODY_MAX, &palloc_memory, &json) :
		canonical_render(text, len, ENTRY_BODY_MAX, &palloc_memory, &json);
	if (ok)
	{
		values[0] = PointerGetDatum(cstring_to_text_with_len(json.data, json.len));
		nulls[0] = false;
	}
	else
	{
		values[1] = CStringGetTextDatum(json.error);
		values[2] = Int32GetDatum((int32) json.error_at);
		nulls[1] = nulls[2] = false;
		if (json.twice != NULL)
		{
			values[3] = PointerGetDatum(cstring_to_text_with_len(json.twice, json.twice_len));
			nulls[3] = false;
		}
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}

/* Whether the request is for an entry point of the extension, which builds its own response. */
static bool
is_own_request(void)
{
	const char *path = GetConfigOption("request.path", true, false);

	return path != NULL && (strcmp(path, "/rpc/v1_get") == 0 || strcmp(path, "/rpc/v1_post") == 0 || strcmp(path, "/rpc/v1_page") == 0);
}

/* End a request to the tables of a team whose token has reached its rate limit. */
pg_noreturn static void
refuse_rate(const RateState *rate)
{
	StringInfoData headers;
	HttpRefusal refusal = {
		.status = 429,
		.code = "rate_limited",
		.message = "the token has reached its rate limit",
		.hint = psprintf("Try again in %d s.", rate->reset)
	};

	initStringInfo(&headers);
	appendStringInfo(&headers, "\"Retry-After\":\"%d\",\"RateLimit\":", rate->reset);
	escape_json(&headers, rest_rate_limit_field(rate));
	refusal.headers = headers.data;
	http_refuse(&refusal);
}

/* Add the id of the token to the response, unless a function of the team replaces the fields. */
static void
add_token_id(void)
{
	(void) set_config_option("response.headers",
							 psprintf("[{\"" TOKEN_ID_FIELD "\": \"%s\"}]", rest_token_id(&identity_status()->token_id)),
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
}

/*
 * walwarden.pre_request()
 *
 * PostgREST's db-pre-request. An invalid credential, or one that has reached its rate
 * limit, ends the request.
 */
PG_FUNCTION_INFO_V1(walwarden_pre_request);
Datum
walwarden_pre_request(PG_FUNCTION_ARGS)
{
	static const HttpRefusal invalid = {
		.status = 401,
		.headers = "\"WWW-Authenticate\":\"Bearer error=\\\"invalid_token\\\"\"",
		.code = "unauthorized",
		.message = "invalid or inactive token",
		.hint = "Send exactly one token, and send all of it."
	};
	static const HttpRefusal behind = {
		.status = 503,
		.code = "unavailable",
		.message = "the standby is too far behind its primary",
		.hint = "Try again."
	};
	RateState	rate = {0};

	caller_record_claims();
	if (is_own_request())
		PG_RETURN_VOID();
	if (standby_is_behind())
		http_refuse(&behind);
	switch (authenticate_request(request_headers(), &rate))
	{
		case AUTH_REFUSED:
			http_refuse(&invalid);
			break;
		case AUTH_LIMITED:
			refuse_rate(&rate);
			break;
		case AUTH_ACCEPTED:
			add_token_id();
			break;
		default:
			break;
	}
	PG_RETURN_VOID();
}
