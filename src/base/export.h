/*
 * export.h
 *		Exports of the library: the functions that SQL or the server calls by name. All
 *		other functions are compiled hidden (Makefile), so that a library loaded earlier
 *		cannot replace them.
 *
 * Every file with PG_FUNCTION_INFO_V1, PG_MODULE_MAGIC or PGDLLEXPORT includes this
 * header, because before PostgreSQL 16 the server's macros exported nothing.
 *
 * Invariant: a function that SQL calls is never inlined into a JIT-compiled expression,
 * from which the hidden functions that it calls cannot be reached.
 */
#ifndef WALWARDEN_EXPORT_H
#define WALWARDEN_EXPORT_H

#include "postgres.h"

#include "fmgr.h"

#if PG_VERSION_NUM < 160000
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
#endif

#undef PG_FUNCTION_INFO_V1
#define PG_FUNCTION_INFO_V1(funcname) \
extern PGDLLEXPORT pg_noinline Datum funcname(PG_FUNCTION_ARGS); \
extern PGDLLEXPORT const Pg_finfo_record *CppConcat(pg_finfo_,funcname)(void); \
const Pg_finfo_record * \
CppConcat(pg_finfo_,funcname) (void) \
{ \
	static const Pg_finfo_record my_finfo = { 1 }; \
	return &my_finfo; \
} \
extern int no_such_variable

#endif							/* WALWARDEN_EXPORT_H */
