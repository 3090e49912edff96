/*
 * tables.c
 *		Reading the extension's tables from C: by name, by index, without SQL.
 *
 * No search_path, operator or policy of the session is involved, and no privilege is
 * checked. Only the extension owns objects in its schema, so a name in it is as good as
 * an OID, and it survives DROP and CREATE EXTENSION. OIDs are kept no longer than the
 * system caches that they came from.
 *
 * Any value can be null, because somebody can drop a NOT NULL. Whoever reads one says what
 * that means: it is no match and grants nothing, or it is an error.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_index.h"
#include "fmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/export.h"
#include "base/tables.h"

/* Names already looked up; cleared when a name in pg_class or pg_namespace changes. */
#define KNOWN_MAX 40

static struct
{
	const char *name;			/* a constant of the code */
	Oid			oid;
}			known[KNOWN_MAX];
static int	nknown = 0;

/* Counts these changes, so that a lookup during which one arrived is not kept. */
static uint64 generation = 0;

static void
forget_names(Datum arg, int cacheid, uint32 hashvalue)
{
	generation++;
	nknown = 0;
}

/* InvalidOid if it does not exist. */
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
	relid = get_relname_relid(name, get_namespace_oid("walwarden_internal", false));
	if (OidIsValid(relid) && before == generation && nknown < KNOWN_MAX)
	{
		known[nknown].name = name;
		known[nknown++].oid = relid;
	}
	return relid;
}

/*
 * The relation with this name. name: a string constant, of which only the address is
 * kept.
 */
Oid
walwarden_relation_oid(const char *name)
{
	Oid			relid = look_up(name);

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("walwarden_internal.%s is missing", name),
				 errhint("Check that the extension walwarden is installed in this database.")));
	return relid;
}

/* Acquiring the lock processes pending invalidations; if there were any, look again. */
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
 * Fail unless the columns of a composite type have these types. It has fewer in an older
 * version of the extension, and more if somebody has added some, of which verification
 * tells: whoever reads or makes a row has places for as many as there can be.
 */
void
walwarden_check_type(TupleDesc desc, const Oid *types, int ntypes)
{
	for (int i = 0; i < Min(desc->natts, ntypes); i++)
		if (TupleDescAttr(desc, i)->attisdropped || TupleDescAttr(desc, i)->atttypid != types[i])
			elog(ERROR, "column %d of type %s is not as it was installed", i + 1, format_type_be(desc->tdtypeid));
}

/* Whether an index has all rows, or all in which a column is null. column: 0 for all rows. */
static bool
has_rows(Relation index, AttrNumber column)
{
	List	   *predicate = RelationGetIndexPredicate(index);
	const NullTest *test;

	if (predicate == NIL)
		return true;
	test = linitial(predicate);
	return column != 0 && list_length(predicate) == 1 && IsA(test, NullTest) && test->nulltesttype == IS_NULL &&
		IsA(test->arg, Var) && ((const Var *) test->arg)->varattno == column;
}

/* Whether an index of a table finds rows by these keys, which are its first columns, with any snapshot. */
static bool
finds_rows(Relation index, Relation heap, int nkeys, const ScanKeyData *keys)
{
	Form_pg_index form = index->rd_index;

	if (form->indrelid != RelationGetRelid(heap) || index->rd_rel->relam != BTREE_AM_OID || !form->indisvalid || form->indnkeyatts < nkeys)
		return false;
	if (form->indcheckxmin && !TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data), TransactionXmin))
		return false;
	for (int i = 0; i < nkeys; i++)
		if (form->indkey.values[i] != keys[i].sk_attno ||
			index->rd_indcollation[i] != TupleDescAttr(RelationGetDescr(heap), keys[i].sk_attno - 1)->attcollation)
			return false;
	return true;
}

/*
 * The index of this name if it finds every row with these keys in which null_column is null
 * (0: every row). InvalidOid if it is missing, or might not. Somebody has altered it then,
 * and verification says so; for this it reads rows, and must not be misled.
 */
static Oid
sound_index(Relation heap, const char *name, AttrNumber null_column, int nkeys, const ScanKeyData *keys)
{
	Oid			relid = look_up(name);
	Relation	index;
	bool		sound;

	if (!OidIsValid(relid) || get_rel_relkind(relid) != RELKIND_INDEX)
		return InvalidOid;
	index = index_open(relid, AccessShareLock);
	sound = finds_rows(index, heap, nkeys, keys) && has_rows(index, null_column);
	index_close(index, AccessShareLock);
	return sound ? relid : InvalidOid;
}

/*
 * Begin to read the rows of an open table with these keys: by an index, or without it if it
 * is not sound. If rows in which null_column is not null do not matter, the index need not
 * have them; 0: all rows matter. The scan may overwrite the column numbers in keys. The
 * snapshot is registered or active. A text key needs a column with COLLATE "C".
 */
