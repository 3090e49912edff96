/*
 * response.c
 *		JSON of REST v1 responses: objects, pages of a list, and their cursors.
 *
 * A page has hundreds of values. json_build_object() looks up the type of every value;
 * object() does so once per call site, and supports only the types that responses
 * contain. It writes the same bytes, except that times are rendered as in the API.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/base64.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "nodes/nodeFuncs.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "base/export.h"
#include "base/json.h"
#include "base/render.h"
#include "base/tables.h"
#include "common/syntax.h"
#include "rest/response.h"

/* A key with the punctuation around it, and the type of its value. */
typedef struct Member
{
	char	   *label;
	int			label_len;
	Oid			type;
} Member;

typedef struct Object
{
	int			nmembers;
	Member		members[FLEXIBLE_ARRAY_MEMBER];
} Object;

/* Fields of walwarden_internal.rest_item. */
#define ITEM_AT 1
#define ITEM_ID 2
#define ITEM_ITEM 3

/* A field of a row that must not be null. */
static Datum
present(Datum value, bool isnull)
{
	if (isnull)
		elog(ERROR, "a field of a page item is null");
	return value;
}

/* The keys and types of a call site, found at its first call. */
static Object *
get_object(FmgrInfo *flinfo, int nargs)
{
	Object	   *object = flinfo->fn_extra;
	List	   *args;

	if (object != NULL)
		return object;
	if (flinfo->fn_expr == NULL || !IsA(flinfo->fn_expr, FuncExpr) || get_fn_expr_variadic(flinfo) || nargs % 2 != 0)
		elog(ERROR, "object() requires pairs of keys and values");
	args = ((FuncExpr *) flinfo->fn_expr)->args;
	object = MemoryContextAlloc(flinfo->fn_mcxt, offsetof(Object, members) + sizeof(Member) * (nargs / 2));
	object->nmembers = nargs / 2;
	for (int i = 0; i < object->nmembers; i++)
	{
		Member	   *member = &object->members[i];
		Const	   *key = list_nth(args, 2 * i);
		StringInfoData label;

		if (!IsA(key, Const) || key->constisnull || key->consttype != UNKNOWNOID)
			elog(ERROR, "a key of object() is not a literal");
		initStringInfo(&label);
		appendStringInfoString(&label, i == 0 ? "{" : ", ");
		json_append_text(&label, DatumGetCString(key->constvalue), (int) strlen(DatumGetCString(key->constvalue)));
		appendStringInfoString(&label, " : ");
		member->label = MemoryContextStrdup(flinfo->fn_mcxt, label.data);
		member->label_len = label.len;
		member->type = exprType(list_nth(args, 2 * i + 1));
	}
	flinfo->fn_extra = object;
	return object;
}

/*
 * walwarden_internal.object(VARIADIC "any") returns json
 *
 * Takes alternating keys and values; the keys are literals.
 */
PG_FUNCTION_INFO_V1(walwarden_object);
Datum
walwarden_object(PG_FUNCTION_ARGS)
{
	const Object *object = get_object(fcinfo->flinfo, PG_NARGS());
	StringInfoData json;

	json_begin(&json);
	for (int i = 0; i < object->nmembers; i++)
	{
		const Member *member = &object->members[i];
		const NullableDatum *value = &fcinfo->args[2 * i + 1];

		appendBinaryStringInfo(&json, member->label, member->label_len);
		if (value->isnull)
			appendStringInfoString(&json, "null");
		else
			json_append_value(&json, member->type, value->value);
	}
	appendStringInfoChar(&json, '}');
	PG_RETURN_DATUM(json_end(&json));
}

/*
 * A cursor is opaque to clients. It is the base64url form, without padding, of
 * ["operation", "id of the path" or null, "at", "id"], with blanks as shown here.
 */
#define CURSOR_MAX 400

static void
append_cursor(StringInfo json, HeapTupleHeader request, HeapTupleHeader last)
{
	StringInfoData key;
	Datum		value;
	bool		isnull;
	int			len;

	initStringInfo(&key);
	appendStringInfoChar(&key, '[');
	value = GetAttributeByName(request, "operation", &isnull);
	json_append_value(&key, TEXTOID, present(value, isnull));
	appendStringInfoString(&key, ", ");
	value = GetAttributeByName(request, "id", &isnull);
	if (isnull)
		appendStringInfoString(&key, "null");
	else
		json_append_value(&key, UUIDOID, value);
	appendStringInfoString(&key, ", ");
	value = GetAttributeByNum(last, ITEM_AT, &isnull);
	json_append_value(&key, TIMESTAMPTZOID, present(value, isnull));
	appendStringInfoString(&key, ", ");
	value = GetAttributeByNum(last, ITEM_ID, &isnull);
	json_append_value(&key, TEXTOID, present(value, isnull));
	appendStringInfoChar(&key, ']');

	appendStringInfoChar(json, '"');
	enlargeStringInfo(json, pg_b64_enc_len(key.len) + 1);
	len = pg_b64_encode((const void *) key.data, key.len, json->data + json->len, pg_b64_enc_len(key.len));
	if (len < 0)
		elog(ERROR, "could not encode a cursor");
	for (char *at = json->data + json->len; len > 0 && *at != '='; at++, len--)
	{
		if (*at == '+')
			*at = '-';
		else if (*at == '/')
			*at = '_';
		json->len++;
	}
	appendStringInfoChar(json, '"');
}

