/*
 * signature.h
 *		Ed25519 signatures of nodes that are trusted.
 */
#ifndef RUNNER_SIGNATURE_H
#define RUNNER_SIGNATURE_H

#include <stdbool.h>
#include <stddef.h>

#include "config.h"

typedef enum SignatureState
{
	SIGNATURE_GOOD,
	SIGNATURE_BAD,				/* not this key's signature of these bytes */
	SIGNATURE_STRANGE_KEY,		/* trusted_keys has other keys for the node,
								 * or none */
	SIGNATURE_UNCHECKED			/* the node has no trusted_keys */
} SignatureState;

/*
 * Verifies the signature in a manifest by the key public_key, in base64, which must be among
 * those in NODE.pem of trusted_keys: a file may hold several, one after the other.
 * SIGNATURE_BAD and SIGNATURE_STRANGE_KEY come with a message.
 */
extern SignatureState signature_verify(const Config *config, const char *node, const char *public_key,
									   const char *text, size_t len, char **error);

#endif							/* RUNNER_SIGNATURE_H */
