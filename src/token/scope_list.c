/*
 * scope_list.c
 *		A list of scope names, read from an array.
 *
 * Invariant: a null in an array is ignored and grants nothing.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/export.h"
#include "base/tables.h"
#include "token/columns.h"
#include "token/scope_list.h"

/* The names point into a copy of the array, in the current memory context. */
ScopeList
scope_list_from_array(Datum array)
{
	ArrayType  *scopes = DatumGetArrayTypePCopy(array);
	ScopeList	list = {0, NULL};
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	deconstruct_array(scopes, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	list.names = palloc(sizeof(text *) * Max(n, 1));
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			list.names[list.n++] = DatumGetTextPP(elements[i]);
	return list;
}

/* The names in a column; none if that is null. */
ScopeList
scope_list_from_row(const Row *row, AttrNumber column)
{
	bool		isnull;
	Datum		array = row_get(row, column, &isnull);
	ScopeList	none = {0, NULL};

	return isnull ? none : scope_list_from_array(array);
}

Datum
scope_list_array(const ScopeList *list)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(list->n, 1));

	for (int i = 0; i < list->n; i++)
		elements[i] = PointerGetDatum(list->names[i]);
	return PointerGetDatum(construct_array(elements, list->n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* NULL adds nothing. */
void
scope_list_prepend(ScopeList *list, const char *name)
{
	text	  **names;

	if (name == NULL)
		return;
	names = palloc(sizeof(text *) * (list->n + 1));
	names[0] = cstring_to_text(name);
	for (int i = 0; i < list->n; i++)
		names[i + 1] = list->names[i];
	list->names = names;
	list->n++;
}

bool
scope_list_has(const ScopeList *list, const char *name, size_t len)
{
	for (int i = 0; i < list->n; i++)
		if (VARSIZE_ANY_EXHDR(list->names[i]) == len &&
			memcmp(VARDATA_ANY(list->names[i]), name, len) == 0)
			return true;
	return false;
}

/* walwarden_internal.unknown_scope(names text[]) */
PG_FUNCTION_INFO_V1(walwarden_unknown_scope);
Datum
walwarden_unknown_scope(PG_FUNCTION_ARGS)
{
	ScopeList	names = scope_list_from_array(PG_GETARG_DATUM(0));

	for (int i = 0; i < names.n; i++)
	{
		Row			row;
		bool		known = row_find_text(&row, "scope", "scope_pkey", Anum_scope_name, names.names[i], GetActiveSnapshot());

		row_close(&row);
		if (!known)
			PG_RETURN_TEXT_P(names.names[i]);
	}
	PG_RETURN_NULL();
}
