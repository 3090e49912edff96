/*
 * invalidation.c
 *		The protocol by which a backend learns that its caches are stale.
 *
 * - Every table that a cache depends on has a trigger, FOR EACH ROW and ENABLE
 *   ALWAYS, that invalidates the relation walwarden_internal.cache_signal in the
 *   changing transaction. A commit first becomes visible, then sends its
 *   invalidation messages, then reports success to its client.
 * - The callback for these messages only increments a generation. It allocates
 *   nothing and cannot fail.
 * - A reader reads the generation before it takes a snapshot. It caches what the
 *   snapshot shows only if the generation is still the same afterwards. The message
 *   of a change that the snapshot did not see is then still to come.
 * - A transaction that has written anything caches nothing, because what it sees may
 *   be its own change and may be rolled back.
 *
 * The protocol holds on a standby as well, where the messages follow the replay of
 * the commit.
 *
 * Invariant: this file knows no cache; the caches above it use it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/export.h"
#include "base/invalidation.h"

#define SIGNAL_RELATION "cache_signal"

uint64		invalidation_generation = 1;

static Oid	signal_relid = InvalidOid;

static void
signal_callback(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == signal_relid)
		invalidation_generation++;
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

/* Call this before reading anything that may be cached. */
void
invalidation_find_signal(void)
{
	Oid			relid = find_signal_relation();

	if (relid != signal_relid)
	{
		/* not the extension that the caches were filled from */
		signal_relid = relid;
		invalidation_generation++;
	}
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

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"walwarden_signal_change\" must be fired BEFORE, by the trigger manager")));
	CacheInvalidateRelcacheByRelid(get_relname_relid(SIGNAL_RELATION, RelationGetNamespace(trigdata->tg_relation)));
	if (TRIGGER_FIRED_FOR_STATEMENT(trigdata->tg_event))
		return PointerGetDatum(NULL);
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event) ? trigdata->tg_newtuple : trigdata->tg_trigtuple);
}

/*
 * Whether data may be cached that was read with a snapshot taken after generation was
 * read.
 */
bool
invalidation_may_remember(uint64 generation)
{
	return generation == invalidation_generation &&
		OidIsValid(signal_relid) &&
		!TransactionIdIsValid(GetTopTransactionIdIfAny());
}
