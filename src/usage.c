/*
 * usage.c
 *		When a token was last used.
 *
 * With preload, a use is noted in a table in shared memory, and the worker writes
 * to walwarden.token_usage what changed there (worker.c): a read-only request
 * counts too, and none writes anything. Without preload, and in a database that
 * the worker does not serve, the request's own transaction writes, at most once
 * a minute for a token.
 *
 * The table has USAGE_SETS sets of USAGE_WAYS entries. The hash of database and
 * token says in which set a token stands, and in a full set the oldest clean
 * entry gives way, else the oldest one, which is then lost and counted.
 *
 * Locking: each set has a spinlock, because a set is one pass over a few entries,
 * less than taking an LWLock costs. Under it nothing is called that could fail,
 * wait or allocate. Whoever walks the table holds one set at a time, and so sees
 * each set at a moment of its own.
 *
 * Invariants: noting a use never waits for another transaction, never makes a
 * change of the token wait and never fails a request; without shared memory it
 * leaves alone read-only transactions and those whose snapshot is fixed. The
 * time of an entry only grows. An entry is clean only when its time is on
 * record, or has no row to be recorded in.
 */
#include "walwarden.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "port/atomics.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "tables.h"

#define USAGE_SETS 8192
#define USAGE_WAYS 8			/* 65,536 entries, 2.1 MB; docs/operations.md says so */

/* How exact last-used is: with shared memory, and without. */
#define USAGE_PRECISION_SHARED USECS_PER_SEC
#define USAGE_PRECISION_STORED (60 * USECS_PER_SEC)

typedef struct UsageEntry
{
	Oid			dbid;			/* InvalidOid: free, and then clean and older than any */
	bool		dirty;			/* not on record yet */
	pg_uuid_t	token_id;
	TimestampTz last_used_at;
} UsageEntry;

typedef struct UsageSet
{
	slock_t		mutex;
	UsageEntry	entries[USAGE_WAYS];
} UsageSet;

typedef struct UsageTable
{
	pg_atomic_uint64 lost;		/* dirty entries that gave way */
	UsageSet	sets[USAGE_SETS];
} UsageTable;

static UsageTable *usage = NULL;	/* NULL without preload */

Size
usage_shmem_size(void)
{
	return sizeof(UsageTable);
}

/* Create or attach to the table. The caller holds AddinShmemInitLock. */
void
usage_shmem_init(void)
{
	bool		found;

	usage = ShmemInitStruct("walwarden usage", sizeof(UsageTable), &found);
	if (found)
		return;
	memset(usage, 0, sizeof(UsageTable));
	pg_atomic_init_u64(&usage->lost, 0);
	for (int i = 0; i < USAGE_SETS; i++)
	{
		SpinLockInit(&usage->sets[i].mutex);
		for (int j = 0; j < USAGE_WAYS; j++)
			usage->sets[i].entries[j].last_used_at = DT_NOBEGIN;
	}
}

static inline UsageSet *
usage_set(Oid dbid, const pg_uuid_t *token_id)
{
	return &usage->sets[hash_combine(hash_bytes(token_id->data, UUID_LEN), dbid) % USAGE_SETS];
}

/* The entry of a token, or NULL. The caller holds the set's lock. */
static inline UsageEntry *
usage_entry(UsageSet *set, Oid dbid, const pg_uuid_t *token_id)
{
	for (int i = 0; i < USAGE_WAYS; i++)
	{
		UsageEntry *entry = &set->entries[i];

		if (entry->dbid == dbid && memcmp(entry->token_id.data, token_id->data, UUID_LEN) == 0)
			return entry;
	}
	return NULL;
}

/* The entry that a new one takes the place of. The caller holds the set's lock. */
static inline UsageEntry *
usage_victim(UsageSet *set)
{
	UsageEntry *victim = &set->entries[0];

	for (int i = 1; i < USAGE_WAYS; i++)
	{
		UsageEntry *entry = &set->entries[i];

		if (entry->dirty != victim->dirty ? victim->dirty : entry->last_used_at < victim->last_used_at)
			victim = entry;
	}
	return victim;
}

