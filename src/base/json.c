/*
 * json.c
 *		JSON that a gateway puts into a setting, and the strings in it; parts of a jsonb; writing
 *		JSON.
 *
 * Invariant: no error quotes the JSON, which may contain a token.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/compat.h"
#include "base/json.h"
#include "base/render.h"
#include "common/syntax.h"

#define JSON_SETTING_LIMIT 131072

pg_noreturn static void
refuse_setting(int sqlstate, const char *message)
{
	error_context_stack = NULL; /* as in refuse_token() */
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg_internal("%s", message),
			 errhint("Check what the gateway writes into this setting."),
			 errhidestmt(true), errhidecontext(true)));
}

/*
 * Parse the JSON in a setting. Fails without quoting the text, with 54000 if it is too
 * long and 22023 if it is not JSON.
 */
Jsonb *
json_setting(const char *name, const char *value)
{
	MemoryContext context = CurrentMemoryContext;
	Jsonb	   *volatile jsonb = NULL;

	if (strlen(value) > JSON_SETTING_LIMIT)
		refuse_setting(ERRCODE_PROGRAM_LIMIT_EXCEEDED, psprintf("%s is longer than %d bytes", name, JSON_SETTING_LIMIT));
	PG_TRY();
	{
		jsonb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(value)));
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	if (jsonb == NULL)
		refuse_setting(ERRCODE_INVALID_PARAMETER_VALUE, psprintf("%s is not JSON", name));
	return jsonb;
}

/* The string under key; NULL if it is missing or empty, or if value is not an object. */
char *
json_string(Jsonb *value, const char *key)
{
	JsonbValue	found;

	if (!JB_ROOT_IS_OBJECT(value) ||
		getKeyJsonValueFromContainer(&value->root, key, (int) strlen(key), &found) == NULL ||
		found.type != jbvString || found.val.string.len == 0)
		return NULL;
	return pnstrdup(found.val.string.val, found.val.string.len);
}

/* Whether a value, or the name of a member, is the string text. */
bool
json_is(const JsonbValue *value, const char *text)
{
	return value->type == jbvString && value->val.string.len == (int) strlen(text) &&
		memcmp(value->val.string.val, text, value->val.string.len) == 0;
}

/* The next item of an array (WJB_ELEM), or key of an object (WJB_KEY). False at the end. */
bool
json_next(JsonbIterator **it, JsonbIteratorToken wanted, JsonbValue *part)
{
	JsonbIteratorToken token;

	do
		token = JsonbIteratorNext(it, part, true);
	while (token != wanted && token != WJB_DONE);
	return token == wanted;
}

/* Add a member to an object that is being written; the first opens it. NULL is null. */
void
json_add_text(StringInfo object, const char *name, const char *value)
{
	appendStringInfo(object, "%s\"%s\":", object->len == 0 ? "{" : ",", name);
	if (value == NULL)
		appendStringInfoString(object, "null");
	else
		escape_json(object, value);
}

/* Begin a JSON text, with room for a varlena header in front. */
void
json_begin(StringInfo json)
{
	initStringInfo(json);
	appendStringInfoSpaces(json, VARHDRSZ);
}

/* The text as a value of type json or text. */
Datum
json_end(StringInfo json)
{
	SET_VARSIZE(json->data, json->len);
	return PointerGetDatum(json->data);
}

/* Like escape_json(), which does not accept a length in every version of the server. */
void
json_append_text(StringInfo json, const char *value, int len)
{
	const char *const end = value + len;
	const char *plain = value;

	appendStringInfoCharMacro(json, '"');
	for (const char *at = value; at < end; at++)
	{
		char		named = '\0';

		if ((unsigned char) *at >= ' ' && *at != '"' && *at != '\\')
			continue;
		appendBinaryStringInfo(json, plain, (int) (at - plain));
		plain = at + 1;
		switch (*at)
		{
			case '\b':
				named = 'b';
				break;
			case '\f':
				named = 'f';
				break;
			case '\n':
				named = 'n';
				break;
			case '\r':
				named = 'r';
				break;
			case '\t':
				named = 't';
				break;
			case '"':
			case '\\':
				named = *at;
				break;
		}
		if (named != '\0')
		{
			appendStringInfoCharMacro(json, '\\');
			appendStringInfoCharMacro(json, named);
		}
		else
			appendStringInfo(json, "\\u%04x", (unsigned char) *at);
	}
	appendBinaryStringInfo(json, plain, (int) (end - plain));
	appendStringInfoCharMacro(json, '"');
}

/* A string without characters that are escaped. */
static void
append_plain(StringInfo json, const char *value, size_t len)
{
	appendStringInfoCharMacro(json, '"');
	appendBinaryStringInfo(json, value, (int) len);
	appendStringInfoCharMacro(json, '"');
}

/* Append a value of one of the types that responses and entries contain. */
void
json_append_value(StringInfo json, Oid type, Datum value)
{
	switch (type)
	{
		case TEXTOID:
		case JSONOID:
			{
				struct varlena *text = PG_DETOAST_DATUM_PACKED(value);

				if (type == TEXTOID)
					json_append_text(json, VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text));
				else
					appendBinaryStringInfo(json, VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text));
				break;
			}
		case JSONBOID:
			{
				Jsonb	   *jsonb = DatumGetJsonbP(value);

				JsonbToCString(json, &jsonb->root, VARSIZE(jsonb));
				break;
			}
		case UUIDOID:
			{
				char		out[UUID_TEXT_LEN + 1];

				render_uuid(DatumGetUUIDP(value), out);
				append_plain(json, out, UUID_TEXT_LEN);
				break;
			}
		case TIMESTAMPTZOID:
			{
				char		out[ANY_TIME_LEN + 1];

				render_any_time(DatumGetTimestampTz(value), out);
				append_plain(json, out, strlen(out));
				break;
			}
		case BOOLOID:
			appendStringInfoString(json, DatumGetBool(value) ? "true" : "false");
			break;
		case INT4OID:
		case INT8OID:
			{
				char		out[MAXINT8LEN + 1];

				appendBinaryStringInfo(json, out, pg_lltoa(type == INT4OID ? DatumGetInt32(value) : DatumGetInt64(value), out));
				break;
			}
		case UNKNOWNOID:		/* a literal */
			json_append_text(json, DatumGetCString(value), (int) strlen(DatumGetCString(value)));
			break;
		default:
			elog(ERROR, "type %s is not supported in JSON", format_type_be(type));
	}
}
