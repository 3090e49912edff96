/*
 * worker.c
 *		What goes on without anyone's request, with preload: last-used times are
 *		written, and what time asks for is done (sql/schema/90_maintenance.sql).
 *
 * The launcher, a static background worker, is connected to no database. In each
 * round it starts one short-lived worker after another, for one database each,
 * and waits for it. A flush round visits the databases that have uses to
 * record, a maintenance round all that are served. So no database is connected
 * to between rounds, and a worker is ended at once where somebody wants to drop,
 * rename or copy its database.
 *
 * Locking: a step of a worker is one short transaction. It begins with a lock
 * of the extension, which is not waited for, so that no step meets a DROP
 * EXTENSION half-way. Steps of maintenance take the lock of run_maintenance()
 * too: two at once do not do the same work.
 *
 * Invariants: a step works as the extension's owner, restricted, with a pinned
 * search_path; nothing is done in recovery; an error ends its step, or its round,
 * and is logged, and neither the launcher nor the other databases stop for it.
 */
#include "walwarden.h"

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
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/varlena.h"
#include "utils/wait_event.h"

#include "compat.h"

#define RESTART_INTERVAL 10		/* seconds after which a launcher that ended comes back */
#define RECOVERY_INTERVAL 5000	/* milliseconds between looks at whether recovery is over */
#define WATCH_INTERVAL 250		/* milliseconds between looks at who wants the database of a worker; DROP DATABASE waits 5 s */
#define FLUSH_BATCH 1000		/* uses that one transaction records */

PGDLLEXPORT void walwarden_launcher_main(Datum arg);
PGDLLEXPORT void walwarden_maintenance_main(Datum arg);

/* Whether walwarden.database names this database, where it was asked before. */
static enum
{
	SERVED_UNKNOWN,
	SERVED_YES,
	SERVED_NO
}			served_here = SERVED_UNKNOWN;

/*
 * walwarden.database: which databases are served.
 */

bool
worker_check_database(char **newval, void **extra, GucSource source)
{
	char	   *copy = pstrdup(*newval);
	List	   *names;
	bool		ok = SplitIdentifierString(copy, ',', &names);

	list_free(names);
	pfree(copy);
	if (!ok)
		GUC_check_errdetail("It is no list of names with commas between them; a name with other than lower-case letters and digits stands in double quotes.");
	return ok;
}

void
worker_assign_database(const char *newval, void *extra)
{
	served_here = SERVED_UNKNOWN;
}

/* Whether a database is one that the worker visits, as long as it can be connected to. */
static bool
is_served(Form_pg_database database)
{
	char	   *copy = pstrdup(walwarden_database);
	List	   *names;
	ListCell   *lc;
	bool		listed;

	if (!SplitIdentifierString(copy, ',', &names))
		names = NIL;			/* not after the check hook */
	listed = names == NIL;
	foreach(lc, names)
		if (strcmp(lfirst(lc), NameStr(database->datname)) == 0)
			listed = true;
	list_free(names);
	pfree(copy);
	return listed && !database->datistemplate;
}

/*
 * Whether the worker serves this database. For callers in a transaction; looks it
 * up once, and again after a change of the setting.
 */
bool
worker_serves_here(void)
{
	if (unlikely(served_here == SERVED_UNKNOWN))
	{
		HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for database %u", MyDatabaseId);
		served_here = is_served((Form_pg_database) GETSTRUCT(tuple)) ? SERVED_YES : SERVED_NO;
		ReleaseSysCache(tuple);
	}
	return served_here == SERVED_YES;
}

/*
 * The launcher.
 */

/* Whether the last round ended because no background worker was free. */
static bool starved = false;

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

/* The databases that can be connected to and are served, in the current memory context. */
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

		if (!form->datallowconn || compat_database_is_invalid(form) || !is_served(form))
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
 * Whether somebody holds a lock of a database that leaves no room for a
 * connection to it: DROP, ALTER ... RENAME or SET TABLESPACE, or CREATE with it as
 * template. They wait until nobody is connected, and not for long.
 */
static bool
is_wanted(Oid dbid)
{
	LOCKTAG		tag;
	int			count;

	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, dbid, 0);
	pfree(GetLockConflicts(&tag, RowExclusiveLock, &count));
	return count > 0;
}

/*
 * React to signals. handle: of the worker that is running, or NULL. Does not
 * return when the launcher is to end: with 1, so that it comes back unless the
 * server stops.
 */
static void
launcher_interrupts(BackgroundWorkerHandle *handle)
{
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	if (ShutdownRequestPending)
	{
		if (handle != NULL)
			TerminateBackgroundWorker(handle);
		proc_exit(1);
	}
}

