/*
 * manifest.c
 *		libFuzzer target for src/common/manifest.c, said once more as its inverse: with
 *		the signature put back in front, the result renders to the canonical text of the
 *		input. What is rejected is not JSON, is no object, or has a signature that the
 *		target's own base64 does not give.
 */
#include <stdio.h>

#include "common/manifest.h"

#include "syntax.h"

#define LIMIT 4096		/* small, so that it is met */
#define MEMBER_MAX 128
#define BASE64 UPPER LOWER DIGITS "+/"

static const CanonicalMemory memory = {malloc, realloc, free};

/* The member "signature", without a comma; its length. */
static size_t
write_member(const uint8_t *signature, char *out)
{
	static const char digits[] = BASE64;
	size_t		len = 0;

	len += (size_t) snprintf(out, MEMBER_MAX, "\"signature\":\"");
	for (size_t bit = 0; bit < 8 * SIGNATURE_LEN; bit += 6)
	{
		int			value = 0;

		for (size_t i = bit; i < bit + 6; i++)
			value = value * 2 + (i < 8 * SIGNATURE_LEN ? signature[i / 8] >> (7 - i % 8) & 1 : 0);
		out[len++] = digits[value];
	}
	memcpy(out + len, "==\"", 3);
	return len + 3;
}

static bool
has_member(const char *text, size_t len)
{
	static const char key[] = "\"signature\":";
	size_t		depth = 0;
	bool		quoted = false;

	/* a key of the outermost object stands after its brace or after a comma */
	for (size_t i = 0; i < len; i++)
	{
		if (!quoted && depth == 1 && (text[i - 1] == '{' || text[i - 1] == ',') &&
			len - i >= sizeof(key) - 1 && memcmp(text + i, key, sizeof(key) - 1) == 0)
			return true;
		if (quoted && text[i] == '\\')
			i++;
		else if (text[i] == '"')
			quoted = !quoted;
		else if (!quoted && (text[i] == '{' || text[i] == '['))
			depth++;
		else if (!quoted && (text[i] == '}' || text[i] == ']'))
			depth--;
	}
	return false;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *input = exact_copy(data, size);
	CanonicalText whole;
	CanonicalText again;
	SignedManifest manifest;
	char	   *joined;
	size_t		len;
	bool		rendered = canonical_render(input, size, LIMIT, &memory, &whole);

	if (!manifest_read(input, size, LIMIT, &memory, &manifest))
	{
		MUST(manifest.bytes == NULL && manifest.error != NULL);
		if (!rendered)
			MUST(strcmp(manifest.error, whole.error) == 0);
		else if (whole.data[0] != '{')
			MUST(strcmp(manifest.error, "not an object") == 0);
		else
			MUST(strncmp(manifest.error, "signature", 9) == 0 && has_member(whole.data, whole.len));
	}
	else
	{
		MUST(rendered && manifest.error == NULL);
		MUST(manifest.has_signature == has_member(whole.data, whole.len));
		MUST(!has_member(manifest.bytes, manifest.len));
		MUST(canonical_check(manifest.bytes, manifest.len, LIMIT, 0, NULL, NULL));
		if (!manifest.has_signature)
			MUST(manifest.len == whole.len && memcmp(manifest.bytes, whole.data, whole.len) == 0);
		else
		{
			joined = malloc(manifest.len + MEMBER_MAX);
			MUST(joined != NULL);
			joined[0] = '{';
			len = 1 + write_member(manifest.signature, joined + 1);
			if (manifest.len > 2)
				joined[len++] = ',';
			memcpy(joined + len, manifest.bytes + 1, manifest.len - 1);
			len += manifest.len - 1;
			MUST(canonical_render(joined, len, LIMIT, &memory, &again));
			MUST(again.len == whole.len && memcmp(again.data, whole.data, whole.len) == 0);
			free(again.data);
			free(joined);
		}
		free(manifest.bytes);
	}
	if (rendered)
		free(whole.data);
	else
		free(whole.twice);
	free(input);
	return 0;
}
