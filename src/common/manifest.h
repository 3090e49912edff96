/*
 * manifest.h
 *		The manifest of a backup: a JSON object, whose member "signature" signs the
 *		canonical bytes of the object without this member. Does not depend on the
 *		server.
 */
#ifndef WALWARDEN_MANIFEST_H
#define WALWARDEN_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/canonical.h"

#define SIGNATURE_LEN 64

typedef struct SignedManifest
{
	char	   *bytes;			/* what is signed, from the allocator; not
								 * terminated */
	size_t		len;
	bool		has_signature;
	uint8_t		signature[SIGNATURE_LEN];
	const char *error;			/* NULL, or a constant that names the error */
} SignedManifest;

/*
 * Read a manifest, whose canonical text may have limit bytes. Returns false and sets
 * error if input is not JSON within canonical.h's subset, is not an object, or has a
 * signature that is not the base64 text of SIGNATURE_LEN bytes.
 */
extern bool manifest_read(const char *input, size_t len, size_t limit, const CanonicalMemory *memory, SignedManifest *result);

#endif							/* WALWARDEN_MANIFEST_H */
