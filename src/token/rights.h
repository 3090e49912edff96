/*
 * rights.h
 *		The memberships of a caller, and what the caller may do.
 */
#ifndef WALWARDEN_RIGHTS_H
#define WALWARDEN_RIGHTS_H

#include "postgres.h"

#include "utils/uuid.h"

#include "token/caller.h"

extern bool rights_member_id(const Caller *caller, const pg_uuid_t *org_id, pg_uuid_t *id);
extern pg_uuid_t rights_permitted_org(const Caller *caller, const text *slug, const char *action, const char *target);
extern void rights_lock_org(const pg_uuid_t *org_id, const char *action, const char *target);
extern void rights_require_open(const pg_uuid_t *org_id);

#endif							/* WALWARDEN_RIGHTS_H */
