/*
 * ending.c
 *		Ends the sessions of people whose last membership was taken away, as late as possible.
 *
 * The entry of such an end belongs into the system chain, whose lock is held until the end
 * of the transaction. Whoever manages one organisation may leave a transaction open; with
 * that lock they would keep everybody else from signing in and out. So a door only notes
 * whose sessions to look at, and they end when the transaction commits; those that a
 * request of REST v1 has noted end with the request, which can still answer that it failed.
 *
 * Invariants: what was rolled back to a savepoint ends nothing. A session without a
 * membership at the time of the call ends, whoever becomes a member under its subject
 * later in the transaction. Of two who take the last two memberships of a person away, the
 * second waits, and sees what the first has done, with any isolation level. Nothing that a
 * member can write runs between this and the commit. An error here is one of COMMIT, which
 * then changes nothing.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "base/call.h"
#include "base/compat.h"
#include "base/export.h"
#include "base/lock.h"
#include "base/settings.h"
#include "base/tables.h"
#include "people/columns.h"
#include "people/ending.h"
#include "people/session.h"

/* A call of end_sessions_of(). In TopTransactionContext. */
typedef struct Ending
{
	Datum		actor;
	ArrayType  *subjects;
	Datum		reason;
	bool		forget;
	ArrayBuildState *sessions;	/* their ids; some may be there twice */
	Oid			owner;			/* of the extension */
	int			nest_level;		/* of the subtransaction that called it */
	struct Ending *earlier;
} Ending;

static Ending *last = NULL;

/*
 * Transactions that end sessions of one person wait for each other, though one of them
 * may not see the session yet. Persons share these locks, so that their number is limited.
 */
#define PERSON_LOCKS 64

static void
lock_persons(const Ending *due)
{
	bool		wanted[PERSON_LOCKS] = {false};

	for (; due != NULL; due = due->earlier)
	{
		Datum	   *subjects;
		int			count;

		deconstruct_array(due->subjects, TEXTOID, -1, false, TYPALIGN_INT, &subjects, NULL, &count);
		for (int i = 0; i < count; i++)
		{
			text	   *subject = DatumGetTextPP(subjects[i]);

			wanted[hash_bytes((const unsigned char *) VARDATA_ANY(subject), VARSIZE_ANY_EXHDR(subject)) % PERSON_LOCKS] = true;
		}
	}
	for (int i = 0; i < PERSON_LOCKS; i++)
	{
		pg_uuid_t	id = {{0}};

		id.data[UUID_LEN - 1] = (unsigned char) i;
		if (wanted[i])
			lock_acquire(&id, LOCK_PERSONS);
	}
}

/* A transaction with a fixed snapshot can end no session that started after it. */
static void
check_visible(const pg_uuid_t *session)
{
	Row			row;
	bool		visible = !IsolationUsesXactSnapshot() ||
		row_find_uuid(&row, "session", "session_pkey", Anum_session_id, session, GetActiveSnapshot());

	if (IsolationUsesXactSnapshot())
		row_close(&row);
	if (!visible)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to a concurrent sign-in"),
				 errhint("The transaction might succeed if retried.")));
}

/* Note the sessions of one subject under which nobody may be signed in any more. */
static void
add_sessions(Ending *ending, Datum subject, Snapshot snapshot)
{
	Relation	heap = walwarden_table_open("session");
	Relation	index = walwarden_index_open("session_by_subject");
	ScanKeyData key;
	SysScanDesc scan;
	Row			row = {.heap = heap};
	Person		person = {.subject = TextDatumGetCString(subject)};
	enum
	{
		UNKNOWN, MAY_STAY, ENDS
	}			verdicts[2] = {UNKNOWN, UNKNOWN};

	ScanKeyInit(&key, Anum_session_subject, BTEqualStrategyNumber, F_TEXTEQ, subject);
	scan = systable_beginscan(heap, RelationGetRelid(index), true, snapshot, 1, &key);
	while (HeapTupleIsValid(row.tuple = systable_getnext(scan)))
	{
		pg_uuid_t	id = row_uuid(&row, Anum_session_id);

		if (row_has(&row, Anum_session_ended_at))
			continue;
		person.by_sso = strcmp(text_to_cstring(row_text(&row, Anum_session_method)), "sso") == 0;
		if (verdicts[person.by_sso] == UNKNOWN)
			verdicts[person.by_sso] = session_may_start(&person) ? MAY_STAY : ENDS;
		if (verdicts[person.by_sso] == MAY_STAY)
			continue;
		check_visible(&id);
		accumArrayResult(ending->sessions, UUIDPGetDatum(&id), false, UUIDOID, TopTransactionContext);
	}
	systable_endscan(scan);
	index_close(index, AccessShareLock);
	table_close(heap, AccessShareLock);
}

static void
find_sessions(Ending *ending)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Datum	   *subjects;
	int			count;

	deconstruct_array(ending->subjects, TEXTOID, -1, false, TYPALIGN_INT, &subjects, NULL, &count);
	for (int i = 0; i < count; i++)
		add_sessions(ending, subjects[i], snapshot);
	UnregisterSnapshot(snapshot);
}

