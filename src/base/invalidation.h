/*
 * invalidation.h
 *		The protocol by which a backend learns that its caches are stale.
 */
#ifndef WALWARDEN_INVALIDATION_H
#define WALWARDEN_INVALIDATION_H

#include "postgres.h"

/* Counts the changes that cached data may depend on. */
extern uint64 invalidation_generation;

extern void invalidation_init(void);
extern void invalidation_find_signal(void);
extern bool invalidation_may_remember(uint64 generation);

#endif							/* WALWARDEN_INVALIDATION_H */
