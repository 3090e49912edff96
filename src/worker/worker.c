/*
 * worker.c
 *		The background worker, with preload: records last-used times, and runs
 *		maintenance (sql/schema/9_close/maintenance.sql).
 *
 * The launcher is a static background worker that is not connected to a database. In
 * each round it starts short-lived workers one after another, one per database, and
 * waits for each. A flush round visits the databases that have last-used times to
 * record, a maintenance round visits all databases that are served. Maintenance may verify
 * a long chain, so flush rounds go on beside it, in a worker of their own. So there is no
 * connection to a database between rounds. A worker is stopped at once if somebody wants
 * to drop, rename or copy its database.
 *
 * Locking: a step of a worker is one short transaction. It begins by locking the
 * extension, without waiting, so that it never runs into the middle of DROP EXTENSION.
 * Steps of maintenance also acquire the lock of run_maintenance(), so that no work is
 * done twice at the same time. While a worker waits for a primary it has neither a
 * transaction nor a lock.
 *
 * Invariants: a step runs as the extension's owner, in a restricted operation, with a
 * pinned search_path. During recovery, uses are reported to the primary, if that is
 * configured, and nothing else runs. An error ends its step or its round
 * and is logged; it stops neither the launcher nor the work on other databases.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "replication/walreceiver.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/wait_event.h"

#include "audit/commit.h"
#include "base/call.h"
#include "base/compat.h"
#include "base/export.h"
#include "base/lock.h"
#include "base/render.h"
#include "base/served.h"
#include "base/settings.h"
#include "common/syntax.h"
#include "token/network.h"
#include "token/refusal.h"
#include "token/usage.h"
#include "worker/worker.h"

#define RESTART_INTERVAL 10		/* seconds until a launcher is restarted */
#define RECOVERY_INTERVAL 5000	/* milliseconds between checks for recovery */
#define WATCH_INTERVAL 250		/* milliseconds; DROP DATABASE waits 5 seconds */
#define FLUSH_BATCH 1000		/* last-used times in one transaction */

/*
 * Tokens in one report. libpq waits without regard to signals for the other side to take what
 * is sent, so that must fit into what the kernel takes by itself: this is less than 16 kB.
 */
#define REPORT_BATCH 50
#define REPORT_RETRY 5			/* seconds between reports of a full table */
#define REPORT_LIMIT 600		/* seconds for the reports of a worker */

PGDLLEXPORT void walwarden_launcher_main(Datum arg);
PGDLLEXPORT void walwarden_database_main(Datum arg);

/*
 * The launcher.
 */

/* That no slot for another worker is free is logged once, for each number of those that run. */
static bool said_starved[2] = {false, false};

typedef struct Database
{
	Oid			oid;
	NameData	name;
} Database;

void
worker_register(void)
{
	BackgroundWorker worker = {0};

	if (IsBinaryUpgrade)
		return;
	strlcpy(worker.bgw_name, "walwarden launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "walwarden launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_library_name, "walwarden", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "walwarden_launcher_main", BGW_MAXLEN);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = RESTART_INTERVAL;
	RegisterBackgroundWorker(&worker);
}

/* The databases that are served and accept connections, in the current memory context. */
static List *
list_databases(void)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *databases = NIL;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext save;
		Database   *database;

		if (!form->datallowconn || compat_database_is_invalid(form) || !served_database(form))
			continue;
		save = MemoryContextSwitchTo(context);
		database = palloc(sizeof(Database));
		database->oid = form->oid;
		database->name = form->datname;
		databases = lappend(databases, database);
		MemoryContextSwitchTo(save);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return databases;
}

/*
 * Whether somebody holds a lock on a database that conflicts with a connection to it:
 * for DROP, for ALTER ... RENAME or SET TABLESPACE, or for CREATE with this database as
 * template. These commands wait only a short time until nobody is connected.
 */
static bool
has_conflicting_lock(Oid dbid)
{
	LOCKTAG		tag;
	int			count;

	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, dbid, 0);
	pfree(GetLockConflicts(&tag, RowExclusiveLock, &count));
	return count > 0;
}

/* A running worker. */
typedef struct Visit
{
	BackgroundWorkerHandle *handle;
	const Database *database;
	bool		reports;		/* to a primary */
	bool		stale;			/* to one that the setting named before */
	TimestampTz started;
	bool		stopped;
} Visit;

