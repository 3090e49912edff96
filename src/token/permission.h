/*
 * permission.h
 *		The memberships of a caller, and what the caller may do.
 */
#ifndef WALWARDEN_PERMISSION_H
#define WALWARDEN_PERMISSION_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#include "token/caller.h"

extern List *permission_memberships(Relation heap, const Caller *caller, const pg_uuid_t *org_id, Snapshot snapshot);
extern bool permission_member_id(const Caller *caller, const pg_uuid_t *org_id, pg_uuid_t *id);
extern pg_uuid_t permission_org(const Caller *caller, const text *slug, const char *action, const char *target);
extern void permission_lock_org(const pg_uuid_t *org_id, const char *action, const char *target);
extern void permission_require_open(const pg_uuid_t *org_id);

#endif							/* WALWARDEN_PERMISSION_H */