/* Sleep until something happens, at most timeout milliseconds. */
static void
launcher_sleep(long timeout, BackgroundWorkerHandle *handle)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	launcher_interrupts(handle);
}

/*
 * Have a worker visit a database, and wait until it has ended. maintain: it is to
 * do more than to record uses. False when there is no slot for a worker.
 */
static bool
visit(const Database *database, bool maintain)
{
	BackgroundWorker worker = {0};
	BackgroundWorkerHandle *handle;
	char		activity[NAMEDATALEN + 64];
	bool		ended = false;
	pid_t		pid;

	if (is_wanted(database->oid))
		return true;

	strlcpy(worker.bgw_name, "walwarden maintenance", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "walwarden maintenance", BGW_MAXLEN);
	strlcpy(worker.bgw_library_name, "walwarden", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "walwarden_maintenance_main", BGW_MAXLEN);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = ObjectIdGetDatum(database->oid);
	worker.bgw_extra[0] = (char) maintain;
	worker.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
	{
		if (!starved)
			ereport(LOG,
					(errmsg("walwarden: no background worker is free, maintenance waits"),
					 errhint("Raise max_worker_processes.")));
		return false;
	}

	snprintf(activity, sizeof(activity), "%s in database %s", maintain ? "maintenance" : "last-used times", NameStr(database->name));
	pgstat_report_activity(STATE_RUNNING, activity);
	while (GetBackgroundWorkerPid(handle, &pid) != BGWH_STOPPED)
	{
		launcher_sleep(WATCH_INTERVAL, handle);
		if (!ended && is_wanted(database->oid))
		{
			ereport(LOG,
					(errmsg("walwarden: the worker leaves database \"%s\", which is to be dropped, copied or moved",
							NameStr(database->name))));
			TerminateBackgroundWorker(handle);
			ended = true;
		}
	}
	pfree(handle);
	return true;
}

/* One round over the databases; false when it has to be tried again. */
static bool
launcher_round(bool maintain)
{
	List	   *dirty = usage_dirty_databases();	/* before the list: databases come and go */
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
	/* gone, or not served any more */
	foreach(lc, dirty)
		usage_forget(lfirst_oid(lc));
	return true;
}

/* Logs an error that was caught, and cleans up after it. context: the one to go on in. */
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

/* A round whose errors are logged. False when no worker was free for it. */
static bool
try_round(bool maintain)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		starved = !launcher_round(maintain);
	}
	PG_CATCH();
	{
		log_error(context);
	}
	PG_END_TRY();
	return !starved;
}

/* Milliseconds until something is due again that was begun at last. */
static long
wait_for(TimestampTz last, int interval)
{
	TimestampTz now = GetCurrentTimestamp();

	/* a clock that was put back does not stop anything */
	if (now < last || last == 0)
		return 0;
	return Max(0, interval * 1000L - (long) ((now - last) / 1000));
}

