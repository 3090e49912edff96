/*
 * claims.h
 *		The claims of a JWT that somebody else has verified.
 */
#ifndef WALWARDEN_CLAIMS_H
#define WALWARDEN_CLAIMS_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "base/digest.h"

typedef struct Claims
{
	const char *refused;		/* the claim that is; NULL for none */
	char	   *subject;		/* NULL if there is none */
	TimestampTz expires_at;		/* if exp is accepted */
	uint8		hash[DIGEST_LEN];	/* of all claims, in any spelling */
} Claims;

extern bool claims_can_be_accepted(void);
extern void claims_read(const char *text, Claims *claims);

#endif							/* WALWARDEN_CLAIMS_H */
