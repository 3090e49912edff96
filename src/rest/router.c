/*
 * router.c
 *		The router of REST v1: finds the operation of a request, checks that its token or
 *		person may use the operation, and builds the response.
 *
 * The operations are the rows of walwarden_internal.rest_operation. Each has a handler in
 * SQL; rest_mutate() does everything else about a mutation. Apart from these, no
 * statement runs for a request. A person uses the operations of an organisation under
 * /orgs/SLUG: the router takes this prefix off, finds the membership, and matches the rest
 * in the same rows.
 *
 * Invariants: a response of 400 or above stays an error WW000 until the last
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
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "base/call.h"
#include "base/compat.h"
#include "base/digest.h"
#include "base/export.h"
#include "base/lock.h"
#include "base/refuse.h"
#include "base/tables.h"
#include "common/syntax.h"
#include "people/ending.h"
#include "people/session.h"
#include "rest/columns.h"
#include "rest/fail.h"
#include "rest/mutation.h"
#include "rest/request.h"
#include "rest/response.h"
#include "rest/rights.h"
#include "rest/tag.h"
#include "token/door.h"
#include "token/identity.h"

#define API_ROOT "/api/v1"
#define ORG_PREFIX "/orgs/"

/* Where nginx hands over the JWT of whoever signed in at the identity provider. */
#define SSO_PATH "/signin/sso"
/* The page to which people come from there. */
#define HOME_PATH "/"

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
	char	   *action;			/* of a person, as in permission */
	int			status;			/* of a success */
	char	   *caller;
	bool		takes_key;
	bool		locks_org;
	char	   *list_field;
	text	   *location;
	char	   *template;
	bool		has_parameter;
	int			parameter_at;	/* its position, in slashes from 1 */
	char	   *schema;			/* of the body; NULL for GET */
	char	   *response;		/* of the response, or of an item of it */
	TagKind		tag;			/* of the response */
	char	   *handler;
	char	   *reader;			/* of GET with this path, if that has a tag */
} Operation;

/* The operation that a path and a method refer to. */
typedef struct Match
{
	bool		path;			/* it exists; op is one of its operations */
	bool		method;			/* op is the operation of this method */
	char	   *reader;			/* as in Operation */
	bool		allowed[lengthof(methods)];
	Operation	op;
} Match;

typedef struct Response
{
	int			status;
	StringInfoData headers;		/* an array of JSON objects, not closed yet */
	Datum		body;			/* json */
	bool		no_body;
	bool		busy;			/* if the status is 503 */
} Response;

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
	op->action = column_string(row, Anum_rest_operation_action);
	op->status = DatumGetInt32(row->values[Anum_rest_operation_success_status - 1]);
	op->caller = column_string(row, Anum_rest_operation_caller);
	op->takes_key = DatumGetBool(row->values[Anum_rest_operation_takes_key - 1]);
	op->locks_org = DatumGetBool(row->values[Anum_rest_operation_locks_org - 1]);
	op->list_field = column_string(row, Anum_rest_operation_list_field);
	op->location = column_text(row, Anum_rest_operation_location);
	op->template = column_string(row, Anum_rest_operation_template);
	op->has_parameter = !row->nulls[Anum_rest_operation_parameter - 1];
	op->parameter_at = DatumGetInt32(row->values[Anum_rest_operation_parameter_at - 1]);
	op->handler = column_string(row, Anum_rest_operation_handler);
	op->schema = column_string(row, Anum_rest_operation_request);
	op->response = column_string(row, Anum_rest_operation_response);
	op->tag = row->nulls[Anum_rest_operation_tag - 1] ? TAG_NONE :
		column_is(row, Anum_rest_operation_tag, "chain") ? TAG_CHAIN : TAG_BODY;
}

/* Whether all is there that every operation has. What somebody has made null is no operation. */
static bool
is_operation(const OperationRow *row)
{
	static const AttrNumber columns[] = {
		Anum_rest_operation_method, Anum_rest_operation_operation, Anum_rest_operation_success_status,
		Anum_rest_operation_caller, Anum_rest_operation_template, Anum_rest_operation_depth,
		Anum_rest_operation_handler, Anum_rest_operation_in_org, Anum_rest_operation_takes_key,
		Anum_rest_operation_locks_org
	};

	for (int i = 0; i < lengthof(columns); i++)
		if (row->nulls[columns[i] - 1])
			return false;
	return (column_is(row, Anum_rest_operation_method, "GET") || !row->nulls[Anum_rest_operation_request - 1]) &&
		(row->nulls[Anum_rest_operation_tag - 1] || !row->nulls[Anum_rest_operation_response - 1]) &&
		(row->nulls[Anum_rest_operation_parameter - 1] || !row->nulls[Anum_rest_operation_parameter_at - 1]);
}

