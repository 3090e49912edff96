/*
 * ending.c
 *		Ends the sessions of people whose last membership was taken away, as late as possible.
 *
 * The entry of such an end belongs in the system chain, whose lock is held until the end
 * of the transaction. Whoever manages one organisation may leave a transaction open; with
 * that lock they would keep everybody else from signing in and out. So a door only notes
 * whose sessions to look at, and they end when the transaction commits; those that a
 * request of REST v1 has noted end with the request, which can still answer that it failed.
 *
 * Invariants: what was rolled back to a savepoint ends nothing. A session without a
 * membership at the time of the call ends, whoever becomes a member under its subject
 * later in the transaction. Of two who take the last two memberships of a person away, the
 * second waits, and sees what the first has done, with any isolation level. Nothing that a
 * member can write runs between this and the commit, and nothing is sent to a client,
 * who might not read it, while the chain is locked. How long that takes depends on the
 * number of sessions and subjects, not on the number of calls. An error here is one of
 * COMMIT, which then changes nothing.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"
#include "utils/varlena.h"

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
	int			nest_level;		/* of the subtransaction that called it */
	struct Ending *earlier;
} Ending;

/* A session, or a subject, and the call that has noted it. */
typedef struct Noted
{
	pg_uuid_t	session;
	Datum		subject;
	int			order;			/* of the call */
	Ending	   *ending;
} Noted;

static Ending *last = NULL;

/*
 * Transactions that end sessions of one person wait for each other, though one of them
 * may not see the session yet. Persons share these locks, so that their number is limited.
 */
#define PERSON_LOCKS 64

static void
lock_persons(const Noted *subjects, int count)
{
	bool		wanted[PERSON_LOCKS] = {false};

	for (int i = 0; i < count; i++)
	{
		text	   *subject = DatumGetTextPP(subjects[i].subject);

		wanted[hash_bytes((const unsigned char *) VARDATA_ANY(subject), VARSIZE_ANY_EXHDR(subject)) % PERSON_LOCKS] = true;
	}
	for (int i = 0; i < PERSON_LOCKS; i++)
	{
		pg_uuid_t	id = {{0}};

		id.data[UUID_LEN - 1] = (unsigned char) i;
		if (wanted[i])
			lock_acquire(&id, LOCK_PERSONS);
	}
}

/* A transaction with a fixed snapshot can neither end nor forget what it does not see. */
static void
check_visible(const Row *row)
{
	TransactionId xmin = row_xmin(row);

	if (IsolationUsesXactSnapshot() && !TransactionIdIsCurrentTransactionId(xmin) &&
		XidInMVCCSnapshot(xmin, GetActiveSnapshot()))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to a concurrent sign-in"),
				 errhint("The transaction might succeed if retried.")));
}

static void
check_codes(Datum subject, Snapshot snapshot)
{
	Relation	heap = walwarden_table_open("sign_in_code");
	ScanKeyData key;
	SysScanDesc scan;
	Row			row = {.heap = heap};

	ScanKeyInit(&key, Anum_sign_in_code_subject, BTEqualStrategyNumber, F_TEXTEQ, subject);
	scan = walwarden_scan_begin(heap, "sign_in_code_by_subject", 0, snapshot, 1, &key);
	while (HeapTupleIsValid(row.tuple = systable_getnext(scan)))
		check_visible(&row);
	systable_endscan(scan);
	table_close(heap, AccessShareLock);
}

/* Note the sessions of one subject under which nobody may be signed in any more. */
static void
note_sessions(Ending *ending, Datum subject, Snapshot snapshot)
{
	Relation	heap = walwarden_table_open("session");
	ScanKeyData key;
	SysScanDesc scan;
	Row			row = {.heap = heap};
	Person		person = {.subject = TextDatumGetCString(subject)};
	enum
	{
		UNKNOWN, MAY_STAY, ENDS
	}			verdicts[2] = {UNKNOWN, UNKNOWN};

	ScanKeyInit(&key, Anum_session_subject, BTEqualStrategyNumber, F_TEXTEQ, subject);
	scan = walwarden_scan_begin(heap, "session_by_subject", 0, snapshot, 1, &key);
	while (HeapTupleIsValid(row.tuple = systable_getnext(scan)))
	{
		pg_uuid_t	id = row_uuid(&row, Anum_session_id);

		if (ending->forget)
			check_visible(&row);
		if (row_has(&row, Anum_session_ended_at))
			continue;
		person.by_sso = session_is_by_sso(&row);
		if (verdicts[person.by_sso] == UNKNOWN)
			verdicts[person.by_sso] = session_may_start(&person) ? MAY_STAY : ENDS;
		if (verdicts[person.by_sso] == MAY_STAY)
			continue;
		check_visible(&row);
		accumArrayResult(ending->sessions, UUIDPGetDatum(&id), false, UUIDOID, TopTransactionContext);
	}
	systable_endscan(scan);
	table_close(heap, AccessShareLock);
	if (ending->forget)
		check_codes(subject, snapshot);
}

