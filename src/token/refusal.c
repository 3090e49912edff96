/*
 * refusal.c
 *		The reasons why a token is not active or a credential is rejected: their names, and
 *		the state of the token by each.
 *
 * Invariant: this is the only list of the names. introspect_token() and stat_auth show
 * them, and the column stopped has some of them.
 */
#include "postgres.h"

#include "token/refusal.h"

static const struct
{
	const char *name;
	TokenState	state;
}			refusals[REFUSALS] = {
	[REFUSAL_NONE] = {"active", TOKEN_ACTIVE},
	[REFUSAL_MALFORMED] = {"malformed", TOKEN_UNKNOWN},
	[REFUSAL_UNKNOWN] = {"unknown", TOKEN_UNKNOWN},
	[REFUSAL_REMOVED] = {"removed", TOKEN_UNKNOWN},
	[REFUSAL_REVOKED] = {"revoked", TOKEN_REVOKED},
	[REFUSAL_EXPIRED] = {"expired", TOKEN_EXPIRED},
	[REFUSAL_DISABLED] = {"disabled", TOKEN_DISABLED},
	[REFUSAL_VALUE_RENEWED] = {"value renewed", TOKEN_EXPIRED},
	[REFUSAL_PLAN] = {"plan without API tokens", TOKEN_INACTIVE},
	[REFUSAL_ORG_CLOSED] = {"organisation closed", TOKEN_INACTIVE},
	[REFUSAL_OWNER_DISABLED] = {"owner disabled", TOKEN_INACTIVE},
	[REFUSAL_OWNER_REMOVED] = {"owner removed", TOKEN_INACTIVE},
	[REFUSAL_OWNER_MISSING] = {"owner missing", TOKEN_INACTIVE},
	[REFUSAL_NETWORK] = {"network", TOKEN_ACTIVE},
	[REFUSAL_NO_LIMITER] = {"no_limiter", TOKEN_ACTIVE},
	[REFUSAL_RATE_LIMITED] = {"rate_limited", TOKEN_ACTIVE},
};

/* The name of a reason. REFUSAL_NONE: for accepted attempts in stat_auth. */
const char *
refusal_name(Refusal refusal)
{
	return refusals[refusal].name;
}

/* The reason with a name. Returns false if there is none. */
bool
refusal_by_name(const char *name, Refusal *refusal)
{
	for (int i = 0; i < REFUSALS; i++)
		if (strcmp(name, refusals[i].name) == 0)
		{
			*refusal = i;
			return true;
		}
	return false;
}

TokenState
refusal_state(Refusal refusal)
{
	return refusals[refusal].state;
}

const char *
token_state_name(TokenState state)
{
	switch (state)
	{
		case TOKEN_ACTIVE:
			return "active";
		case TOKEN_INACTIVE:
			return "inactive";
		case TOKEN_DISABLED:
			return "disabled";
		case TOKEN_EXPIRED:
			return "expired";
		case TOKEN_REVOKED:
			return "revoked";
		case TOKEN_UNKNOWN:
			break;
	}
	return "unknown";
}
