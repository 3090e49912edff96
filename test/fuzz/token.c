/*
 * token.c
 *		libFuzzer target for the tokens of src/common/syntax.c: the search finds exactly
 *		what a window moved over the text finds, whatever stands around it.
 */
#include "syntax.h"

static bool
is_token(const char *text, size_t len)
{
	return len == 68 && strncmp(text, "wal_", 4) == 0 && all_of(text + 4, 64, HEX);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *text = exact_copy(data, size);
	bool		stands = false;

	MUST(token_is_well_formed(text, size) == is_token(text, size));
	for (size_t i = 0; i + TOKEN_TEXT_LEN <= size; i++)
	{
		bool		here = is_token(text + i, TOKEN_TEXT_LEN);

		MUST(token_is_well_formed(text + i, TOKEN_TEXT_LEN) == here);
		stands |= here;
	}
	MUST(text_contains_token(text, size) == stands);
	if (size == TOKEN_TEXT_LEN)
		MUST(text_contains_token(text, size) == token_is_well_formed(text, size));

	/* the beginning of a token before it hides nothing, nor does what follows it */
	for (size_t n = 1; n <= TOKEN_PREFIX_LEN; n++)
	{
		char	   *longer = malloc(size + 2 * n);

		memcpy(longer, "wal_", n);
		if (size > 0)
			memcpy(longer + n, text, size);
		memcpy(longer + n + size, "0000", n);
		MUST(!stands || text_contains_token(longer, size + 2 * n));
		MUST(!token_is_well_formed(longer, size + 2 * n) || size + 2 * n == TOKEN_TEXT_LEN);
		free(longer);
	}
	free(text);
	return 0;
}
