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
#include "catalog/pg_collation.h"
#include "catalog/pg_proc.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "canonical.h"
#include "rest.h"

#define SQLSTATE_POSTGREST MAKE_SQLSTATE('P', 'G', 'R', 'S', 'T')

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

/* The request's own id when it is harmless in a log, else a new one. */
static char *
request_id(Jsonb *headers)
{
	char	   *id = headers == NULL ? NULL : caller_json_string(headers, "x-request-id");

	return id != NULL && request_id_is_harmless(id, strlen(id)) ? id : rest_new_request_id();
}

void
rest_request_set(RestRequest *request, AttrNumber field, Datum value)
{
	request->values[field - 1] = value;
	request->nulls[field - 1] = false;
}

/* A field of type text, or NULL. */
char *
rest_request_string(const RestRequest *request, AttrNumber field)
{
	return request->nulls[field - 1] ? NULL : TextDatumGetCString(request->values[field - 1]);
}

/*
 * Fill in what comes from the gateway, and take the identity of the transaction;
 * the router fills in the rest. Fields that were not sent, or are empty, are NULL.
 */
void
rest_request_read(RestRequest *request)
{
	static const struct
	{
		const char *name;
		AttrNumber	field;
	}			fields[] = {
		{"x-walwarden-method", Anum_rest_request_method},
		{"x-walwarden-path", Anum_rest_request_path},
		{"x-walwarden-query", Anum_rest_request_query},
		{"x-walwarden-content-type", Anum_rest_request_content_type},
		{"idempotency-key", Anum_rest_request_idempotency_key},
	};
	Jsonb	   *headers;

	memset(request->nulls, true, sizeof(request->nulls));
	headers = request_headers();
	for (int i = 0; i < lengthof(fields); i++)
	{
		char	   *value = headers == NULL ? NULL : caller_json_string(headers, fields[i].name);

		if (value != NULL)
			rest_request_set(request, fields[i].field, CStringGetTextDatum(value));
	}
	rest_request_set(request, Anum_rest_request_request_id, CStringGetTextDatum(request_id(headers)));

	request->credential = authenticate_request(headers);
	rest_request_set(request, Anum_rest_request_credential, CStringGetTextDatum(credential_names[request->credential]));
	if (request->credential == CREDENTIAL_GOOD)
	{
		/* copies: a request that fails outlives its identity */
		const Standing *standing = identity_standing();
		pg_uuid_t  *ids = palloc(2 * sizeof(pg_uuid_t));

		ids[0] = standing->org_id;
		ids[1] = standing->token_id;
		rest_request_set(request, Anum_rest_request_org_id, UUIDPGetDatum(&ids[0]));
		rest_request_set(request, Anum_rest_request_token_id, UUIDPGetDatum(&ids[1]));
	}
}

/* The request as walwarden.rest_request. */
Datum
rest_request_datum(RestRequest *request)
{
	TupleDesc	desc = lookup_rowtype_tupdesc_copy(get_rel_type_id(walwarden_relation_oid("rest_request")), -1);

	if (desc->natts != Natts_rest_request)
		elog(ERROR, "walwarden.rest_request has %d fields", desc->natts);
	return HeapTupleGetDatum(heap_form_tuple(desc, request->values, request->nulls));
}

/*
 * Call a function of the schema by name, without the cost of planning a statement
 * for it. What it returns lies in the current context. isnull: NULL where it may
 * not return a null.
 */
Datum
rest_call(const char *name, int nargs, const Oid *types, const NullableDatum *args, bool *isnull)
{
	LOCAL_FCINFO(inner, FUNC_MAX_ARGS);
	FmgrInfo	flinfo;
	NameData	proname;
	Oid			function;
	Datum		result = (Datum) 0;

	namestrcpy(&proname, name);
	function = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, NameGetDatum(&proname),
							   PointerGetDatum(buildoidvector(types, nargs)),
							   ObjectIdGetDatum(get_namespace_oid("walwarden", false)));
	if (!OidIsValid(function))
		elog(ERROR, "function walwarden.%s is missing", name);
	fmgr_info(function, &flinfo);
	InitFunctionCallInfoData(*inner, &flinfo, nargs, DEFAULT_COLLATION_OID, NULL, NULL);
	memcpy(inner->args, args, sizeof(NullableDatum) * nargs);
	for (int i = 0; flinfo.fn_strict && i < nargs; i++)
		inner->isnull |= args[i].isnull;
	if (!inner->isnull)
		result = FunctionCallInvoke(inner);
	if (isnull != NULL)
		*isnull = inner->isnull;
	else if (inner->isnull)
		elog(ERROR, "walwarden.%s returned null", name);
	return result;
}

/* walwarden._rest_request() returns walwarden.rest_request, of version 0.1.0 */
PG_FUNCTION_INFO_V1(walwarden_rest_request);
Datum
walwarden_rest_request(PG_FUNCTION_ARGS)
{
	RestRequest request;

	rest_request_read(&request);
	PG_RETURN_DATUM(rest_request_datum(&request));
}

/*
 * walwarden._rest_handle(handler text, r walwarden.rest_request) returns json
 *
 * Calls the handler of an operation.
 */
PG_FUNCTION_INFO_V1(walwarden_rest_handle);
Datum
walwarden_rest_handle(PG_FUNCTION_ARGS)
{
	NullableDatum request = {.value = PG_GETARG_DATUM(1)};
	Oid			type = HeapTupleHeaderGetTypeId(PG_GETARG_HEAPTUPLEHEADER(1));
	bool		isnull;
	Datum		answer = rest_call(text_to_cstring(PG_GETARG_TEXT_PP(0)), 1, &type, &request, &isnull);

	if (isnull)
		PG_RETURN_NULL();
	return answer;
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
