/*
 * usage.c
 *		Uses of tokens: when and from where each was last used, and how often it was
 *		accepted and refused.
 *
 * With preload, a use is recorded in a table in shared memory, and the worker
 * (worker.c) writes the changes to walwarden_internal.token_usage. So read-only requests
 * count too, and no request writes anything. Without preload, and in a database that the
 * worker does not serve, the transaction of the request writes the time of its last use,
 * at most once a minute per credential, and nothing is counted.
 *
 * The time of a use is recorded for the token, and for the slot of its value. A token has
 * at most two values at a time, which take its two slots in turn from one renewal to the
 * next. A use of a value is never recorded as before the value was made, whatever the
 * clock says: an earlier time belongs to the value that had the slot before. Counts are
 * those of the token.
 *
 * The table has USAGE_SETS sets of USAGE_WAYS entries. The hash of database and token
 * selects the set. Entries get their place in memory when they are first needed, one after
 * the other, so that a few tokens do not spread over many pages. In a full set, a new entry replaces the oldest clean entry. If there
 * is none, the process keeps the use in its own memory, and wakes the launcher, until
 * there is one again. A process that ends waits for that, but not for ever, and not if nobody
 * makes room: the launcher has ended, or the primary takes no reports. Then the use is lost, and
 * counted as such.
 *
 * An entry counts on from the counts on record, which the worker tells it before the
 * first flush: `base`. A reader adds what is not on record, or what was not when the
 * entry was made, and so sees each use once, whether a flush is under way or not:
 * it takes the row from a snapshot that is older than its look at the entry.
 *
 * On a standby nothing can be written. If walwarden.primary_conninfo is set, the worker takes
 * the times and counts out of the table instead and hands them to the primary, which adds
 * them to its own table. Then no entry of a standby has a base. A report that breaks off
 * when it may have arrived is repeated, so its counts can be added twice; times cannot.
 *
 * At a shutdown the dirty entries go to a file, from which the next start takes them.
 *
 * Locking: spinlocks, because a pass over a few entries is cheaper than acquiring an
 * LWLock. No code under them can fail, wait or allocate. The lock of a set protects which
 * tokens have its entries; the lock of an entry, acquired after that, its whole content. A
 * process remembers the entry of a token and checks under the entry's lock whether it is
 * still that token's, so that a use takes only this lock and touches one cache line. A
 * walk over the table locks one set at a time, so it sees different sets at different
 * moments.
 *
 * Invariants: recording a use never waits for another transaction, never blocks a change
 * of the token, and never makes a request fail. Without shared memory it skips read-only
 * transactions and transactions with a fixed snapshot. Times of an entry never decrease, nor
 * do its counts on a primary. On a standby, counts that were reported are missing until they
 * return with the WAL. An entry is clean only if it is on record or has no row to be recorded in.
 * Counts are lost in a crash, and with a database that the worker serves no more.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "common/int.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/call.h"
#include "base/export.h"
#include "base/monotonic.h"
#include "base/refuse.h"
#include "base/served.h"
#include "base/settings.h"
#include "base/tables.h"
#include "token/columns.h"
#include "token/network.h"
#include "token/refusal.h"
#include "token/usage.h"

#define USAGE_SETS 8192
#define USAGE_WAYS 8			/* 65,536 entries, 8.7 MB (runbook.md) */

/* The precision of last-used times without shared memory. */
#define USAGE_PRECISION_STORED (60 * USECS_PER_SEC)

/* The time between attempts to find a place for uses that a process keeps. */
#define KEPT_RETRY MONOTONIC_SECOND

/* How often, and after how many microseconds each, a process that ends tries so. */
#define EXIT_ATTEMPTS 300
#define EXIT_WAIT 50000

/* The highest count that is taken from a standby at a time. */
#define REPORTED_COUNT_MAX PG_INT32_MAX

#define USAGE_FILE "pg_stat/walwarden_usage"
#define USAGE_FILE_MAGIC 0x57550001

typedef struct UsageEntry
{
	slock_t		mutex;
	bool		dirty;			/* not on record yet */
	bool		based;			/* base is known */
	Oid			dbid;			/* InvalidOid: free and clean */
	TokenUse	use;			/* counts: since base */
	int64		base_uses;
	int64		base_refusals;
} UsageEntry;

/* Whole cache lines, so that entries do not share one. */
typedef union PaddedEntry
{
	UsageEntry	entry;
	char		padding[PG_CACHE_LINE_SIZE];
} PaddedEntry;

StaticAssertDecl(sizeof(PaddedEntry) == PG_CACHE_LINE_SIZE, "an entry fits into a cache line");

typedef struct UsageSet
{
	slock_t		mutex;
	int			n;				/* entries that have a place */
	int			places[USAGE_WAYS];
} UsageSet;

