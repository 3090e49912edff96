/*
 * refusal.h
 *		The reasons why a token is not active or a credential is rejected, and the state
 *		of the token by each.
 */
#ifndef WALWARDEN_REFUSAL_H
#define WALWARDEN_REFUSAL_H

#include "postgres.h"

/* TOKEN_UNKNOWN is 0: a reason to which refusal.c gives no state gives no access. */
typedef enum TokenState
{
	TOKEN_UNKNOWN,				/* it does not exist, or was removed */
	TOKEN_ACTIVE,
	TOKEN_INACTIVE,
	TOKEN_DISABLED,
	TOKEN_EXPIRED,
	TOKEN_REVOKED
} TokenState;

typedef enum Refusal
{
	REFUSAL_NONE,				/* the token is active */
	REFUSAL_MALFORMED,
	REFUSAL_UNKNOWN,
	/* the values of the column stopped, in its order of precedence */
	REFUSAL_REMOVED,
	REFUSAL_REVOKED,
	REFUSAL_EXPIRED,
	REFUSAL_DISABLED,
	/* of a token that its own row does not stop */
	REFUSAL_VALUE_RENEWED,
	REFUSAL_PLAN,
	REFUSAL_ORG_CLOSED,
	REFUSAL_OWNER_DISABLED,
	REFUSAL_OWNER_REMOVED,
	REFUSAL_OWNER_MISSING,
	/* of an active token, by the bounds of its use */
	REFUSAL_NETWORK,
	REFUSAL_NO_LIMITER,
	REFUSAL_RATE_LIMITED
} Refusal;

#define REFUSALS (REFUSAL_RATE_LIMITED + 1)

extern const char *refusal_name(Refusal refusal);
extern bool refusal_by_name(const char *name, Refusal *refusal);
extern TokenState refusal_state(Refusal refusal);
extern const char *token_state_name(TokenState state);

#endif							/* WALWARDEN_REFUSAL_H */
