/*
 * trust.h
 *		Whether a manifest was signed by a node that is trusted.
 */
#ifndef RUNNER_TRUST_H
#define RUNNER_TRUST_H

#include <stdbool.h>
#include <stddef.h>

#include "config.h"

typedef enum Trust
{
	TRUST_SIGNED,				/* by a key of the node in trusted_keys */
	TRUST_UNCHECKED,			/* this node has no trusted_keys */
	TRUST_UNSIGNED,				/* it has, and the manifest has no signature */
	TRUST_STRANGE_KEY,			/* trusted_keys has other keys for the node,
								 * or none */
	TRUST_BAD_SIGNATURE,		/* not this key's signature of these bytes */
	TRUST_MALFORMED				/* what was read is no manifest */
} Trust;

/* The first two alone say that a manifest may be believed. */
extern bool is_believed(Trust trust);

/*
 * Whether a manifest that names this node and public_key, in base64, was signed with the key,
 * which must be among those in NODE.pem of trusted_keys: a file may hold several, one after
 * the other. What may not be believed comes with a message.
 */
extern Trust trust_in(const Config *config, const char *node, const char *public_key,
					  const char *text, size_t len, char **error);

#endif							/* RUNNER_TRUST_H */