typedef struct UsageTable
{
	pg_atomic_uint64 lost;		/* uses and refusals */
	pg_atomic_uint32 full;		/* a process found no place: flush at once */
	pg_atomic_uint32 reports_fail;	/* the last one was not taken */
	Latch	   *launcher;		/* NULL if there is none */
	pg_atomic_uint32 next_place;
	UsageSet	sets[USAGE_SETS];
	PaddedEntry *entries;		/* at the start of a cache line */
} UsageTable;

static UsageTable *usage = NULL;	/* NULL without preload */

/* Uses for which this process found no place, by token; NULL if there are none. */
static HTAB *kept = NULL;
static int64 kept_tried;		/* by the monotonic clock */

Size
usage_shmem_size(void)
{
	return sizeof(UsageTable) + PG_CACHE_LINE_SIZE + sizeof(PaddedEntry) * USAGE_SETS * USAGE_WAYS;
}

/* Make it a use that has not happened. */
static inline void
clear_times(TokenUse *use)
{
	use->at = DT_NOBEGIN;
	for (int slot = 0; slot < USAGE_SLOTS; slot++)
		use->slot_at[slot] = DT_NOBEGIN;
	use->refused_at = DT_NOBEGIN;
}

/* All but the lock. */
static void
clear_entry(UsageEntry *entry)
{
	entry->dirty = false;
	entry->based = false;
	entry->dbid = InvalidOid;
	memset(&entry->use, 0, sizeof(TokenUse));
	entry->base_uses = 0;
	entry->base_refusals = 0;
	clear_times(&entry->use);
}

static inline int
usage_set(Oid dbid, const pg_uuid_t *token_id)
{
	return (int) (hash_combine(hash_bytes(token_id->data, UUID_LEN), dbid) % USAGE_SETS);
}

static inline bool
is_entry_of(const UsageEntry *entry, Oid dbid, const pg_uuid_t *token_id)
{
	return entry->dbid == dbid && memcmp(entry->use.token_id.data, token_id->data, UUID_LEN) == 0;
}

/* An entry of a set that has a place. */
static inline UsageEntry *
entry_at(int set, int way)
{
	return &usage->entries[usage->sets[set].places[way]].entry;
}

/* The entry of a token, or NULL. The caller holds the set's lock. */
static inline UsageEntry *
usage_entry(int set, Oid dbid, const pg_uuid_t *token_id)
{
	for (int i = 0; i < usage->sets[set].n; i++)
	{
		UsageEntry *entry = entry_at(set, i);

		if (is_entry_of(entry, dbid, token_id))
			return entry;
	}
	return NULL;
}

/* The entry of a token of this database, locked with its set; NULL if there is none, and only the set is locked. */
static UsageEntry *
lock_entry(const pg_uuid_t *token_id)
{
	int			set = usage_set(MyDatabaseId, token_id);
	UsageEntry *entry;

	SpinLockAcquire(&usage->sets[set].mutex);
	entry = usage_entry(set, MyDatabaseId, token_id);
	if (entry != NULL)
		SpinLockAcquire(&entry->mutex);
	return entry;
}

static void
unlock_entry(const pg_uuid_t *token_id, UsageEntry *entry)
{
	if (entry != NULL)
		SpinLockRelease(&entry->mutex);
	SpinLockRelease(&usage->sets[usage_set(MyDatabaseId, token_id)].mutex);
}

/* A copy of an entry. The caller holds the set's lock. */
static inline UsageEntry
copy_entry(int set, int way)
{
	UsageEntry *entry = entry_at(set, way);
	UsageEntry	copy;

	SpinLockAcquire(&entry->mutex);
	copy = *entry;
	SpinLockRelease(&entry->mutex);
	return copy;
}

/*
 * An entry that was clean a moment ago, a new one or the oldest of its set; NULL if there is none. The
 * caller holds the set's lock.
 */
static inline UsageEntry *
usage_victim(int set)
{
	UsageSet   *content = &usage->sets[set];
	UsageEntry *victim = NULL;
	TimestampTz oldest = DT_NOEND;

	if (content->n < USAGE_WAYS)
	{
		/* there are as many places as entries in all sets */
		content->places[content->n] = (int) pg_atomic_fetch_add_u32(&usage->next_place, 1);
		return entry_at(set, content->n++);
	}
	for (int i = 0; i < USAGE_WAYS; i++)
	{
		UsageEntry	entry = copy_entry(set, i);
		TimestampTz last = Max(entry.use.at, entry.use.refused_at);

		if (!entry.dirty && last < oldest)
		{
			victim = entry_at(set, i);
			oldest = last;
		}
	}
	return victim;
}

/* The sum of two counts. They end at the highest number, and do not begin anew. */
static inline int64
add_counts(int64 a, int64 b)
{
	int64		sum;

	return pg_add_s64_overflow(a, b, &sum) ? PG_INT64_MAX : sum;
}

