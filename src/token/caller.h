/*
 * caller.h
 *		The caller of a public function.
 */
#ifndef WALWARDEN_CALLER_H
#define WALWARDEN_CALLER_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#include "token/claims.h"

/* A person whom a request has verified, by the cookie of a session or by a JWT. */
typedef struct Person
{
	bool		has_session;
	pg_uuid_t	session_id;
	char	   *subject;
	bool		by_sso;			/* not for every member */
} Person;

typedef struct Caller
{
	Oid			userid;
	NameData	role;
	NameData	login;			/* the session user */
	const Person *person;		/* for whom the role acts, or NULL */
	/* filled in by caller_describe() */
	bool		superuser;
	bool		is_operator;	/* superusers are operators too */
	bool		is_monitor;		/* false for operators, who may do more */
	char	   *subject;		/* verified, or NULL */
} Caller;

/* For whom the session user may speak. */
typedef enum SessionKind
{
	SESSION_ORDINARY,			/* for itself */
	SESSION_OPERATOR,			/* for itself or a client */
	SESSION_GATEWAY				/* for its clients only */
} SessionKind;

extern void caller_record_claims(void);
extern void caller_forget_claims(void);
extern bool caller_read_claims(Claims *read);
extern void caller_record(Caller *caller);
extern void caller_describe(Caller *caller);
extern Datum caller_result(FunctionCallInfo fcinfo, const Caller *caller, const char *door);
extern void caller_argument(FunctionCallInfo fcinfo, int n, Caller *caller);
extern bool caller_speaks_for_many(const NameData *role, Snapshot snapshot);
extern bool caller_role_serves_rest(const Caller *caller);
extern SessionKind caller_session_kind(Oid session_user, Snapshot snapshot);

#endif							/* WALWARDEN_CALLER_H */
