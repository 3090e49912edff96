/*
 * invalidation.c
 *		The protocol by which a backend learns that its caches are stale.
 *
 * - Every table that a cache depends on has a trigger, FOR EACH ROW and ENABLE
 *   ALWAYS, that invalidates the relation walwarden_internal.cache_signal in the
 *   changing transaction. A commit first becomes visible, then sends its
 *   invalidation messages, then reports success to its client.
 * - The callback for these messages only increments a generation, and notes it. It
 *   allocates nothing and cannot fail.
 * - A reader reads the generation, by invalidation_begin(), before it takes a snapshot. It
 *   caches what the snapshot shows only if no message about it has come since. The message of a change
 *   that the snapshot did not see is then still to come.
 * - Of some tables a change matters only to what depends on the row's key. Its message
 *   is about another relation, one for each first byte of a key. There is no relation with
 *   such an OID, or one to which it does not matter: whoever receives a message about a
 *   relation that they do not know does nothing.
 * - So does a backend with another library, to which these OIDs, or the keys, mean something
 *   else. Before the last one has ended, here or on a standby, a change may not reach every
 *   cache (docs/runbook.md, Upgrade). Standbys have a new library before their primary, so it
 *   must heed the messages of the one before as well.
 * - A transaction that has written anything caches nothing, because what it sees may
 *   be its own change and may be rolled back.
 *
 * The protocol holds on a standby as well, where the messages follow the replay of
 * the commit.
 *
 * Invariant: this file knows no cache; the caches above it use it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/uuid.h"

#include "base/export.h"
#include "base/invalidation.h"

#define SIGNAL_RELATION "cache_signal"

/* The OID of messages about the first key; those of the others follow. */
#define KEY_RELID ((Oid) (PG_UINT32_MAX - INVALIDATION_KEYS + 1))

/* A table of which a change matters to one key only. */
typedef struct KeyedTable
{
	const char *name;
	AttrNumber	column;			/* with the key, a uuid */
} KeyedTable;

uint64		invalidation_generation = 1;
uint64		invalidation_last = 1;
uint64		invalidation_last_of[INVALIDATION_KEYS];

static Oid	signal_relid = InvalidOid;
static KeyedTable keyed_tables[2];
static int	nkeyed = 0;

static void
signal_callback(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == signal_relid)
		invalidation_last = ++invalidation_generation;
	else if (relid >= KEY_RELID)
		invalidation_last_of[relid - KEY_RELID] = ++invalidation_generation;
}

/*
 * From now on, a change of a row of this table matters only to its key. name: is not freed.
 * For _PG_init() alone: every backend must do the same.
 */
void
invalidation_by_key(const char *table, AttrNumber column)
{
	if (nkeyed == lengthof(keyed_tables))
		elog(ERROR, "too many tables with keys");
	keyed_tables[nkeyed].name = table;
	keyed_tables[nkeyed++].column = column;
}

void
invalidation_init(void)
{
	CacheRegisterRelcacheCallback(signal_callback, (Datum) 0);
}

static Oid
find_signal_relation(void)
{
	Oid			namespace = get_namespace_oid("walwarden_internal", true);

	return OidIsValid(namespace) ? get_relname_relid(SIGNAL_RELATION, namespace) : InvalidOid;
}

/*
 * The generation of what is read from now on, which is its age if it is cached. To be called
 * before the snapshot is taken: only after this do the messages about what it shows count.
 */
uint64
invalidation_begin(void)
{
	Oid			relid = find_signal_relation();

	if (relid != signal_relid)
	{
		/* not the extension that the caches were filled from */
		signal_relid = relid;
		invalidation_last = ++invalidation_generation;
	}
	return invalidation_generation;
}

/* Tell every backend of a change, which is of one key or, if it is NULL, of any. */
static void
send_signal(Oid namespace, const pg_uuid_t *key)
{
	Oid			relid = get_relname_relid(SIGNAL_RELATION, namespace);
	HeapTuple	relation = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(relid));

	if (!HeapTupleIsValid(relation))
		elog(ERROR, "relation %s is missing", SIGNAL_RELATION);
	if (key != NULL)
		((Form_pg_class) GETSTRUCT(relation))->oid = KEY_RELID + key->data[0];
	CacheInvalidateRelcacheByTuple(relation);
	heap_freetuple(relation);
}

/*
 * The column with the key of a table's rows, or InvalidAttrNumber. A table of the same name
 * in another schema has none unless it is a uuid there too.
 */
static AttrNumber
key_column(Relation table)
{
	TupleDesc	desc = RelationGetDescr(table);

	for (int i = 0; i < nkeyed; i++)
	{
		AttrNumber	column = keyed_tables[i].column;

		if (strcmp(RelationGetRelationName(table), keyed_tables[i].name) == 0 &&
			column <= desc->natts && TupleDescAttr(desc, column - 1)->atttypid == UUIDOID)
			return column;
	}
	return InvalidAttrNumber;
}

/* Tell of a change of a row. column: that of its key, if it has one. */
static void
signal_row(HeapTuple row, Relation table, AttrNumber column)
{
	bool		isnull = true;
	Datum		key = (Datum) 0;

	if (AttributeNumberIsValid(column))
		key = heap_getattr(row, column, RelationGetDescr(table), &isnull);
	send_signal(RelationGetNamespace(table), isnull ? NULL : DatumGetUUIDP(key));
}

/*
 * The trigger that tells every backend that its caches are stale. BEFORE UPDATE,
 * DELETE or INSERT FOR EACH ROW, or TRUNCATE.
 */
PG_FUNCTION_INFO_V1(walwarden_signal_change);
Datum
walwarden_signal_change(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	Relation	table;
	AttrNumber	column;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"walwarden_signal_change\" must be fired BEFORE, by the trigger manager")));
	table = trigdata->tg_relation;
	if (!TRIGGER_FIRED_FOR_ROW(trigdata->tg_event))
	{
		send_signal(RelationGetNamespace(table), NULL);
		return PointerGetDatum(NULL);
	}
	column = key_column(table);
	signal_row(trigdata->tg_trigtuple, table, column);
	if (!TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		return PointerGetDatum(trigdata->tg_trigtuple);
	if (AttributeNumberIsValid(column))
		signal_row(trigdata->tg_newtuple, table, column);
	return PointerGetDatum(trigdata->tg_newtuple);
}

/*
 * Whether data may be cached that was read with a snapshot taken after generation was
 * read, by invalidation_begin(). key: as for invalidation_is_current().
 */
bool
invalidation_may_remember(uint64 generation, const pg_uuid_t *key)
{
	return invalidation_is_current(generation, key) &&
		OidIsValid(signal_relid) &&
		!TransactionIdIsValid(GetTopTransactionIdIfAny());
}