/* That of a maintenance round, and that of a flush round beside it. */
static Visit visits[2];
static int	nvisits = 0;

static TimestampTz last_flush;

static bool try_round(bool maintain);

/*
 * Process signals. Does not return if the launcher must end. It exits with code 1, so that
 * it is restarted unless the server stops.
 */
static void
launcher_interrupts(void)
{
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		char	   *before = pstrdup(walwarden_primary_conninfo);

		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		commit_record_configured();
		for (int i = 0; i < nvisits; i++)
			visits[i].stale |= strcmp(before, walwarden_primary_conninfo) != 0;
		pfree(before);
	}
	if (ShutdownRequestPending)
	{
		for (int i = 0; i < nvisits; i++)
			TerminateBackgroundWorker(visits[i].handle);
		proc_exit(1);
	}
}

/* Sleep until the latch is set, at most timeout milliseconds. */
static void
launcher_sleep(long timeout)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	launcher_interrupts();
}

/* Milliseconds until an activity that last began at last is due again; interval is in seconds. */
static long
wait_for(TimestampTz last, int interval)
{
	TimestampTz now = GetCurrentTimestamp();

	/* a clock that was set back must not delay anything */
	if (now < last || last == 0)
		return 0;
	return Max(0, interval * 1000L - (long) ((now - last) / 1000));
}

/* Stop a worker that is in the way, or waits for the wrong primary or one that does not answer. */
static void
watch(Visit *visit)
{
	if (visit->stopped)
		return;
	if (has_conflicting_lock(visit->database->oid))
		ereport(LOG,
				(errmsg("walwarden: stopping the worker in database \"%s\", which is about to be dropped, copied or moved",
						NameStr(visit->database->name))));
	/* it may wait long for an address that does not answer, and flush nothing */
	else if (visit->reports && !RecoveryInProgress())
		ereport(LOG,
				(errmsg("walwarden: stopping the worker in database \"%s\", which reports to a primary: this server is one now",
						NameStr(visit->database->name))));
	else if (visit->reports && visit->stale)
		ereport(LOG,
				(errmsg("walwarden: stopping the worker in database \"%s\", because walwarden.primary_conninfo has changed",
						NameStr(visit->database->name))));
	else if (visit->reports && TimestampDifferenceExceeds(visit->started, GetCurrentTimestamp(), REPORT_LIMIT * 1000))
		ereport(LOG,
				(errmsg("walwarden: stopping the worker in database \"%s\", which could not report to the primary within %d seconds",
						NameStr(visit->database->name), REPORT_LIMIT)));
	else
		return;
	TerminateBackgroundWorker(visit->handle);
	visit->stopped = true;
}

/*
 * Whether somebody found no place in the table, and a flush makes some. A primary that takes
 * no reports is not asked anew for each use.
 */
static bool
is_flush_wanted(void)
{
	if (RecoveryInProgress() && usage_reports_fail() && wait_for(last_flush, REPORT_RETRY) > 0)
		return false;
	return usage_wants_flush();
}

static bool
is_flush_due(void)
{
	return is_flush_wanted() || wait_for(last_flush, walwarden_usage_flush_interval) == 0;
}

/*
 * Start a worker in a database and wait until it has ended. maintain: whether it runs
 * maintenance, or writes uses. Returns false if no slot for a worker is free.
 */
