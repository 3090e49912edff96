/*
 * trust.c
 *		The folder of what an auditor trusts.
 */
#include "trust.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/signature.h"
#include "file.h"
#include "stop.h"
#include "vkey.h"

#define SUFFIX ".vkey"
#define CHECKPOINT_FILE "checkpoint"
#define FILES_MAX 10000

static bool
is_key_file(const char *name)
{
	size_t		len = strlen(name);

	return len > strlen(SUFFIX) && strcmp(name + len - strlen(SUFFIX), SUFFIX) == 0;
}

/* One that was meant to be the kept checkpoint must not count as none. */
static bool
is_checkpoint_file(const char *name, const char *path)
{
	bool		is_exact = strcmp(name, CHECKPOINT_FILE) == 0;

	if (!is_exact && strcasestr(name, CHECKPOINT_FILE) != NULL)
		stop("%s/%s would not be read: the newest checkpoint has the name " CHECKPOINT_FILE ", others belong elsewhere", path, name);
	return is_exact;
}

void
trust_load(const char *path, Trust *trust)
{
	int			directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	Names		names;
	bool		is_kept = false;

	if (directory < 0)
		stop("the folder of trusted keys cannot be opened: %s: %s", path, strerror(errno));
	memset(trust, 0, sizeof(*trust));
	names = directory_names(directory, FILES_MAX);
	if (names.count > FILES_MAX)
		stop("%s has more than %d files", path, FILES_MAX);
	for (size_t i = 0; i < names.count; i++)
	{
		Content		text;

		if (!is_key_file(names.name[i]))
		{
			is_kept |= is_checkpoint_file(names.name[i], path);
			continue;
		}
		text = file_content(directory, names.name[i], VKEY_MAX);
		trust->keys = reallocate(trust->keys, (trust->nkeys + 1) * sizeof(VerifierKey));
		if (text.data == NULL || !vkey_read(text.data, text.len, &trust->keys[trust->nkeys]))
			stop("%s/%s is not a file with one verifier key", path, names.name[i]);
		trust->nkeys++;
		free(text.data);
	}
	if (trust->nkeys == 0)
		stop("%s has no verifier key: no file NAME" SUFFIX, path);
	/* nor must one that cannot be read */
	trust->kept = file_content(directory, CHECKPOINT_FILE, CHECKPOINT_MAX);
	if (trust->kept.data == NULL && is_kept)
		stop("%s/" CHECKPOINT_FILE " is not a regular file", path);
	names_free(&names);
	close(directory);
}

void
trust_free(Trust *trust)
{
	free(trust->keys);
	free(trust->kept.data);
}

static bool
key_has_name(const VerifierKey *key, const char *name, size_t len)
{
	return len == key->name_len && memcmp(name, key->name, len) == 0;
}

static const char *
problem(bool is_known)
{
	return is_known ? "the signature is not that of its content" : "it is signed with a key that is not trusted";
}

const char *
trust_manifest_problem(const Trust *trust, const Signer *signer, const SignedManifest *manifest, const VerifierKey **key)
{
	bool		is_known = false;

	for (size_t i = 0; i < trust->nkeys; i++)
	{
		*key = &trust->keys[i];
		if ((signer->name != NULL && !key_has_name(*key, signer->name, signer->name_len)) ||
			(signer->public_key != NULL && memcmp(signer->public_key, (*key)->public_key, PUBLIC_KEY_LEN) != 0))
			continue;
		is_known = true;
		if (manifest_is_signed(manifest, (*key)->public_key))
			return NULL;
	}
	return problem(is_known);
}

const char *
trust_checkpoint_problem(const Trust *trust, const Checkpoint *checkpoint, const char *note)
{
	bool		is_known = false;

	for (size_t i = 0; i < trust->nkeys; i++)
	{
		const VerifierKey *key = &trust->keys[i];

		if (!key_has_name(key, checkpoint->name, checkpoint->name_len) || memcmp(checkpoint->key_id, key->id, KEY_ID_LEN) != 0)
			continue;
		is_known = true;
		if (checkpoint_is_signed(checkpoint, note, key->public_key))
			return NULL;
	}
	return problem(is_known);
}
