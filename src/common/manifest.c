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

static const char signature_key[] = "signature";

#define KEY_LEN (sizeof(signature_key) - 1)

/* The value of the member "signature" in a canonical text, or NULL. */
typedef struct Found
{
	const char *value;
	size_t		len;
} Found;

/* CanonicalVisit */
static void
find_signature(void *arg, const char *key, size_t key_len, const char *value, size_t value_len)
{
	Found	   *found = arg;

	if (key_len == KEY_LEN && memcmp(key, signature_key, KEY_LEN) == 0)
	{
		found->value = value;
		found->len = value_len;
	}
}

/* Take the bytes from begin to end out of an object, with one comma beside them. */
static void
cut(Manifest *manifest, size_t begin, size_t end)
{
	if (manifest->bytes[end] == ',')
		end++;
	else if (manifest->bytes[begin - 1] == ',')
		begin--;
	memmove(manifest->bytes + begin, manifest->bytes + end, manifest->len - end);
	manifest->len -= end - begin;
}

static bool
fail(Manifest *manifest, const CanonicalMemory *memory, const char *error)
{
	memory->release(manifest->bytes);
	manifest->bytes = NULL;
	manifest->len = 0;
	manifest->error = error;
	return false;
}

bool
manifest_read(const char *input, size_t len, size_t limit, const CanonicalMemory *memory, Manifest *result)
{
	CanonicalText text;
	Found		found = {0};
	size_t		at;

	memset(result, 0, sizeof(Manifest));
	if (!canonical_render(input, len, limit, memory, &text))
	{
		if (text.twice != NULL)
			memory->release(text.twice);
		result->error = text.error;

		return false;
	}
	result->bytes = text.data;
	result->len = text.len;

	if (text.len == 0 || text.data[0] != '{' ||
		!canonical_check(text.data, text.len, limit, 0, find_signature, &found))
		return fail(result, memory, "not an object");
	if (found.value == NULL)
		return true;

	if (found.value[0] != '"' ||
		!base64_decode(found.value + 1, found.len - 2, result->signature, SIGNATURE_LEN))
		return fail(result, memory, "signature is not the base64 text of 64 bytes");
	result->has_signature = true;
	at = (size_t) (found.value - result->bytes);
	cut(result, at - KEY_LEN - 3, at + found.len);	/* with "signature":
													 * before the value */
	return true;
}
