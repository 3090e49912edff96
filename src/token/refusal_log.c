/*
 * refusal_log.c
 *		The server's log of refused tokens: which token, by its id, and why.
 *
 * A token and a reason are logged at most once a minute. A table of what was logged keeps
 * count, in shared memory or, without preload, in each process for itself. It has sets of
 * LOG_WAYS entries. If all entries of a set are younger than a minute, nothing more is
 * logged: a flood of refusals must not become a flood in the log.
 *
 * Invariants: only tokens that exist are logged, so that a client cannot fill the log with
 * guesses. Neither the client nor the log gets the value that was presented.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "base/monotonic.h"
#include "base/render.h"
#include "common/syntax.h"
#include "token/refusal.h"
#include "token/refusal_log.h"

#define LOG_INTERVAL (60 * MONOTONIC_SECOND)
#define LOG_SETS_SHARED 1024	/* 320 kB */
#define LOG_SETS_LOCAL 16
#define LOG_WAYS 8

typedef struct LogKey
{
	Oid			dbid;			/* InvalidOid: free */
	Refusal		refusal;
	pg_uuid_t	token_id;
} LogKey;

typedef struct LogEntry
{
	LogKey		key;
	int64		at;
} LogEntry;

typedef struct LogSet
{
	slock_t		mutex;
	LogEntry	entries[LOG_WAYS];
} LogSet;

static LogSet *sets = NULL;
static int	nsets = 0;

static void
clear_sets(void)
{
	memset(sets, 0, nsets * sizeof(LogSet));
	for (int i = 0; i < nsets; i++)
		SpinLockInit(&sets[i].mutex);
}

Size
refusal_log_shmem_size(void)
{
	return LOG_SETS_SHARED * sizeof(LogSet);
}

/* Create or attach to the table. The caller holds AddinShmemInitLock. */
void
refusal_log_shmem_init(void)
{
	bool		found;

	nsets = LOG_SETS_SHARED;
	sets = ShmemInitStruct("walwarden refusals", refusal_log_shmem_size(), &found);
	if (!found)
		clear_sets();
}

/* Whether this refusal is to be logged; if so, it counts as logged. */
static bool
is_due(LogSet *set, const LogKey *key, int64 now)
{
	LogEntry   *entry = NULL;
	bool		due;

	SpinLockAcquire(&set->mutex);
	for (int i = 0; i < LOG_WAYS; i++)
	{
		LogEntry   *other = &set->entries[i];

		if (memcmp(&other->key, key, sizeof(LogKey)) == 0)
		{
			entry = other;
			break;
		}
		if (entry == NULL || !OidIsValid(other->key.dbid) ||
			(OidIsValid(entry->key.dbid) && other->at < entry->at))
			entry = other;
	}
	due = !OidIsValid(entry->key.dbid) || now - entry->at >= LOG_INTERVAL;
	if (due)
	{
		entry->key = *key;
		entry->at = now;
	}
	SpinLockRelease(&set->mutex);
	return due;
}

/* Log that a token, which exists, was refused. */
void
refusal_log(const pg_uuid_t *token_id, Refusal refusal)
{
	LogKey		key = {.dbid = MyDatabaseId,.refusal = refusal,.token_id = *token_id};
	char		uuid[UUID_TEXT_LEN + 1];

	if (sets == NULL)
	{
		sets = MemoryContextAlloc(TopMemoryContext, LOG_SETS_LOCAL * sizeof(LogSet));
		nsets = LOG_SETS_LOCAL;
		clear_sets();
	}
	if (!is_due(&sets[hash_bytes((const unsigned char *) &key, sizeof(key)) % nsets], &key, monotonic_now()))
		return;
	render_uuid(token_id, uuid);
	ereport(LOG_SERVER_ONLY,
			(errmsg("walwarden: token %s was refused: %s", uuid, refusal_name(refusal)),
			 errhidestmt(true),
			 errhidecontext(true)));
}
