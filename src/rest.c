/*
 * rest.c
 *		An HTTP request as PostgREST hands it on, for REST v1 and for pre_request().
 *
 * PostgREST puts the header fields, with lower-case names, as one JSON object
 * into request.headers. nginx has moved into X-Walwarden-* what PostgREST would
 * not let through: the bearer token, the true method, path, query and media
 * type. Whoever runs SQL can set all of it, and gains nothing that calling
 * authenticate() would not give.
 *
 * Invariants: a token goes from the setting to the check and nowhere else, so
 * no SQL or PL/pgSQL ever sees one; credentials that contradict each other are
 * bad, and none is preferred.
 */
#include "walwarden.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "canonical.h"

#define SQLSTATE_POSTGREST MAKE_SQLSTATE('P', 'G', 'R', 'S', 'T')

typedef enum Credential
{
	CREDENTIAL_NONE,
	CREDENTIAL_BAD,
	CREDENTIAL_GOOD				/* it is the identity of the transaction now */
} Credential;

static const char *const credential_names[] = {
	[CREDENTIAL_NONE] = "none",
	[CREDENTIAL_BAD] = "bad",
	[CREDENTIAL_GOOD] = "good",
};

/* The header fields of the request, or NULL outside of one. */
static Jsonb *
request_headers(void)
{
	const char *setting = GetConfigOption("request.headers", true, false);

	if (setting == NULL || setting[0] == '\0')
		return NULL;
	return caller_json_setting("request.headers", setting);
}

/* What contradicts itself is no credential. */
static Credential
refuse_credentials(void)
{
	stat_count("malformed");
	return CREDENTIAL_BAD;
}

/* Check what the request presents, and take its identity. */
static Credential
authenticate_request(Jsonb *headers)
{
	char	   *bearer;
	char	   *token;
	char	   *legacy_uuid;
	char	   *legacy_secret;

	caller_note_claims();
	if (headers == NULL)
		return CREDENTIAL_NONE;
	bearer = caller_json_string(headers, "x-walwarden-token");
	token = caller_json_string(headers, "x-wallarmapi-token");
	legacy_uuid = caller_json_string(headers, "x-wallarmapi-uuid");
	legacy_secret = caller_json_string(headers, "x-wallarmapi-secret");

	/* half a pair is bad, and so is one beside another credential */
	if (legacy_uuid != NULL || legacy_secret != NULL)
	{
		if (bearer != NULL || token != NULL || legacy_uuid == NULL || legacy_secret == NULL)
			return refuse_credentials();
		return identity_take_pair(legacy_uuid, legacy_secret) ? CREDENTIAL_GOOD : CREDENTIAL_BAD;
	}
	if (bearer != NULL && token != NULL && strcmp(bearer, token) != 0)
		return refuse_credentials();
	if (bearer == NULL)
		bearer = token;
	if (bearer == NULL)
		return CREDENTIAL_NONE;
	return identity_take(bearer, strlen(bearer)) ? CREDENTIAL_GOOD : CREDENTIAL_BAD;
}

/* The request's own id when it is harmless in a log, else a new one. */
static char *
request_id(Jsonb *headers)
{
	char	   *id = headers == NULL ? NULL : caller_json_string(headers, "x-request-id");
	uint8		random[16];

	if (id != NULL && request_id_is_harmless(id, strlen(id)))
		return id;
	if (!pg_strong_random(random, sizeof(random)))
		elog(ERROR, "could not generate random bytes");
	id = palloc0(2 * sizeof(random) + 1);
	hex_lower(random, sizeof(random), id);
	return id;
}

/*
 * walwarden._rest_request() returns walwarden.rest_request
 *
 * Fills in the fields that come from the request, the first ones of the type;
 * the router fills in the rest.
 */
