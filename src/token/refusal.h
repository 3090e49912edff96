/*
 * refusal.h
 *		The reasons why a token is not active or a credential is rejected.
 */
#ifndef WALWARDEN_REFUSAL_H
#define WALWARDEN_REFUSAL_H

typedef enum Refusal
{
	REFUSAL_NONE,				/* the token is active */
	REFUSAL_MALFORMED,
	REFUSAL_UNKNOWN,
	REFUSAL_REMOVED,
	REFUSAL_REVOKED,
	REFUSAL_EXPIRED,
	REFUSAL_VALUE_RENEWED,
	REFUSAL_DISABLED,
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

#endif							/* WALWARDEN_REFUSAL_H */
