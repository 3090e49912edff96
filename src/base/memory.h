/*
 * memory.h
 *		palloc() as the allocator of code that does not depend on the server.
 */
#ifndef WALWARDEN_MEMORY_H
#define WALWARDEN_MEMORY_H

#include "common/canonical.h"

extern const CanonicalMemory palloc_memory;

#endif							/* WALWARDEN_MEMORY_H */