static bool
skip_text(const char **at, const char *text)
{
	size_t		len = strlen(text);

	if (strncmp(*at, text, len) != 0)
		return false;
	*at += len;
	return true;
}

/* Decode the base64 of a cursor; NULL if append_cursor() cannot have written it. */
static char *
decode_cursor(const char *cursor)
{
	size_t		len = strlen(cursor);
	char	   *encoded = palloc(CURSOR_MAX + 4);
	char	   *text = palloc0(CURSOR_MAX);

	if (len > CURSOR_MAX || strspn(cursor, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != len)
		return NULL;
	memcpy(encoded, cursor, len);
	for (char *at = encoded; at < encoded + len; at++)
	{
		if (*at == '-')
			*at = '+';
		else if (*at == '_')
			*at = '/';
	}
	while (len % 4 != 0)
		encoded[len++] = '=';
	return pg_b64_decode(encoded, (int) len, (void *) text, CURSOR_MAX - 1) < 0 ? NULL : text;
}

/*
 * Read a cursor for a page of this operation with this id in its path, or NULL.
 * Returns false for any other text.
 */
bool
cursor_read(const char *cursor, const char *operation, const pg_uuid_t *id, PageKey *key)
{
	const char *at = decode_cursor(cursor);
	char		of[UUID_TEXT_LEN + 1];
	char		time[ISO_TIME_LEN + 1];
	size_t		len;

	if (at == NULL || !skip_text(&at, "[\"") || !skip_text(&at, operation) || !skip_text(&at, "\", "))
		return false;
	if (id != NULL)
		render_uuid(id, of);
	if (id == NULL ? !skip_text(&at, "null") : !skip_text(&at, "\"") || !skip_text(&at, of) || !skip_text(&at, "\""))
		return false;
	if (!skip_text(&at, ", \"") || strlen(at) < ISO_TIME_LEN)
		return false;
	strlcpy(time, at, sizeof(time));
	at += ISO_TIME_LEN;
	if (!read_time(time, &key->at) || !skip_text(&at, "\", \""))
		return false;
	len = strcspn(at, "\"");
	if (len == 0 || len > UUID_TEXT_LEN || strcmp(at + len, "\"]") != 0)
		return false;
	strlcpy(key->id, at, len + 1);
	return true;
}

static void
check_item_type(Oid type)
{
	static const Oid types[] = {TIMESTAMPTZOID, TEXTOID, JSONOID};
	TupleDesc	desc = lookup_rowtype_tupdesc(type, -1);

	walwarden_check_type(desc, types, lengthof(types));
	ReleaseTupleDesc(desc);
}

/*
 * walwarden_internal.rest_page(r walwarden_internal.rest_request, list_field text, items walwarden_internal.rest_item[]) returns json
 *
 * A page of items. The caller has fetched one more item than fits on the page. An item that
 * is null is the last one and not shown: what comes after its key has not been read yet.
 */
PG_FUNCTION_INFO_V1(walwarden_rest_page);
Datum
walwarden_rest_page(PG_FUNCTION_ARGS)
{
	HeapTupleHeader request = PG_GETARG_HEAPTUPLEHEADER(0);
	text	   *list_field = PG_GETARG_TEXT_PP(1);
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(2);
	StringInfoData json;
	Datum	   *items;
	int			nitems;
	int			nshown;
	int			last;
	bool		more;
	bool		isnull;

	check_item_type(ARR_ELEMTYPE(array));
	deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_DOUBLE, &items, NULL, &nitems);
	nshown = DatumGetInt32(GetAttributeByName(request, "max_rows", &isnull));
	if (isnull || nshown < 1)
		elog(ERROR, "a page has no size");
	more = nitems > nshown;
	nshown = Min(nshown, nitems);
	last = nshown - 1;
	if (!more && last >= 0)
	{
		(void) GetAttributeByNum(DatumGetHeapTupleHeader(items[last]), ITEM_ITEM, &more);
		nshown -= more;
	}

	json_begin(&json);
	appendStringInfoChar(&json, '{');
	json_append_text(&json, VARDATA_ANY(list_field), VARSIZE_ANY_EXHDR(list_field));
	appendStringInfoString(&json, " : [");
	for (int i = 0; i < nshown; i++)
	{
		Datum		item = GetAttributeByNum(DatumGetHeapTupleHeader(items[i]), ITEM_ITEM, &isnull);

		if (i > 0)
			appendStringInfoString(&json, ", ");
		json_append_value(&json, JSONOID, present(item, isnull));
	}
	appendStringInfoString(&json, "], \"pageInfo\" : {\"nextCursor\" : ");
	if (more)
		append_cursor(&json, request, DatumGetHeapTupleHeader(items[last]));
	else
		appendStringInfoString(&json, "null");
	appendStringInfo(&json, ", \"hasMore\" : %s}}", more ? "true" : "false");
	PG_RETURN_DATUM(json_end(&json));
}
