/*
 * commit.c
 *		When an appended entry becomes durable, and who may see it before.
 *
 * Normally the commit record is flushed while the chain is still locked and the
 * entry still invisible. With walwarden.early_lock_release the transaction
 * commits as with synchronous_commit = off, releases its locks, and only then
 * flushes and waits for the standbys, before the client hears of it: many
 * clients of one chain then share a flush. Whoever appends next writes later
 * WAL, so that no entry is durable without the one it follows.
 *
 * Invariants: a transaction that appended is acknowledged when it is durable,
 * whatever synchronous_commit says; synchronous_commit is the user's own again
 * whenever code of theirs can run; nothing here raises an error once a commit
 * record is written, which would take the cluster down; a head hash leaves the
 * server (settle_audit) when it is durable.
 */
#include "walwarden.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "miscadmin.h"
#include "replication/syncrep.h"
#include "utils/resowner.h"

/* An entry was appended in this transaction; it may have been rolled back since. */
static bool appended = false;

/* synchronous_commit is ours, from XACT_EVENT_PRE_COMMIT to the commit record. */
static bool releasing_early = false;
static int	users_synchronous_commit;

/* The commit record, once it is written, is still to be flushed. */
static bool flush_due = false;
static XLogRecPtr commit_before;

/*
 * For the appending trigger. The transaction decides what to do at its commit:
 * once, so that a reload of the settings in between cannot lead to neither.
 */
void
commit_note_append(void)
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
				/* the variable and not the setting: nobody sees it, nothing has to be undone */
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
 * The locks are gone, the client has not heard yet, interrupts are held. Called
 * for each resource owner of the transaction: the first does it.
 *
 * XLogFlush() fails by a PANIC of its own or not at all; SyncRepWaitForLSN()
 * answers a cancel or a shutdown by a WARNING, and waits for nobody unless the
 * user's synchronous_commit, which is in force again, says so.
 */
static void
commit_release_callback(ResourceReleasePhase phase, bool isCommit, bool isTopLevel, void *arg)
{
	if (!flush_due || phase != RESOURCE_RELEASE_AFTER_LOCKS || !isCommit || !isTopLevel)
		return;
	flush_due = false;
	if (XactLastCommitEnd == commit_before)
		return;					/* the append failed, and nothing else was written */
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
 * Where WAL ends. GetXLogInsertRecPtr() is where the next record begins, which is
 * behind the header of a page that may not exist yet and cannot be flushed.
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
 * Before a hash leaves the server that was read with a snapshot taken earlier:
 * everything that the snapshot sees is durable on return, on the standbys too
 * where synchronous_commit asks for them. Replayed WAL was flushed before it
 * was sent.
 */
void
settle_audit(void)
{
	XLogRecPtr	lsn;

	if (!walwarden_early_lock_release || RecoveryInProgress())
		return;
	lsn = end_of_wal();
	XLogFlush(lsn);
	HOLD_INTERRUPTS();			/* as SyncRepWaitForLSN() wants it */
	SyncRepWaitForLSN(lsn, false);
	RESUME_INTERRUPTS();
}

/* walwarden._settle_audit() */
PG_FUNCTION_INFO_V1(walwarden_settle_audit);
Datum
walwarden_settle_audit(PG_FUNCTION_ARGS)
{
	settle_audit();
	PG_RETURN_VOID();
}