static void
usage_note_shared(const pg_uuid_t *token_id, TimestampTz now)
{
	UsageSet   *set = usage_set(MyDatabaseId, token_id);
	UsageEntry *entry;
	bool		lost = false;

	SpinLockAcquire(&set->mutex);
	entry = usage_entry(set, MyDatabaseId, token_id);
	if (entry == NULL)
	{
		entry = usage_victim(set);
		lost = entry->dirty;
		entry->dbid = MyDatabaseId;
		entry->token_id = *token_id;
		entry->last_used_at = now;
	}
	else if (entry->last_used_at < now)
		entry->last_used_at = now;
	entry->dirty = true;
	SpinLockRelease(&set->mutex);

	if (lost)
		pg_atomic_fetch_add_u64(&usage->lost, 1);
}

/*
 * Whether the stored time is too old; false where the row is missing. noted is
 * the stored time, owner the table's.
 */
static bool
usage_is_due(const pg_uuid_t *token_id, TimestampTz now, TimestampTz *noted, Oid *owner)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Row			row;
	bool		due = false;

	if (row_find_uuid(&row, "token_usage", "token_usage_pkey", Anum_token_usage_token_id, token_id, snapshot))
	{
		bool		isnull;
		Datum		last = row_get(&row, Anum_token_usage_last_used_at, &isnull);

		if (!isnull)
			*noted = DatumGetTimestampTz(last);
		due = isnull || *noted <= now - USAGE_PRECISION_STORED;
	}
	*owner = row.heap->rd_rel->relowner;
	row_close(&row);
	UnregisterSnapshot(snapshot);
	return due;
}

/*
 * Write a use to the table, when one is due and the transaction is one that may.
 * What is written can roll back, so only what was read is noted.
 */
static void
usage_note_stored(const pg_uuid_t *token_id, TimestampTz now, TimestampTz *noted)
{
	Oid			owner;
	Oid			note;
	Oid			argtypes[1] = {UUIDOID};
	Oid			save_userid;
	int			save_sec_context;

	if (XactReadOnly || IsolationUsesXactSnapshot() || RecoveryInProgress())
		return;
	if ((now - *noted < USAGE_PRECISION_STORED && now >= *noted) ||
		!usage_is_due(token_id, now, noted, &owner))
		return;

	/* cppcheck-suppress unknownEvaluationOrder ; either may be made first */
	note = LookupFuncName(list_make2(makeString("walwarden"), makeString("_note_usage")), 1, argtypes, false);
	GetUserIdAndSecContext(&save_userid, &save_sec_context);
	PG_TRY();
	{
		SetUserIdAndSecContext(owner, save_sec_context | SECURITY_LOCAL_USERID_CHANGE);
		OidFunctionCall1(note, UUIDPGetDatum(token_id));
	}
	PG_FINALLY();
	{
		SetUserIdAndSecContext(save_userid, save_sec_context);
	}
	PG_END_TRY();
}

/*
 * Note that a token is being used now. The caller has checked it; the transaction
 * must be able to call SQL functions. noted belongs to this function: the caller
 * keeps it beside what it keeps of the token, for as long as it likes, and begins
 * with 0; then a token that is used again soon costs nothing.
 */
void
usage_note(const pg_uuid_t *token_id, TimestampTz *noted)
{
	TimestampTz now = GetCurrentTimestamp();

	/* a clock that was put back does not silence a token */
	if (usage != NULL && now - *noted < USAGE_PRECISION_SHARED && now >= *noted)
		return;
	if (usage == NULL || !worker_serves_here())
		usage_note_stored(token_id, now, noted);
	else if (!RecoveryInProgress())
	{
		usage_note_shared(token_id, now);
		*noted = now;
	}
}

/*
 * Copy the dirty entries of this database, from set *position on, to uses, which
 * has room for max, at least USAGE_WAYS; returns how many. *position moves
 * on; at the end, 0 is returned.
 */
int
usage_collect(int *position, TokenUse *uses, int max)
{
	int			n = 0;

	Assert(max >= USAGE_WAYS);
	for (; *position < USAGE_SETS && n <= max - USAGE_WAYS; (*position)++)
	{
		UsageSet   *set = &usage->sets[*position];

		SpinLockAcquire(&set->mutex);
		for (int i = 0; i < USAGE_WAYS; i++)
		{
			UsageEntry *entry = &set->entries[i];

			if (entry->dbid == MyDatabaseId && entry->dirty)
			{
				uses[n].token_id = entry->token_id;
				uses[n++].at = entry->last_used_at;
			}
		}
		SpinLockRelease(&set->mutex);
	}
	return n;
}