static bool
visit(const Database *database, bool maintain)
{
	BackgroundWorker worker = {0};
	Visit	   *this = &visits[nvisits];
	char		activity[NAMEDATALEN + 64];
	pid_t		pid;

	if (has_conflicting_lock(database->oid))
		return true;

	strlcpy(worker.bgw_name, "walwarden maintenance", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "walwarden maintenance", BGW_MAXLEN);
	strlcpy(worker.bgw_library_name, "walwarden", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "walwarden_database_main", BGW_MAXLEN);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = ObjectIdGetDatum(database->oid);
	worker.bgw_extra[0] = (char) maintain;
	worker.bgw_notify_pid = MyProcPid;
	this->database = database;
	this->reports = RecoveryInProgress();
	this->stale = false;
	this->started = GetCurrentTimestamp();
	this->stopped = false;
	if (!RegisterDynamicBackgroundWorker(&worker, &this->handle))
	{
		if (!said_starved[nvisits])
			ereport(LOG,
					(nvisits == 0 ?
					 errmsg("walwarden: no background worker slot is free, so maintenance is postponed") :
					 errmsg("walwarden: no second background worker slot is free, so uses are written when maintenance is over"),
					 errdetail("Parallel queries take their workers from the same %d slots, up to max_parallel_workers, which is %d.",
							   max_worker_processes, max_parallel_workers),
					 errhint("Set max_worker_processes to at least 3 for walwarden, and what other extensions and replication take, above max_parallel_workers.")));
		said_starved[nvisits] = true;
		return false;
	}
	if (said_starved[nvisits])
		ereport(LOG,
				(nvisits == 0 ?
				 errmsg("walwarden: a background worker slot is free again, and maintenance goes on") :
				 errmsg("walwarden: a second background worker slot is free again")));
	said_starved[nvisits] = false;

	nvisits++;
	snprintf(activity, sizeof(activity), "%s in database %s", maintain ? "maintenance" : "last-used times", NameStr(database->name));
	pgstat_report_activity(STATE_RUNNING, activity);
	while (GetBackgroundWorkerPid(this->handle, &pid) != BGWH_STOPPED)
	{
		launcher_sleep(WATCH_INTERVAL);
		for (int i = 0; i < nvisits; i++)
			watch(&visits[i]);
		if (maintain && is_flush_due())
		{
			last_flush = GetCurrentTimestamp();
			(void) try_round(false);
			pgstat_report_activity(STATE_RUNNING, activity);
		}
	}
	pfree(this->handle);
	nvisits--;
	return true;
}

/* One round over the databases. Returns false if it must be repeated. */
static bool
launcher_round(bool maintain)
{
	List	   *dirty = usage_dirty_databases();	/* before the list below */
	List	   *databases;
	ListCell   *lc;

	if (!maintain && dirty == NIL)
		return true;
	databases = list_databases();
	foreach(lc, databases)
	{
		const Database *database = lfirst(lc);

		if (!maintain && !list_member_oid(dirty, database->oid))
			continue;
		dirty = list_delete_oid(dirty, database->oid);
		if (!visit(database, maintain))
			return false;
	}
	/* dropped, or no longer served */
	foreach(lc, dirty)
		usage_forget(lfirst_oid(lc));
	return true;
}

/* Log a caught error and clean up after it. context: the memory context to continue in. */
static void
log_error(MemoryContext context)
{
	HOLD_INTERRUPTS();
	MemoryContextSwitchTo(context);
	EmitErrorReport();
	AbortCurrentTransaction();
	MemoryContextSwitchTo(context);
	FlushErrorState();
	RESUME_INTERRUPTS();
}

/*
 * Run a round and log its errors. Returns false if no worker was free. An error in a round
 * beside another one ends the former only.
 */
static bool
try_round(bool maintain)
{
	MemoryContext outer = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(outer, "walwarden round", ALLOCSET_DEFAULT_SIZES);
	const int	running = nvisits;
	volatile bool done = true;

	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		done = launcher_round(maintain);
	}
	PG_CATCH();
	{
		/* nobody would watch these any more */
		while (nvisits > running)
			TerminateBackgroundWorker(visits[--nvisits].handle);
		log_error(context);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(context);
	return done;
}

/* Log that uses were lost. */
static void
log_lost(uint64 lost)
{
	if (RecoveryInProgress())
		ereport(LOG,
				(errmsg("walwarden: " UINT64_FORMAT " uses were lost: too many tokens were used before they could be reported to the primary", lost),
				 errhint("Earlier messages say why reports fail, if they do. Otherwise reduce walwarden.usage_flush_interval.")));
	else
		ereport(LOG,
				(errmsg("walwarden: " UINT64_FORMAT " uses were lost: too many tokens were used within walwarden.usage_flush_interval", lost),
				 errhint("Reduce walwarden.usage_flush_interval.")));
}

static void
forget_launcher(int code, Datum arg)
{
	usage_set_launcher(NULL);
}

