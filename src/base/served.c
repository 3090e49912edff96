/*
 * served.c
 *		Which databases the worker serves: walwarden.database.
 *
 * Invariant: the result for the current database stays valid until the setting or the
 * row of a database changes.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "base/served.h"

static char *walwarden_database;	/* a list of names; empty: all */

/* Whether walwarden.database includes the current database, once it was looked up. */
static enum
{
	SERVED_UNKNOWN,
	SERVED_YES,
	SERVED_NO
}			here = SERVED_UNKNOWN;

static bool
check_database(char **newval, void **extra, GucSource source)
{
	char	   *copy = pstrdup(*newval);
	List	   *names;
	bool		ok = SplitIdentifierString(copy, ',', &names);

	list_free(names);
	pfree(copy);
	if (!ok)
		GUC_check_errdetail("The value must be a list of names separated by commas. Put a name in double quotes if it has characters other than lower-case letters and digits.");
	return ok;
}

static void
assign_database(const char *newval, void *extra)
{
	here = SERVED_UNKNOWN;
}

static void
forget_here(Datum arg, int cacheid, uint32 hashvalue)
{
	here = SERVED_UNKNOWN;
}

/* Whether the worker serves a database, provided that it can connect to it. */
bool
served_database(Form_pg_database database)
{
	char	   *copy = pstrdup(walwarden_database);
	List	   *names;
	ListCell   *lc;
	bool		listed;

	if (!SplitIdentifierString(copy, ',', &names))
		names = NIL;			/* the check hook has ruled this out */
	listed = names == NIL;
	foreach(lc, names)
	{
		if (strcmp(lfirst(lc), NameStr(database->datname)) == 0)
			listed = true;
	}
	list_free(names);
	pfree(copy);
	return listed && !database->datistemplate;
}

/*
 * Whether the worker serves the current database. Call it in a transaction. The result
 * is looked up once, and again after a change of the setting or of a database.
 */
bool
served_here(void)
{
	if (unlikely(here == SERVED_UNKNOWN))
	{
		static bool registered = false;
		HeapTuple	tuple;

		if (!registered)
			CacheRegisterSyscacheCallback(DATABASEOID, forget_here, (Datum) 0);
		registered = true;
		tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));
		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for database %u", MyDatabaseId);
		here = served_database((Form_pg_database) GETSTRUCT(tuple)) ? SERVED_YES : SERVED_NO;
		ReleaseSysCache(tuple);
	}
	return here == SERVED_YES;
}

void
served_init(void)
{
	DefineCustomStringVariable("walwarden.database",
							   "Lists the databases that the background worker serves, separated by commas.",
							   "If it is empty, the worker serves every database with the extension. Templates are never served. Put a name in double quotes if it has characters other than lower-case letters and digits. Requires shared_preload_libraries.",
							   &walwarden_database,
							   "",
							   PGC_SIGHUP, GUC_LIST_INPUT,
							   check_database, assign_database, NULL);
}
