/*
 * signature.c
 *		Ed25519 signatures of nodes that are trusted.
 */
#include "signature.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/pem.h>

#include "common/manifest.h"
#include "common/signature.h"
#include "job.h"
#include "json.h"
#include "key.h"
#include "text.h"

/* Whether one of the keys in the file is the one with these bytes. */
static bool
file_has_key(const char *path, const uint8_t *wanted, char **error)
{
	FILE	   *file = fopen(path, "re");
	EVP_PKEY   *key;
	bool		found = false;

	if (file == NULL)
	{
		*error = text_format("no trusted key: %s: %s", path, strerror(errno));
		return false;
	}
	while (!found && (key = PEM_read_PUBKEY(file, NULL, key_no_passphrase, NULL)) != NULL)
	{
		unsigned char bytes[PUBLIC_KEY_LEN];
		size_t		len = sizeof(bytes);

		found = EVP_PKEY_base_id(key) == EVP_PKEY_ED25519 && EVP_PKEY_get_raw_public_key(key, bytes, &len) == 1 &&
			len == PUBLIC_KEY_LEN && memcmp(bytes, wanted, PUBLIC_KEY_LEN) == 0;
		EVP_PKEY_free(key);
	}
	fclose(file);
	if (!found)
		*error = text_format("it was signed by a key that %s does not have", path);
	return found;
}

SignatureState
signature_verify(const Config *config, const char *node, const char *public_key, const char *text, size_t len, char **error)
{
	uint8_t		key[PUBLIC_KEY_LEN];
	SignedManifest manifest;
	char	   *path;
	SignatureState state = SIGNATURE_GOOD;

	if (config->trusted_keys == NULL)
		return SIGNATURE_UNCHECKED;
	if (!public_key_read(public_key, strlen(public_key), key) ||
		!manifest_read(text, len, JSON_MAX, &json_memory, &manifest))
	{
		*error = text_copy("its key or signature is malformed");
		return SIGNATURE_BAD;
	}
	path = text_format("%s/%s.pem", config->trusted_keys, node);
	if (!reference_is_safe(node) || strchr(node, '/'))
	{
		*error = text_copy("its node has a name that no key file can have");
		state = SIGNATURE_STRANGE_KEY;
	}
	else if (!file_has_key(path, key, error))
		state = SIGNATURE_STRANGE_KEY;
	else if (!manifest_is_signed(&manifest, key))
	{
		*error = text_copy("its signature does not belong to its content");
		state = SIGNATURE_BAD;
	}
	free(path);
	free(manifest.bytes);
	return state;
}