/* Whether an operation is found under /orgs/SLUG, without that, or outside of the API. */
static bool
is_there(const OperationRow *row, bool in_org, bool outside)
{
	if (outside || column_is(row, Anum_rest_operation_caller, "sso"))
		return outside && column_is(row, Anum_rest_operation_caller, "sso");
	if (DatumGetBool(row->values[Anum_rest_operation_in_org - 1]))
		return in_org;
	return !in_org || column_is(row, Anum_rest_operation_caller, "any");
}

/*
 * Find the operation of a path and a method. path: without the root and, if it is in_org,
 * without /orgs/SLUG; whole, if it is outside. A literal path takes precedence over a path with
 * a parameter, for every method. The operations fit on a page or two, so they are not cached.
 */
static void
find_operation(const char *path, bool in_org, bool outside, const char *method, Match *match)
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
		if (!is_operation(&row) ||
			DatumGetInt32(row.values[Anum_rest_operation_depth - 1]) != depth ||
			!path_matches(path, row_column(&row, Anum_rest_operation_template)) ||
			!is_there(&row, in_org, outside))
			continue;

		better = !match->path || (match->op.has_parameter && row.nulls[Anum_rest_operation_parameter - 1]);
		if (better)
			memset(match, 0, sizeof(Match));
		else if (!column_is(&row, Anum_rest_operation_template, match->op.template))
			continue;
		match->path = true;
		for (int i = 0; i < lengthof(methods); i++)
			match->allowed[i] |= column_is(&row, Anum_rest_operation_method, methods[i].method);
		if (column_is(&row, Anum_rest_operation_method, "GET") && !row.nulls[Anum_rest_operation_tag - 1])
			match->reader = column_string(&row, Anum_rest_operation_handler);
		this_method = method != NULL && column_is(&row, Anum_rest_operation_method, method);
		if (better || this_method)
			read_operation(&match->op, &row);
		match->method |= this_method;
	}
	match->op.reader = match->reader;
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
	rest_fail("method_not_supported", "the path does not support this method", extra.data);
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
	rest_fail("rate_limited", "the token has reached its rate limit",
			  psprintf("{\"retryAfter\": %d, \"nextAction\": \"Wait for as many seconds as Retry-After says.\"}", request->rate.reset));
}

/* Fail if an operation is not for the caller of a request. in_org: its path is under /orgs/SLUG. */
static void
check_caller(const RestRequest *request, const Operation *op, bool in_org)
{
	if (request->person != NULL && strcmp(op->caller, "person") != 0 && strcmp(op->caller, "sso") != 0 && !in_org)
		rest_fail("token_path", "this path is for tokens",
				  "{\"requiredScope\": null, \"nextAction\": \"Use the path below /orgs/ and the slug of the organisation, or send a token.\"}");
	if (request->person == NULL && (in_org || strcmp(op->caller, "person") == 0))
		rest_fail("person_path", "this path is for people who signed in",
				  "{\"requiredScope\": null, \"nextAction\": \"Use the path without /orgs/ and the slug, if there is one.\"}");
	if (request->person == NULL && identity_is_for_node())
		rest_fail("node_token", "a node token cannot use this API",
				  "{\"requiredScope\": null, \"nextAction\": \"Use a token of kind api, with scopes.\"}");
}

pg_noreturn static void
refuse_credential(const RestRequest *request)
{
	static const char *const next = "{\"nextAction\": \"Send a valid token: Authorization: Bearer wal_...\"}";

	if (request->auth == AUTH_LIMITED)
		refuse_rate(request);
	if (request->by_cookie)
		rest_fail("session_refused", "the session is invalid or has ended, or there is a token beside it", "{\"nextAction\": \"Sign in, and send no token.\"}");
	if (request->auth == AUTH_NONE)
		rest_fail("token_missing", "a bearer token is required", next);
	rest_fail("token_refused", "invalid or inactive token", next);
}

