/*
 * router.c
 *		One request of REST v1: the operation that it means, whether its token may
 *		use that, and the answer.
 *
 * What there is are rows of walwarden.rest_operation; what an operation does is
 * its handler, and what comes around a mutation is _rest_mutate(), both SQL. No
 * statement runs on the way of a request but those of its handler.
 *
 * Invariants: an answer of 400 or more is an error of class WW until the last
 * moment, so that whatever was done before it is rolled back; the checks come in
 * the order that docs/rest-v1.md promises.
 */
#include "walwarden.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "storage/proc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "rest.h"

#define API_ROOT "/api/v1"

/* A request that waits for a lock holds a connection that other organisations need. */
#define LOCK_WAIT 2000

#define DEFAULT_ROWS 25
#define MAX_ROWS 100

/* In the order of Allow. */
static const struct
{
	const char *method;
	const char *shown;
}			methods[] = {
	{"DELETE", "DELETE"}, {"GET", "GET, HEAD"}, {"PATCH", "PATCH"}, {"POST", "POST"}
};

/* A row of walwarden.rest_operation. */
typedef struct Operation
{
	Datum		row;			/* unless the method is GET */
	char	   *method;
	char	   *name;
	text	   *required_scope;
	int			status;			/* of a success */
	bool		is_public;
	char	   *list_field;
	text	   *location;
	char	   *template;
	bool		has_parameter;
	int			parameter_at;	/* its place, counted in slashes from 1 */
	char	   *handler;
} Operation;

/* What a path means. */
typedef struct Match
{
	bool		path;			/* there is such a path, and op is one of its operations, */
	bool		method;			/* namely the one of this method */
	bool		allowed[lengthof(methods)];
	Operation	op;
} Match;

typedef struct Answer
{
	int			status;
	StringInfoData headers;		/* an array of JSON objects, still open */
	Datum		body;			/* json */
	bool		no_body;
} Answer;

/* End the request with an error answer; extra: an object with more members of the error. */
pg_noreturn static void
rest_fail(int status, const char *message, const char *extra)
{
	ereport(ERROR,
			(errcode(MAKE_SQLSTATE('W', 'W', '0' + status / 100, '0' + status / 10 % 10, '0' + status % 10)),
			 errmsg_internal("%s", message),
			 errdetail_internal("%s", extra)));
}

/* The same for a query parameter. */
pg_noreturn static void
rest_fail_parameter(const char *name, const char *reason, const char *message, const char *next_action)
{
	StringInfoData extra;

	initStringInfo(&extra);
	appendStringInfoString(&extra, "{\"field\": ");
	escape_json(&extra, name);
	appendStringInfo(&extra, ", \"reason\": \"%s\"", reason);
	if (next_action != NULL)
		appendStringInfo(&extra, ", \"nextAction\": \"%s\"", next_action);
	appendStringInfoChar(&extra, '}');
	rest_fail(400, message, extra.data);
}

static void
require_scope(const text *scope)
{
	const Standing *standing = identity_standing();
	StringInfoData extra;
	char	   *name;

	if (standing != NULL && scope_list_has(&standing->effective, VARDATA_ANY(scope), VARSIZE_ANY_EXHDR(scope)))
		return;
	name = text_to_cstring(scope);	/* of the catalogue, whose names need no escapes */
	initStringInfo(&extra);
	appendStringInfo(&extra, "{\"requiredScope\": \"%s\", \"nextAction\": \"Use a token that was issued with the scope %s;"
					 " for a private token the owner's role must carry it too.\"}", name, name);
	rest_fail(403, "the token does not hold the required scope", extra.data);
}

/* walwarden._rest_require_scope(scope text), of the catalogue */
PG_FUNCTION_INFO_V1(walwarden_rest_require_scope);
Datum
walwarden_rest_require_scope(PG_FUNCTION_ARGS)
{
	require_scope(PG_GETARG_TEXT_PP(0));
	PG_RETURN_VOID();
}

static int
count_slashes(const char *path)
{
	int			n = 0;

	for (; *path != '\0'; path++)
		n += *path == '/';
	return n;
}

/* Whether path is template with something in the place of its wildcard. The slashes were counted. */
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

/* A row of walwarden.rest_operation as it was found, which lies in a page. */
typedef struct OperationRow
{
	HeapTuple	tuple;
	TupleDesc	desc;
	Datum		values[Natts_rest_operation];
	bool		nulls[Natts_rest_operation];
} OperationRow;

