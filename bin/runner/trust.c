/*
 * trust.c
 *		Whether a manifest was signed by a node that is trusted.
 */
#include "trust.h"

#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/manifest.h"
#include "common/signature.h"
#include "io.h"
#include "job.h"
#include "json.h"
#include "key.h"
#include "text.h"

/* Whether one of the keys in the file is the one with these bytes. */
static bool
file_has_key(const char *path, const uint8_t *wanted, char **error)
{
	Buffer		pem = {0};
	uint8_t		key[PUBLIC_KEY_LEN];
	char	   *reason;
	bool		found = false;

	if (!read_file(path, KEY_FILE_MAX, &pem, &reason))
	{
		*error = text_format("no trusted key: %s", reason);
		free(reason);
		return false;
	}
	for (size_t at = 0; !found && public_key_next(pem.data, pem.len, &at, key);)
		found = memcmp(key, wanted, PUBLIC_KEY_LEN) == 0;
	buffer_free(&pem);
	if (!found)
		*error = text_format("it was signed by a key that %s does not have", path);
	return found;
}

static bool
is_trusted(const Config *config, const char *node, const uint8_t *key, char **error)
{
	char	   *path;
	bool		trusted;

	if (!name_is_safe(node))
	{
		*error = text_copy("its node has a name that no key file can have");
		return false;
	}
	path = text_format("%s/%s.pem", config->trusted_keys, node);
	trusted = file_has_key(path, key, error);
	free(path);
	return trusted;
}

bool
is_believed(Trust trust)
{
	return trust == TRUST_SIGNED || trust == TRUST_UNCHECKED;
}

Trust
trust_in(const Config *config, const char *node, const char *public_key, const char *text, size_t len, char **error)
{
	uint8_t		key[PUBLIC_KEY_LEN];
	SignedManifest manifest;
	Trust		trust = TRUST_SIGNED;

	if (config->trusted_keys == NULL)
		return TRUST_UNCHECKED;
	if (!manifest_read(text, len, JSON_MAX, &json_memory, &manifest))
	{
		*error = text_copy("its signature is malformed");
		return TRUST_BAD_SIGNATURE;
	}
	if (public_key == NULL || !manifest.has_signature)
	{
		*error = text_copy("it is not signed, and this node has trusted_keys");
		trust = TRUST_UNSIGNED;
	}
	else if (!public_key_read(public_key, strlen(public_key), key))
	{
		*error = text_copy("its key is malformed");
		trust = TRUST_BAD_SIGNATURE;
	}
	else if (!is_trusted(config, node, key, error))
		trust = TRUST_STRANGE_KEY;
	else if (!manifest_is_signed(&manifest, key))
	{
		*error = text_copy("its signature does not belong to its content");
		trust = TRUST_BAD_SIGNATURE;
	}
	free(manifest.bytes);
	return trust;
}
