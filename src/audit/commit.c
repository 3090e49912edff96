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
#include "replication/syncrep.h"
#include "utils/resowner.h"

#include "audit/commit.h"
#include "base/export.h"
#include "base/settings.h"

/* This transaction has appended an entry, which may have been rolled back since. */
static bool appended = false;

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
commit_record_append(void)
{
	appended = true;
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
			if (!appended)
				break;
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
			appended = false;
			break;
		case XACT_EVENT_ABORT:	/* also for an error after PRE_COMMIT */
		case XACT_EVENT_PREPARE:
			restore_synchronous_commit();
			appended = flush_due = false;
			break;
		default:
			break;
	}
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