void
walwarden_launcher_main(Datum arg)
{
	TimestampTz last_maintenance = 0;	/* the first is due at once */
	bool		starved = false;	/* the last round found no worker free */
	uint64		lost = usage_lost();

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	usage_set_launcher(MyLatch);
	before_shmem_exit(forget_launcher, (Datum) 0);
	commit_record_configured();
	last_flush = GetCurrentTimestamp();

	MemoryContextSwitchTo(AllocSetContextCreate(TopMemoryContext, "walwarden launcher", ALLOCSET_DEFAULT_SIZES));
	for (;;)
	{
		long		to_flush = wait_for(last_flush, walwarden_usage_flush_interval);
		long		to_maintain = wait_for(last_maintenance, walwarden_maintenance_interval);
		bool		recovery = RecoveryInProgress();
		bool		idle = recovery && !usage_reports();

		if (!idle && is_flush_wanted())
			to_flush = 0;
		if (recovery)			/* nothing to maintain */
			to_maintain = RECOVERY_INTERVAL;
		else if (starved)		/* try again with the next flush */
			to_maintain = to_flush;
		if (idle || Min(to_flush, to_maintain) > 0)
		{
			pgstat_report_activity(STATE_IDLE, recovery ? "waiting for the end of recovery" : "waiting for the next round");
			launcher_sleep(idle ? RECOVERY_INTERVAL : Min(to_flush, to_maintain));
			continue;
		}

		launcher_interrupts();
		last_flush = GetCurrentTimestamp();
		starved = !try_round(false);
		if (to_maintain == 0)
		{
			last_maintenance = last_flush;
			starved = starved || !try_round(true);
			if (starved)
				last_maintenance = 0;
		}
		if (usage_lost() != lost)
			log_lost(usage_lost() - lost);
		lost = usage_lost();
	}
}

/*
 * The worker of one database.
 */

/* For errors and activity. */
static char *database_name;

/* The extension and its owner; InvalidOid if it does not exist in this database. */
static Oid
find_extension(Oid *owner)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			extension = InvalidOid;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum("walwarden"));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		extension = ((Form_pg_extension) GETSTRUCT(tuple))->oid;
		*owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return extension;
}

/*
 * Like find_extension(), but lock the extension until the end of the transaction.
 * InvalidOid also if somebody is dropping it.
 */
static Oid
lock_extension(Oid *owner)
{
	Oid			extension = find_extension(owner);
	LOCKTAG		tag;

	if (!OidIsValid(extension))
		return InvalidOid;
	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, ExtensionRelationId, extension, 0);
	if (LockAcquire(&tag, AccessShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return InvalidOid;
	AcceptInvalidationMessages();
	return find_extension(owner) == extension ? extension : InvalidOid;
}

static void
step_context(void *activity)
{
	errcontext("walwarden: %s in database \"%s\"", (const char *) activity, database_name);
}

/*
 * Run a step in its own transaction, as the extension's owner. Returns false if the step
 * failed, which is logged, or if the extension does not exist.
 */
static bool
run_step(const char *activity, void (*step) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorContextCallback callback = {error_context_stack, step_context, unconstify(char *, activity)};
	volatile bool done = false;
	SavedUser	saved;
	int			save_wait;

	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	pgstat_report_activity(STATE_RUNNING, activity);
	saved = user_save();
	save_wait = lock_wait_bound(0);
	PG_TRY();
	{
		Oid			owner;

		error_context_stack = &callback;
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		if (OidIsValid(lock_extension(&owner)))
		{
			user_become(owner, &saved, SECURITY_RESTRICTED_OPERATION);
			SPI_connect();
			step(arg);
			SPI_finish();
			user_restore(&saved);
			done = true;
		}
		PopActiveSnapshot();
		CommitTransactionCommand();
		error_context_stack = callback.previous;
	}
	PG_CATCH();
	{
		user_restore(&saved);
		done = false;
		log_error(context);
	}
	PG_END_TRY();
	lock_wait_restore(save_wait);
	MemoryContextSwitchTo(context);
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	return done;
}

/* Run a query whose rows are the result of the step; fail if it returns anything else. */
static void
query(const char *text, int nargs, Oid *types, Datum *values)
{
	if (SPI_execute_with_args(text, nargs, types, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "walwarden's worker could not run: %s", text);
}

typedef struct FlushStep
{
	TokenUse   *uses;
	int			n;
	bool	   *waits;			/* out: another transaction has locked the row */
} FlushStep;

/* A value of a use, for a column of flush_usage(). */
typedef Datum (*PutValue) (const TokenUse *use, bool *isnull);

static Datum
put_id(const TokenUse *use, bool *isnull)
{
	return UUIDPGetDatum(&use->token_id);
}

static Datum
put_time(TimestampTz at, bool *isnull)
{
	*isnull = at == DT_NOBEGIN;
	return TimestampTzGetDatum(at);
}

static Datum
put_used_at(const TokenUse *use, bool *isnull)
{
	return put_time(use->at, isnull);
}

static Datum
put_slot0_used_at(const TokenUse *use, bool *isnull)
{
	return put_time(use->slot_at[0], isnull);
}

static Datum
put_slot1_used_at(const TokenUse *use, bool *isnull)
{
	return put_time(use->slot_at[1], isnull);
}

static Datum
put_used_from(const TokenUse *use, bool *isnull)
{
	return network_address_inet(&use->from, isnull);
}

static Datum
put_uses(const TokenUse *use, bool *isnull)
{
	return Int64GetDatum(use->uses);
}

static Datum
put_refusals(const TokenUse *use, bool *isnull)
{
	return Int64GetDatum(use->refusals);
}

static Datum
put_refused_at(const TokenUse *use, bool *isnull)
{
	return put_time(use->refused_at, isnull);
}

static Datum
put_refused_reason(const TokenUse *use, bool *isnull)
{
	*isnull = use->refused_at == DT_NOBEGIN;
	return *isnull ? (Datum) 0 : CStringGetTextDatum(refusal_name(use->refusal));
}

/* An array with a value of each use. */
static Datum
column_of(const FlushStep *flush, Oid type, int16 typlen, bool byval, char align, PutValue put)
{
	Datum	   *values = palloc(sizeof(Datum) * flush->n);
	bool	   *nulls = palloc0(sizeof(bool) * flush->n);
	int			n = flush->n;
	int			lower = 1;

	for (int i = 0; i < n; i++)
		values[i] = put(&flush->uses[i], &nulls[i]);
	return PointerGetDatum(construct_md_array(values, nulls, 1, &n, &lower, type, typlen, byval, align));
}

/* Which use a row of the last query is about, by its first column; -1 if none. */
static int
find_use(const FlushStep *flush, uint64 row)
{
	bool		isnull;
	pg_uuid_t  *id = DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 1, &isnull));

	for (int i = 0; i < flush->n; i++)
		if (memcmp(flush->uses[i].token_id.data, id->data, UUID_LEN) == 0)
			return i;
	return -1;
}

