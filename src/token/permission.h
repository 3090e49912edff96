/*
 * permission.h
 *		The memberships of a caller, and what the caller may do.
 */
#ifndef WALWARDEN_PERMISSION_H
#define WALWARDEN_PERMISSION_H

#include "postgres.h"

#include "utils/uuid.h"

#include "base/tables.h"
#include "token/caller.h"

extern bool permission_member_is_active(const Row *member, bool by_sso);
extern bool permission_member_id(const Caller *caller, const pg_uuid_t *org_id, pg_uuid_t *id);
extern pg_uuid_t permission_org(const Caller *caller, const text *slug, const char *action, const char *target);
extern void permission_lock_org(const pg_uuid_t *org_id, const char *action, const char *target);
extern void permission_require_open(const pg_uuid_t *org_id);

#endif							/* WALWARDEN_PERMISSION_H */