/* The operation of a request, if its caller may use it. Fails with 401, 429, 404, 405 or 403, in this order. */
static Operation
route(RestRequest *request)
{
	const char *method = request->method;
	const char *path = request->path;
	char	   *slug = NULL;
	Match		match = {.path = false};
	const Operation *op = &match.op;

	if (path != NULL && strcmp(path, SSO_PATH) == 0)
	{
		if (request->person == NULL || request->person->has_session)
			rest_fail("jwt_refused", "the identity proxy has handed over no JWT", "{}");
		find_operation(path, false, true, method, &match);
	}
	else if (path != NULL && strncmp(path, API_ROOT "/", strlen(API_ROOT "/")) == 0)
	{
		path += strlen(API_ROOT);
		if (strncmp(path, ORG_PREFIX, strlen(ORG_PREFIX)) == 0)
		{
			path += strlen(ORG_PREFIX);
			slug = pnstrdup(path, strcspn(path, "/"));
			path += strlen(slug);
		}
		find_operation(path, slug != NULL, false, method != NULL && strcmp(method, "HEAD") == 0 ? "GET" : method, &match);
	}

	if (!match.method || strcmp(op->caller, "anyone") != 0)
	{
		if (request->auth != AUTH_ACCEPTED)
			refuse_credential(request);
		if (!match.path)
			rest_fail("no_such_path", "no such path", "{}");
		if (!match.method)
			refuse_method(&match);
		check_caller(request, op, slug != NULL);
		if (slug != NULL)
			rights_enter_org(request, slug);
		request->required_scope = op->required_scope;
		request->action = op->action;
		rights_require(request);
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
		rest_fail_field("out_of_range", "limit must be a number from 1 to 100", "limit", NULL);
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

/* Decode the value of a query parameter; NULL if it is malformed or not UTF-8. */
static char *
decode_parameter(const char *value)
{
	char	   *decoded = palloc(strlen(value) + 1);
	char	   *end = decoded;

	for (; *value != '\0'; value++)
	{
		unsigned int byte = (unsigned char) (*value == '+' ? ' ' : *value);

		if (*value == '%')
		{
			char		digits[3] = "";

			strlcpy(digits, value + 1, sizeof(digits));
			if (strspn(digits, "0123456789abcdefABCDEF") != 2)
				return NULL;
			byte = (unsigned int) strtoul(digits, NULL, 16);
			if (byte == 0)
				return NULL;
			value += 2;
		}
		*end++ = (char) byte;
	}
	*end = '\0';
	return pg_verify_mbstr(PG_UTF8, decoded, (int) (end - decoded), true) ? decoded : NULL;
}

/* Add a query parameter of a list, beside limit and cursor, to filters, an object of JSON that is not closed. */
static void
read_filter(const Operation *op, const char *name, const char *value, StringInfo filters)
{
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID};
	char	   *decoded = decode_parameter(value);
	NullableDatum args[] = {
		{.value = CStringGetTextDatum(op->name)},
		{.value = CStringGetTextDatum(name)},
		{.value = CStringGetTextDatum(decoded == NULL ? "" : decoded)}
	};
	bool		unknown;
	StringInfoData key;

	(void) call_function("rest_filter_value", lengthof(args), types, args, &unknown);
	if (unknown)
		rest_fail_unknown_parameter(name, true);
	if (decoded == NULL)
		rest_fail_field("malformed", "the query parameter is malformed", name, NULL);
	initStringInfo(&key);
	escape_json(&key, name);
	appendStringInfoChar(&key, ':');
	if (strstr(filters->data, key.data) != NULL)
		rest_fail_field("duplicate", "the query parameter was given twice", name, NULL);
	appendStringInfo(filters, "%s%s", filters->len == 0 ? "{" : ",", key.data);
	escape_json(filters, decoded);
}

/*
 * Read the query of a GET: limit, cursor and filters of a list, each at most once. Other
 * operations have no query.
 */
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
	StringInfoData filters;

	initStringInfo(&filters);
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

		if (!is_list)
			rest_fail_unknown_parameter(parameter, false);
		is_limit = strcmp(parameter, "limit") == 0;
		if (!is_limit && strcmp(parameter, "cursor") != 0)
		{
			read_filter(op, parameter, value, &filters);
			continue;
		}
		seen = is_limit ? &seen_limit : &seen_cursor;
		if (*seen)
			rest_fail_field("duplicate", "the query parameter was given twice", parameter, NULL);
		*seen = true;
		if (is_limit)
			request->max_rows = read_limit(value);
		else if (!cursor_read(value, op->name, request->id, &request->after) || !key_fits(&request->after, entries))
			rest_fail_field("bad_cursor", "the cursor does not belong to this list", parameter, NULL);
	}
	if (filters.len > 0)
	{
		appendStringInfoChar(&filters, '}');
		request->filters = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(filters.data)));
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