/* Lock all sessions before the first entry, because others lock them before the chain, too. */
static void
lock_sessions(const Ending *due)
{
	const Oid	types[] = {UUIDARRAYOID};
	ArrayBuildState *all = initArrayResult(UUIDOID, CurrentMemoryContext, false);
	NullableDatum arg = {.isnull = false};

	for (; due != NULL; due = due->earlier)
		for (int i = 0; i < due->sessions->nelems; i++)
			accumArrayResult(all, due->sessions->dvalues[i], false, UUIDOID, CurrentMemoryContext);
	arg.value = makeArrayResult(all, CurrentMemoryContext);
	(void) call_function("lock_sessions", 1, types, &arg, NULL);
}

static void
end_sessions(const Ending *ending)
{
	const Oid	end_types[] = {JSONBOID, UUIDARRAYOID, TEXTOID};
	const Oid	forget_types[] = {UUIDARRAYOID, TEXTARRAYOID};
	Datum		sessions = makeArrayResult(ending->sessions, CurrentMemoryContext);
	const NullableDatum end[] = {{.value = ending->actor}, {.value = sessions}, {.value = ending->reason}};
	const NullableDatum forget[] = {{.value = sessions}, {.value = PointerGetDatum(ending->subjects)}};

	if (ending->sessions->nelems > 0)
		(void) call_function("end_sessions", lengthof(end), end_types, end, NULL);
	if (ending->forget)
		(void) call_function("forget_sessions", lengthof(forget), forget_types, forget, NULL);
}

/* The same list, the earliest first. */
static Ending *
reversed(Ending *due)
{
	Ending	   *first = NULL;

	while (due != NULL)
	{
		Ending	   *earlier = due->earlier;

		due->earlier = first;
		first = due;
		due = earlier;
	}
	return first;
}

static void
end_all(Ending *due)
{
	lock_persons(due);
	for (Ending *ending = due; ending != NULL; ending = ending->earlier)
		find_sessions(ending);
	lock_sessions(due);
	for (Ending *ending = reversed(due); ending != NULL; ending = ending->earlier)
		end_sessions(ending);
}

/*
 * End the sessions that the current subtransaction, or one below it, has noted. The
 * caller has an active snapshot.
 */
void
ending_perform(void)
{
	int			level = GetCurrentTransactionNestLevel();
	Ending	   *due = NULL;
	Ending	  **end = &due;
	SavedUser	saved = user_save();
	int			lock_wait;

	while (last != NULL && last->nest_level >= level)
	{
		*end = last;
		end = &last->earlier;
		last = last->earlier;
	}
	*end = NULL;
	if (due == NULL)
		return;
	lock_wait = lock_wait_bound(walwarden_audit_lock_timeout);
	PG_TRY();
	{
		user_become(due->owner, &saved, 0);
		end_all(due);
	}
	PG_FINALLY();
	{
		user_restore(&saved);
		lock_wait_restore(lock_wait);
	}
	PG_END_TRY();
}

static void
ending_xact_callback(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_COMMIT && last != NULL)
	{
		CommandCounterIncrement();
		/* unless the extension was dropped, and the sessions with it */
		if (OidIsValid(get_namespace_oid("walwarden_internal", true)))
		{
			PushActiveSnapshot(GetTransactionSnapshot());
			ending_perform();
			PopActiveSnapshot();
		}
	}
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_ABORT)
		last = NULL;
}

static void
ending_subxact_callback(SubXactEvent event, SubTransactionId mySubid, SubTransactionId parentSubid, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (event == SUBXACT_EVENT_ABORT_SUB)
		while (last != NULL && last->nest_level >= level)
			last = last->earlier;
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		for (Ending *ending = last; ending != NULL && ending->nest_level >= level; ending = ending->earlier)
			ending->nest_level = level - 1;
}

/* Call it after commit_init(): callbacks run in the reverse order, and this one appends. */
void
ending_init(void)
{
	RegisterXactCallback(ending_xact_callback, NULL);
	RegisterSubXactCallback(ending_subxact_callback, NULL);
}

/*
 * walwarden_internal.end_sessions_of(actor jsonb, subjects text[], reason text, forget boolean),
 * called by a door, which works as the owner and has forbidden PREPARE TRANSACTION
 */
PG_FUNCTION_INFO_V1(walwarden_end_sessions_of);
Datum
walwarden_end_sessions_of(PG_FUNCTION_ARGS)
{
	MemoryContext context = MemoryContextSwitchTo(TopTransactionContext);
	Ending	   *ending = palloc(sizeof(Ending));

	ending->actor = datumCopy(PointerGetDatum(PG_GETARG_VARLENA_PP(0)), false, -1);
	ending->subjects = PG_GETARG_ARRAYTYPE_P_COPY(1);
	ending->reason = datumCopy(PointerGetDatum(PG_GETARG_VARLENA_PP(2)), false, -1);
	ending->forget = PG_GETARG_BOOL(3);
	ending->sessions = initArrayResult(UUIDOID, TopTransactionContext, false);
	ending->owner = GetUserId();
	ending->nest_level = GetCurrentTransactionNestLevel();
	MemoryContextSwitchTo(context);
	find_sessions(ending);
	ending->earlier = last;
	last = ending;
	PG_RETURN_VOID();
}
