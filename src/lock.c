/*
 * lock.c
 *		The locks of an organisation, of its chain, and of a request under an
 *		idempotency key.
 *
 * They are heavyweight locks in the advisory space, under classes that no SQL
 * function can reach, so that pg_locks shows them and nobody else takes them.
 *
 * Invariants: each call takes them in the order of LockClass, and what appends
 * without changing the organisation takes the chain's alone, so that a transaction
 * of several calls can deadlock with another (40P01); no wait is longer
 * than the shorter of the two timeouts, and the error names who is in the way; a
 * transaction that may hold one is never prepared.
 */
#include "walwarden.h"

#include "access/xact.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"

#include "compat.h"

static const struct
{
	uint16		class;			/* fourth field of the tag; SQL functions use 1 and 2 */
	const char *what;			/* for the error */
	int			wait;			/* in milliseconds; 0: lock_timeout_effective() */
	const char *hint;
}			lock_classes[] = {
	[LOCK_REQUEST] = {0x5743, "request", 10000,
	"Try again; the same request is still being worked on."},
	[LOCK_MAINTENANCE] = {0x5744, "maintenance", 0, NULL},
	[LOCK_ORGANISATION] = {0x5742, "organisation", 0,
	"Try again; a transaction that changes something of the same organisation must end first."},
	[LOCK_CHAIN] = {0x5741, "audit chain of", 0,
	"Try again; a transaction that changes something of the same organisation must end first."},
};

/* Outermost subtransaction level that changed something and still may commit; 0: none. */
static int	changed_level = 0;

static void
lock_xact_callback(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_PREPARE && changed_level != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot PREPARE a transaction in which walwarden changed something"),
				 errdetail("A prepared transaction would keep an organisation and its chain locked for an unbounded time."),
				 errhint("Commit it directly.")));
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
 * From now on the transaction cannot be prepared, unless its present
 * subtransaction rolls back. For whatever may take a lock of an organisation.
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

/* The holders of a lock, as "12, 34"; empty when they have gone meanwhile. */
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

/* The shorter of walwarden.audit_lock_timeout and lock_timeout; 0: neither. */
int
lock_timeout_effective(void)
{
	if (walwarden_audit_lock_timeout == 0)
		return LockTimeout;
	if (LockTimeout == 0)
		return walwarden_audit_lock_timeout;
	return Min(LockTimeout, walwarden_audit_lock_timeout);
}

/* How long a lock is waited for, in milliseconds; 0: for ever. Not in the function that holds the PG_TRY(). */
static pg_noinline int
lock_wait(LockClass which)
{
	return lock_classes[which].wait != 0 ? lock_classes[which].wait : lock_timeout_effective();
}

static LOCKTAG
lock_tag(const pg_uuid_t *id, LockClass which)
{
	LOCKTAG		tag;
	uint64		halves[2];
	uint64		key;

	/* two ids may share a key: they then wait for each other, no more */
	memcpy(halves, id->data, sizeof(halves));
	key = halves[0] ^ halves[1];
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (key >> 32), (uint32) key, lock_classes[which].class);
	return tag;
}

/*
 * Take a lock, to the end of the transaction. Waits no longer than its class
 * says.
 */
void
lock_take(const pg_uuid_t *id, LockClass which)
{
	LOCKTAG		tag = lock_tag(id, which);
	int			save_timeout = LockTimeout;
	int			timeout = lock_wait(which);
	MemoryContext save_context = CurrentMemoryContext;

	PG_TRY();
	{
		LockTimeout = timeout;
		(void) LockAcquire(&tag, ExclusiveLock, false, false);
		LockTimeout = save_timeout;
	}
	PG_CATCH();
	{
		char		uuid[UUID_TEXT_LEN + 1];
		char	   *pids;

		LockTimeout = save_timeout;
		MemoryContextSwitchTo(save_context);
		if (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE)
			PG_RE_THROW();
		FlushErrorState();
		render_uuid(id, uuid);
		pids = blocking_pids(&tag);
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("could not lock the %s %s within %d ms", lock_classes[which].what, uuid, timeout),
				 pids[0] == '\0' ? 0 : errdetail("Blocked by process %s.", pids),
				 errhint("%s", lock_classes[which].hint)));
	}
	PG_END_TRY();
}

/*
 * walwarden._take_org_lock(org_id uuid)
 *
 * For walwarden._hold_org(), which says what the lock is for.
 */
PG_FUNCTION_INFO_V1(walwarden_take_org_lock);
Datum
walwarden_take_org_lock(PG_FUNCTION_ARGS)
{
	lock_take(PG_GETARG_UUID_P(0), LOCK_ORGANISATION);
	PG_RETURN_VOID();
}

/*
 * walwarden._take_request_lock(id uuid)
 *
 * id: of the token and its idempotency key. Equal requests go one after the other.
 */
PG_FUNCTION_INFO_V1(walwarden_take_request_lock);
Datum
walwarden_take_request_lock(PG_FUNCTION_ARGS)
{
	lock_take(PG_GETARG_UUID_P(0), LOCK_REQUEST);
	PG_RETURN_VOID();
}

/*
 * walwarden._take_maintenance_turn()
 *
 * Not waited for: whoever has it is doing the same work.
 */
PG_FUNCTION_INFO_V1(walwarden_take_maintenance_turn);
Datum
walwarden_take_maintenance_turn(PG_FUNCTION_ARGS)
{
	pg_uuid_t	everybody = {{0}};
	LOCKTAG		tag = lock_tag(&everybody, LOCK_MAINTENANCE);

	PG_RETURN_BOOL(LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL);
}

/*
 * walwarden._bound_waits(milliseconds integer)
 *
 * Not by the setting: the door has replaced lock_timeout beneath it, and puts it
 * back at its end.
 */
PG_FUNCTION_INFO_V1(walwarden_bound_waits);
Datum
walwarden_bound_waits(PG_FUNCTION_ARGS)
{
	int			most = PG_GETARG_INT32(0);

	if (LockTimeout == 0 || LockTimeout > most)
		LockTimeout = most;
	PG_RETURN_VOID();
}
