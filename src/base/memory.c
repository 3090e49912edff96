/*
 * memory.c
 *		palloc() as the allocator of code that does not depend on the server.
 */
#include "postgres.h"

#include "base/memory.h"

const CanonicalMemory palloc_memory = {palloc, repalloc, pfree};
