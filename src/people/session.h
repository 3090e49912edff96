/*
 * session.h
 *		The sessions of people, by their cookies.
 */
#ifndef WALWARDEN_SESSION_H
#define WALWARDEN_SESSION_H

#include "postgres.h"

#include "utils/uuid.h"

#include "base/tables.h"
#include "token/caller.h"

/* Browsers accept a cookie with this prefix only over TLS, for one host and all its paths. */
#define SESSION_COOKIE "__Host-walwarden"

/* An active membership of a person. */
typedef struct Membership
{
	pg_uuid_t	member_id;
	pg_uuid_t	org_id;
	text	   *role;
} Membership;

extern bool session_is_by_sso(const Row *row);
extern bool session_find(const char *cookie, Person *person);
extern bool session_may_start(const Person *person);
extern bool session_holds(const Person *person);
extern bool session_membership(const Person *person, const char *slug, Membership *membership);

extern void session_cookie_reset(void);
extern const char *session_cookie_field(void);
extern bool session_cookie_is_cleared(void);

#endif							/* WALWARDEN_SESSION_H */