/* Have every use count on from what is on record. */
static void
set_bases(FlushStep *flush)
{
	Oid			type = UUIDARRAYOID;
	Datum		ids = column_of(flush, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, put_id);
	bool		based = true;

	for (int i = 0; i < flush->n; i++)
		based &= flush->uses[i].based;
	if (based)
		return;
	query("SELECT c.token_id, c.uses, c.refusals FROM walwarden_internal.counts_on_record($1) AS c", 1, &type, &ids);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		int			i = find_use(flush, row);
		bool		isnull;

		if (i >= 0 && !flush->uses[i].based)
			usage_set_base(&flush->uses[i],
						   DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 2, &isnull)),
						   DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 3, &isnull)));
	}
}

static void
flush_step(void *arg)
{
	FlushStep  *flush = arg;
	Oid			types[] = {UUIDARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, INETARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID};
	Datum		values[lengthof(types)];

	set_bases(flush);
	memset(flush->waits, false, sizeof(bool) * flush->n);
	values[0] = column_of(flush, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, put_id);
	values[1] = column_of(flush, TIMESTAMPTZOID, sizeof(TimestampTz), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, put_used_at);
	values[2] = column_of(flush, TIMESTAMPTZOID, sizeof(TimestampTz), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, put_slot0_used_at);
	values[3] = column_of(flush, TIMESTAMPTZOID, sizeof(TimestampTz), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, put_slot1_used_at);
	values[4] = column_of(flush, INETOID, -1, false, TYPALIGN_INT, put_used_from);
	values[5] = column_of(flush, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, put_uses);
	values[6] = column_of(flush, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, put_refusals);
	values[7] = column_of(flush, TIMESTAMPTZOID, sizeof(TimestampTz), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, put_refused_at);
	values[8] = column_of(flush, TEXTOID, -1, false, TYPALIGN_INT, put_refused_reason);
	query("SELECT f FROM walwarden_internal.flush_usage($1, $2, $3, $4, $5, $6, $7, $8, $9) AS f", lengthof(types), types, values);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		int			i = find_use(flush, row);

		if (i >= 0)
			flush->waits[i] = true;
	}
}