PG_FUNCTION_INFO_V1(walwarden_rest_request);
Datum
walwarden_rest_request(PG_FUNCTION_ARGS)
{
	static const char *const fields[] = {
		"x-walwarden-method", "x-walwarden-path", "x-walwarden-query",
		"x-walwarden-content-type", "idempotency-key"
	};
	Jsonb	   *headers = request_headers();
	Credential	credential = authenticate_request(headers);
	const Standing *standing = credential == CREDENTIAL_GOOD ? identity_standing() : NULL;
	TupleDesc	tupdesc;
	Datum	   *values;
	bool	   *nulls;
	int			n = 0;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values = palloc0(sizeof(Datum) * tupdesc->natts);
	nulls = palloc(sizeof(bool) * tupdesc->natts);
	memset(nulls, true, sizeof(bool) * tupdesc->natts);

	for (; n < lengthof(fields); n++)
	{
		char	   *value = headers == NULL ? NULL : caller_json_string(headers, fields[n]);

		nulls[n] = value == NULL;
		values[n] = value == NULL ? (Datum) 0 : CStringGetTextDatum(value);
	}
	values[n] = CStringGetTextDatum(request_id(headers));
	nulls[n++] = false;
	values[n] = CStringGetTextDatum(credential_names[credential]);
	nulls[n++] = false;
	if (standing != NULL)
	{
		values[n] = UUIDPGetDatum(&standing->org_id);
		nulls[n++] = false;
		values[n] = UUIDPGetDatum(&standing->token_id);
		nulls[n++] = false;
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(tupdesc, values, nulls)));
}

/*
 * walwarden._rest_handle(handler text, r walwarden.rest_request) returns json
 *
 * Calls the handler of an operation by name, without the cost of planning a
 * statement for it.
 */
PG_FUNCTION_INFO_V1(walwarden_rest_handle);
Datum
walwarden_rest_handle(PG_FUNCTION_ARGS)
{
	LOCAL_FCINFO(handler_fcinfo, 1);
	FmgrInfo	flinfo;
	NameData	name;
	Oid			argtype = HeapTupleHeaderGetTypeId(PG_GETARG_HEAPTUPLEHEADER(1));
	oidvector  *argtypes = buildoidvector(&argtype, 1);
	Oid			handler;
	Datum		result;

	namestrcpy(&name, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	handler = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, NameGetDatum(&name), PointerGetDatum(argtypes),
							  ObjectIdGetDatum(get_namespace_oid("walwarden", false)));
	if (!OidIsValid(handler))
		elog(ERROR, "operation has no handler %s", NameStr(name));
	fmgr_info(handler, &flinfo);
	InitFunctionCallInfoData(*handler_fcinfo, &flinfo, 1, InvalidOid, NULL, NULL);
	handler_fcinfo->args[0].value = PG_GETARG_DATUM(1);
	handler_fcinfo->args[0].isnull = false;
	result = FunctionCallInvoke(handler_fcinfo);
	if (handler_fcinfo->isnull)
		PG_RETURN_NULL();
	return result;
}

/*
 * walwarden._canonical_json(input bytea, OUT canonical text, OUT error text, OUT error_at integer, OUT twice text)
 *
 * The canonical form of JSON from outside, or why it is none and at which byte;
 * twice: the key that stands twice in an object, when that is why.
 */
PG_FUNCTION_INFO_V1(walwarden_canonical_json);
Datum
walwarden_canonical_json(PG_FUNCTION_ARGS)
{
	bytea	   *input = PG_GETARG_BYTEA_PP(0);
	TupleDesc	tupdesc;
	CanonicalText json;
	Datum		values[4] = {0};
	bool		nulls[4] = {true, true, true, true};

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (canonical_render(VARDATA_ANY(input), VARSIZE_ANY_EXHDR(input), AUDIT_BODY_MAX, &json))
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

/* Whether the request goes to the router of REST v1, which answers for itself. */
static bool
is_router_request(void)
{
	const char *path = GetConfigOption("request.path", true, false);

	return path != NULL && (strcmp(path, "/rpc/v1_get") == 0 || strcmp(path, "/rpc/v1_post") == 0);
}

/*
 * walwarden.pre_request()
 *
 * PostgREST's db-pre-request. A bad credential ends the request in the way in
 * which PostgREST lets a function choose its answer.
 */
PG_FUNCTION_INFO_V1(walwarden_pre_request);
Datum
walwarden_pre_request(PG_FUNCTION_ARGS)
{
	caller_note_claims();
	if (is_router_request() || authenticate_request(request_headers()) != CREDENTIAL_BAD)
		PG_RETURN_VOID();

	error_context_stack = NULL; /* as in refuse_token(): nothing around it may show */
	ereport(ERROR,
			(errcode(SQLSTATE_POSTGREST),
			 errmsg("{\"code\":\"unauthorized\",\"message\":\"invalid or inactive token\",\"details\":null,"
					"\"hint\":\"Check that the whole token was sent, and only one.\"}"),
			 errdetail("{\"status\":401,\"headers\":{\"WWW-Authenticate\":\"Bearer error=\\\"invalid_token\\\"\"}}"),
			 errhidestmt(true),
			 errhidecontext(true)));
	PG_RETURN_VOID();
}
