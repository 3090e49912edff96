/*
 * monotonic.h
 *		A clock that nobody can set. It is the same in all processes of the server and
 *		begins at an arbitrary moment.
 */
#ifndef WALWARDEN_MONOTONIC_H
#define WALWARDEN_MONOTONIC_H

#include "postgres.h"

#include <time.h>

/* Nanoseconds. */
static inline int64
monotonic_now(void)
{
	struct timespec now;

	(void) clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * 1000000000 + now.tv_nsec;
}

#define MONOTONIC_SECOND INT64CONST(1000000000)

#endif							/* WALWARDEN_MONOTONIC_H */
