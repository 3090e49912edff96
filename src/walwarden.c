/*
 * walwarden.c
 *		Start of the library: its settings, its callbacks and, with preload, its
 *		shared memory and its worker.
 *
 * Works without preload. The limits are SIGHUP: they belong to whoever runs the
 * server, and no user raises their own.
 */
#include "walwarden.h"

#include <limits.h>

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

PG_MODULE_MAGIC;

int			walwarden_audit_lock_timeout = 10000;
bool		walwarden_early_lock_release = false;
int			walwarden_max_tokens_per_org = 10000;
int			walwarden_idempotency_retention = 86400;
int			walwarden_verify_interval = 86400;
int			walwarden_usage_flush_interval = 10;
int			walwarden_maintenance_interval = 60;
char	   *walwarden_database;

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

/* the server asks for this name: NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
PGDLLEXPORT void _PG_init(void);

static void
shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	RequestAddinShmemSpace(usage_shmem_size());
	RequestAddinShmemSpace(stat_shmem_size());
}

static void
shmem_startup(void)
{
	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	usage_shmem_init();
	stat_shmem_init();
	LWLockRelease(AddinShmemInitLock);
}

void
_PG_init(void)
{
	DefineCustomIntVariable("walwarden.audit_lock_timeout",
							"Longest wait for a lock of an audit chain, an organisation or a token.",
							"A shorter lock_timeout goes first; 0 leaves it to lock_timeout.",
							&walwarden_audit_lock_timeout,
							10000, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomBoolVariable("walwarden.early_lock_release",
							 "Releases the lock of an audit chain before the commit is flushed to disk.",
							 "Many clients of one chain then share a flush. A commit is acknowledged when it is durable, as always, but others can see it a moment before.",
							 &walwarden_early_lock_release,
							 false,
							 PGC_SIGHUP, 0,
							 NULL, NULL, NULL);
	DefineCustomStringVariable("walwarden.database",
							   "Databases that the worker serves, with commas between their names; empty: every database with the extension.",
							   "Names with other than lower-case letters and digits in double quotes. Needs shared_preload_libraries. Templates are not served.",
							   &walwarden_database,
							   "",
							   PGC_SIGHUP, GUC_LIST_INPUT,
							   worker_check_database, worker_assign_database, NULL);
	DefineCustomIntVariable("walwarden.idempotency_retention",
							"How long REST v1 gives the answer of a mutation again under the same Idempotency-Key.",
							NULL,
							&walwarden_idempotency_retention,
							86400, 60, 30 * 86400,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("walwarden.maintenance_interval",
							"Time between the rounds in which the worker does what run_maintenance() does.",
							"Needs shared_preload_libraries.",
							&walwarden_maintenance_interval,
							60, 1, 7 * 86400,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("walwarden.max_tokens_per_org",
							"Most tokens, revoked ones not counted, that an organisation can have.",
							NULL,
							&walwarden_max_tokens_per_org,
							10000, 1, INT_MAX,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("walwarden.usage_flush_interval",
							"Time between the rounds in which the worker writes last-used times; a crash of the server loses what was not written.",
							"Needs shared_preload_libraries.",
							&walwarden_usage_flush_interval,
							10, 1, 86400,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("walwarden.verify_interval",
							"Maintenance verifies an audit chain again when its last verification is older.",
							NULL,
							&walwarden_verify_interval,
							86400, 0, 365 * 86400,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	MarkGUCPrefixReserved("walwarden");

	lock_init();
	commit_init();
	cache_init();
	identity_init();
	if (process_shared_preload_libraries_in_progress)
	{
		prev_shmem_request_hook = shmem_request_hook;
		shmem_request_hook = shmem_request;
		prev_shmem_startup_hook = shmem_startup_hook;
		shmem_startup_hook = shmem_startup;
		worker_register();
	}
}