void
walwarden_launcher_main(Datum arg)
{
	TimestampTz last_flush = GetCurrentTimestamp();
	TimestampTz last_maintenance = 0;	/* the first one is due at once */
	uint64		lost = usage_lost();
	MemoryContext context;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	context = AllocSetContextCreate(TopMemoryContext, "walwarden launcher", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	for (;;)
	{
		long		to_flush = wait_for(last_flush, walwarden_usage_flush_interval);
		long		to_maintain = wait_for(last_maintenance, walwarden_maintenance_interval);
		bool		recovery = RecoveryInProgress();

		if (starved)			/* tried again with the next flush */
			to_maintain = to_flush;
		if (recovery || Min(to_flush, to_maintain) > 0)
		{
			pgstat_report_activity(STATE_IDLE, recovery ? "waiting for the end of recovery" : "waiting for the next round");
			launcher_sleep(recovery ? RECOVERY_INTERVAL : Min(to_flush, to_maintain), NULL);
			continue;
		}

		launcher_interrupts(NULL);
		last_flush = GetCurrentTimestamp();
		if (to_maintain == 0)
			last_maintenance = last_flush;
		if (!try_round(to_maintain == 0) && to_maintain == 0)
			last_maintenance = 0;
		MemoryContextReset(context);
		if (usage_lost() != lost)
			ereport(LOG,
					(errmsg("walwarden: " UINT64_FORMAT " last-used times were lost: too many tokens were used within walwarden.usage_flush_interval",
							usage_lost() - lost),
					 errhint("Lower walwarden.usage_flush_interval.")));
		lost = usage_lost();
	}
}

/*
 * The worker of one database.
 */

/* For errors and activity. */
static char *database_name;

/* The extension and its owner; InvalidOid where it was not created. */
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
 * The same, with a lock that keeps the extension until the end of the
 * transaction. InvalidOid too where somebody is dropping it.
 */
static Oid
hold_extension(Oid *owner)
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
 * Run a step in a transaction of its own, as the extension's owner. False when
 * it failed, which is logged, or there is no extension.
 */
static bool
run_step(const char *activity, void (*step) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorContextCallback callback = {error_context_stack, step_context, unconstify(char *, activity)};
	volatile bool done = false;

	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	pgstat_report_activity(STATE_RUNNING, activity);
	PG_TRY();
	{
		Oid			owner;
		Oid			save_userid;
		int			save_sec_context;

		error_context_stack = &callback;
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		if (OidIsValid(hold_extension(&owner)))
		{
			GetUserIdAndSecContext(&save_userid, &save_sec_context);
			SetUserIdAndSecContext(owner, save_sec_context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
			SPI_connect();
			step(arg);
			SPI_finish();
			SetUserIdAndSecContext(save_userid, save_sec_context);
			done = true;
		}
		PopActiveSnapshot();
		CommitTransactionCommand();
		error_context_stack = callback.previous;
	}
	PG_CATCH();
	{
		done = false;
		log_error(context);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	return done;
}

/* Runs a query that gives the step's result as rows; error when it gives something else. */
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
	bool	   *waits;			/* out: another transaction holds its row */
} FlushStep;

static void
flush_step(void *arg)
{
	FlushStep  *flush = arg;
	Oid			types[2] = {UUIDARRAYOID, TIMESTAMPTZARRAYOID};
	Datum	   *ids = palloc(sizeof(Datum) * flush->n);
	Datum	   *times = palloc(sizeof(Datum) * flush->n);
	Datum		values[2];

	for (int i = 0; i < flush->n; i++)
	{
		ids[i] = UUIDPGetDatum(&flush->uses[i].token_id);
		times[i] = TimestampTzGetDatum(flush->uses[i].at);
		flush->waits[i] = false;
	}
	values[0] = PointerGetDatum(construct_array(ids, flush->n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
	values[1] = PointerGetDatum(construct_array(times, flush->n, TIMESTAMPTZOID, sizeof(TimestampTz), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	query("SELECT f FROM walwarden._flush_usage($1, $2) AS f", 2, types, values);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool		isnull;
		Datum		id = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 1, &isnull);

		for (int i = 0; i < flush->n; i++)
			if (memcmp(flush->uses[i].token_id.data, DatumGetUUIDP(id)->data, UUID_LEN) == 0)
				flush->waits[i] = true;
	}
}

/* Record what is dirty. What could not be recorded stays dirty, for the next round. */
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

/* A row of walwarden._maintenance_steps(). */
typedef struct MaintenanceStep
{
	char	   *what;
	char	   *activity;
	bool		has_org;
	pg_uuid_t	org_id;
	bool		more;			/* out: it is to be run again */
} MaintenanceStep;

typedef struct MaintenancePlan
{
	MemoryContext context;		/* of the list */
	List	   *steps;
} MaintenancePlan;

static void
plan_step(void *arg)
{
	MaintenancePlan *plan = arg;
	MemoryContext save;

	query("SELECT s.step, s.org_id FROM walwarden._maintenance_steps() AS s", 0, NULL, NULL);
	save = MemoryContextSwitchTo(plan->context);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		MaintenanceStep *step = palloc0(sizeof(MaintenanceStep));
		HeapTuple	tuple = SPI_tuptable->vals[row];
		bool		isnull;
		char		uuid[UUID_TEXT_LEN + 1];
		Datum		value = SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull);

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
	Oid			types[2] = {TEXTOID, UUIDOID};
	Datum		values[2];
	char		nulls[2] = {' ', step->has_org ? ' ' : 'n'};
	bool		isnull;

	values[0] = CStringGetTextDatum(step->what);
	values[1] = UUIDPGetDatum(&step->org_id);
	if (SPI_execute_with_args("SELECT s.more FROM walwarden._maintenance_step($1, $2) AS s", 2, types, values, nulls, false, 0) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "walwarden._maintenance_step() did not give one row");
	step->more = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

/* Every step that is due. One that fails does not keep the next one from its turn. */
static void
maintain(void)
{
	MaintenancePlan plan = {CurrentMemoryContext, NIL};
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

/*
 * Whatever the database has set for its sessions, the steps run as they were
 * tested, and none waits for long while other databases wait for it. Nothing here needs to be durable before the next step: entries of the
 * chains are by themselves, the rest would be done again.
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
		{"synchronous_commit", "off"},
		{"lock_timeout", "1s"},
	};

	for (int i = 0; i < lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
}

/* Whether the extension is in this database at all; notes the database's name. */
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
walwarden_maintenance_main(Datum arg)
{
	bool		full = MyBgworkerEntry->bgw_extra[0];

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
	flush_usage();
	if (full)
		maintain();
}
