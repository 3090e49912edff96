/*
 * org_cache.h
 *		A cache of the data that tokens share: organisations, owners, and the scopes of
 *		roles.
 */
#ifndef WALWARDEN_ORG_CACHE_H
#define WALWARDEN_ORG_CACHE_H

#include "postgres.h"

#include "utils/snapshot.h"
#include "utils/uuid.h"

#include "token/refusal.h"
#include "token/scope_list.h"

typedef struct OrgCache OrgCache;

typedef struct Reading
{
	Snapshot	snapshot;
	uint64		generation;		/* from before the snapshot */
	OrgCache   *cache;			/* or NULL */
	TransactionId newest;		/* of the row versions that were used */
	TransactionId oldest_entry; /* of the cached entries, or Invalid */
} Reading;

typedef struct CachedOrg
{
	text	   *slug;
	bool		closed;
	bool		has_tokens;		/* its plan includes API tokens */
} CachedOrg;

typedef struct CachedOwner
{
	text	   *subject;
	text	   *role;
	bool		has_nodes;		/* the role may have nodes */
	Refusal		refusal;		/* why the member's tokens are inactive */
} CachedOwner;

extern void reading_begin(Reading *reading, Snapshot snapshot, uint64 generation, bool remember);
extern void reading_begin_shared(Reading *reading, Snapshot snapshot, OrgCache **cache, MemoryContext context);
extern void org_cache_forget(void);
extern void reading_record(Reading *reading, TransactionId xmin);
extern bool reading_consistent(const Reading *reading);
extern const CachedOrg *org_cache_org(Reading *reading, const pg_uuid_t *id);
extern const CachedOwner *org_cache_owner(Reading *reading, const pg_uuid_t *id);
extern bool role_is_capable(const text *role, const char *capability, Snapshot snapshot);
extern ScopeList org_cache_role_scopes(Reading *reading, const text *role);

#endif							/* WALWARDEN_ORG_CACHE_H */