/* Record the dirty uses. Any that could not be recorded stay dirty for the next round. */
static void
flush_usage(void)
{
	FlushStep	flush;
	int			position = 0;

	flush.uses = palloc(sizeof(TokenUse) * FLUSH_BATCH);
	flush.waits = palloc(sizeof(bool) * FLUSH_BATCH);
	while ((flush.n = usage_collect(&position, flush.uses, FLUSH_BATCH)) > 0)
	{
		if (!run_step("last-used times", flush_step, &flush))
			return;
		for (int i = 0; i < flush.n; i++)
			if (!flush.waits[i])
				usage_is_on_record(&flush.uses[i]);
	}
}

/* The connection of this process to its database on the primary, or NULL. */
static WalReceiverConn *primary = NULL;

/* Parse conninfo. The message of libpq would quote a part of it, perhaps of a password. */
static void
check_conninfo(const char *conninfo)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		compat_walrcv_check_conninfo(conninfo);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("invalid value for parameter \"walwarden.primary_conninfo\"")));
	}
	PG_END_TRY();
}

/* The tokens of another cluster are others, even if it has a database of this name. */
static void
check_system(void)
{
	char	   *system = compat_walrcv_identify_system(primary);

	if (strcmp(system, psprintf(UINT64_FORMAT, GetSystemIdentifier())) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("walwarden.primary_conninfo leads to a server that this one is no standby of"),
				 errdetail("The system identifiers differ.")));
}

/*
 * Connect to this database on the primary. It is a connection of the server's own kind, for
 * replication, which a library gets without linking libpq.
 */
static void
connect_to_primary(void)
{
	StringInfoData conninfo;
	MemoryContext save;
	char	   *error;

	load_file("libpqwalreceiver", false);
	if (WalReceiverFunctions == NULL)
		elog(ERROR, "libpqwalreceiver did not initialize correctly");
	initStringInfo(&conninfo);
	appendStringInfo(&conninfo, "%s dbname='", walwarden_primary_conninfo);
	for (const char *c = database_name; *c != '\0'; c++)
	{
		if (*c == '\'' || *c == '\\')
			appendStringInfoChar(&conninfo, '\\');
		appendStringInfoChar(&conninfo, *c);
	}
	appendStringInfoChar(&conninfo, '\'');
	check_conninfo(conninfo.data);
	/* it lasts longer than this report */
	save = MemoryContextSwitchTo(TopMemoryContext);
	primary = compat_walrcv_connect(conninfo.data, "walwarden", &error);
	MemoryContextSwitchTo(save);
	if (primary == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("could not connect to the primary: %s", error)));
	check_system();
}

/* After an error it is not known what the connection is waiting for. */
static void
disconnect_from_primary(void)
{
	if (primary != NULL)
		walrcv_disconnect(primary);
	primary = NULL;
}

/* On a standby: a statement that hands uses to the primary. */
typedef struct ReportStep
{
	FlushStep  *flush;
	MemoryContext context;		/* of the statement */
	char	   *statement;		/* out */
} ReportStep;

/*
 * Write the statement. It returns no rows, because the types of rows would be looked up in
 * catalogs, for which the process that receives them would need a transaction.
 */
static void
report_step(void *arg)
{
	ReportStep *report = arg;
	FlushStep  *flush = report->flush;
	StringInfoData body;
	MemoryContext save;
	const struct
	{
		Oid			type;
		Datum		value;
	}			columns[] = {
		{UUIDARRAYOID, column_of(flush, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, put_id)},
		{TIMESTAMPTZARRAYOID, column_of(flush, TIMESTAMPTZOID, sizeof(TimestampTz), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, put_used_at)},
		{TIMESTAMPTZARRAYOID, column_of(flush, TIMESTAMPTZOID, sizeof(TimestampTz), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, put_slot0_used_at)},
		{TIMESTAMPTZARRAYOID, column_of(flush, TIMESTAMPTZOID, sizeof(TimestampTz), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, put_slot1_used_at)},
		{INETARRAYOID, column_of(flush, INETOID, -1, false, TYPALIGN_INT, put_used_from)},
		{INT8ARRAYOID, column_of(flush, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, put_uses)},
		{INT8ARRAYOID, column_of(flush, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, put_refusals)},
		{TIMESTAMPTZARRAYOID, column_of(flush, TIMESTAMPTZOID, sizeof(TimestampTz), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, put_refused_at)},
		{TEXTARRAYOID, column_of(flush, TEXTOID, -1, false, TYPALIGN_INT, put_refused_reason)}
	};

	initStringInfo(&body);
	appendStringInfoString(&body, "BEGIN PERFORM walwarden.receive_usage(");
	for (int i = 0; i < lengthof(columns); i++)
	{
		Oid			output;
		bool		varlena;

		getTypeOutputInfo(columns[i].type, &output, &varlena);
		appendStringInfo(&body, "%s%s", i == 0 ? "" : ", ", quote_literal_cstr(OidOutputFunctionCall(output, columns[i].value)));
	}
	appendStringInfoString(&body, "); END");
	save = MemoryContextSwitchTo(report->context);
	report->statement = psprintf("DO %s", quote_literal_cstr(body.data));
	MemoryContextSwitchTo(save);
}

