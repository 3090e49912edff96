/*
 * cache.c
 *		What a backend remembers of the tokens that it authenticated, so that the
 *		next time costs a look-up in its own memory.
 *
 * The protocol that keeps a remembered token from ever being stale:
 *
 * - Whatever changes a row that a token's standing depends on has a trigger,
 *   FOR EACH ROW and ENABLE ALWAYS, that invalidates the relation
 *   walwarden._standing_signal in the changing transaction. A commit becomes
 *   visible, then sends its invalidation messages, then answers its client.
 * - The callback for these messages only counts a generation up: it allocates
 *   nothing and cannot fail.
 * - Each use takes in pending messages first. What was stored in another
 *   generation is not there any more; time is compared at each use.
 * - A miss reads the generation, and only then takes its snapshot. It stores
 *   what it found only if the generation is still the same, so that a change
 *   that the snapshot did not see has its message yet to come.
 * - A transaction that has written anything stores nothing: what it saw may be
 *   its own, and may roll back.
 * - Only tokens that work are stored, never that one is unknown: who sends
 *   random values neither fills this memory nor displaces anything from it.
 *
 * It holds on a standby as on a primary: there the messages follow the replay
 * of the commit.
 *
 * Memory is bounded by CACHE_SIZE tokens; the clock algorithm decides which one
 * gives way.
 */
#include "walwarden.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#define CACHE_SIZE 4096
#define SIGNAL_RELATION "_standing_signal"

typedef struct CacheEntry
{
	uint8		fingerprint[DIGEST_LEN];	/* hash key */
	ResolvedToken *token;
	uint64		generation;
	bool		used;			/* since the hand last passed */
} CacheEntry;

/* Counts the changes that anything remembered may depend on. */
uint64		cache_generation = 1;

static Oid	signal_relid = InvalidOid;
static HTAB *entries = NULL;
static MemoryContext cache_context = NULL;
static CacheEntry *clock_face[CACHE_SIZE];	/* NULL: a free place */
static int	clock_hand = 0;
static int	clock_filled = 0;	/* places that were ever taken */

static void
signal_callback(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == signal_relid)
		cache_generation++;
}

void
cache_init(void)
{
	CacheRegisterRelcacheCallback(signal_callback, (Datum) 0);
}

static Oid
find_signal_relation(void)
{
	Oid			namespace = get_namespace_oid("walwarden", true);

	return OidIsValid(namespace) ? get_relname_relid(SIGNAL_RELATION, namespace) : InvalidOid;
}

/*
 * The trigger that tells every backend that what it remembers is old. BEFORE
 * UPDATE, DELETE or INSERT FOR EACH ROW, or TRUNCATE.
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
 * Whether something found with a snapshot that was taken after generation had
 * been read may be remembered.
 */
bool
cache_may_store(uint64 generation)
{
	return generation == cache_generation &&
		OidIsValid(signal_relid) &&
		!TransactionIdIsValid(GetTopTransactionIdIfAny());
}

static uint32
fingerprint_hash(const void *key, Size keysize)
{
	uint32		hash;

	memcpy(&hash, key, sizeof(hash));
	return hash;
}

static CacheEntry *
find_entry(const uint8 *fingerprint)
{
	if (entries == NULL)
	{
		HASHCTL		control = {0};

		if (cache_context == NULL)
			cache_context = AllocSetContextCreate(TopMemoryContext, "walwarden tokens", ALLOCSET_DEFAULT_SIZES);
		control.keysize = DIGEST_LEN;
		control.entrysize = sizeof(CacheEntry);
		control.hash = fingerprint_hash;
		control.hcxt = cache_context;
		entries = hash_create("walwarden tokens", 256, &control, HASH_ELEM | HASH_FUNCTION | HASH_CONTEXT);
	}
	return hash_search(entries, fingerprint, HASH_FIND, NULL);
}

/* Take the token out of an entry; an identity may go on using it. */
static void
drop_token(CacheEntry *entry)
{
	ResolvedToken *token = entry->token;

	entry->token = NULL;
	if (token == NULL)
		return;
	token->cached = false;
	if (token->pins == 0)
		pfree(token);
}

/* A free place on the clock: one not yet used, or that of whoever gives way. */
static int
free_slot(void)
{
	CacheEntry *entry;

	if (clock_filled < CACHE_SIZE)
		return clock_filled++;
	for (;; clock_hand = (clock_hand + 1) % CACHE_SIZE)
	{
		entry = clock_face[clock_hand];
		if (entry == NULL || !entry->used || entry->generation != cache_generation)
			break;
		entry->used = false;
	}
	if (entry != NULL)
	{
		drop_token(entry);
		clock_face[clock_hand] = NULL;
		hash_search(entries, entry->fingerprint, HASH_REMOVE, NULL);
	}
	return clock_hand;
}

static void
store(const uint8 *fingerprint, ResolvedToken *token, uint64 generation)
{
	CacheEntry *entry = find_entry(fingerprint);

	if (entry != NULL)
		drop_token(entry);
	else
	{
		int			slot = free_slot();

		entry = hash_search(entries, fingerprint, HASH_ENTER, NULL);
		clock_face[slot] = entry;
	}
	entry->token = token;
	entry->generation = generation;
	entry->used = true;
	token->cached = true;
}

/* The token that the tables know now, or NULL and why not. */
static ResolvedToken *
resolve_anew(ValueKind kind, const uint8 *fingerprint, const char **reason)
{
	static MemoryContext scratch = NULL;
	MemoryContext save;
	Standing	standing;
	uint64		generation;
	ResolvedToken *token;
	Oid			relid = find_signal_relation();

	if (scratch == NULL)
		scratch = AllocSetContextCreate(TopMemoryContext, "walwarden look-up", ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(scratch);
	if (relid != signal_relid)
	{
		/* another extension than the one that was remembered */
		signal_relid = relid;
		cache_generation++;
	}

	save = MemoryContextSwitchTo(scratch);
	standing_of_credential(kind, fingerprint, &standing, &generation);
	MemoryContextSwitchTo(save);
	if (standing.state != TOKEN_ACTIVE)
	{
		*reason = standing.reason;
		return NULL;
	}
	token = standing_flatten(&standing, cache_context);
	token->kind = kind;
	if (cache_may_store(generation))
		store(fingerprint, token, generation);
	return token;
}

/*
 * The token that a value opens now; NULL, and why, when it opens none. The caller
 * gives it back by cache_unpin(), and sees to it that no error can come between.
 */
ResolvedToken *
cache_resolve(ValueKind kind, const uint8 *fingerprint, const char **reason)
{
	CacheEntry *entry;
	ResolvedToken *token;

	AcceptInvalidationMessages();
	entry = find_entry(fingerprint);
	if (entry != NULL && entry->generation == cache_generation && entry->token->kind == kind)
	{
		token = entry->token;
		entry->used = true;
	}
	else
		token = resolve_anew(kind, fingerprint, reason);
	if (token == NULL)
		return NULL;

	token->pins++;
	if (token->standing.ends_at != DT_NOEND && token->standing.ends_at <= GetCurrentTimestamp())
	{
		*reason = "expired";
		cache_unpin(token);
		return NULL;
	}
	return token;
}

void
cache_unpin(ResolvedToken *token)
{
	Assert(token->pins > 0);
	if (--token->pins == 0 && !token->cached)
		pfree(token);
}
