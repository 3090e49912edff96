/*
 * credential.h
 *		The fingerprints under which credentials are stored.
 */
#ifndef WALWARDEN_CREDENTIAL_H
#define WALWARDEN_CREDENTIAL_H

#include "postgres.h"

typedef enum CredentialKind
{
	CREDENTIAL_BEARER,			/* the text of a token */
	CREDENTIAL_LEGACY			/* UUID and secret from an older system */
} CredentialKind;

extern void bearer_fingerprint(const char *token, size_t len, uint8 *fingerprint);
extern bool legacy_fingerprint(const char *uuid, size_t uuid_len,
							   const char *secret, size_t secret_len, uint8 *fingerprint);

#endif							/* WALWARDEN_CREDENTIAL_H */