/* Of a column that is not null. */
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

/* A copy, or NULL. */
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
	op->is_public = column_is(row, Anum_rest_operation_stage, "public");
	op->list_field = column_string(row, Anum_rest_operation_list_field);
	op->location = column_text(row, Anum_rest_operation_location);
	op->template = column_string(row, Anum_rest_operation_template);
	op->has_parameter = !row->nulls[Anum_rest_operation_parameter - 1];
	op->parameter_at = DatumGetInt32(row->values[Anum_rest_operation_parameter_at - 1]);
	op->handler = column_string(row, Anum_rest_operation_handler);
	if (strcmp(op->method, "GET") != 0)
		op->row = heap_copy_tuple_as_datum(row->tuple, row->desc);
}

/*
 * What a path, which begins after the root, and a method mean. A literal path goes
 * before one with a parameter, whatever the methods. The operations are few and
 * stand on a page or two, so there is nothing to remember and to forget in time.
 */
static void
find_operation(const char *path, const char *method, Match *match)
{
	Relation	operations = walwarden_table_open("rest_operation");
	SysScanDesc scan = systable_beginscan(operations, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	int			depth = count_slashes(path);
	OperationRow row = {.desc = RelationGetDescr(operations)};

	if (row.desc->natts != Natts_rest_operation)
		elog(ERROR, "walwarden.rest_operation has %d columns", row.desc->natts);
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
	rest_fail(405, "the path does not have this method", extra.data);
}

/* The parameter of the path, or NULL when it is no uuid. The path has as many slashes. */
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

/* The operation that a request means, once its token may use it: 401, 404, 405, 403, in this order. */
static Operation
route(RestRequest *request)
{
	char	   *method = rest_request_string(request, Anum_rest_request_method);
	char	   *path = rest_request_string(request, Anum_rest_request_path);
	Match		match = {.path = false};
	const Operation *op = &match.op;

	if (path != NULL && strncmp(path, API_ROOT "/", strlen(API_ROOT "/")) == 0)
	{
		path += strlen(API_ROOT);
		find_operation(path, method != NULL && strcmp(method, "HEAD") == 0 ? "GET" : method, &match);
	}

	if (!match.method || !op->is_public)
	{
		if (request->credential != CREDENTIAL_GOOD)
			rest_fail(401, request->credential == CREDENTIAL_NONE ? "a bearer token is required" : "invalid or inactive token",
					  "{\"nextAction\": \"Send a valid token: Authorization: Bearer wal_...\"}");
		if (!match.path)
			rest_fail(404, "no such path", "{}");
		if (!match.method)
			refuse_method(&match);
		if (identity_speaks_for_node())
			rest_fail(403, "a node token opens no operation of this API",
					  "{\"requiredScope\": null, \"nextAction\": \"Use an API token: kind api, with scopes.\"}");
		if (op->required_scope != NULL)
			require_scope(op->required_scope);
	}

	rest_request_set(request, Anum_rest_request_operation, CStringGetTextDatum(op->name));
	if (op->has_parameter)
	{
		pg_uuid_t  *id = path_parameter(path, op->parameter_at);

		if (id != NULL)
			rest_request_set(request, Anum_rest_request_id, UUIDPGetDatum(id));
	}
	return *op;
}

pg_noreturn static void
refuse_parameter(const char *name, bool is_list)
{
	Oid			type = TEXTOID;
	NullableDatum given = {.value = CStringGetTextDatum(name)};

	rest_fail_parameter(TextDatumGetCString(rest_call("_field_name", 1, &type, &given, NULL)),
						"unknown_parameter", "unknown query parameter",
						is_list ? "Lists have limit and cursor." : "This operation has no query parameters.");
}

/*
 * walwarden._rest_refuse_query(query text)
 *
 * For an operation that has no query parameters.
 */
PG_FUNCTION_INFO_V1(walwarden_rest_refuse_query);
Datum
walwarden_rest_refuse_query(PG_FUNCTION_ARGS)
{
	char	   *query = text_to_cstring(PG_GETARG_TEXT_PP(0));

	query[strcspn(query, "=&")] = '\0';
	refuse_parameter(query, false);
	PG_RETURN_VOID();
}

static int
read_limit(const char *value)
{
	int			limit = 0;
	const char *digit = value;

	for (; *digit >= '0' && *digit <= '9' && digit - value < 3; digit++)
		limit = limit * 10 + (*digit - '0');
	if (*digit != '\0' || limit < 1 || limit > MAX_ROWS)
		rest_fail_parameter("limit", "out_of_range", "limit is not a number from 1 to 100", NULL);
	return limit;
}

/* The id in a cursor: a seq where the list is one of entries, else a uuid. */
static bool
key_fits(const PageKey *key, bool entries)
{
	char		lower[UUID_TEXT_LEN];
	size_t		len = strlen(key->id);

	return entries ? len <= 18 && strspn(key->id, "0123456789") == len : uuid_is_well_formed(key->id, len, lower);
}

/* The query of a GET: limit and cursor of a list, each once; nothing for what is no list. */
static void
read_query(RestRequest *request, const Operation *op)
{
	bool		is_list = op->list_field != NULL;
	/* the chain is listed from its first seq on, everything else from the newest */
	bool		entries = is_list && strcmp(op->list_field, "entries") == 0;
	char	   *pair = rest_request_string(request, Anum_rest_request_query);
	char	   *next;
	bool		seen_limit = false;
	bool		seen_cursor = false;

	rest_request_set(request, Anum_rest_request_max_rows, Int32GetDatum(DEFAULT_ROWS));
	rest_request_set(request, Anum_rest_request_after_at, TimestampTzGetDatum(DT_NOEND));
	rest_request_set(request, Anum_rest_request_after_id,
					 CStringGetTextDatum(entries ? "0" : "ffffffff-ffff-ffff-ffff-ffffffffffff"));

	for (; pair != NULL; pair = next)
	{
		char	   *value;
		bool		is_limit;
		bool	   *seen;

		next = strchr(pair, '&');
		if (next != NULL)
			*next++ = '\0';
		value = pair + strcspn(pair, "=");
		if (*value != '\0')
			*value++ = '\0';

		is_limit = strcmp(pair, "limit") == 0;
		if (!is_list || (!is_limit && strcmp(pair, "cursor") != 0))
			refuse_parameter(pair, is_list);
		seen = is_limit ? &seen_limit : &seen_cursor;
		if (*seen)
			rest_fail_parameter(pair, "duplicate", "a query parameter was given twice", NULL);
		*seen = true;
		if (is_limit)
			rest_request_set(request, Anum_rest_request_max_rows, Int32GetDatum(read_limit(value)));
		else
		{
			bool		no_id = request->nulls[Anum_rest_request_id - 1];
			PageKey		key;

			if (!cursor_read(value, op->name, no_id ? NULL : DatumGetUUIDP(request->values[Anum_rest_request_id - 1]), &key) ||
				!key_fits(&key, entries))
				rest_fail_parameter(pair, "bad_cursor", "the cursor is not one of this list", NULL);
			rest_request_set(request, Anum_rest_request_after_at, TimestampTzGetDatum(key.at));
			rest_request_set(request, Anum_rest_request_after_id, CStringGetTextDatum(key.id));
		}
	}
}

/* A header field of the answer. PostgREST puts an array of objects into what it sends. */
static void
add_header(Answer *answer, const char *name, const char *value)
{
	appendStringInfo(&answer->headers, "%s{\"%s\" : ", answer->headers.len == 0 ? "[" : ",", name);
	escape_json(&answer->headers, value);
	appendStringInfoChar(&answer->headers, '}');
}

static Oid
row_type(const char *name)
{
	return get_rel_type_id(walwarden_relation_oid(name));
}

static void
mutate(RestRequest *request, const Operation *op, Datum body, Answer *answer)
{
	Oid			types[] = {row_type("rest_operation"), row_type("rest_request"), BYTEAOID};
	NullableDatum args[] = {{.value = op->row}, {.value = rest_request_datum(request)}, {.value = body}};
	HeapTupleHeader result = DatumGetHeapTupleHeader(rest_call("_rest_mutate", lengthof(args), types, args, NULL));
	bool		replayed;
	bool		isnull;

	answer->body = GetAttributeByName(result, "answer", &answer->no_body);
	replayed = DatumGetBool(GetAttributeByName(result, "replayed", &isnull));
	if (op->location != NULL)
	{
		Oid			location_types[] = {TEXTOID, JSONOID};
		NullableDatum location[] = {{.value = PointerGetDatum(op->location)}, {.value = answer->body, .isnull = answer->no_body}};

		add_header(answer, "Location", TextDatumGetCString(rest_call("_rest_location", lengthof(location), location_types, location, NULL)));
	}
	if (replayed)
		add_header(answer, "Idempotency-Replayed", "true");
}

/* The answer of a request that succeeds. body: NULL where only GET and HEAD are served. */
static void
serve(RestRequest *request, bytea *body, Answer *answer)
{
	Operation	op;

	rest_request_read(request);

	/* what the token was looked up in is what its handler sees, or later */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	op = route(request);
	if (strcmp(op.method, "GET") == 0)
	{
		Oid			type = row_type("rest_request");
		NullableDatum arg = {.isnull = false};

		read_query(request, &op);
		arg.value = rest_request_datum(request);
		answer->body = rest_call(op.handler, 1, &type, &arg, &answer->no_body);
	}
	else if (body == NULL)
		rest_fail(405, "this entry point serves GET and HEAD only", "{\"allow\": \"GET, HEAD\"}");
	else
		mutate(request, &op, PointerGetDatum(body), answer);
	answer->status = op.status;
	PopActiveSnapshot();
}

/* Never null, as in PL/pgSQL: RAISE takes none. */
static NullableDatum
text_argument(const char *value)
{
	return (NullableDatum) {.value = CStringGetTextDatum(value == NULL ? "" : value)};
}

/* The answer of one that failed. */
static void
serve_error(RestRequest *request, const ErrorData *error, Answer *answer)
{
	Oid			types[] = {row_type("rest_request"), TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	NullableDatum args[5];
	HeapTupleHeader result;
	Datum	   *headers;
	int			nheaders;
	bool		isnull;

	if (request->nulls[Anum_rest_request_request_id - 1])
		rest_request_set(request, Anum_rest_request_request_id, CStringGetTextDatum(rest_new_request_id()));
	args[0] = (NullableDatum) {.value = rest_request_datum(request)};
	args[1] = text_argument(unpack_sql_state(error->sqlerrcode));
	args[2] = text_argument(error->message);
	args[3] = text_argument(error->detail);
	args[4] = text_argument(error->context);
	result = DatumGetHeapTupleHeader(rest_call("_rest_error", lengthof(args), types, args, NULL));
	answer->status = DatumGetInt32(GetAttributeByName(result, "status", &isnull));
	answer->body = GetAttributeByName(result, "answer", &answer->no_body);
	deconstruct_array(DatumGetArrayTypeP(GetAttributeByName(result, "headers", &isnull)),
					  JSONOID, -1, false, TYPALIGN_INT, &headers, NULL, &nheaders);
	resetStringInfo(&answer->headers);
	for (int i = 0; i < nheaders; i++)
		appendStringInfo(&answer->headers, "%s%s", i == 0 ? "[" : ",", TextDatumGetCString(headers[i]));
}

static void
set_local(const char *name, const char *value)
{
	(void) DirectFunctionCall3(set_config_by_name, CStringGetTextDatum(name), CStringGetTextDatum(value), BoolGetDatum(true));
}

/*
 * walwarden._v1_get() and walwarden._v1_post(body bytea), returning json
 *
 * Whatever fails, query_canceled included, which is statement_timeout and deserves
 * an answer, is one in the end.
 */
PG_FUNCTION_INFO_V1(walwarden_rest_serve);
Datum
walwarden_rest_serve(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	int			save_lock_timeout = LockTimeout;
	RestRequest *request = palloc0(sizeof(RestRequest));
	Answer	   *answer = palloc0(sizeof(Answer));
	bytea	   *body = NULL;

	if (PG_NARGS() > 0)
		body = PG_ARGISNULL(0) ? DatumGetByteaP(CStringGetTextDatum("")) : PG_GETARG_BYTEA_PP(0);
	memset(request->nulls, true, sizeof(request->nulls));
	initStringInfo(&answer->headers);

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		if (LockTimeout == 0 || LockTimeout > LOCK_WAIT)
			LockTimeout = LOCK_WAIT;
		serve(request, body, answer);
		LockTimeout = save_lock_timeout;
		ReleaseCurrentSubTransaction();
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
		LockTimeout = save_lock_timeout;
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		serve_error(request, error, answer);
	}
	PG_END_TRY();

	add_header(answer, "X-Request-Id", rest_request_string(request, Anum_rest_request_request_id));
	appendStringInfoChar(&answer->headers, ']');
	set_local("response.status", psprintf("%d", answer->status));
	set_local("response.headers", answer->headers.data);
	if (answer->no_body)
		PG_RETURN_NULL();
	return answer->body;
}
