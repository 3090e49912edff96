/*
 * invalidation.h
 *		The protocol by which a backend learns that its caches are stale.
 */
#ifndef WALWARDEN_INVALIDATION_H
#define WALWARDEN_INVALIDATION_H

#include "postgres.h"

#include "access/attnum.h"
#include "utils/uuid.h"

/* Changes with the same first byte of a key count as changes of the same key. */
#define INVALIDATION_KEYS 256

/* Counts the changes that cached data may depend on. */
extern uint64 invalidation_generation;

/* Its value at the last change that was not of one key alone, and at the last of each key. */
extern uint64 invalidation_last;
extern uint64 invalidation_last_of[INVALIDATION_KEYS];

/*
 * Whether data is current that was read after generation. key: NULL if a change of one key
 * does not matter to it.
 */
static inline bool
invalidation_is_current(uint64 generation, const pg_uuid_t *key)
{
	return generation >= invalidation_last &&
		(key == NULL || generation >= invalidation_last_of[key->data[0]]);
}

extern void invalidation_init(void);
extern void invalidation_by_key(const char *table, AttrNumber column);
extern uint64 invalidation_begin(void);
extern bool invalidation_may_remember(uint64 generation, const pg_uuid_t *key);

#endif							/* WALWARDEN_INVALIDATION_H */