static int
compare_subjects(Datum a, Datum b)
{
	text	   *left = DatumGetTextPP(a);
	text	   *right = DatumGetTextPP(b);

	return varstr_cmp(VARDATA_ANY(left), VARSIZE_ANY_EXHDR(left), VARDATA_ANY(right), VARSIZE_ANY_EXHDR(right), C_COLLATION_OID);
}

static int
by_subject(const void *a, const void *b)
{
	const Noted *left = a;
	const Noted *right = b;
	int			result = compare_subjects(left->subject, right->subject);

	return result != 0 ? result : left->order - right->order;
}

static int
by_session(const void *a, const void *b)
{
	const Noted *left = a;
	const Noted *right = b;
	int			result = memcmp(&left->session, &right->session, UUID_LEN);

	return result != 0 ? result : left->order - right->order;
}

static int
by_call(const void *a, const void *b)
{
	int			result = ((const Noted *) a)->order - ((const Noted *) b)->order;

	return result != 0 ? result : by_session(a, b);
}

/* The subjects of all calls, each once, with the first call that names it. */
static Noted *
all_subjects(Ending *due, int *count)
{
	int			size = 64;
	int			n = 0;
	int			order = 0;
	Noted	   *all = palloc(size * sizeof(Noted));

	*count = 0;
	for (Ending *ending = due; ending != NULL; ending = ending->earlier, order++)
	{
		Datum	   *subjects;
		int			nsubjects;

		deconstruct_array(ending->subjects, TEXTOID, -1, false, TYPALIGN_INT, &subjects, NULL, &nsubjects);
		for (int i = 0; i < nsubjects; i++)
		{
			if (n == size)
				all = repalloc_huge(all, (size *= 2) * sizeof(Noted));
			all[n].subject = subjects[i];
			all[n].order = order;
			all[n++].ending = ending;
		}
	}
	qsort(all, n, sizeof(Noted), by_subject);
	for (int i = 0; i < n; i++)
		if (i == 0 || compare_subjects(all[i].subject, all[*count - 1].subject) != 0)
			all[(*count)++] = all[i];
	return all;
}

/* The same for the sessions. */
static Noted *
all_sessions(Ending *due, int *count)
{
	int			size = 0;
	int			n = 0;
	int			order = 0;
	Noted	   *all;

	for (Ending *ending = due; ending != NULL; ending = ending->earlier)
		size += ending->sessions->nelems;
	all = MemoryContextAllocHuge(CurrentMemoryContext, Max(size, 1) * sizeof(Noted));
	for (Ending *ending = due; ending != NULL; ending = ending->earlier, order++)
		for (int i = 0; i < ending->sessions->nelems; i++)
		{
			all[n].session = *DatumGetUUIDP(ending->sessions->dvalues[i]);
			all[n].order = order;
			all[n++].ending = ending;
		}
	qsort(all, n, sizeof(Noted), by_session);
	*count = 0;
	for (int i = 0; i < n; i++)
		if (i == 0 || memcmp(&all[i].session, &all[*count - 1].session, UUID_LEN) != 0)
			all[(*count)++] = all[i];
	return all;
}

