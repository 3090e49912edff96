/*
 * router.c
 *		The router of REST v1: finds the operation of a request, checks that its token
 *		may use the operation, and builds the response.
 *
 * The operations are the rows of walwarden_internal.rest_operation. Each has a handler in
 * SQL; rest_mutate() does everything else about a mutation. Apart from these, no
 * statement runs for a request.
 *
 * Invariants: a response of 400 or above stays an error of class WW until the last
 * moment, so that everything done before it is rolled back. The checks run in the order
 * that docs/rest-v1.md promises.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "base/call.h"
#include "base/compat.h"
#include "base/export.h"
#include "base/lock.h"
#include "base/tables.h"
#include "common/syntax.h"
#include "rest/columns.h"
#include "rest/fail.h"
#include "rest/mutation.h"
#include "rest/request.h"
#include "rest/response.h"
#include "token/identity.h"
#include "token/scope_list.h"
#include "token/status.h"

#define API_ROOT "/api/v1"

/* Milliseconds. A request that waits for a lock holds a connection that others need. */
#define LOCK_WAIT 2000

#define DEFAULT_ROWS 25
#define MAX_ROWS 100

/* In the order of the header Allow. */
static const struct
{
	const char *method;
	const char *shown;
}			methods[] = {
	{"DELETE", "DELETE"}, {"GET", "GET, HEAD"}, {"PATCH", "PATCH"}, {"POST", "POST"}
};

/* A row of walwarden_internal.rest_operation. */
typedef struct Operation
{
	char	   *method;
	char	   *name;
	text	   *required_scope;
	int			status;			/* of a success */
	bool		for_anyone;		/* it needs no token */
	char	   *list_field;
	text	   *location;
	char	   *template;
	bool		has_parameter;
	int			parameter_at;	/* its position, in slashes from 1 */
	char	   *schema;			/* of the body; NULL for GET */
	char	   *handler;
} Operation;

/* The operation that a path and a method refer to. */
typedef struct Match
{
	bool		path;			/* it exists; op is one of its operations */
	bool		method;			/* op is the operation of this method */
	bool		allowed[lengthof(methods)];
	Operation	op;
} Match;

typedef struct Response
{
	int			status;
	StringInfoData headers;		/* an array of JSON objects, not closed yet */
	Datum		body;			/* json */
	bool		no_body;
} Response;

static void
require_scope(const text *scope)
{
	const TokenStatus *status = identity_status();
	StringInfoData extra;
	char	   *name;

	if (status != NULL && scope_list_has(&status->effective, VARDATA_ANY(scope), VARSIZE_ANY_EXHDR(scope)))
		return;
	name = text_to_cstring(scope);	/* names of scopes need no escapes */
	initStringInfo(&extra);
	appendStringInfo(&extra, "{\"requiredScope\": \"%s\", \"nextAction\": \"Use a token that was issued with the scope %s."
					 " For a private token, the owner's role must also carry the scope.\"}", name, name);
	rest_fail(403, "the token does not hold the required scope", extra.data);
}

/* walwarden_internal.rest_require_scope(scope text); the scope must be in the catalogue */
PG_FUNCTION_INFO_V1(walwarden_rest_require_scope);
Datum
walwarden_rest_require_scope(PG_FUNCTION_ARGS)
{
	require_scope(PG_GETARG_TEXT_PP(0));
	PG_RETURN_VOID();
}

/* walwarden_internal.rest_root() */
PG_FUNCTION_INFO_V1(walwarden_rest_root);
Datum
walwarden_rest_root(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(API_ROOT));
}

static int
count_slashes(const char *path)
{
	int			n = 0;

	for (; *path != '\0'; path++)
		n += *path == '/';
	return n;
}

/* Whether path matches template. The caller has compared the number of slashes. */
static bool
path_matches(const char *path, const text *template)
{
	const char *begin = VARDATA_ANY(template);
	size_t		len = VARSIZE_ANY_EXHDR(template);
	size_t		path_len = strlen(path);
	const char *wildcard = memchr(begin, '%', len);
	size_t		before;
	size_t		after;

	if (wildcard == NULL)
		return path_len == len && memcmp(path, begin, len) == 0;
	before = wildcard - begin;
	after = len - before - 1;
	return path_len > before + after &&
		memcmp(path, begin, before) == 0 &&
		memcmp(path + path_len - after, wildcard + 1, after) == 0;
}

/* A row of walwarden_internal.rest_operation, still in its page. */
typedef struct OperationRow
{
	HeapTuple	tuple;
	TupleDesc	desc;
	Datum		values[Natts_rest_operation];
	bool		nulls[Natts_rest_operation];
} OperationRow;

/* The value of a column that is not null. */
static inline text *
row_column(const OperationRow *row, AttrNumber column)
{
	return DatumGetTextPP(row->values[column - 1]);
}