/* Add the counts of use to those of another of the same token, and take over its times if they are later. */
static inline void
add_use(TokenUse *to, const TokenUse *use)
{
	to->uses = add_counts(to->uses, use->uses);
	to->refusals = add_counts(to->refusals, use->refusals);
	if (to->at < use->at)
	{
		to->at = use->at;
		to->from = use->from;
	}
	for (int slot = 0; slot < USAGE_SLOTS; slot++)
		to->slot_at[slot] = Max(to->slot_at[slot], use->slot_at[slot]);
	if (to->refused_at < use->refused_at)
	{
		to->refused_at = use->refused_at;
		to->refusal = use->refusal;
	}
}

/* Add use to the entry of its token. Returns the entry, or NULL if there is no place for one. */
static UsageEntry *
add_to_table(const TokenUse *use)
{
	int			set = usage_set(MyDatabaseId, &use->token_id);
	UsageEntry *entry;

	SpinLockAcquire(&usage->sets[set].mutex);
	entry = usage_entry(set, MyDatabaseId, &use->token_id);
	while (entry == NULL && (entry = usage_victim(set)) != NULL)
	{
		SpinLockAcquire(&entry->mutex);
		if (!entry->dirty)
		{
			clear_entry(entry);
			entry->dbid = MyDatabaseId;
			entry->use.token_id = use->token_id;
			add_use(&entry->use, use);
			entry->dirty = true;
			SpinLockRelease(&entry->mutex);
			SpinLockRelease(&usage->sets[set].mutex);
			return entry;
		}
		SpinLockRelease(&entry->mutex); /* its token was used just now */
		entry = NULL;
	}
	if (entry != NULL)
	{
		SpinLockAcquire(&entry->mutex);
		add_use(&entry->use, use);
		entry->dirty = true;
		SpinLockRelease(&entry->mutex);
	}
	SpinLockRelease(&usage->sets[set].mutex);
	return entry;
}

/* Have the worker make room. */
static void
ask_for_flush(void)
{
	Latch	   *launcher = usage->launcher;

	if (pg_atomic_exchange_u32(&usage->full, 1) == 0 && launcher != NULL)
		SetLatch(launcher);
}

/* Find a place for the uses that this process keeps. Returns how many are still without. */
static uint64
place_kept(void)
{
	HASH_SEQ_STATUS scan;
	TokenUse   *use;
	uint64		left = 0;

	hash_seq_init(&scan, kept);
	while ((use = hash_seq_search(&scan)) != NULL)
	{
		if (add_to_table(use) != NULL)
			(void) hash_search(kept, &use->token_id, HASH_REMOVE, NULL);
		else
			left += use->uses + use->refusals;
	}
	if (left == 0)
	{
		hash_destroy(kept);
		kept = NULL;
	}
	else
		ask_for_flush();
	return left;
}

/* Whether room may be made soon. */
static bool
makes_room(void)
{
	return usage->launcher != NULL && !(RecoveryInProgress() && usage_reports_fail());
}

static void
place_kept_at_exit(int code, Datum arg)
{
	uint64		left = 0;

	for (int i = 0; kept != NULL && i < EXIT_ATTEMPTS; i++)
	{
		if (i > 0 && !makes_room())
			break;
		if (i > 0)
			pg_usleep(EXIT_WAIT);
		left = place_kept();
	}
	pg_atomic_fetch_add_u64(&usage->lost, (int64) left);
}

/* Keep a use for which there is no place. */
static void
keep_use(const TokenUse *use)
{
	static bool registered = false;
	TokenUse   *found_use;
	bool		found;

	if (kept == NULL)
	{
		HASHCTL		control = {0};

		control.keysize = UUID_LEN;
		control.entrysize = sizeof(TokenUse);
		kept = hash_create("walwarden kept uses", 256, &control, HASH_ELEM | HASH_BLOBS);
		kept_tried = monotonic_now();
		ask_for_flush();
	}
	if (!registered)
	{
		before_shmem_exit(place_kept_at_exit, (Datum) 0);
		registered = true;
	}
	found_use = hash_search(kept, &use->token_id, HASH_ENTER, &found);
	if (found)
		add_use(found_use, use);
	else
		*found_use = *use;
}

/* Returns the entry in which use was recorded, or NULL. */
static UsageEntry *
record_shared(const TokenUse *use)
{
	UsageEntry *entry;

	if (unlikely(kept != NULL) && monotonic_now() - kept_tried > KEPT_RETRY)
	{
		kept_tried = monotonic_now();
		(void) place_kept();
	}
	entry = add_to_table(use);
	if (unlikely(entry == NULL))
		keep_use(use);
	return entry;
}

