/*
 * boottime.h
 *		The clock of leases. It goes on while the machine sleeps, and nobody sets it.
 */
#ifndef RUNNER_BOOTTIME_H
#define RUNNER_BOOTTIME_H

#include <stdint.h>
#include <time.h>

static inline int64_t
boottime_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* until: the time of asking and the lease. Supervisor and worker both renew it. */
static inline void
lease_renewed(volatile int64_t *lease_until, int64_t until)
{
	if (*lease_until < until)
		*lease_until = until;
}

#endif							/* RUNNER_BOOTTIME_H */