/* The server's message without its context, which has the statement once more. */
static char *
first_line(const char *message)
{
	return pnstrdup(message, strcspn(message, "\n"));
}

typedef enum Sent
{
	SENT,
	SENT_REFUSED,				/* the primary does not take these values */
	SENT_FAILED
} Sent;

/*
 * Send a statement to the primary, and log a failure. There is no transaction meanwhile, so
 * that neither the replay of WAL nor DROP EXTENSION waits for the network.
 */
static Sent
send_to_primary(const char *activity, const char *statement)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorContextCallback callback = {error_context_stack, step_context, unconstify(char *, activity)};
	volatile Sent sent = SENT;

	pgstat_report_activity(STATE_RUNNING, activity);
	PG_TRY();
	{
		WalRcvExecResult *result;

		error_context_stack = &callback;
		if (primary == NULL)
			connect_to_primary();
		result = walrcv_exec(primary, statement, 0, NULL);
		if (result->status != WALRCV_OK_COMMAND)
			ereport(ERROR,
					(errcode(result->sqlstate != 0 ? result->sqlstate : ERRCODE_CONNECTION_FAILURE),
					 errmsg("could not report uses to the primary: %s",
							result->err != NULL ? first_line(result->err) : "unexpected result")));
		walrcv_clear_result(result);
		error_context_stack = callback.previous;
	}
	PG_CATCH();
	{
		sent = ERRCODE_TO_CATEGORY(geterrcode()) == ERRCODE_DATA_EXCEPTION ? SENT_REFUSED : SENT_FAILED;
		log_error(context);
		disconnect_from_primary();
	}
	PG_END_TRY();
	pgstat_report_activity(STATE_IDLE, NULL);
	return sent;
}

/* What was taken out of shared memory and has not reached the primary. */
static FlushStep taken;

static void
give_back_taken(void)
{
	for (int i = 0; i < taken.n; i++)
		usage_give_back(&taken.uses[i]);
	taken.n = 0;
}

static void
give_back_at_exit(int code, Datum arg)
{
	if (taken.n > 0)
		usage_set_reports_fail(true);
	give_back_taken();
}

/*
 * Report the dirty uses, or keep them for the next round: also if the process is terminated
 * while it waits for the primary. What the primary refuses does not hold up the rest.
 */
static void
report_usage(void)
{
	static const char *const activity = "uses for the primary";

	MemoryContext context = CurrentMemoryContext;
	ReportStep	report = {&taken, AllocSetContextCreate(context, "walwarden report", ALLOCSET_DEFAULT_SIZES)};
	int			position = 0;
	Sent		sent = SENT;
	bool		fails = false;

	taken.uses = palloc(sizeof(TokenUse) * REPORT_BATCH);
	before_shmem_exit(give_back_at_exit, (Datum) 0);
	/* the setting may be emptied meanwhile, and the server promoted */
	while (sent != SENT_FAILED && usage_reports() && (taken.n = usage_take(&position, taken.uses, REPORT_BATCH)) > 0)
	{
		MemoryContextSwitchTo(report.context);
		sent = run_step(activity, report_step, &report) ? send_to_primary(activity, report.statement) : SENT_FAILED;
		MemoryContextSwitchTo(context);
		MemoryContextReset(report.context);
		if (sent == SENT)
			taken.n = 0;
		give_back_taken();
		fails |= sent != SENT;
	}
	usage_set_reports_fail(fails);
	disconnect_from_primary();
}

/* A row of walwarden_internal.maintenance_steps(). */
typedef struct MaintenanceStep
{
	char	   *what;
	char	   *activity;
	bool		has_org;
	pg_uuid_t	org_id;
	bool		more;			/* out: run the step again */
	Datum		failed;			/* in and out: those it failed on, or 0 */
	MemoryContext context;		/* of these */
} MaintenanceStep;