/* A collected use is on record, by a transaction that has committed. */
void
usage_is_on_record(const TokenUse *use)
{
	UsageSet   *set = usage_set(MyDatabaseId, &use->token_id);
	UsageEntry *entry;

	SpinLockAcquire(&set->mutex);
	entry = usage_entry(set, MyDatabaseId, &use->token_id);
	if (entry != NULL && entry->last_used_at == use->at)
		entry->dirty = false;	/* else it was used again meanwhile */
	SpinLockRelease(&set->mutex);
}

/* The databases that have dirty entries. */
List *
usage_dirty_databases(void)
{
	List	   *databases = NIL;

	for (int i = 0; i < USAGE_SETS; i++)
	{
		UsageEntry	entries[USAGE_WAYS];

		SpinLockAcquire(&usage->sets[i].mutex);
		memcpy(entries, usage->sets[i].entries, sizeof(entries));
		SpinLockRelease(&usage->sets[i].mutex);
		for (int j = 0; j < USAGE_WAYS; j++)
			if (entries[j].dirty)
				databases = list_append_unique_oid(databases, entries[j].dbid);
	}
	return databases;
}

/* A database has no place any more where its uses could be recorded. */
void
usage_forget(Oid dbid)
{
	for (int i = 0; i < USAGE_SETS; i++)
	{
		SpinLockAcquire(&usage->sets[i].mutex);
		for (int j = 0; j < USAGE_WAYS; j++)
		{
			UsageEntry *entry = &usage->sets[i].entries[j];

			if (entry->dbid == dbid)
			{
				entry->dbid = InvalidOid;
				entry->dirty = false;
				entry->last_used_at = DT_NOBEGIN;
			}
		}
		SpinLockRelease(&usage->sets[i].mutex);
	}
}

/* How many uses were lost since the server's start, because a set was full of dirty entries. */
uint64
usage_lost(void)
{
	return pg_atomic_read_u64(&usage->lost);
}

/*
 * walwarden._noted_use(token_id uuid)
 *
 * What shared memory knows of the last use of a token, on record or not; NULL
 * when it knows nothing, or there is none.
 */
PG_FUNCTION_INFO_V1(walwarden_noted_use);
Datum
walwarden_noted_use(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *token_id = PG_GETARG_UUID_P(0);
	UsageSet   *set;
	UsageEntry *entry;
	TimestampTz at = DT_NOBEGIN;

	if (usage == NULL)
		PG_RETURN_NULL();
	set = usage_set(MyDatabaseId, token_id);
	SpinLockAcquire(&set->mutex);
	entry = usage_entry(set, MyDatabaseId, token_id);
	if (entry != NULL)
		at = entry->last_used_at;
	SpinLockRelease(&set->mutex);
	if (entry == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(at);
}

/*
 * walwarden._usage_table(OUT slots integer, OUT used integer, OUT dirty integer, OUT lost bigint)
 *
 * The table in shared memory, of all databases; all NULL without one.
 */
PG_FUNCTION_INFO_V1(walwarden_usage_table);
Datum
walwarden_usage_table(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc;
	Datum		values[4] = {0};
	bool		nulls[4] = {true, true, true, true};
	int			used = 0;
	int			dirty = 0;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (usage != NULL)
	{
		for (int i = 0; i < USAGE_SETS; i++)
		{
			SpinLockAcquire(&usage->sets[i].mutex);
			for (int j = 0; j < USAGE_WAYS; j++)
			{
				used += OidIsValid(usage->sets[i].entries[j].dbid);
				dirty += usage->sets[i].entries[j].dirty;
			}
			SpinLockRelease(&usage->sets[i].mutex);
		}
		values[0] = Int32GetDatum(USAGE_SETS * USAGE_WAYS);
		values[1] = Int32GetDatum(used);
		values[2] = Int32GetDatum(dirty);
		values[3] = Int64GetDatum((int64) usage_lost());
		memset(nulls, false, sizeof(nulls));
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}
