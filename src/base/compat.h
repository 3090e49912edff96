/*
 * compat.h
 *		Differences between the supported servers, and nothing else.
 */
#ifndef WALWARDEN_COMPAT_H
#define WALWARDEN_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 200000
#error "walwarden supports PostgreSQL 15 to 19"
#endif

#include "catalog/pg_database.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"				/* postgres.h had it before */
#endif
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#if PG_VERSION_NUM >= 160000
#include "parser/parse_relation.h"
#endif
#include "replication/walreceiver.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"
#if PG_VERSION_NUM >= 170000
#include "storage/procarray.h"
#else
#include "storage/sinvaladt.h"
#endif
#include "utils/guc.h"
#include "utils/guc_tables.h"

/* Marks a function that does not return. Older servers have a macro to put after it instead. */
#ifndef pg_noreturn
#define pg_noreturn pg_attribute_noreturn()
#endif

/* The process of a virtual transaction, or NULL if it has gone. */
static inline PGPROC *
compat_vxid_proc(VirtualTransactionId vxid)
{
#if PG_VERSION_NUM >= 170000
	return ProcNumberGetProc(vxid.procNumber);
#else
	return BackendIdGetProc(vxid.backendId);
#endif
}

/* All settings of the server. */
static inline struct config_generic **
compat_settings(int *count)
{
#if PG_VERSION_NUM >= 160000
	return get_guc_variables(count);
#else
	*count = GetNumConfigOptions();
	return get_guc_variables();
#endif
}

/* Connect to a database for statements of SQL. Returns NULL, and a text in *error, if that fails. */
static inline WalReceiverConn *
compat_walrcv_connect(const char *conninfo, const char *appname, char **error)
{
#if PG_VERSION_NUM >= 170000
	return walrcv_connect(conninfo, true, true, false, appname, error);
#elif PG_VERSION_NUM >= 160000
	return walrcv_connect(conninfo, true, false, appname, error);
#else
	return walrcv_connect(conninfo, true, appname, error);
#endif
}

/* The identifier of the cluster that a connection leads to. */
static inline char *
compat_walrcv_identify_system(WalReceiverConn *connection)
{
	TimeLineID	timeline;
#if PG_VERSION_NUM >= 190000
	XLogRecPtr	end;

	return walrcv_identify_system(connection, &timeline, &end);
#else
	return walrcv_identify_system(connection, &timeline);
#endif
}

/* Fail with libpq's message if it cannot parse conninfo. */
static inline void
compat_walrcv_check_conninfo(const char *conninfo)
{
#if PG_VERSION_NUM >= 160000
	walrcv_check_conninfo(conninfo, false);
#else
	walrcv_check_conninfo(conninfo);
#endif
}

/* The settings that print statements and plans to the log and the client. */
typedef struct PlanPrinting
{
	bool		parse;
	bool		raw_parse;		/* since 19 */
	bool		rewritten;
	bool		plan;
} PlanPrinting;

static inline PlanPrinting
compat_plan_printing(void)
{
	PlanPrinting printing = {
		.parse = Debug_print_parse,
		.rewritten = Debug_print_rewritten,
		.plan = Debug_print_plan
	};

#if PG_VERSION_NUM >= 190000
	printing.raw_parse = Debug_print_raw_parse;
#endif
	return printing;
}

/* This changes the variables, not the settings. */
static inline void
compat_set_plan_printing(const PlanPrinting *printing)
{
	Debug_print_parse = printing->parse;
#if PG_VERSION_NUM >= 190000
	Debug_print_raw_parse = printing->raw_parse;
#endif
	Debug_print_rewritten = printing->rewritten;
	Debug_print_plan = printing->plan;
}

/* Left behind by an interrupted DROP DATABASE; older minor releases do not mark it. */
static inline bool
compat_database_is_invalid(Form_pg_database database)
{
#ifdef DATCONNLIMIT_INVALID_DB
	return database->datconnlimit == DATCONNLIMIT_INVALID_DB;
#else
	return false;
#endif
}

/* A hash table in shared memory, for so many entries. */
static inline HTAB *
compat_shmem_hash(const char *name, int nelems, HASHCTL *control, int flags)
{
#if PG_VERSION_NUM >= 190000
	return ShmemInitHash(name, nelems, control, flags);
#else
	return ShmemInitHash(name, nelems, nelems, control, flags);
#endif
}

/* Make a table the range table of an executor. updated: the columns that are, offset as usual. */
static inline void
compat_init_range_table(EState *estate, Relation heap, Bitmapset *updated)
{
	RangeTblEntry *entry = makeNode(RangeTblEntry);
#if PG_VERSION_NUM >= 160000
	List	   *permissions = NIL;
#endif

	entry->rtekind = RTE_RELATION;
	entry->relid = RelationGetRelid(heap);
	entry->relkind = heap->rd_rel->relkind;
	entry->rellockmode = RowExclusiveLock;
#if PG_VERSION_NUM >= 160000
	addRTEPermissionInfo(&permissions, entry)->updatedCols = updated;
#else
	entry->updatedCols = updated;
#endif
#if PG_VERSION_NUM >= 180000
	ExecInitRangeTable(estate, list_make1(entry), permissions, bms_make_singleton(1));
#elif PG_VERSION_NUM >= 160000
	ExecInitRangeTable(estate, list_make1(entry), permissions);
#else
	ExecInitRangeTable(estate, list_make1(entry));
#endif
}

/* For an executor that never evaluates a plan again. */
static inline void
compat_epq_init(EPQState *epq, EState *estate)
{
#if PG_VERSION_NUM >= 160000
	EvalPlanQualInit(epq, estate, NULL, NIL, -1, NIL);
#else
	EvalPlanQualInit(epq, estate, NULL, NIL, -1);
#endif
}

#endif							/* WALWARDEN_COMPAT_H */
