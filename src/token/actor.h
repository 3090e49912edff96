/*
 * actor.h
 *		The actor in entries.
 */
#ifndef WALWARDEN_ACTOR_H
#define WALWARDEN_ACTOR_H

#include "postgres.h"

#include "utils/uuid.h"

#include "token/caller.h"

extern char *actor_of_caller(const Caller *caller, const pg_uuid_t *org_id);
extern char *actor_of_token(const Caller *caller);

#endif							/* WALWARDEN_ACTOR_H */
