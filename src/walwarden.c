/*
 * walwarden.c
 *		Initialisation of the library: settings, callbacks and, with preload, shared
 *		memory and the worker.
 *
 * Invariant: everything works without preload, except features documented as
 * requiring it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/guc.h"

#include "audit/commit.h"
#include "base/export.h"
#include "base/invalidation.h"
#include "base/lock.h"
#include "base/progress.h"
#include "base/served.h"
#include "base/settings.h"
#include "people/ending.h"
#include "people/idle.h"
#include "token/expansion.h"
#include "token/cache.h"
#include "token/client.h"
#include "token/identity.h"
#include "token/limiter.h"
#include "token/refusal_log.h"
#include "token/stat.h"
#include "token/usage.h"
#include "worker/worker.h"

PG_MODULE_MAGIC;

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

/* the server calls it by this name: NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
PGDLLEXPORT void _PG_init(void);

static void
shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	RequestAddinShmemSpace(progress_shmem_size());
	RequestAddinShmemSpace(commit_shmem_size());
	RequestAddinShmemSpace(usage_shmem_size());
	RequestAddinShmemSpace(stat_shmem_size());
	RequestAddinShmemSpace(refusal_log_shmem_size());
	RequestAddinShmemSpace(idle_shmem_size());
	limiter_shmem_request();
}

static void
shmem_startup(void)
{
	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	progress_shmem_init();
	commit_shmem_init();
	usage_shmem_init();
	stat_shmem_init();
	refusal_log_shmem_init();
	idle_shmem_init();
	limiter_shmem_init();
	LWLockRelease(AddinShmemInitLock);
}

void
_PG_init(void)
{
	settings_init();
	served_init();
	MarkGUCPrefixReserved("walwarden");

	lock_init();
	progress_init();
	commit_init();
	invalidation_init();
	cache_init();
	identity_init();
	expansion_init();
	client_init();
	limiter_init();
	ending_init();
	if (process_shared_preload_libraries_in_progress)
	{
		prev_shmem_request_hook = shmem_request_hook;
		shmem_request_hook = shmem_request;
		prev_shmem_startup_hook = shmem_startup_hook;
		shmem_startup_hook = shmem_startup;
		worker_register();
	}
}
