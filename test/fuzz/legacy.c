/*
 * legacy.c
 *		libFuzzer target for legacy credentials: the UUID before the first line feed of
 *		the input, the secret after it. What is accepted is a UUID in either case
 *		and nothing else, and the case does not make another credential of it.
 */
#include "syntax.h"

static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *feed = size > 0 ? memchr(data, '\n', size) : NULL;
	size_t		uuid_len = feed == NULL ? size : (size_t) (feed - data);
	size_t		secret_len = feed == NULL ? 0 : size - uuid_len - 1;
	char	   *uuid = exact_copy(data, uuid_len);
	char	   *lower = malloc(UUID_TEXT_LEN);	/* so that a byte too many is seen */
	char	   *again = malloc(UUID_TEXT_LEN);
	bool		expected = uuid_len == 36 && secret_len >= 32;

	for (size_t i = 0; expected && i < 36; i++)
		expected = all_of(uuid + i, 1, form[i] == '-' ? "-" : HEX "ABCDEF");
	MUST(legacy_is_well_formed(uuid, uuid_len, secret_len, lower) == expected);
	if (expected)
	{
		for (size_t i = 0; i < 36; i++)
		{
			const char *upper = strchr("ABCDEF", uuid[i]);

			MUST(lower[i] == (upper == NULL ? uuid[i] : "abcdef"['F' - 'A' + 1 - strlen(upper)]));
		}
		MUST(legacy_is_well_formed(lower, UUID_TEXT_LEN, secret_len, again));
		MUST(memcmp(lower, again, UUID_TEXT_LEN) == 0);
	}
	free(again);
	free(lower);
	free(uuid);
	return 0;
}
