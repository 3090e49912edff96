/*
 * header.c
 *		libFuzzer target for the values of header fields that src/shape.c judges:
 *		the id of a request, and with it the kind of an entry, which has a shape
 *		of the same sort.
 *
 * The fields come as one JSON object in a setting. What reads it is the server's
 * own jsonb_in(), no code of this project, and so it is not fuzzed here: the
 * strings that come out of it are.
 */
#include "shape.h"

static bool
is_kind(const char *kind, size_t len)
{
	size_t		words = 0;

	if (len > 100)
		return false;
	/* words with a dot after each, but for the last one */
	for (size_t i = 0; i <= len; words++)
	{
		const char *dot = i < len ? memchr(kind + i, '.', len - i) : NULL;
		size_t		n = dot == NULL ? len - i : (size_t) (dot - kind) - i;

		if (n == 0 || !all_of(kind + i, n, LOWER DIGITS "_"))
			return false;
		i += n + 1;
	}
	return words > 1;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *value = exact_copy(data, size);
	bool		harmless = request_id_is_harmless(value, size);

	MUST(harmless == (size >= 1 && size <= 128 && all_of(value, size, DIGITS UPPER LOWER "._-")));
	for (size_t i = 0; harmless && i < size; i++)
		MUST(value[i] > ' ' && value[i] < 0x7F && strchr("\"\\'<>&%;", value[i]) == NULL);
	MUST(kind_is_well_formed(value, size) == is_kind(value, size));
	MUST(!kind_is_well_formed(value, size) || harmless);
	free(value);
	return 0;
}