/* Add the tag of the response. Whoever keeps the response asks each time whether it still holds. */
static void
add_tag(Response *response, const Operation *op, const char *tag)
{
	add_header(response, "ETag", tag);
	add_header(response, "Cache-Control", strcmp(op->caller, "anyone") == 0 ? "public, max-age=3600" : "private, no-cache");
}

/* Serve GET or HEAD of what has a tag: 304 if the client has the response already. */
static void
read_tagged(RestRequest *request, const Operation *op, Response *response)
{
	const Shown shown = {.schema = op->response,.list_field = op->list_field,.scopes = rights_scopes()};
	uint8		state[DIGEST_LEN];
	bool		remember = op->tag == TAG_CHAIN && request->if_none_match != NULL;
	char	   *tag = remember ? tag_recall(request, &shown, state) : NULL;

	if (tag == NULL || !tag_is_known_to_client(request, tag))
	{
		response->body = rest_request_handle(request, op->handler, NULL);
		tag = tag_of_body(response->body);
		if (remember)
			tag_remember(&shown, response->body, tag, state);
	}
	add_tag(response, op, tag);
	if (tag_is_known_to_client(request, tag))
	{
		response->status = 304;
		response->no_body = true;
	}
}

/*
 * The cookie that the request has set or removed. Not "cookies" with the latter: browsers
 * would delete those of every host of the domain.
 */
static void
add_cookie(Response *response)
{
	const char *field = session_cookie_field();

	if (field == NULL)
		return;
	add_header(response, "Set-Cookie", field);
	if (session_cookie_is_cleared())
		add_header(response, "Clear-Site-Data", "\"cache\", \"storage\"");
}

static void
mutate(RestRequest *request, const Operation *op, bytea *body, Response *response)
{
	bool		replayed = false;

	if (!op->takes_key)
		response->body = rest_mutate_without_key(request, op->handler, op->schema, body, &response->no_body);
	else
		response->body = rest_mutate(request, op->handler, strcmp(op->method, "POST") == 0 ? NULL : op->reader,
									 op->schema, op->locks_org, body, &response->no_body, &replayed);
	if (op->tag != TAG_NONE && response->no_body)
		elog(ERROR, "walwarden_internal.%s returned null", op->handler);
	if (op->tag != TAG_NONE)
		add_tag(response, op, tag_of_body(response->body));
	if (op->location != NULL)
	{
		Oid			location_types[] = {TEXTOID, TEXTOID, JSONOID};
		NullableDatum location[] = {
			{.value = CStringGetTextDatum(request->org_slug == NULL ? "" : psprintf(ORG_PREFIX "%s", request->org_slug))},
			{.value = PointerGetDatum(op->location)},
			{.value = response->body,.isnull = response->no_body}
		};

		add_header(response, "Location", TextDatumGetCString(call_function("rest_location", lengthof(location), location_types, location, NULL)));
	}
	if (replayed)
		add_header(response, "Idempotency-Replayed", "true");
	add_cookie(response);
}

/*
 * Exchange a JWT for a session. It is a GET, because a browser has been sent here, but
 * nginx makes it one that may change something.
 */
static void
exchange(RestRequest *request, const Operation *op, const bytea *body, Response *response)
{
	if (body == NULL)
		rest_fail("read_only", "the transaction cannot write", "{}");
	response->body = rest_request_handle(request, op->handler, &response->no_body);
	add_header(response, "Location", HOME_PATH);
	add_cookie(response);
}

