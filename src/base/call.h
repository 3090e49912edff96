/*
 * call.h
 *		Calling the extension's own functions by name, and working as its owner.
 */
#ifndef WALWARDEN_CALL_H
#define WALWARDEN_CALL_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "fmgr.h"

#include "base/compat.h"

typedef struct SavedUser
{
	Oid			userid;
	int			sec_context;
	PlanPrinting printing;
} SavedUser;

extern Datum call_function(const char *name, int nargs, const Oid *types, const NullableDatum *args, bool *isnull);
extern TupleDesc call_site_row(FunctionCallInfo fcinfo);

extern SavedUser user_save(void);
extern void user_become(Oid owner, const SavedUser *saved, int restriction);
extern void user_restore(const SavedUser *saved);

#endif							/* WALWARDEN_CALL_H */
