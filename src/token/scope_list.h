/*
 * scope_list.h
 *		A list of scope names.
 */
#ifndef WALWARDEN_SCOPE_LIST_H
#define WALWARDEN_SCOPE_LIST_H

#include "postgres.h"

#include "base/tables.h"

typedef struct ScopeList
{
	int			n;
	text	  **names;
} ScopeList;

extern ScopeList scope_list_from_array(Datum array);
extern ScopeList scope_list_from_row(const Row *row, AttrNumber column);
extern Datum scope_list_array(const ScopeList *list);
extern void scope_list_prepend(ScopeList *list, const char *name);
extern bool scope_list_has(const ScopeList *list, const char *name, size_t len);

#endif							/* WALWARDEN_SCOPE_LIST_H */
