/*
 * json.c
 *		JSON that a gateway puts into a setting, and the strings in it; parts of a jsonb; writing
 *		an object.
 *
 * Invariant: no error quotes the JSON, which may contain a token.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "base/compat.h"
#include "base/json.h"

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
