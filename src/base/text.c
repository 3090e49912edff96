/*
 * text.c
 *		Texts from outside, for SQL.
 *
 * Their syntax is decided in common/syntax.c.
 */
#include "postgres.h"

#include "fmgr.h"

#include "base/compat.h"
#include "base/export.h"
#include "common/syntax.h"

/* walwarden_internal.contains_token(value text) */
PG_FUNCTION_INFO_V1(walwarden_contains_token);
Datum
walwarden_contains_token(PG_FUNCTION_ARGS)
{
	const text *value = PG_GETARG_TEXT_PP(0);

	PG_RETURN_BOOL(text_contains_token(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)));
}