static bool
column_is(const OperationRow *row, AttrNumber column, const char *value)
{
	const text *stored = row_column(row, column);

	return VARSIZE_ANY_EXHDR(stored) == strlen(value) && memcmp(VARDATA_ANY(stored), value, strlen(value)) == 0;
}

/* A copy of the value, or NULL. */
static char *
column_string(const OperationRow *row, AttrNumber column)
{
	return row->nulls[column - 1] ? NULL : TextDatumGetCString(row->values[column - 1]);
}

static text *
column_text(const OperationRow *row, AttrNumber column)
{
	return row->nulls[column - 1] ? NULL : DatumGetTextPCopy(row->values[column - 1]);
}

static void
read_operation(Operation *op, const OperationRow *row)
{
	op->method = column_string(row, Anum_rest_operation_method);
	op->name = column_string(row, Anum_rest_operation_operation);
	op->required_scope = column_text(row, Anum_rest_operation_required_scope);
	op->status = DatumGetInt32(row->values[Anum_rest_operation_success_status - 1]);
	op->for_anyone = column_is(row, Anum_rest_operation_caller, "anyone");
	op->list_field = column_string(row, Anum_rest_operation_list_field);
	op->location = column_text(row, Anum_rest_operation_location);
	op->template = column_string(row, Anum_rest_operation_template);
	op->has_parameter = !row->nulls[Anum_rest_operation_parameter - 1];
	op->parameter_at = DatumGetInt32(row->values[Anum_rest_operation_parameter_at - 1]);
	op->handler = column_string(row, Anum_rest_operation_handler);
	op->schema = column_string(row, Anum_rest_operation_request);
}

/*
 * Find the operation of a path (without the root) and a method. A literal path takes
 * precedence over a path with a parameter, for every method. The operations fit on a
 * page or two, so they are not cached.
 */
static void
find_operation(const char *path, const char *method, Match *match)
{
	Relation	operations = walwarden_table_open("rest_operation");
	SysScanDesc scan = systable_beginscan(operations, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	int			depth = count_slashes(path);
	OperationRow row = {.desc = RelationGetDescr(operations)};

	if (row.desc->natts != Natts_rest_operation)
		elog(ERROR, "walwarden_internal.rest_operation has %d columns", row.desc->natts);
	while (HeapTupleIsValid(row.tuple = systable_getnext(scan)))
	{
		bool		better;
		bool		this_method;

		heap_deform_tuple(row.tuple, row.desc, row.values, row.nulls);
		if (DatumGetInt32(row.values[Anum_rest_operation_depth - 1]) != depth ||
			!path_matches(path, row_column(&row, Anum_rest_operation_template)))
			continue;

		better = !match->path || (match->op.has_parameter && row.nulls[Anum_rest_operation_parameter - 1]);
		if (better)
			memset(match, 0, sizeof(Match));
		else if (!column_is(&row, Anum_rest_operation_template, match->op.template))
			continue;
		match->path = true;
		for (int i = 0; i < lengthof(methods); i++)
			match->allowed[i] |= column_is(&row, Anum_rest_operation_method, methods[i].method);
		this_method = method != NULL && column_is(&row, Anum_rest_operation_method, method);
		if (better || this_method)
			read_operation(&match->op, &row);
		match->method |= this_method;
	}
	systable_endscan(scan);
	table_close(operations, AccessShareLock);
}

pg_noreturn static void
refuse_method(const Match *match)
{
	StringInfoData extra;
	const char *separator = "";

	initStringInfo(&extra);
	appendStringInfoString(&extra, "{\"allow\": \"");
	for (int i = 0; i < lengthof(methods); i++)
		if (match->allowed[i])
		{
			appendStringInfo(&extra, "%s%s", separator, methods[i].shown);
			separator = ", ";
		}
	appendStringInfoString(&extra, "\"}");
	rest_fail(405, "the path does not support this method", extra.data);
}

/* The parameter of the path, or NULL if it is not a uuid. The path has enough slashes. */
static pg_uuid_t *
path_parameter(const char *path, int parameter_at)
{
	char		lower[UUID_TEXT_LEN + 1] = "";
	size_t		len;

	for (int slash = 1; slash < parameter_at; slash++)
		path = strchr(path, '/') + 1;
	len = strcspn(path, "/");
	if (!uuid_is_well_formed(path, len, lower))
		return NULL;
	return DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(lower)));
}

pg_noreturn static void
refuse_rate(const RestRequest *request)
{
	rest_fail(429, "the token has reached its rate limit",
			  psprintf("{\"retryAfter\": %d, \"nextAction\": \"Wait for as many seconds as Retry-After says.\"}", request->rate.reset));
}

