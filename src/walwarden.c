/*
 * walwarden.c
 *		Start of the library: its settings and its callbacks.
 *
 * Works without preload. The limits are SIGHUP: they belong to whoever runs the
 * server, and no user raises their own.
 */
#include "walwarden.h"

#include <limits.h>

#include "utils/guc.h"

PG_MODULE_MAGIC;

int			walwarden_audit_lock_timeout = 10000;
bool		walwarden_early_lock_release = false;
int			walwarden_max_tokens_per_org = 10000;
int			walwarden_idempotency_retention = 86400;
int			walwarden_verify_interval = 86400;

PGDLLEXPORT void _PG_init(void);

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
	DefineCustomIntVariable("walwarden.idempotency_retention",
							"How long REST v1 gives the answer of a mutation again under the same Idempotency-Key.",
							NULL,
							&walwarden_idempotency_retention,
							86400, 60, 30 * 86400,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("walwarden.max_tokens_per_org",
							"Most tokens, revoked ones not counted, that an organisation can have.",
							NULL,
							&walwarden_max_tokens_per_org,
							10000, 1, INT_MAX,
							PGC_SIGHUP, 0,
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
}
