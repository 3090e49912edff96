/*
 * compat.h
 *		Differences between the supported servers, and nothing else.
 */
#ifndef WALWARDEN_COMPAT_H
#define WALWARDEN_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 190000
#error "walwarden supports PostgreSQL 15 to 18"
#endif

#include "catalog/pg_database.h"
#include "storage/lock.h"
#include "storage/proc.h"
#if PG_VERSION_NUM >= 170000
#include "storage/procarray.h"
#else
#include "storage/sinvaladt.h"
#endif

/* Stands before a function that does not return; older servers had another macro, for behind it. */
#ifndef pg_noreturn
#define pg_noreturn pg_attribute_noreturn()
#endif

/* Process behind a virtual transaction, or NULL when it is gone. */
static inline PGPROC *
compat_vxid_proc(VirtualTransactionId vxid)
{
#if PG_VERSION_NUM >= 170000
	return ProcNumberGetProc(vxid.procNumber);
#else
	return BackendIdGetProc(vxid.backendId);
#endif
}

/* What an interrupted DROP DATABASE left; minor releases before these did not mark it. */
static inline bool
compat_database_is_invalid(Form_pg_database database)
{
#ifdef DATCONNLIMIT_INVALID_DB
	return database->datconnlimit == DATCONNLIMIT_INVALID_DB;
#else
	return false;
#endif
}

#endif							/* WALWARDEN_COMPAT_H */
