/*
 * cache.h
 *		A backend's cache of the tokens that it has authenticated.
 */
#ifndef WALWARDEN_CACHE_H
#define WALWARDEN_CACHE_H

#include "postgres.h"

#include "utils/uuid.h"

#include "token/credential.h"
#include "token/limiter.h"
#include "token/refusal.h"
#include "token/status.h"
#include "token/usage.h"

/* A token that was active when it was looked up, in one chunk of memory. */
typedef struct ResolvedToken
{
	TokenStatus status;
	CredentialKind kind;		/* of its credential */
	UsageMemo	usage;
	int			pins;			/* number of identities that use it */
	bool		cached;
	LimiterSlot *limiter_slot;	/* as far as known */
} ResolvedToken;

/* A credential that is not accepted. */
typedef struct Rejection
{
	Refusal		refusal;
	bool		is_known;		/* it belongs to a token that others see too */
	pg_uuid_t	token_id;		/* defined if known */
} Rejection;

extern void cache_init(void);
extern ResolvedToken *cache_resolve(CredentialKind kind, const uint8 *fingerprint, Rejection *rejection);
extern ResolvedToken *cache_reject(ResolvedToken *token, Refusal refusal, Rejection *rejection);
extern void cache_unpin(ResolvedToken *token);

#endif							/* WALWARDEN_CACHE_H */