/* Write the dirty entries to a file, for the next start. Called in the postmaster, when all other processes have ended. */
static void
write_file(int code, Datum arg)
{
	uint32		head[2] = {USAGE_FILE_MAGIC, sizeof(UsageEntry)};
	FILE	   *file;
	bool		ok;

	if (code != 0 || usage == NULL)
		return;
	file = AllocateFile(USAGE_FILE ".tmp", PG_BINARY_W);
	ok = file != NULL && fwrite(head, sizeof(head), 1, file) == 1;
	for (int i = 0; ok && i < USAGE_SETS; i++)
		for (int j = 0; ok && j < usage->sets[i].n; j++)
			if (entry_at(i, j)->dirty)
				ok = fwrite(entry_at(i, j), sizeof(UsageEntry), 1, file) == 1;
	if (file != NULL && FreeFile(file) != 0)
		ok = false;
	if (ok)
		(void) durable_rename(USAGE_FILE ".tmp", USAGE_FILE, LOG);
	else
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("walwarden: could not write file \"%s\": %m", USAGE_FILE ".tmp")));
		(void) unlink(USAGE_FILE ".tmp");
	}
}

/* Take over the entries of the file, and remove it: after a crash it would be old. */
static void
read_file(void)
{
	uint32		head[2];
	UsageEntry	entry;
	FILE	   *file = AllocateFile(USAGE_FILE, PG_BINARY_R);

	if (file == NULL)
		return;
	if (fread(head, sizeof(head), 1, file) == 1 && head[0] == USAGE_FILE_MAGIC && head[1] == sizeof(UsageEntry))
		while (fread(&entry, sizeof(UsageEntry), 1, file) == 1)
		{
			UsageEntry *free_entry = usage_victim(usage_set(entry.dbid, &entry.use.token_id));

			if (free_entry != NULL && entry.use.refusal < REFUSALS)
			{
				*free_entry = entry;
				SpinLockInit(&free_entry->mutex);
			}
		}
	(void) FreeFile(file);
	(void) unlink(USAGE_FILE);
}

/* Create or attach to the table. The caller holds AddinShmemInitLock. */
void
usage_shmem_init(void)
{
	bool		found;

	usage = ShmemInitStruct("walwarden usage", usage_shmem_size(), &found);
	if (!IsUnderPostmaster)
		on_shmem_exit(write_file, (Datum) 0);
	if (found)
		return;
	memset(usage, 0, sizeof(UsageTable));
	pg_atomic_init_u64(&usage->lost, 0);
	pg_atomic_init_u32(&usage->full, 0);
	pg_atomic_init_u32(&usage->reports_fail, 0);
	pg_atomic_init_u32(&usage->next_place, 0);
	usage->entries = (PaddedEntry *) TYPEALIGN(PG_CACHE_LINE_SIZE, (char *) usage + sizeof(UsageTable));
	for (int i = 0; i < USAGE_SETS; i++)
		SpinLockInit(&usage->sets[i].mutex);
	for (int i = 0; i < USAGE_SETS * USAGE_WAYS; i++)
	{
		SpinLockInit(&usage->entries[i].entry.mutex);
		clear_entry(&usage->entries[i].entry);
	}
	read_file();
}

/* A time of a row of token_usage; DT_NOBEGIN if it is NULL. */
static TimestampTz
usage_time(const Row *row, AttrNumber column)
{
	bool		isnull;
	Datum		time = row_get(row, column, &isnull);

	return isnull ? DT_NOBEGIN : DatumGetTimestampTz(time);
}

/*
 * Whether the stored time is too old, or another value's; false if the row is missing.
 * recorded: the stored time. owner: the owner of the table.
 */
static bool
usage_is_due(const UsedCredential *used, TimestampTz now, TimestampTz *recorded, Oid *owner)
{
	static const AttrNumber columns[USAGE_SLOTS] = {Anum_token_usage_slot0_used_at, Anum_token_usage_slot1_used_at};
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Row			row;
	bool		due = false;

	if (row_find_uuid(&row, "token_usage", "token_usage_pkey", Anum_token_usage_token_id, &used->token_id, snapshot))
	{
		TimestampTz last = usage_time(&row, Anum_token_usage_last_used_at);

		due = last <= now - USAGE_PRECISION_STORED;
		if (used->slot != USAGE_NO_SLOT)
		{
			TimestampTz slot_last = usage_time(&row, columns[used->slot]);

			due |= slot_last < used->created_at || slot_last <= now - USAGE_PRECISION_STORED;
			last = Min(last, slot_last);
		}
		if (!due)
			*recorded = last;
	}
	*owner = row.heap->rd_rel->relowner;
	row_close(&row);
	UnregisterSnapshot(snapshot);
	return due;
}

/*
 * Write a use to the table, if it is due and the transaction may write. The write can be
 * rolled back, so recorded is set only to a time that was read.
 */
static void
usage_record_stored(const UsedCredential *used, TimestampTz now, TimestampTz *recorded)
{
	Oid			owner;
	Oid			types[] = {UUIDOID, INT2OID, TIMESTAMPTZOID};
	NullableDatum args[] = {
		{.value = UUIDPGetDatum(&used->token_id)},
		{.value = Int16GetDatum(used->slot),.isnull = used->slot == USAGE_NO_SLOT},
		{.value = TimestampTzGetDatum(used->created_at)}
	};
	SavedUser	saved = user_save();

	if (XactReadOnly || IsolationUsesXactSnapshot() || RecoveryInProgress())
		return;
	if ((now - *recorded < USAGE_PRECISION_STORED && now >= *recorded) ||
		!usage_is_due(used, now, recorded, &owner))
		return;

	PG_TRY();
	{
		bool		isnull;

		user_become(owner, &saved, 0);
		(void) call_function("record_usage", lengthof(args), types, args, &isnull);
	}
	PG_FINALLY();
	{
		user_restore(&saved);
	}
	PG_END_TRY();
}

