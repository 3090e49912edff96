/*
 * idle.c
 *		When each session was last used, in shared memory, for all databases together.
 *
 * The table has IDLE_SETS sets of IDLE_WAYS entries; the hash of database and session
 * selects the set. In a full set, a new entry replaces the one that was used longest ago.
 * Of a session without an entry it is known that it was not used after `forgotten`: the
 * latest use among the entries that the set has given up, or the start of the server. So a
 * session can get some more time when more sessions are in use than there are places, and
 * when the server restarts, but never less than it should have.
 *
 * Locking: a spinlock for each set, because it protects a pass over a few entries. No code
 * under it can fail, wait or allocate.
 *
 * Invariants: times are by the monotonic clock, so that a clock that steps ends no
 * session. A session that was idle for too long is not used by the attempt, and so stays
 * idle. Without preload no session is ever idle.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/timestamp.h"

#include "base/monotonic.h"
#include "base/settings.h"
#include "people/idle.h"

#define IDLE_SETS 1024
#define IDLE_WAYS 8				/* 8,192 sessions, 0.3 MB (runbook.md) */

typedef struct IdleEntry
{
	pg_uuid_t	session_id;
	Oid			dbid;			/* InvalidOid: free */
	int64		used;			/* monotonic */
} IdleEntry;

typedef struct IdleSet
{
	slock_t		mutex;
	int64		forgotten;		/* monotonic */
	IdleEntry	entries[IDLE_WAYS];
} IdleSet;

static IdleSet *sets = NULL;	/* NULL without preload */

Size
idle_shmem_size(void)
{
	return mul_size(IDLE_SETS, sizeof(IdleSet));
}

/* Create or attach to the table. The caller holds AddinShmemInitLock. */
void
idle_shmem_init(void)
{
	bool		found;

	sets = ShmemInitStruct("walwarden sessions", idle_shmem_size(), &found);
	if (found)
		return;
	memset(sets, 0, idle_shmem_size());
	for (int i = 0; i < IDLE_SETS; i++)
	{
		SpinLockInit(&sets[i].mutex);
		sets[i].forgotten = monotonic_now();
	}
}

/* Nanoseconds since a session began, by the wall clock. */
static int64
age(TimestampTz created_at)
{
	return Max(GetCurrentTimestamp() - created_at, 0) * 1000;
}

/*
 * Record a use of a session, unless it has been idle for too long; then return false.
 * created_at: when it began.
 */
bool
idle_use(const pg_uuid_t *session_id, TimestampTz created_at)
{
	int64		now = monotonic_now();
	int64		timeout = walwarden_session_idle_timeout * MONOTONIC_SECOND;
	int64		since_start = age(created_at);
	IdleSet    *set;
	IdleEntry  *entry = NULL;
	IdleEntry  *oldest;
	bool		in_time;

	if (sets == NULL || timeout == 0)
		return true;
	set = &sets[hash_combine(hash_bytes(session_id->data, UUID_LEN), MyDatabaseId) % IDLE_SETS];

	SpinLockAcquire(&set->mutex);
	oldest = &set->entries[0];
	for (int i = 0; i < IDLE_WAYS && entry == NULL; i++)
	{
		IdleEntry  *at = &set->entries[i];

		if (at->dbid == MyDatabaseId && memcmp(at->session_id.data, session_id->data, UUID_LEN) == 0)
			entry = at;
		else if (at->used < oldest->used)	/* a free one has 0 */
			oldest = at;
	}
	in_time = (entry != NULL ? now - entry->used : Min(now - set->forgotten, since_start)) <= timeout;
	if (in_time)
	{
		if (entry == NULL)
		{
			entry = oldest;
			if (OidIsValid(entry->dbid))
				set->forgotten = Max(set->forgotten, entry->used);
			entry->session_id = *session_id;
			entry->dbid = MyDatabaseId;
		}
		entry->used = now;
	}
	SpinLockRelease(&set->mutex);
	return in_time;
}
