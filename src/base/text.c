/*
 * text.c
 *		Texts from outside: what must not be in them, and what must.
 *
 * Their syntax is decided in common/syntax.c, and which characters nobody sees in
 * 1_base/text.sql. A regular expression is matched as the operators of SQL do it, with the
 * collation of the database.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/call.h"
#include "base/compat.h"
#include "base/export.h"
#include "base/text.h"
#include "common/syntax.h"

/* A URL with a password, and the password of a connection string; case does not matter. */
#define SECRET_URL "[a-z][a-z0-9+.-]*://[^/@:[:space:]]*:[^/@[:space:]]+@"
#define SECRET_PASSWORD "(^|[^a-z0-9])(password|passwd|pwd)\"?[[:space:]]*[=:][[:space:]]*[^[:space:]]"

/* What the functions of these names return; old when a function of the database changes. */
static struct
{
	const char *function;
	text	   *pattern;
}			classes[] = {
	[CONTROL_CHARACTER] = {"control_character", NULL},
	[HIDDEN_CHARACTER] = {"hidden_character", NULL},
	[VISIBLE_CHARACTER] = {"visible_character", NULL}
};

static bool classes_are_old = false;

static void
function_has_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	classes_are_old = true;
}

static text *
class_pattern(CharacterClass class)
{
	static bool registered = false;
	text	   *made;

	if (!registered)
	{
		CacheRegisterSyscacheCallback(PROCOID, function_has_changed, (Datum) 0);
		registered = true;
	}
	if (classes_are_old)
	{
		classes_are_old = false;
		for (int i = 0; i < lengthof(classes); i++)
		{
			if (classes[i].pattern != NULL)
				pfree(classes[i].pattern);
			classes[i].pattern = NULL;
		}
	}
	if (classes[class].pattern != NULL)
		return classes[class].pattern;
	made = DatumGetTextPP(call_function(classes[class].function, 0, NULL, NULL, NULL));
	/* calling it may have shown that it is not the present one any more */
	if (!classes_are_old)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		classes[class].pattern = DatumGetTextPCopy(PointerGetDatum(made));
		MemoryContextSwitchTo(old);
	}
	return made;
}

/* value ~ pattern */
bool
text_matches(text *value, text *pattern)
{
	return DatumGetBool(DirectFunctionCall2Coll(textregexeq, DEFAULT_COLLATION_OID, PointerGetDatum(value), PointerGetDatum(pattern)));
}

bool
text_has_character(text *value, CharacterClass class)
{
	return text_matches(value, class_pattern(class));
}

/* value ~* pattern */
static bool
matches_in_any_case(Datum value, const char *pattern)
{
	return DatumGetBool(DirectFunctionCall2Coll(texticregexeq, DEFAULT_COLLATION_OID, value, CStringGetTextDatum(pattern)));
}

/*
 * Whether a text contains something that looks like a secret: a token, a URL with a password,
 * or the password of a connection string. A disguised secret is not detected.
 *
 * Every match of the two expressions has one of "=" and ":" in it, and that of a URL "://"
 * and "@", none of which has another case. Most texts have not, and are not searched.
 */
bool
text_holds_secret(const char *value, size_t len)
{
	bool		has_colon = memchr(value, ':', len) != NULL;
	Datum		whole;

	if (text_contains_token(value, len))
		return true;
	if (!has_colon && memchr(value, '=', len) == NULL)
		return false;
	whole = PointerGetDatum(cstring_to_text_with_len(value, (int) len));
	return (has_colon && memchr(value, '@', len) != NULL && matches_in_any_case(whole, SECRET_URL)) ||
		matches_in_any_case(whole, SECRET_PASSWORD);
}

/* walwarden_internal.holds_secret(value text) */
PG_FUNCTION_INFO_V1(walwarden_holds_secret);
Datum
walwarden_holds_secret(PG_FUNCTION_ARGS)
{
	const text *value = PG_GETARG_TEXT_PP(0);

	PG_RETURN_BOOL(text_holds_secret(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)));
}

/* walwarden_internal.contains_token(value text) */
PG_FUNCTION_INFO_V1(walwarden_contains_token);
Datum
walwarden_contains_token(PG_FUNCTION_ARGS)
{
	const text *value = PG_GETARG_TEXT_PP(0);

	PG_RETURN_BOOL(text_contains_token(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)));
}

/* walwarden_internal.is_time(value text) */
PG_FUNCTION_INFO_V1(walwarden_is_time);
Datum
walwarden_is_time(PG_FUNCTION_ARGS)
{
	const text *value = PG_GETARG_TEXT_PP(0);

	PG_RETURN_BOOL(time_is_well_formed(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)));
}
