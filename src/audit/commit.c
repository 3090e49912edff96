/*
 * commit.c
 *		When an appended entry becomes durable, and when others can see it.
 *
 * Normally the commit record is flushed while the chain is still locked and the entry
 * is still invisible. With walwarden.early_lock_release the transaction commits as with
 * synchronous_commit = off and releases its locks. Only then does it flush and wait for
 * the standbys, before it reports success to the client. Many clients of one chain then
 * share a flush. The next entry is later in WAL, so no entry is durable without the
 * entry before it.
 *
 * With remote_apply too: a commit record that is written with synchronous_commit = off does
 * not ask a standby to report when it has applied it, but a standby does so anyway before
 * it sleeps, and with its next report while it is busy.
 *
 * If the server is configured with synchronous_commit = remote_apply, what takes rights
 * away is in force on the standbys when it returns. Users can lower the setting for
 * themselves. It is not raised again: without it, whoever administers the server takes a
 * right away on the primary while a standby is down and every other commit waits. But the
 * transaction warns.
 *
 * Invariants: a transaction that appended is acknowledged only when it is durable,
 * regardless of synchronous_commit. Whenever the user's code can run, synchronous_commit
 * has the user's value. No error is raised after a commit record is written, because
 * that would take the cluster down. A head hash leaves the server only when it is
 * durable (flush_audit).
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "replication/syncrep.h"
#include "storage/shmem.h"
#include "utils/guc.h"
#include "utils/resowner.h"

#include "audit/commit.h"
#include "base/export.h"
#include "base/settings.h"

/* How many entries this transaction has appended, some of which may have been rolled back. */
static int64 appended = 0;

/* The subtransaction in which it has taken rights away, if that was not rolled back. */
static SubTransactionId taking = InvalidSubTransactionId;

/* synchronous_commit as the files configure it, which the launcher reads; NULL without preload. */
static pg_atomic_uint32 *configured = NULL;

/* synchronous_commit is changed, from XACT_EVENT_PRE_COMMIT to the commit record. */
static bool releasing_early = false;
static int	users_synchronous_commit;

/* Once it is written, the commit record must still be flushed. */
static bool flush_due = false;
static XLogRecPtr commit_before;

/*
 * For the appending trigger. The transaction decides once, at its commit, how to become
 * durable, so that a reload of the settings in between cannot leave it undecided.
 */
void
commit_record_append(bool takes_rights)
{
	appended++;
	/* if it is set, it is an ancestor, which is rolled back no sooner */
	if (takes_rights && taking == InvalidSubTransactionId)
		taking = GetCurrentSubTransactionId();
}

int64
commit_appended(void)
{
	return appended;
}

Size
commit_shmem_size(void)
{
	return sizeof(pg_atomic_uint32);
}

/* Create or attach to the setting. The caller holds AddinShmemInitLock. */
void
commit_shmem_init(void)
{
	bool		found;

	configured = ShmemInitStruct("walwarden synchronous_commit", commit_shmem_size(), &found);
	if (!found)
		pg_atomic_init_u32(configured, synchronous_commit); /* the postmaster's */
}

/*
 * Remember synchronous_commit. Called by the launcher, which is connected to no database,
 * as no user, and so has the value of the configuration.
 */
void
commit_record_configured(void)
{
	pg_atomic_write_u32(configured, synchronous_commit);
}

/*
 * Whether the server is configured with remote_apply. Without preload, a session knows only
 * what it began with, which ALTER ROLE may have lowered.
 */
static bool
remote_apply_is_configured(void)
{
	if (configured != NULL)
		return pg_atomic_read_u32(configured) == SYNCHRONOUS_COMMIT_REMOTE_APPLY;
	return strcmp(GetConfigOptionResetString("synchronous_commit"), "remote_apply") == 0;
}

static void
warn_of_standbys(void)
{
	if (synchronous_commit < SYNCHRONOUS_COMMIT_REMOTE_APPLY && remote_apply_is_configured())
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("standbys may still accept what this transaction takes away"),
				 errdetail("The server is configured with synchronous_commit = remote_apply, and this session has %s.",
						   GetConfigOption("synchronous_commit", false, false)),
				 errhint("SET synchronous_commit = remote_apply before you take rights away. A later commit with it waits for this change too.")));
}