/* Serve a request. body: NULL if the entry point serves only GET and HEAD. */
static void
serve(RestRequest *request, bytea *body, Response *response)
{
	Operation	op;

	session_cookie_reset();
	rights_reset();
	rest_request_read(request);

	/* not older than the snapshot with which the token was found */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	op = route(request);
	response->status = op.status;
	if (strcmp(op.caller, "sso") == 0)
		exchange(request, &op, body, response);
	else if (strcmp(op.method, "GET") == 0)
	{
		read_query(request, &op);
		if (op.tag != TAG_NONE)
		{
			tag_check_conditions(request, true, false);
			read_tagged(request, &op, response);
		}
		else
			response->body = rest_request_handle(request, op.handler, &response->no_body);
	}
	else if (body == NULL)
		rest_fail("method_not_supported", "this entry point serves only GET and HEAD", "{\"allow\": \"GET, HEAD\"}");
	else
	{
		mutate(request, &op, body, response);
		ending_perform();
	}
	PopActiveSnapshot();
}

/* Never null, because RAISE in PL/pgSQL does not accept null. */
static NullableDatum
text_argument(const char *value)
{
	NullableDatum argument = {.value = CStringGetTextDatum(value == NULL ? "" : value)};

	return argument;
}

/*
 * Whether a request has cost as much as it may, and would cost it at another server again. A
 * conflict with replay, which is a serialization failure, concerns one standby.
 */
static bool
is_busy(int sqlstate)
{
	return sqlstate == ERRCODE_LOCK_NOT_AVAILABLE || sqlstate == ERRCODE_T_R_DEADLOCK_DETECTED ||
		sqlstate == ERRCODE_QUERY_CANCELED || ERRCODE_TO_CATEGORY(sqlstate) == ERRCODE_INSUFFICIENT_RESOURCES;
}

/* Build the response to a request that failed. */
static void
serve_error(RestRequest *request, const ErrorData *error, Response *response)
{
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, BOOLOID};
	NullableDatum args[7];
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
	args[6].value = BoolGetDatum(refuse_is_refusal(error));
	args[6].isnull = false;
	result = DatumGetHeapTupleHeader(call_function("rest_error_response", lengthof(args), types, args, NULL));
	response->status = DatumGetInt32(GetAttributeByName(result, "status", &isnull));
	response->busy = response->status == 503 && is_busy(error->sqlerrcode);
	response->body = GetAttributeByName(result, "answer", &response->no_body);
	deconstruct_array(DatumGetArrayTypeP(GetAttributeByName(result, "headers", &isnull)),
					  JSONOID, -1, false, TYPALIGN_INT, &headers, NULL, &nheaders);
	resetStringInfo(&response->headers);
	for (int i = 0; i < nheaders; i++)
		appendStringInfo(&response->headers, "%s%s", i == 0 ? "[" : ",", TextDatumGetCString(headers[i]));
}

/* The status as the gateway wants it, if its header fields were read. */
static int
gateway_status(const RestRequest *request, const Response *response)
{
	if (response->status == 400 && request->bad_request_status > 0)
		return request->bad_request_status;
	if (response->busy && request->busy_status > 0)
		return request->busy_status;
	return response->status;
}

/* The bytes of the body, which PostgREST sends without the space around it. It does not count them itself. */
static int
content_length(Datum body)
{
	const text *json = DatumGetTextPP(body);
	const char *begin = VARDATA_ANY(json);
	const char *end = begin + VARSIZE_ANY_EXHDR(json);

	while (begin < end && strchr(" \t\r\n", *begin) != NULL)
		begin++;
	while (end > begin && strchr(" \t\r\n", end[-1]) != NULL)
		end--;
	return (int) (end - begin);
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
		door_act_for(NULL);
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		serve_error(request, error, response);
	}
	PG_END_TRY();
	rights_reset();

	if (!response->no_body)
		add_header(response, "Content-Length", psprintf("%d", content_length(response->body)));
	else if (response->status != 304)	/* what it stands for has one */
		add_header(response, "Content-Length", "0");
	add_header(response, "X-Request-Id", request->request_id);
	if (rest_request_by_token(request))
		add_header(response, TOKEN_ID_FIELD, rest_token_id(&request->token_id));
	if (request->rate.limit > 0)
		add_header(response, "RateLimit", rest_rate_limit_field(&request->rate));
	appendStringInfoChar(&response->headers, ']');
	set_local("response.status", psprintf("%d", gateway_status(request, response)));
	set_local("response.headers", response->headers.data);
	if (response->no_body)
		PG_RETURN_NULL();
	return response->body;
}
