/*
 * digest.h
 *		SHA-256.
 */
#ifndef WALWARDEN_DIGEST_H
#define WALWARDEN_DIGEST_H

#include "postgres.h"

#define DIGEST_LEN 32
#define DIGEST_HEX_LEN (2 * DIGEST_LEN)

typedef struct DigestPart
{
	const void *data;
	size_t		len;
} DigestPart;

extern void digest_sha256(const DigestPart *parts, int nparts, uint8 *digest);
extern bytea *digest_bytea(const uint8 *digest);

#endif							/* WALWARDEN_DIGEST_H */
