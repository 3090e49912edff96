/*
 * lock.h
 *		Locks of an organisation, its chain, a legacy credential, maintenance, a
 *		request with an idempotency key, and sessions; how long to wait for locks.
 */
#ifndef WALWARDEN_LOCK_H
#define WALWARDEN_LOCK_H

#include "postgres.h"

#include "utils/uuid.h"

typedef enum LockClass
{
	LOCK_MAINTENANCE,			/* one maintenance at a time */
	LOCK_REQUEST,				/* one request per idempotency key */
	LOCK_ORGANISATION,			/* to change an organisation */
	LOCK_CREDENTIAL,			/* to import a legacy credential */
	LOCK_PERSONS,				/* to end sessions */
	LOCK_CHAIN					/* to append to its chain; acquired last */
} LockClass;

extern void lock_init(void);
extern int	lock_wait_bound(int milliseconds);
extern void lock_wait_restore(int previous);
extern bool lock_limit_waits(bool limit);
extern void lock_forbid_prepare(void);
extern void lock_acquire(const pg_uuid_t *id, LockClass which);

#endif							/* WALWARDEN_LOCK_H */
