/*
 * resolver.h
 *		Names of hosts, resolved by a process that can be given up.
 *
 * libpq has no way to resolve a name without waiting for it, and a resolver may wait for a
 * minute without taking notice of a signal.
 */
#ifndef RUNNER_RESOLVER_H
#define RUNNER_RESOLVER_H

#include <stdbool.h>
#include <sys/types.h>

#include "text.h"

typedef struct Resolver
{
	pid_t		pid;			/* or 0 */
	int			from;			/* wait until it can be read; -1: there is
								 * nothing to wait for */
	Buffer		found;
} Resolver;

/* Parameters of libpq, or NULL where those of the connection string are good as they are. */
typedef struct Addresses
{
	char	   *host;
	char	   *hostaddr;
	char	   *port;
} Addresses;

/* Begins with the hosts of a connection string that have no address in it. False with a message. */
extern bool resolver_start(Resolver *resolver, const char *conninfo, char **error);

/* When from can be read. */
extern void resolver_read(Resolver *resolver);

/* Ends the process. False with a message if it has not found an address for at least one host. */
extern bool resolver_end(Resolver *resolver, Addresses *addresses, char **error);

extern void addresses_free(Addresses *addresses);

#endif							/* RUNNER_RESOLVER_H */