/* The operation of a request, if its token may use it. Fails with 401, 429, 404, 405 or 403, in this order. */
static Operation
route(RestRequest *request)
{
	const char *method = request->method;
	const char *path = request->path;
	Match		match = {.path = false};
	const Operation *op = &match.op;

	if (path != NULL && strncmp(path, API_ROOT "/", strlen(API_ROOT "/")) == 0)
	{
		path += strlen(API_ROOT);
		find_operation(path, method != NULL && strcmp(method, "HEAD") == 0 ? "GET" : method, &match);
	}

	if (!match.method || !op->for_anyone)
	{
		if (request->auth == AUTH_LIMITED)
			refuse_rate(request);
		if (request->auth != AUTH_ACCEPTED)
			rest_fail(401, request->auth == AUTH_NONE ? "a bearer token is required" : "invalid or inactive token",
					  "{\"nextAction\": \"Send a valid token: Authorization: Bearer wal_...\"}");
		if (!match.path)
			rest_fail(404, "no such path", "{}");
		if (!match.method)
			refuse_method(&match);
		if (identity_is_for_node())
			rest_fail(403, "a node token cannot use this API",
					  "{\"requiredScope\": null, \"nextAction\": \"Use a token of kind api, with scopes.\"}");
		if (op->required_scope != NULL)
			require_scope(op->required_scope);
	}

	request->operation = op->name;
	if (op->has_parameter)
		request->id = path_parameter(path, op->parameter_at);
	return *op;
}

static int
read_limit(const char *value)
{
	int			limit = 0;
	const char *digit = value;

	for (; *digit >= '0' && *digit <= '9' && digit - value < 3; digit++)
		limit = limit * 10 + (*digit - '0');
	if (*digit != '\0' || limit < 1 || limit > MAX_ROWS)
		rest_fail_field(400, "limit must be a number from 1 to 100", "limit", "out_of_range", NULL);
	return limit;
}

/* Whether the id in a cursor has the right form: a seq for a list of entries, otherwise a uuid. */
static bool
key_fits(const PageKey *key, bool entries)
{
	char		lower[UUID_TEXT_LEN];
	size_t		len = strlen(key->id);

	return entries ? len <= 18 && strspn(key->id, "0123456789") == len : uuid_is_well_formed(key->id, len, lower);
}

/* Read the query of a GET: limit and cursor of a list, each at most once. Other operations have no query. */
static void
read_query(RestRequest *request, const Operation *op)
{
	bool		is_list = op->list_field != NULL;

	/* the chain is listed by ascending seq, other lists from the newest on */
	bool		entries = is_list && strcmp(op->list_field, "entries") == 0;
	char	   *parameter = request->query == NULL ? NULL : pstrdup(request->query);
	char	   *next;
	bool		seen_limit = false;
	bool		seen_cursor = false;

	request->max_rows = DEFAULT_ROWS;
	request->after.at = DT_NOEND;
	strlcpy(request->after.id, entries ? "0" : "ffffffff-ffff-ffff-ffff-ffffffffffff", sizeof(request->after.id));

	for (; parameter != NULL; parameter = next)
	{
		char	   *value;
		bool		is_limit;
		bool	   *seen;

		next = strchr(parameter, '&');
		if (next != NULL)
			*next++ = '\0';
		value = parameter + strcspn(parameter, "=");
		if (*value != '\0')
			*value++ = '\0';

		is_limit = strcmp(parameter, "limit") == 0;
		if (!is_list || (!is_limit && strcmp(parameter, "cursor") != 0))
			rest_fail_unknown_parameter(parameter, is_list);
		seen = is_limit ? &seen_limit : &seen_cursor;
		if (*seen)
			rest_fail_field(400, "the query parameter was given twice", parameter, "duplicate", NULL);
		*seen = true;
		if (is_limit)
			request->max_rows = read_limit(value);
		else if (!cursor_read(value, op->name, request->id, &request->after) || !key_fits(&request->after, entries))
			rest_fail_field(400, "the cursor does not belong to this list", parameter, "bad_cursor", NULL);
	}
}

/* Add a header field to the response, in the form that PostgREST expects. */
static void
add_header(Response *response, const char *name, const char *value)
{
	appendStringInfo(&response->headers, "%s{\"%s\" : ", response->headers.len == 0 ? "[" : ",", name);
	escape_json(&response->headers, value);
	appendStringInfoChar(&response->headers, '}');
}