/* The time of a use of a value, in its slot: see the banner. */
static inline void
set_slot_time(TokenUse *use, const UsedCredential *used, TimestampTz now)
{
	if (used->slot != USAGE_NO_SLOT)
		use->slot_at[used->slot] = Max(use->slot_at[used->slot], Max(now, used->created_at));
}

/* Record another use in an entry, if that is still the token's. */
static inline bool
record_again(UsageEntry *entry, const UsedCredential *used, const NetworkAddress *from, TimestampTz now)
{
	bool		is_its;

	SpinLockAcquire(&entry->mutex);
	is_its = is_entry_of(entry, MyDatabaseId, &used->token_id);
	if (is_its)
	{
		entry->use.uses = add_counts(entry->use.uses, 1);
		if (entry->use.at < now)
		{
			entry->use.at = now;
			entry->use.from = *from;
		}
		set_slot_time(&entry->use, used, now);
		entry->dirty = true;
	}
	SpinLockRelease(&entry->mutex);
	return is_its;
}

/* Whether this is a standby that reports uses to its primary. */
bool
usage_reports(void)
{
	return walwarden_primary_conninfo[0] != '\0' && RecoveryInProgress();
}

/* Called by the worker of a standby that has reported, or tried to. */
void
usage_set_reports_fail(bool fail)
{
	pg_atomic_write_u32(&usage->reports_fail, fail);
}

bool
usage_reports_fail(void)
{
	return pg_atomic_read_u32(&usage->reports_fail) != 0;
}

/* Whether shared memory takes the uses of this database. */
static inline bool
takes_uses(void)
{
	return usage != NULL && served_here() && (!RecoveryInProgress() || usage_reports());
}

/*
 * Record that a credential is being used now. The caller has checked it; the transaction
 * must be able to call SQL functions. memo belongs to this function. The caller
 * initialises it to 0 and keeps it with the cached credential.
 */
void
usage_record(const UsedCredential *used, const NetworkAddress *from, UsageMemo *memo)
{
	TimestampTz now = GetCurrentTimestamp();

	if (usage == NULL || !served_here())
		usage_record_stored(used, now, &memo->recorded);
	else if (takes_uses())
	{
		TokenUse	use;

		if (likely(memo->entry != NULL) && record_again(memo->entry, used, from, now))
			return;
		memset(&use, 0, sizeof(use));
		clear_times(&use);
		use.token_id = used->token_id;
		use.at = now;
		use.from = *from;
		use.uses = 1;
		set_slot_time(&use, used, now);
		memo->entry = record_shared(&use);
	}
}

/* Record that a token, which exists, was refused. */
void
usage_record_refusal(const pg_uuid_t *token_id, Refusal refusal)
{
	if (takes_uses())
	{
		TokenUse	use = {.token_id = *token_id,.refusals = 1,.refusal = refusal};

		clear_times(&use);
		use.refused_at = GetCurrentTimestamp();
		(void) record_shared(&use);
	}
}

/* The use as it is to be on record. */
static TokenUse
total_use(const UsageEntry *entry)
{
	TokenUse	use = entry->use;

	use.uses = add_counts(use.uses, entry->base_uses);
	use.refusals = add_counts(use.refusals, entry->base_refusals);
	use.based = entry->based;
	return use;
}

/*
 * Copy the dirty entries of this database to uses, from set *position on, and advance
 * *position. uses has room for max entries, at least USAGE_WAYS. Returns how many were
 * copied; 0 at the end. The counts of an entry that is not based are not yet those to be
 * recorded: see usage_set_base().
 */
int
usage_collect(int *position, TokenUse *uses, int max)
{
	int			n = 0;

	Assert(max >= USAGE_WAYS);
	for (; *position < USAGE_SETS && n <= max - USAGE_WAYS; (*position)++)
	{
		SpinLockAcquire(&usage->sets[*position].mutex);
		for (int i = 0; i < usage->sets[*position].n; i++)
		{
			UsageEntry	entry = copy_entry(*position, i);

			if (entry.dbid == MyDatabaseId && entry.dirty)
				uses[n++] = total_use(&entry);
		}
		SpinLockRelease(&usage->sets[*position].mutex);
	}
	return n;
}

/*
 * Tell an entry what is on record of its token, before anything of the entry is. Sets the
 * counts of use to those to be recorded. Only the worker of the database writes counts, so
 * what it has read stays true.
 */
