/*
 * manifest.c
 *		The manifest of a backup.
 *
 * The input is untrusted. It is rendered canonically, so that whoever signs it and
 * whoever verifies it have the same bytes, whatever came between them. The member
 * "signature" and one comma beside it are then cut out.
 *
 * Invariants: the result is canonical, and without a member "signature". No byte is read
 * at or after the end.
 */
#include "common/manifest.h"

#include <string.h>

#include "common/base64_text.h"
#include "common/canonical.h"

/* Take the bytes from begin to end out of an object, with one comma beside them. */
static void
cut(SignedManifest *manifest, size_t begin, size_t end)
{
	if (manifest->bytes[end] == ',')
		end++;
	else if (manifest->bytes[begin - 1] == ',')
		begin--;
	memmove(manifest->bytes + begin, manifest->bytes + end, manifest->len - end);
	manifest->len -= end - begin;
}

static bool
fail(SignedManifest *manifest, const CanonicalMemory *memory, const char *error)
{
	memory->release(manifest->bytes);
	manifest->bytes = NULL;
	manifest->len = 0;
	manifest->error = error;
	return false;
}

bool
manifest_read(const char *input, size_t len, size_t limit, const CanonicalMemory *memory, SignedManifest *result)
{
	CanonicalText text;
	CanonicalMember found = CANONICAL_MEMBER("signature");
	size_t		at;

	memset(result, 0, sizeof(SignedManifest));
	if (!canonical_render(input, len, limit, memory, &text))
	{
		if (text.twice != NULL)
			memory->release(text.twice);
		result->error = text.error;

		return false;
	}
	result->bytes = text.data;
	result->len = text.len;

	if (!canonical_find(text.data, text.len, limit, 0, &found, 1))
		return fail(result, memory, "not an object");
	if (found.value == NULL)
		return true;

	if (found.value[0] != '"' ||
		!base64_decode(found.value + 1, found.len - 2, result->signature, SIGNATURE_LEN))
		return fail(result, memory, "signature is not the base64 text of 64 bytes");
	result->has_signature = true;
	at = (size_t) (found.value - result->bytes);
	/* with "signature": before the value */
	cut(result, at - found.key_len - 3, at + found.len);
	return true;
}