typedef struct MaintenancePlan
{
	MemoryContext context;		/* of the list */
	bool		counting;
	List	   *steps;
} MaintenancePlan;

static void
plan_step(void *arg)
{
	MaintenancePlan *plan = arg;
	MemoryContext save;
	Oid			type = BOOLOID;
	Datum		counting = BoolGetDatum(plan->counting);

	query("SELECT s.step, s.org_id FROM walwarden_internal.maintenance_steps($1) AS s", 1, &type, &counting);
	save = MemoryContextSwitchTo(plan->context);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		MaintenanceStep *step = palloc0(sizeof(MaintenanceStep));
		HeapTuple	tuple = SPI_tuptable->vals[row];
		bool		isnull;
		char		uuid[UUID_TEXT_LEN + 1];
		Datum		value = SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull);

		step->context = plan->context;
		step->what = TextDatumGetCString(value);
		step->activity = step->what;
		value = SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &isnull);
		step->has_org = !isnull;
		if (step->has_org)
		{
			step->org_id = *DatumGetUUIDP(value);
			render_uuid(&step->org_id, uuid);
			step->activity = psprintf("%s of %s", step->what, uuid);
		}
		plan->steps = lappend(plan->steps, step);
	}
	MemoryContextSwitchTo(save);
}

static void
maintenance_step(void *arg)
{
	MaintenanceStep *step = arg;
	Oid			types[3] = {TEXTOID, UUIDOID, UUIDARRAYOID};
	Datum		values[3];
	char		nulls[3] = {' ', step->has_org ? ' ' : 'n', step->failed != 0 ? ' ' : 'n'};
	MemoryContext save;
	Datum		failed;
	bool		isnull;

	values[0] = CStringGetTextDatum(step->what);
	values[1] = UUIDPGetDatum(&step->org_id);
	values[2] = step->failed;
	if (SPI_execute_with_args("SELECT s.more, s.failed FROM walwarden_internal.maintenance_step($1, $2, $3) AS s", lengthof(types), types, values, nulls, false, 0) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "walwarden_internal.maintenance_step() did not return one row");
	step->more = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	failed = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull);
	save = MemoryContextSwitchTo(step->context);
	step->failed = isnull ? 0 : datumCopy(failed, false, -1);
	MemoryContextSwitchTo(save);
}

/* Run every step that is due. A failed step does not stop the next one. */
static void
maintain(void)
{
	for (int counting = false; counting <= true; counting++)
	{
		MaintenancePlan plan = {CurrentMemoryContext, counting, NIL};
		ListCell   *lc;

		if (!run_step("maintenance", plan_step, &plan))
			return;
		foreach(lc, plan.steps)
		{
			MaintenanceStep *step = lfirst(lc);

			while (run_step(step->activity, maintenance_step, step) && step->more)
				CHECK_FOR_INTERRUPTS();
		}
	}
}

/*
 * Override the settings that a database has for its sessions. The steps then run as
 * tested, and none waits for long while other databases wait for it. Another server reads
 * the times that a report has. Commits need not be durable at once: entries of the chains
 * are flushed anyway, and other work would be repeated.
 */
static void
pin_settings(void)
{
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"session_replication_role", "origin"},
		{"datestyle", "ISO"},
		{"timezone", "UTC"},
		{"synchronous_commit", "off"},
		{"lock_timeout", "1s"},
	};

	for (int i = 0; i < lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
}

/* Whether this database has the extension. Also records the name of the database. */
static bool
is_created_here(void)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			owner;
	bool		created;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	database_name = MemoryContextStrdup(context, get_database_name(MyDatabaseId));
	created = OidIsValid(find_extension(&owner));
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return created;
}

void
walwarden_database_main(Datum arg)
{
	bool		with_maintenance = MyBgworkerEntry->bgw_extra[0];

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid, 0);
	pin_settings();

	MemoryContextSwitchTo(AllocSetContextCreate(TopMemoryContext, "walwarden maintenance", ALLOCSET_DEFAULT_SIZES));
	if (!is_created_here())
	{
		usage_forget(MyDatabaseId);
		return;
	}
	if (RecoveryInProgress())
	{
		report_usage();
		return;
	}
	/* not both: one process at a time writes the uses of a database */
	if (with_maintenance)
		maintain();
	else
		flush_usage();
}