void
usage_set_base(TokenUse *use, int64 uses, int64 refusals)
{
	UsageEntry *entry = lock_entry(&use->token_id);

	if (entry != NULL)
	{
		if (!entry->based)
		{
			entry->base_uses = uses;
			entry->base_refusals = refusals;
			entry->based = true;
		}
		*use = total_use(entry);
	}
	unlock_entry(&use->token_id, entry);
}

/*
 * Like usage_collect(), but take what is collected out of the entries: the times stay, for
 * readers on this server, and are clean. The counts of an entry with a base are from a time when
 * the server was a primary. It is not known which part of them is on record, so they are
 * left out. What a report cannot hold of a count stays, for the next one.
 */
int
usage_take(int *position, TokenUse *uses, int max)
{
	int			n = 0;

	Assert(max >= USAGE_WAYS);
	for (; *position < USAGE_SETS && n <= max - USAGE_WAYS; (*position)++)
	{
		SpinLockAcquire(&usage->sets[*position].mutex);
		for (int i = 0; i < usage->sets[*position].n; i++)
		{
			UsageEntry *entry = entry_at(*position, i);

			SpinLockAcquire(&entry->mutex);
			if (entry->dbid == MyDatabaseId && entry->dirty)
			{
				TokenUse   *use = &uses[n++];

				if (entry->based)
					entry->use.uses = entry->use.refusals = 0;
				*use = entry->use;
				use->uses = Min(use->uses, REPORTED_COUNT_MAX);
				use->refusals = Min(use->refusals, REPORTED_COUNT_MAX);
				entry->use.uses -= use->uses;
				entry->use.refusals -= use->refusals;
				entry->base_uses = entry->base_refusals = 0;
				entry->based = false;
				entry->dirty = entry->use.uses > 0 || entry->use.refusals > 0;
			}
			SpinLockRelease(&entry->mutex);
		}
		SpinLockRelease(&usage->sets[*position].mutex);
	}
	return n;
}

/* Put a use that was taken back. */
void
usage_give_back(const TokenUse *use)
{
	(void) record_shared(use);
}

/* Called by the launcher: processes that find no place wake it. NULL when it ends. */
void
usage_set_launcher(Latch *latch)
{
	usage->launcher = latch;
}

/* Whether a process has found no place since the last call. */
bool
usage_wants_flush(void)
{
	return pg_atomic_exchange_u32(&usage->full, 0) != 0;
}

/* Mark a collected use as recorded by a committed transaction. */
void
usage_is_on_record(const TokenUse *use)
{
	UsageEntry *entry = lock_entry(&use->token_id);

	if (entry != NULL && entry->use.at == use->at && entry->use.refused_at == use->refused_at &&
		memcmp(entry->use.slot_at, use->slot_at, sizeof(use->slot_at)) == 0 &&
		add_counts(entry->use.uses, entry->base_uses) == use->uses &&
		add_counts(entry->use.refusals, entry->base_refusals) == use->refusals)
		entry->dirty = false;	/* otherwise it has been used again */
	unlock_entry(&use->token_id, entry);
}

/* The databases that have dirty entries. */
List *
usage_dirty_databases(void)
{
	List	   *databases = NIL;

	for (int i = 0; i < USAGE_SETS; i++)
	{
		Oid			dirty[USAGE_WAYS];
		int			n = 0;

		SpinLockAcquire(&usage->sets[i].mutex);
		for (int j = 0; j < usage->sets[i].n; j++)
		{
			UsageEntry	entry = copy_entry(i, j);

			if (entry.dirty)
				dirty[n++] = entry.dbid;
		}
		SpinLockRelease(&usage->sets[i].mutex);
		for (int j = 0; j < n; j++)
			databases = list_append_unique_oid(databases, dirty[j]);
	}
	return databases;
}

/* Discard the entries of a database in which uses can no longer be recorded. */
void
usage_forget(Oid dbid)
{
	for (int i = 0; i < USAGE_SETS; i++)
	{
		SpinLockAcquire(&usage->sets[i].mutex);
		for (int j = 0; j < usage->sets[i].n; j++)
		{
			UsageEntry *entry = entry_at(i, j);

			SpinLockAcquire(&entry->mutex);
			if (entry->dbid == dbid)
				clear_entry(entry);
			SpinLockRelease(&entry->mutex);
		}
		SpinLockRelease(&usage->sets[i].mutex);
	}
}

/* How many uses and refusals were lost since server start, because there was no place for them. */
uint64
usage_lost(void)
{
	return pg_atomic_read_u64(&usage->lost);
}

/*
 * A row of token_usage, by column number: for as long as the call site, with as many places
 * as the table has columns there.
 */
typedef struct UsageRow
{
	TupleDesc	desc;
	Datum	   *values;
	bool	   *nulls;
} UsageRow;