static void
restore_synchronous_commit(void)
{
	if (releasing_early)
		synchronous_commit = users_synchronous_commit;
	releasing_early = false;
}

static void
commit_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (appended == 0)
				break;
			if (taking != InvalidSubTransactionId)
				warn_of_standbys();
			if (walwarden_early_lock_release)
			{
				/* the variable, not the setting, so nothing must be undone */
				users_synchronous_commit = synchronous_commit;
				releasing_early = true;
				synchronous_commit = SYNCHRONOUS_COMMIT_OFF;
				commit_before = XactLastCommitEnd;
				flush_due = true;
			}
			else
				ForceSyncCommit();
			break;
		case XACT_EVENT_COMMIT:
			restore_synchronous_commit();
			appended = 0;
			taking = InvalidSubTransactionId;
			break;
		case XACT_EVENT_ABORT:	/* also for an error after PRE_COMMIT */
		case XACT_EVENT_PREPARE:
			restore_synchronous_commit();
			appended = 0;
			flush_due = false;
			taking = InvalidSubTransactionId;
			break;
		default:
			break;
	}
}

static void
commit_subxact_callback(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (taking != mine)
		return;
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		taking = parent;
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		taking = InvalidSubTransactionId;
}

/*
 * Flush the commit. The locks are released, the client has not been told yet, and
 * interrupts are held. Called for each resource owner of the transaction; the first call
 * does the work.
 *
 * XLogFlush() either succeeds or raises a PANIC. SyncRepWaitForLSN() responds to a cancel
 * or a shutdown with a WARNING. It waits for standbys only if the user's
 * synchronous_commit, which is in force again, requires it.
 */
static void
commit_release_callback(ResourceReleasePhase phase, bool isCommit, bool isTopLevel, void *arg)
{
	if (!flush_due || phase != RESOURCE_RELEASE_AFTER_LOCKS || !isCommit || !isTopLevel)
		return;
	flush_due = false;
	if (XactLastCommitEnd == commit_before)
		return;					/* the append failed; nothing was written */
	XLogFlush(XactLastCommitEnd);
	SyncRepWaitForLSN(XactLastCommitEnd, true);
}

void
commit_init(void)
{
	RegisterXactCallback(commit_xact_callback, NULL);
	RegisterSubXactCallback(commit_subxact_callback, NULL);
	RegisterResourceReleaseCallback(commit_release_callback, NULL);
}

/*
 * The end of WAL. GetXLogInsertRecPtr() returns the start of the next record. That may be
 * after the header of a page that does not exist yet and cannot be flushed.
 */
static XLogRecPtr
end_of_wal(void)
{
	XLogRecPtr	lsn = GetXLogInsertRecPtr();

	if (XLogSegmentOffset(lsn, wal_segment_size) == SizeOfXLogLongPHD)
		return lsn - SizeOfXLogLongPHD;
	if (lsn % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		return lsn - SizeOfXLogShortPHD;
	return lsn;
}

/*
 * Call this before a hash leaves the server. On return, everything that an earlier
 * snapshot sees is durable, also on standbys if synchronous_commit requires it. Replayed
 * WAL was flushed before it was sent.
 *
 * This backend's walwarden.early_lock_release says nothing: another one may not have
 * applied the same reload of the configuration yet.
 */
void
flush_audit(void)
{
	XLogRecPtr	lsn;

	if (RecoveryInProgress())
		return;
	lsn = end_of_wal();
	XLogFlush(lsn);
	HOLD_INTERRUPTS();			/* as SyncRepWaitForLSN() requires */
	SyncRepWaitForLSN(lsn, false);
	RESUME_INTERRUPTS();
}

/* walwarden_internal.flush_audit() */
PG_FUNCTION_INFO_V1(walwarden_flush_audit);
Datum
walwarden_flush_audit(PG_FUNCTION_ARGS)
{
	flush_audit();
	PG_RETURN_VOID();
}
