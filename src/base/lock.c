/*
 * lock.c
 *		Locks of an organisation, its chain, a legacy credential, maintenance, a
 *		request with an idempotency key, and sessions; how long to wait for locks.
 *
 * They are heavyweight locks in the advisory space, with classes that no SQL function
 * can reach. So pg_locks shows them, but nobody else can acquire them.
 *
 * Invariants: for one organisation, a call acquires its locks in the order of LockClass.
 * A call that changes several acquires them one after another, by id; maintenance begins
 * anew with each kind of step. LOCK_PERSONS comes last but for the system chain, at the end
 * of a request or of the transaction; whoever has changed the system chain before in the
 * same transaction can deadlock with others there. A call that appends
 * without changing the organisation acquires only the lock of the chain, so two
 * transactions of several calls can deadlock (40P01). No wait is longer than the
 * shorter of lock_timeout and walwarden.audit_lock_timeout, and the error names the
 * blocking processes. A transaction that may hold one of these locks cannot be prepared.
 * Of the requests of REST v1, which share a small pool of connections, only a few wait at
 * a time.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/refuse.h"
#include "base/compat.h"
#include "base/export.h"
#include "base/lock.h"
#include "base/render.h"
#include "base/settings.h"

static const struct
{
	uint16		class;			/* fourth field of the tag; SQL uses 1 and 2 */
	const char *what;			/* for the error */
	const char *hint;
}			lock_classes[] = {

	[LOCK_REQUEST] = {0x5743, "request",
	"Try again. The same request is still in progress."},
	[LOCK_MAINTENANCE] = {0x5744, "maintenance", NULL},
	[LOCK_ORGANISATION] = {0x5742, "organisation",
	"Try again. Another transaction that changes the same organisation must end first."},
	[LOCK_CREDENTIAL] = {0x5745, "legacy credential",
	"Try again. Another transaction is importing the same credential."},
	[LOCK_PERSONS] = {0x5747, "sessions of the group of people",
	"Try again. Another transaction that ends sessions must end first."},
	[LOCK_CHAIN] = {0x5741, "audit chain of organisation",
	"Try again. Another transaction that changes the same organisation must end first."},
};

/*
 * A request that waits holds one of these places, which are locks themselves. Nobody waits
 * for a place, so places cannot be part of a deadlock.
 */
#define WAITING_PLACES 4
#define WAITING_PLACE_CLASS 0x5746

/* Milliseconds. A request without a place tries again for this long. */
#define GRACE 300
#define GRACE_STEP 10

/* The transaction is a request: its waits need a place. */
static bool waits_need_place = false;

/* The outermost subtransaction level that changed something and may still commit; 0: none. */
static int	changed_level = 0;

static void
lock_xact_callback(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_PREPARE && changed_level != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot PREPARE a transaction that has made changes through walwarden"),
				 errdetail("A prepared transaction would keep an organisation and its chain locked indefinitely."),
				 errhint("Commit the transaction directly.")));
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		changed_level = 0;
}

static void
lock_subxact_callback(SubXactEvent event, SubTransactionId mySubid, SubTransactionId parentSubid, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (changed_level < level)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		changed_level = 0;
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		changed_level = level - 1;
}

/*
 * From now on the transaction cannot be prepared, unless its current subtransaction
 * rolls back. lock_acquire() calls this; so does what changes anything without a lock.
 */
void
lock_forbid_prepare(void)
{
	if (changed_level == 0 || changed_level > GetCurrentTransactionNestLevel())
		changed_level = GetCurrentTransactionNestLevel();
}

void
lock_init(void)
{
	RegisterXactCallback(lock_xact_callback, NULL);
	RegisterSubXactCallback(lock_subxact_callback, NULL);
}

/* The holders of a lock, as "12, 34"; empty if they have gone in the meantime. */
static char *
blocking_pids(const LOCKTAG *tag)
{
	StringInfoData pids;
	int			count;
	VirtualTransactionId *holders = GetLockConflicts(tag, ExclusiveLock, &count);

	initStringInfo(&pids);
	for (int i = 0; i < count; i++)
	{
		PGPROC	   *proc = compat_vxid_proc(holders[i]);

		if (proc != NULL && proc->pid != 0)
			appendStringInfo(&pids, "%s%d", pids.len > 0 ? ", " : "", proc->pid);
	}
	return pids.data;
}