static UsageRow *
usage_row(FunctionCallInfo fcinfo)
{
	static const Oid types[Natts_token_usage] = {
		UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INETOID, INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID
	};
	TupleDesc	desc = call_site_row(fcinfo);
	UsageRow   *row;

	walwarden_check_type(desc, types, lengthof(types));
	row = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(UsageRow));
	row->desc = desc;
	row->values = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, (Max(desc->natts, Natts_token_usage) + 1) * sizeof(Datum));
	row->nulls = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, (Max(desc->natts, Natts_token_usage) + 1) * sizeof(bool));
	return row;
}

static void
set_value(UsageRow *row, AttrNumber column, Datum value)
{
	row->values[column] = value;
	row->nulls[column] = false;
}

/* Whether a time is later than that of a column, which then becomes it. */
static bool
set_if_later(UsageRow *row, AttrNumber column, TimestampTz time)
{
	if (time == DT_NOBEGIN || (!row->nulls[column] && time <= DatumGetTimestampTz(row->values[column])))
		return false;
	set_value(row, column, TimestampTzGetDatum(time));
	return true;
}

/* Add to a count what is not on record: see the banner. */
static void
add_to_count(UsageRow *row, AttrNumber column, bool based, int64 base, int64 since)
{
	int64		stored = row->nulls[column] ? 0 : DatumGetInt64(row->values[column]);

	set_value(row, column, Int64GetDatum(based ? Max(stored, add_counts(base, since)) : add_counts(stored, since)));
}

/*
 * walwarden_internal.current_usage(token_id uuid, on_record token_usage)
 */
PG_FUNCTION_INFO_V1(walwarden_current_usage);
Datum
walwarden_current_usage(PG_FUNCTION_ARGS)
{
	static const AttrNumber slots[USAGE_SLOTS] = {Anum_token_usage_slot0_used_at, Anum_token_usage_slot1_used_at};
	UsageEntry	entry;
	UsageRow   *row = fcinfo->flinfo->fn_extra;
	bool		later;

	if (row == NULL)
		fcinfo->flinfo->fn_extra = row = usage_row(fcinfo);
	memset(row->nulls, true, Max(row->desc->natts, Natts_token_usage) + 1);
	if (!PG_ARGISNULL(1))
	{
		HeapTupleHeader value = PG_GETARG_HEAPTUPLEHEADER(1);
		HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(value),.t_data = value};

		heap_deform_tuple(&tuple, row->desc, row->values + 1, row->nulls + 1);
	}
	clear_entry(&entry);
	if (usage != NULL && !PG_ARGISNULL(0))
	{
		pg_uuid_t  *token_id = PG_GETARG_UUID_P(0);
		UsageEntry *found = lock_entry(token_id);

		if (found != NULL)
			entry = *found;
		unlock_entry(token_id, found);
	}
	for (int slot = 0; slot < USAGE_SLOTS; slot++)
		(void) set_if_later(row, slots[slot], entry.use.slot_at[slot]);
	later = set_if_later(row, Anum_token_usage_last_used_at, entry.use.at);
	if (usage == NULL || !served_here())
		memset(row->nulls + Anum_token_usage_last_used_from, true, Natts_token_usage + 1 - Anum_token_usage_last_used_from);
	else
	{
		if (later)
			row->values[Anum_token_usage_last_used_from] = network_address_inet(&entry.use.from, &row->nulls[Anum_token_usage_last_used_from]);
		add_to_count(row, Anum_token_usage_uses, entry.based, entry.base_uses, entry.use.uses);
		add_to_count(row, Anum_token_usage_refusals, entry.based, entry.base_refusals, entry.use.refusals);
		if (set_if_later(row, Anum_token_usage_last_refused_at, entry.use.refused_at))
			set_value(row, Anum_token_usage_last_refused_reason, CStringGetTextDatum(refusal_name(entry.use.refusal)));
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(row->desc, row->values + 1, row->nulls + 1)));
}

/*
 * walwarden_internal.usage_table(OUT slots integer, OUT used integer, OUT dirty integer, OUT lost bigint)
 *
 * The size and use of the table in shared memory, for all databases; NULL without preload.
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
			for (int j = 0; j < usage->sets[i].n; j++)
			{
				UsageEntry	entry = copy_entry(i, j);

				used += OidIsValid(entry.dbid);
				dirty += entry.dirty;
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

/* Statement and context have all tokens of a report, and from where they were used. */
static void
hide_report(void *arg)
{
	errhidestmt(true);
	errhidecontext(true);
}

/* The elements of an array argument. */
typedef struct Elements
{
	Datum	   *values;
	bool	   *nulls;
	int			n;
} Elements;

static Elements
get_elements(FunctionCallInfo fcinfo, int i)
{
	ArrayType  *array;
	Elements	elements;
	int16		typlen;
	bool		byval;
	char		align;

	if (PG_ARGISNULL(i))
		refuse(ERRCODE_INVALID_PARAMETER_VALUE, "an array is missing",
			   "Only the worker of a standby calls this function.", NULL);
	array = PG_GETARG_ARRAYTYPE_P(i);
	if (ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) > USAGE_REPORT_TOKENS)
		refuse(ERRCODE_INVALID_PARAMETER_VALUE, "an array is too long",
			   psprintf("Report at most %d tokens at a time.", USAGE_REPORT_TOKENS), NULL);
	get_typlenbyvalalign(ARR_ELEMTYPE(array), &typlen, &byval, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), typlen, byval, align, &elements.values, &elements.nulls, &elements.n);
	return elements;
}