SysScanDesc
walwarden_scan_begin(Relation heap, const char *index, AttrNumber null_column, Snapshot snapshot, int nkeys, ScanKey keys)
{
	Oid			indexid = sound_index(heap, index, null_column, nkeys, keys);

	return systable_beginscan(heap, indexid, OidIsValid(indexid), snapshot, nkeys, keys);
}

/*
 * Find a row by the keys of a unique index, as walwarden_scan_begin() does. The caller fills
 * in keys with ScanKeyInit() and column numbers of the table, and calls row_close(), also if
 * there is no row.
 *
 * The table is locked before its index, as VACUUM FULL and TRUNCATE do.
 */
bool
row_find(Row *row, const char *table, const char *index, int nkeys, ScanKey keys, Snapshot snapshot)
{
	SysScanDesc scan;

	row->heap = walwarden_table_open(table);
	scan = walwarden_scan_begin(row->heap, index, 0, snapshot, nkeys, keys);
	row->tuple = systable_getnext(scan);
	if (HeapTupleIsValid(row->tuple))
		row->tuple = heap_copytuple(row->tuple);
	systable_endscan(scan);
	return row->tuple != NULL;
}

/* The same by one key of type text. NULL finds nothing. */
bool
row_find_text(Row *row, const char *table, const char *index, AttrNumber column, const text *key, Snapshot snapshot)
{
	ScanKeyData scankey;

	if (key == NULL)
	{
		row->heap = walwarden_table_open(table);
		row->tuple = NULL;
		return false;
	}
	ScanKeyInit(&scankey, column, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(key));
	return row_find(row, table, index, 1, &scankey, snapshot);
}

/* The same by one key of type uuid. */
bool
row_find_uuid(Row *row, const char *table, const char *index, AttrNumber column, const pg_uuid_t *key, Snapshot snapshot)
{
	ScanKeyData scankey;

	ScanKeyInit(&scankey, column, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(key));
	return row_find(row, table, index, 1, &scankey, snapshot);
}

/*
 * walwarden_internal.index_has(index text, owner uuid, id uuid)
 *
 * Whether an index of two uuid columns has an entry of a visible row. SQL could use the
 * index of the primary key instead, and so read a row of another owner.
 */
PG_FUNCTION_INFO_V1(walwarden_index_has);
Datum
walwarden_index_has(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Oid			index_oid = get_relname_relid(name, get_namespace_oid("walwarden_internal", false));
	Relation	heap = table_open(IndexGetRelation(index_oid, false), AccessShareLock);
	Relation	index = index_open(index_oid, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	bool		found;

	for (int i = 0; i < 2; i++)
		ScanKeyInit(&keys[i], index->rd_index->indkey.values[i], BTEqualStrategyNumber, F_UUID_EQ, PG_GETARG_DATUM(i + 1));
	scan = systable_beginscan(heap, index_oid, true, GetActiveSnapshot(), lengthof(keys), keys);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	index_close(index, AccessShareLock);
	table_close(heap, AccessShareLock);
	PG_RETURN_BOOL(found);
}

/* A row that SQL has, as a value of the row type of its table. It has no row_xmin(). */
void
row_of_value(Row *row, const char *table, HeapTupleHeader value)
{
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(value),.t_data = value};

	row->heap = walwarden_table_open(table);
	row->tuple = heap_copytuple(&tuple);
}

/* Close the table of a row. Values of row_get() are no longer valid. */
void
row_close(Row *row)
{
	if (row->tuple != NULL)
		heap_freetuple(row->tuple);
	table_close(row->heap, AccessShareLock);
}

/* The transaction that created this version of the row; Frozen for one that was frozen. */
TransactionId
row_xmin(const Row *row)
{
	return HeapTupleHeaderGetXmin(row->tuple->t_data);
}

/* NULL if the table is from a version without the column. */
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

/* Whether a column is not null. */
bool
row_has(const Row *row, AttrNumber column)
{
	bool		isnull;

	(void) row_get(row, column, &isnull);
	return !isnull;
}

/* The value of a column of type uuid. Fails on null. */
pg_uuid_t
row_uuid(const Row *row, AttrNumber column)
{
	bool		isnull;
	Datum		value = row_get(row, column, &isnull);

	if (isnull)
		elog(ERROR, "unexpected null in walwarden_internal.%s", RelationGetRelationName(row->heap));
	return *DatumGetUUIDP(value);
}

/* A copy of a value of type text or bytea, or NULL. */
text *
row_text(const Row *row, AttrNumber column)
{
	bool		isnull;
	Datum		value = row_get(row, column, &isnull);

	return isnull ? NULL : DatumGetTextPCopy(value);
}

/* Whether a value of type text or bytea is this one. Null is none. */
bool
row_text_is(const Row *row, AttrNumber column, const char *value, size_t len)
{
	bool		isnull;
	Datum		datum = row_get(row, column, &isnull);
	const text *stored = isnull ? NULL : DatumGetTextPP(datum);

	return stored != NULL && VARSIZE_ANY_EXHDR(stored) == len && memcmp(VARDATA_ANY(stored), value, len) == 0;
}
