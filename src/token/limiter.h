/*
 * limiter.h
 *		Rate limits of tokens.
 */
#ifndef WALWARDEN_LIMITER_H
#define WALWARDEN_LIMITER_H

#include "postgres.h"

#include "utils/uuid.h"

#include "token/refusal.h"

/* The rate limit of a token after a use. limit is 0 if the token has none. */
typedef struct RateState
{
	int			limit;			/* uses per minute */
	int			remaining;
	int			reset;			/* seconds until the window ends, from 1 */
} RateState;

typedef struct LimiterSlot LimiterSlot;

extern void limiter_shmem_request(void);
extern void limiter_shmem_init(void);
extern void limiter_init(void);
extern Refusal limiter_use(const pg_uuid_t *token_id, const pg_uuid_t *org_id, int limit, LimiterSlot **remembered, RateState *rate);
extern void limiter_release(const pg_uuid_t *token_id);

#endif							/* WALWARDEN_LIMITER_H */