/* A time that was reported; the clock of a standby may be ahead. */
static TimestampTz
get_time(const Elements *elements, int i, TimestampTz now)
{
	return elements->nulls[i] ? DT_NOBEGIN : Min(DatumGetTimestampTz(elements->values[i]), now);
}

static int64
get_count(const Elements *elements, int i)
{
	int64		count = elements->nulls[i] ? -1 : DatumGetInt64(elements->values[i]);

	if (count < 0 || count > REPORTED_COUNT_MAX)
		refuse(ERRCODE_INVALID_PARAMETER_VALUE, "a count is missing or out of range",
			   "Only the worker of a standby calls this function.", NULL);
	return count;
}

static int
compare_tokens(const void *a, const void *b)
{
	return memcmp(((const TokenUse *) a)->token_id.data, ((const TokenUse *) b)->token_id.data, UUID_LEN);
}

/* Sorts the uses. */
static void
refuse_repeated_tokens(TokenUse *uses, int n)
{
	qsort(uses, n, sizeof(TokenUse), compare_tokens);
	for (int i = 1; i < n; i++)
		if (compare_tokens(&uses[i - 1], &uses[i]) == 0)
			refuse(ERRCODE_INVALID_PARAMETER_VALUE, "a token is there twice",
				   "Only the worker of a standby calls this function.", NULL);
}

/* The reason of a refusal; unknown if only the standby's version has it. */
static Refusal
get_refusal(const Elements *elements, int i)
{
	Refusal		refusal;

	if (!refusal_by_name(TextDatumGetCString(elements->values[i]), &refusal) || refusal == REFUSAL_NONE)
		return REFUSAL_UNKNOWN;
	return refusal;
}

/*
 * walwarden.receive_usage(token_ids uuid[], used_at timestamptz[], slot0_used_at timestamptz[],
 *		slot1_used_at timestamptz[], used_from inet[], uses bigint[], refusals bigint[],
 *		refused_at timestamptz[], refused_reason text[])
 *
 * Not a door: it writes no table, and a standby calls it that has a standby of its own.
 * Nothing is added unless all of it is valid.
 */
PG_FUNCTION_INFO_V1(walwarden_receive_usage);
Datum
walwarden_receive_usage(PG_FUNCTION_ARGS)
{
	TimestampTz now = GetCurrentTimestamp();
	ErrorContextCallback callback = {error_context_stack, hide_report, NULL};
	Elements	column[9];
	TokenUse   *uses;
	int			n;

	error_context_stack = &callback;
	if (!superuser() && !has_rolreplication(GetUserId()))
		refuse(ERRCODE_INSUFFICIENT_PRIVILEGE, "only a standby reports uses",
			   "Use a role with the attribute REPLICATION.", NULL);
	for (int i = 0; i < lengthof(column); i++)
	{
		column[i] = get_elements(fcinfo, i);
		if (column[i].n != column[0].n)
			refuse(ERRCODE_INVALID_PARAMETER_VALUE, "the arrays differ in length",
				   "Only the worker of a standby calls this function.", NULL);
	}
	n = column[0].n;
	if (n > 0 && !takes_uses())
		refuse(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, "uses are not recorded in shared memory here",
			   "Set shared_preload_libraries = 'walwarden', let walwarden.database have this database, and on a standby set walwarden.primary_conninfo.", NULL);
	uses = palloc0(sizeof(TokenUse) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		TokenUse   *use = &uses[i];

		CHECK_FOR_INTERRUPTS();
		if (column[0].nulls[i])
			refuse(ERRCODE_INVALID_PARAMETER_VALUE, "a token id is missing",
				   "Only the worker of a standby calls this function.", NULL);
		use->token_id = *DatumGetUUIDP(column[0].values[i]);
		use->at = get_time(&column[1], i, now);
		for (int slot = 0; slot < USAGE_SLOTS; slot++)
			use->slot_at[slot] = get_time(&column[2 + slot], i, now);
		if (!column[4].nulls[i])
			(void) network_address_from_inet(DatumGetInetPP(column[4].values[i]), &use->from);
		use->uses = get_count(&column[5], i);
		use->refusals = get_count(&column[6], i);
		use->refused_at = column[8].nulls[i] ? DT_NOBEGIN : get_time(&column[7], i, now);
		if (use->refused_at != DT_NOBEGIN)
			use->refusal = get_refusal(&column[8], i);
	}
	refuse_repeated_tokens(uses, n);
	/* from here on without interruption: all of it is added */
	for (int i = 0; i < n; i++)
		(void) record_shared(&uses[i]);
	error_context_stack = callback.previous;
	PG_RETURN_INT32(n);
}
