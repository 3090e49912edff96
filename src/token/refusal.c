/*
 * refusal.c
 *		The names of the reasons why a token is not active or a credential is rejected.
 *
 * Invariant: this is the only list of the names. introspect_token() and stat_auth show
 * them.
 */
#include "postgres.h"

#include "token/refusal.h"

/* The name of a reason. REFUSAL_NONE: for accepted attempts in stat_auth. */
const char *
refusal_name(Refusal refusal)
{
	static const char *const names[REFUSALS] = {
		[REFUSAL_NONE] = "active",
		[REFUSAL_MALFORMED] = "malformed",
		[REFUSAL_UNKNOWN] = "unknown",
		[REFUSAL_REMOVED] = "removed",
		[REFUSAL_REVOKED] = "revoked",
		[REFUSAL_EXPIRED] = "expired",
		[REFUSAL_VALUE_RENEWED] = "value renewed",
		[REFUSAL_DISABLED] = "disabled",
		[REFUSAL_PLAN] = "plan without API tokens",
		[REFUSAL_ORG_CLOSED] = "organisation closed",
		[REFUSAL_OWNER_DISABLED] = "owner disabled",
		[REFUSAL_OWNER_REMOVED] = "owner removed",
		[REFUSAL_OWNER_MISSING] = "owner missing",
		[REFUSAL_NETWORK] = "network",
		[REFUSAL_NO_LIMITER] = "no_limiter",
		[REFUSAL_RATE_LIMITED] = "rate_limited",
	};

	return names[refusal];
}