/* How many callers of lock_wait_bound() have yet to restore the wait. */
static int	bounds = 0;

static void
shorten_wait(int milliseconds)
{
	if (milliseconds != 0 && (LockTimeout == 0 || LockTimeout > milliseconds))
		LockTimeout = milliseconds;
}

/*
 * Limit each wait for a lock to this many milliseconds, unless the limit is already
 * shorter. 0 changes nothing. This changes the variable of lock_timeout, not the setting.
 * The caller passes the result to lock_wait_restore() on every way out.
 */
int
lock_wait_bound(int milliseconds)
{
	int			previous = LockTimeout;

	bounds++;
	shorten_wait(milliseconds);
	return previous;
}

/* Restore the limit that lock_wait_bound() returned. */
void
lock_wait_restore(int previous)
{
	bounds--;
	LockTimeout = previous;
}

/*
 * From now on, waits need a place, or do not. Returns what was before, for the caller to
 * restore on every way out.
 */
bool
lock_limit_waits(bool limit)
{
	bool		previous = waits_need_place;

	waits_need_place = limit;
	return previous;
}

static LOCKTAG
place_tag(int place)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, (uint32) place, WAITING_PLACE_CLASS);
	return tag;
}

/* Whether a request in a waiting place has waited for this lock longer than the grace. */
static bool
is_stuck(const LOCKTAG *tag)
{
	LWLock	   *partition = LockHashPartitionLock(LockTagHashCode(tag));
	TimestampTz oldest = GetCurrentTimestamp() - GRACE * INT64CONST(1000);
	bool		stuck = false;

	for (int i = 0; i < WAITING_PLACES && !stuck; i++)
	{
		LOCKTAG		place = place_tag(i);
		int			count;
		VirtualTransactionId *holder = GetLockConflicts(&place, ExclusiveLock, &count);
		PGPROC	   *proc = count == 0 ? NULL : compat_vxid_proc(holder[0]);

		if (proc == NULL)
			continue;
		LWLockAcquire(partition, LW_SHARED);
		if (proc->waitLock != NULL && memcmp(&proc->waitLock->tag, tag, sizeof(LOCKTAG)) == 0)
		{
			TimestampTz since = (TimestampTz) pg_atomic_read_u64(&proc->waitStart);

			stuck = since != 0 && since < oldest;
		}
		LWLockRelease(partition);
	}
	return stuck;
}

/*
 * For a request: acquire a lock, or a place in which to wait for it. Without either it
 * tries again for a while, so that many short changes of one organisation get their turn,
 * unless those in the places wait in vain. Returns whether it has the lock; if not, place
 * receives the place, or is left as it is if there is none. LockTimeout, which the caller
 * restores, is left with what remains of it.
 */
static bool
acquire_or_take_place(const LOCKTAG *tag, LOCKTAG *place)
{
	int			grace = LockTimeout != 0 && LockTimeout < GRACE ? LockTimeout : GRACE;

	for (int waited = 0;; waited += GRACE_STEP)
	{
		if (LockAcquire(tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL)
			return true;
		for (int i = 0; i < WAITING_PLACES; i++)
		{
			LOCKTAG		wanted = place_tag(i);

			if (LockAcquire(&wanted, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL)
			{
				*place = wanted;
				if (LockTimeout > 0)
					LockTimeout = Max(LockTimeout - waited, 1);
				return false;
			}
		}
		if (waited >= grace || is_stuck(tag))
			return false;
		CHECK_FOR_INTERRUPTS();
		pg_usleep(GRACE_STEP * 1000L);
	}
}

static LOCKTAG
lock_tag(const pg_uuid_t *id, LockClass which)
{
	LOCKTAG		tag;
	uint64		halves[2];
	uint64		key;

	/* two ids may share a key; they only wait for each other */
	memcpy(halves, id->data, sizeof(halves));
	key = halves[0] ^ halves[1];
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (key >> 32), (uint32) key, lock_classes[which].class);
	return tag;
}

/* Acquire a lock, waiting for it as the transaction may. */
static void
acquire(const LOCKTAG *tag)
{
	LOCKTAG		place = {0};

	if (waits_need_place)
	{
		if (acquire_or_take_place(tag, &place))
			return;
		if (place.locktag_field4 == 0)
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg_internal("too many requests are waiting")));
	}
	(void) LockAcquire(tag, ExclusiveLock, false, false);
	/* an error ends the subtransaction of the request, and with it the place */
	if (waits_need_place)
		LockRelease(&place, ExclusiveLock, false);
}