static Datum
session_array(const Noted *noted, int count)
{
	Datum	   *ids = palloc(Max(count, 1) * sizeof(Datum));

	for (int i = 0; i < count; i++)
		ids[i] = UUIDPGetDatum(&noted[i].session);
	return PointerGetDatum(construct_array(ids, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}

/* The earliest first. */
static void
end_all(Ending *due)
{
	const Oid	lock_types[] = {UUIDARRAYOID};
	const Oid	end_types[] = {JSONBOID, UUIDARRAYOID, TEXTOID};
	const Oid	forget_types[] = {UUIDARRAYOID, TEXTARRAYOID};
	int			nsubjects;
	int			nsessions;
	int			end;
	Noted	   *subjects = all_subjects(due, &nsubjects);
	Noted	   *sessions;
	Snapshot	snapshot;
	NullableDatum lock[1] = {{.isnull = false}};

	lock_persons(subjects, nsubjects);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	for (int i = 0; i < nsubjects; i++)
		note_sessions(subjects[i].ending, subjects[i].subject, snapshot);
	UnregisterSnapshot(snapshot);

	/* all rows before the first entry: others lock them before the chain */
	sessions = all_sessions(due, &nsessions);
	lock[0].value = session_array(sessions, nsessions);
	(void) call_function("lock_sessions", 1, lock_types, lock, NULL);

	qsort(sessions, nsessions, sizeof(Noted), by_call);
	for (int begin = 0; begin < nsessions; begin = end)
	{
		Ending	   *ending = sessions[begin].ending;
		NullableDatum args[] = {{.value = ending->actor}, {.isnull = false}, {.value = ending->reason}};

		for (end = begin; end < nsessions && sessions[end].ending == ending; end++)
			;
		args[1].value = session_array(&sessions[begin], end - begin);
		(void) call_function("end_sessions", lengthof(args), end_types, args, NULL);
	}
	for (Ending *ending = due; ending != NULL; ending = ending->earlier)
		if (ending->forget)
		{
			const NullableDatum args[] = {
				{.value = makeArrayResult(ending->sessions, CurrentMemoryContext)},
				{.value = PointerGetDatum(ending->subjects)}
			};

			(void) call_function("forget_sessions", lengthof(args), forget_types, args, NULL);
		}
}

static Oid
extension_owner(void)
{
	Relation	heap = walwarden_table_open("session");
	Oid			owner = heap->rd_rel->relowner;

	table_close(heap, AccessShareLock);
	return owner;
}

/* End what these calls have noted, as the owner, with bounded waits, and in silence. */
static void
perform(Ending *due)
{
	SavedUser	saved = user_save();
	int			save_messages = client_min_messages;
	int			lock_wait = lock_wait_bound(walwarden_audit_lock_timeout);

	PG_TRY();
	{
		client_min_messages = ERROR;
		user_become(extension_owner(), &saved, 0);
		end_all(due);
	}
	PG_FINALLY();
	{
		user_restore(&saved);
		lock_wait_restore(lock_wait);
		client_min_messages = save_messages;
	}
	PG_END_TRY();
}

/* Take the calls of this and deeper subtransactions off the list. The earliest comes first. */
static Ending *
take_due(int level)
{
	Ending	   *due = NULL;

	while (last != NULL && last->nest_level >= level)
	{
		Ending	   *ending = last;

		last = ending->earlier;
		ending->earlier = due;
		due = ending;
	}
	return due;
}

/*
 * End the sessions that the current subtransaction, or one below it, has noted. The
 * caller has an active snapshot, and catches errors before they are sent.
 */
void
ending_perform(void)
{
	Ending	   *due = take_due(GetCurrentTransactionNestLevel());

	if (due != NULL)
		perform(due);
}

/* The same when the transaction commits. Locks are released before an error is sent. */
static void
perform_at_commit(void)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		perform(take_due(1));
		PopActiveSnapshot();
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		ReThrowError(error);
	}
	PG_END_TRY();
}

/* Whether the transaction has left the extension, and its sessions, where they were. */
static bool
sessions_exist(void)
{
	Oid			namespace = get_namespace_oid("walwarden_internal", true);

	return OidIsValid(namespace) && OidIsValid(get_relname_relid("session", namespace));
}

static void
ending_xact_callback(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_COMMIT && last != NULL)
	{
		CommandCounterIncrement();
		if (sessions_exist())
			perform_at_commit();
	}
	/* what is left is in memory that the end of a transaction frees */
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
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
 * called by a door, which works as the owner
 */
PG_FUNCTION_INFO_V1(walwarden_end_sessions_of);
Datum
walwarden_end_sessions_of(PG_FUNCTION_ARGS)
{
	MemoryContext context = MemoryContextSwitchTo(TopTransactionContext);
	Ending	   *ending = palloc(sizeof(Ending));
	Snapshot	snapshot;
	Datum	   *subjects;
	int			count;

	lock_forbid_prepare();
	ending->actor = datumCopy(PointerGetDatum(PG_GETARG_VARLENA_PP(0)), false, -1);
	ending->subjects = PG_GETARG_ARRAYTYPE_P_COPY(1);
	ending->reason = datumCopy(PointerGetDatum(PG_GETARG_VARLENA_PP(2)), false, -1);
	ending->forget = PG_GETARG_BOOL(3);
	ending->sessions = initArrayResult(UUIDOID, TopTransactionContext, false);
	ending->nest_level = GetCurrentTransactionNestLevel();
	MemoryContextSwitchTo(context);
	deconstruct_array(ending->subjects, TEXTOID, -1, false, TYPALIGN_INT, &subjects, NULL, &count);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	for (int i = 0; i < count; i++)
		note_sessions(ending, subjects[i], snapshot);
	UnregisterSnapshot(snapshot);
	ending->earlier = last;
	last = ending;
	PG_RETURN_VOID();
}
