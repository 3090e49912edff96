/*
 * tables.c
 *		Reading the extension's tables from C: by name, by index, without SQL.
 *
 * No search_path, operator or policy of the session has a part in it, and no
 * right to read is checked. The schema belongs to the extension and to nobody
 * else, so a name in it is as good as an OID, and survives DROP and CREATE
 * EXTENSION: OIDs are kept no longer than the caches that they came from.
 */
#include "walwarden.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "tables.h"

/* Names that were looked up, as long as no name in pg_class or pg_namespace changes. */
#define KNOWN_MAX 40

static struct
{
	const char *name;			/* a constant of the code */
	Oid			oid;
}			known[KNOWN_MAX];
static int	nknown = 0;

/* Counts the changes, so that a lookup in which one was seen is not kept. */
static uint64 generation = 0;

static void
forget_names(Datum arg, int cacheid, uint32 hashvalue)
{
	generation++;
	nknown = 0;
}

/* InvalidOid when there is none. */
static Oid
look_up(const char *name)
{
	static bool registered = false;
	uint64		before;
	Oid			relid;

	for (int i = 0; i < nknown; i++)
		if (known[i].name == name || strcmp(known[i].name, name) == 0)
			return known[i].oid;
	if (!registered)
	{
		CacheRegisterSyscacheCallback(RELNAMENSP, forget_names, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACENAME, forget_names, (Datum) 0);
		registered = true;
	}
	before = generation;
	relid = get_relname_relid(name, get_namespace_oid("walwarden", false));
	if (OidIsValid(relid) && before == generation && nknown < KNOWN_MAX)
	{
		known[nknown].name = name;
		known[nknown++].oid = relid;
	}
	return relid;
}

/*
 * The relation of that name. name: a string constant, which is remembered by its
 * address.
 */
Oid
walwarden_relation_oid(const char *name)
{
	Oid			relid = look_up(name);

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("walwarden.%s is missing", name),
				 errhint("Is the extension walwarden installed in this database?")));
	return relid;
}

/* Taking the lock lets changes in that were made meanwhile: then look again. */
static Oid
lock_by_name(const char *name)
{
	for (;;)
	{
		uint64		before = generation;
		Oid			relid = walwarden_relation_oid(name);

		LockRelationOid(relid, AccessShareLock);
		if (generation == before || walwarden_relation_oid(name) == relid)
			return relid;
		UnlockRelationOid(relid, AccessShareLock);
	}
}

/* For reading. The caller closes it with AccessShareLock. */
Relation
walwarden_table_open(const char *name)
{
	return table_open(lock_by_name(name), NoLock);
}

/* For reading. The caller closes it with AccessShareLock. */
Relation
walwarden_index_open(const char *name)
{
	return index_open(lock_by_name(name), NoLock);
}

/*
 * Find the row of a table for the keys of one of its unique indexes. The caller
 * fills in keys by ScanKeyInit with column numbers of the table, and calls
 * row_close().
 */
bool
row_find(Row *row, const char *table, const char *index, int nkeys, ScanKey keys, Snapshot snapshot)
{
	Relation	index_rel = walwarden_index_open(index);
	SysScanDesc scan;

	row->heap = walwarden_table_open(table);
	scan = systable_beginscan(row->heap, RelationGetRelid(index_rel), true, snapshot, nkeys, keys);
	row->tuple = systable_getnext(scan);
	if (HeapTupleIsValid(row->tuple))
		row->tuple = heap_copytuple(row->tuple);
	systable_endscan(scan);
	index_close(index_rel, AccessShareLock);
	return row->tuple != NULL;
}

bool
row_find_text(Row *row, const char *table, const char *index, AttrNumber column, const text *key, Snapshot snapshot)
{
	ScanKeyData scankey;

	ScanKeyInit(&scankey, column, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(key));
	return row_find(row, table, index, 1, &scankey, snapshot);
}

bool
row_find_uuid(Row *row, const char *table, const char *index, AttrNumber column, const pg_uuid_t *key, Snapshot snapshot)
{
	ScanKeyData scankey;

	ScanKeyInit(&scankey, column, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(key));
	return row_find(row, table, index, 1, &scankey, snapshot);
}

void
row_close(Row *row)
{
	if (row->tuple != NULL)
		heap_freetuple(row->tuple);
	table_close(row->heap, AccessShareLock);
}

/* The transaction that made this version of the row; Frozen for an old one. */
TransactionId
row_xmin(const Row *row)
{
	return HeapTupleHeaderGetXmin(row->tuple->t_data);
}

/* NULL where the table is older than the column. */
Datum
row_get(const Row *row, AttrNumber column, bool *isnull)
{
	if (column > RelationGetDescr(row->heap)->natts)
	{
		*isnull = true;
		return (Datum) 0;
	}
	return heap_getattr(row->tuple, column, RelationGetDescr(row->heap), isnull);
}

bool
row_has(const Row *row, AttrNumber column)
{
	bool		isnull;

	(void) row_get(row, column, &isnull);
	return !isnull;
}

pg_uuid_t
row_uuid(const Row *row, AttrNumber column)
{
	bool		isnull;
	Datum		value = row_get(row, column, &isnull);

	if (isnull)
		elog(ERROR, "unexpected null in walwarden.%s", RelationGetRelationName(row->heap));
	return *DatumGetUUIDP(value);
}

text *
row_text(const Row *row, AttrNumber column)
{
	bool		isnull;
	Datum		value = row_get(row, column, &isnull);

	return isnull ? NULL : DatumGetTextPCopy(value);
}
