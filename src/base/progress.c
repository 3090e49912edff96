/*
 * progress.c
 *		What long calls are doing, in shared memory: verification of a chain, and the
 *		steps of maintenance. The view stat_progress shows it.
 *
 * Each process has a place of its own, by its number. It alone writes there.
 *
 * Locking: a spinlock for each place, so that a reader sees what belongs together. No code
 * under it can fail, wait or allocate.
 *
 * Invariants: nothing is shown of a process that is not in the transaction that began it.
 * Without preload nothing is shown.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "base/export.h"
#include "base/progress.h"

/* How much is done between two writes. */
#define STRIDE 256

typedef struct Progress
{
	slock_t		mutex;
	int			pid;			/* 0: nothing is shown */
	Oid			dbid;
	bool		has_org;
	pg_uuid_t	org_id;
	int64		done;
	int64		total;
	char		what[NAMEDATALEN];
} Progress;

static Progress *places = NULL; /* MaxBackends; NULL without preload */
static bool shown = false;		/* by this process */

Size
progress_shmem_size(void)
{
	return mul_size(MaxBackends, sizeof(Progress));
}

/* Create or attach to the places. The caller holds AddinShmemInitLock. */
void
progress_shmem_init(void)
{
	bool		found;

	places = ShmemInitStruct("walwarden progress", progress_shmem_size(), &found);
	if (found)
		return;
	memset(places, 0, progress_shmem_size());
	for (int i = 0; i < MaxBackends; i++)
		SpinLockInit(&places[i].mutex);
}

bool
progress_is_shown(void)
{
	return places != NULL;
}

static Progress *
my_place(void)
{
	return &places[MyProc - ProcGlobal->allProcs];
}

void
progress_begin(const char *what, const pg_uuid_t *org_id, int64 total)
{
	Progress   *place;

	if (places == NULL)
		return;
	place = my_place();
	shown = true;
	SpinLockAcquire(&place->mutex);
	place->pid = MyProcPid;
	place->dbid = MyDatabaseId;
	place->has_org = org_id != NULL;
	if (org_id != NULL)
		place->org_id = *org_id;
	place->done = 0;
	place->total = total;
	strlcpy(place->what, what, sizeof(place->what));
	SpinLockRelease(&place->mutex);
}

void
progress_advance(int64 done)
{
	Progress   *place;

	if (!shown || done % STRIDE != 0)
		return;
	place = my_place();
	SpinLockAcquire(&place->mutex);
	place->done = done;
	SpinLockRelease(&place->mutex);
}

void
progress_end(void)
{
	Progress   *place;

	if (!shown)
		return;
	place = my_place();
	shown = false;
	SpinLockAcquire(&place->mutex);
	place->pid = 0;
	SpinLockRelease(&place->mutex);
}

static void
progress_xact_callback(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PARALLEL_COMMIT || event == XACT_EVENT_PARALLEL_ABORT)
		progress_end();
}

static void
progress_subxact_callback(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		progress_end();
}

void
progress_init(void)
{
	RegisterXactCallback(progress_xact_callback, NULL);
	RegisterSubXactCallback(progress_subxact_callback, NULL);
}

/*
 * walwarden_internal.show_progress(what text, org_id uuid)
 *
 * A step of which only begin and end are known.
 */
PG_FUNCTION_INFO_V1(walwarden_show_progress);
Datum
walwarden_show_progress(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		elog(ERROR, "what is null");
	progress_begin(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_ARGISNULL(1) ? NULL : PG_GETARG_UUID_P(1), PROGRESS_UNKNOWN);
	PG_RETURN_VOID();
}

/*
 * walwarden_internal.progress() returns setof (pid integer, what text, org_id uuid, done bigint, total bigint)
 *
 * What processes in this database are doing; no rows without preload.
 */
PG_FUNCTION_INFO_V1(walwarden_progress);
Datum
walwarden_progress(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; places != NULL && i < MaxBackends; i++)
	{
		Progress	place;
		Datum		values[5];
		bool		nulls[5] = {false};

		SpinLockAcquire(&places[i].mutex);
		place = places[i];
		SpinLockRelease(&places[i].mutex);
		if (place.pid == 0 || place.dbid != MyDatabaseId)
			continue;
		values[0] = Int32GetDatum(place.pid);
		values[1] = CStringGetTextDatum(place.what);
		values[2] = UUIDPGetDatum(&place.org_id);
		nulls[2] = !place.has_org;
		values[3] = Int64GetDatum(place.done);
		values[4] = Int64GetDatum(place.total);
		nulls[3] = nulls[4] = place.total == PROGRESS_UNKNOWN;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