/* Acquire a lock until the end of the transaction. */
void
lock_acquire(const pg_uuid_t *id, LockClass which)
{
	LOCKTAG		tag = lock_tag(id, which);
	MemoryContext save_context = CurrentMemoryContext;
	int			save_wait = lock_wait_bound(walwarden_audit_lock_timeout);
	int			limit = LockTimeout;

	lock_forbid_prepare();
	PG_TRY();
	{
		acquire(&tag);
		lock_wait_restore(save_wait);
	}
	PG_CATCH();
	{
		char		uuid[UUID_TEXT_LEN + 1];
		char	   *pids;

		lock_wait_restore(save_wait);
		MemoryContextSwitchTo(save_context);
		if (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE)
			PG_RE_THROW();
		FlushErrorState();
		render_uuid(id, uuid);
		pids = blocking_pids(&tag);
		refuse(ERRCODE_LOCK_NOT_AVAILABLE,
			   psprintf("could not lock the %s %s within %d ms", lock_classes[which].what, uuid, limit),
			   lock_classes[which].hint,
			   pids[0] == '\0' ? NULL : psprintf("Blocked by process %s.", pids));
	}
	PG_END_TRY();
}

/*
 * walwarden_internal.acquire_org_lock(org_id uuid)
 *
 * For walwarden_internal.lock_org(), which explains the purpose of the lock.
 */
PG_FUNCTION_INFO_V1(walwarden_acquire_org_lock);
Datum
walwarden_acquire_org_lock(PG_FUNCTION_ARGS)
{
	lock_acquire(PG_GETARG_UUID_P(0), LOCK_ORGANISATION);
	PG_RETURN_VOID();
}

/*
 * walwarden_internal.acquire_credential_lock(id uuid)
 *
 * id: the first half of the fingerprint of a legacy credential.
 */
PG_FUNCTION_INFO_V1(walwarden_acquire_credential_lock);
Datum
walwarden_acquire_credential_lock(PG_FUNCTION_ARGS)
{
	lock_acquire(PG_GETARG_UUID_P(0), LOCK_CREDENTIAL);
	PG_RETURN_VOID();
}

/*
 * walwarden_internal.try_org_lock(org_id uuid)
 *
 * For work that somebody else does if this transaction does not.
 */
PG_FUNCTION_INFO_V1(walwarden_try_org_lock);
Datum
walwarden_try_org_lock(PG_FUNCTION_ARGS)
{
	LOCKTAG		tag = lock_tag(PG_GETARG_UUID_P(0), LOCK_ORGANISATION);

	lock_forbid_prepare();
	PG_RETURN_BOOL(LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL);
}

/*
 * walwarden_internal.try_maintenance_lock()
 *
 * Does not wait, because the holder of the lock does the same work.
 */
PG_FUNCTION_INFO_V1(walwarden_try_maintenance_lock);
Datum
walwarden_try_maintenance_lock(PG_FUNCTION_ARGS)
{
	pg_uuid_t	everybody = {{0}};
	LOCKTAG		tag = lock_tag(&everybody, LOCK_MAINTENANCE);

	PG_RETURN_BOOL(LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL);
}

/*
 * walwarden_internal.bound_waits(milliseconds integer)
 *
 * The running door, or the worker, restores the wait when it returns. Nobody else would.
 */
PG_FUNCTION_INFO_V1(walwarden_bound_waits);
Datum
walwarden_bound_waits(PG_FUNCTION_ARGS)
{
	int32		milliseconds = PG_GETARG_INT32(0);

	if (bounds == 0)
		refuse(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, "no walwarden function is running",
			   "Set lock_timeout.", NULL);
	if (milliseconds <= 0)
		refuse(ERRCODE_INVALID_PARAMETER_VALUE, "a wait must be at least 1 ms",
			   "Give a positive number of milliseconds.", NULL);
	shorten_wait(milliseconds);
	PG_RETURN_VOID();
}