static void
mutate(RestRequest *request, const Operation *op, bytea *body, Response *response)
{
	bool		replayed = false;

	if (op->for_anyone)
		response->body = rest_mutate_without_key(request, op->handler, op->schema, body, &response->no_body);
	else
		response->body = rest_mutate(request, op->handler, op->schema, body, &response->no_body, &replayed);
	if (op->location != NULL)
	{
		Oid			location_types[] = {TEXTOID, JSONOID};
		NullableDatum location[] = {{.value = PointerGetDatum(op->location)}, {.value = response->body,.isnull = response->no_body}};

		add_header(response, "Location", TextDatumGetCString(call_function("rest_location", lengthof(location), location_types, location, NULL)));
	}
	if (replayed)
		add_header(response, "Idempotency-Replayed", "true");
}

/* Serve a request. body: NULL if the entry point serves only GET and HEAD. */
static void
serve(RestRequest *request, bytea *body, Response *response)
{
	Operation	op;

	rest_request_read(request);

	/* not older than the snapshot with which the token was found */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	op = route(request);
	if (strcmp(op.method, "GET") == 0)
	{
		read_query(request, &op);
		response->body = rest_request_handle(request, op.handler, &response->no_body);
	}
	else if (body == NULL)
		rest_fail(405, "this entry point serves only GET and HEAD", "{\"allow\": \"GET, HEAD\"}");
	else
		mutate(request, &op, body, response);
	response->status = op.status;
	PopActiveSnapshot();
}

/* Never null, because RAISE in PL/pgSQL does not accept null. */
static NullableDatum
text_argument(const char *value)
{
	NullableDatum argument = {.value = CStringGetTextDatum(value == NULL ? "" : value)};

	return argument;
}

/* Build the response to a request that failed. */
static void
serve_error(RestRequest *request, const ErrorData *error, Response *response)
{
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	NullableDatum args[6];
	const char *credential = rest_request_credential(request);
	HeapTupleHeader result;
	Datum	   *headers;
	int			nheaders;
	bool		isnull;

	if (request->request_id == NULL)
		request->request_id = rest_new_request_id();
	args[0] = text_argument(credential);
	args[0].isnull = credential == NULL;
	args[1] = text_argument(request->request_id);
	args[2] = text_argument(unpack_sql_state(error->sqlerrcode));
	args[3] = text_argument(error->message);
	args[4] = text_argument(error->detail);
	args[5] = text_argument(error->context);
	result = DatumGetHeapTupleHeader(call_function("rest_error_response", lengthof(args), types, args, NULL));
	response->status = DatumGetInt32(GetAttributeByName(result, "status", &isnull));
	response->body = GetAttributeByName(result, "answer", &response->no_body);
	deconstruct_array(DatumGetArrayTypeP(GetAttributeByName(result, "headers", &isnull)),
					  JSONOID, -1, false, TYPALIGN_INT, &headers, NULL, &nheaders);
	resetStringInfo(&response->headers);
	for (int i = 0; i < nheaders; i++)
		appendStringInfo(&response->headers, "%s%s", i == 0 ? "[" : ",", TextDatumGetCString(headers[i]));
}

static void
set_local(const char *name, const char *value)
{
	(void) DirectFunctionCall3(set_config_by_name, CStringGetTextDatum(name), CStringGetTextDatum(value), BoolGetDatum(true));
}

/*
 * walwarden_internal.v1_get() and walwarden_internal.v1_post(body bytea), returning json
 *
 * Every error leads to a response, including query_canceled, which is what
 * statement_timeout raises.
 */
PG_FUNCTION_INFO_V1(walwarden_rest_serve);
Datum
walwarden_rest_serve(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	int			save_wait;
	bool		save_limit;
	RestRequest *request = palloc0(sizeof(RestRequest));
	Response   *response = palloc0(sizeof(Response));
	bytea	   *body = NULL;

	if (PG_NARGS() > 0)
		body = PG_ARGISNULL(0) ? DatumGetByteaP(CStringGetTextDatum("")) : PG_GETARG_BYTEA_PP(0);
	initStringInfo(&response->headers);

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	save_wait = lock_wait_bound(LOCK_WAIT);
	save_limit = lock_limit_waits(true);
	PG_TRY();
	{
		serve(request, body, response);
		lock_limit_waits(save_limit);
		ReleaseCurrentSubTransaction();
		lock_wait_restore(save_wait);
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		lock_wait_restore(save_wait);
		lock_limit_waits(save_limit);
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		serve_error(request, error, response);
	}
	PG_END_TRY();

	add_header(response, "X-Request-Id", request->request_id);
	if (request->auth == AUTH_ACCEPTED)
		add_header(response, TOKEN_ID_FIELD, rest_token_id(&request->token_id));
	if (request->rate.limit > 0)
		add_header(response, "RateLimit", rest_rate_limit_field(&request->rate));
	appendStringInfoChar(&response->headers, ']');
	set_local("response.status", psprintf("%d", response->status));
	set_local("response.headers", response->headers.data);
	if (response->no_body)
		PG_RETURN_NULL();
	return response->body;
}
