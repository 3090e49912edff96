/*
 * canonical.c
 *		libFuzzer target for src/canonical.c: no input may crash it or write too
 *		much, and what it renders renders to itself.
 *
 *		clang -g -O1 -fsanitize=fuzzer,address,undefined -DCANONICAL_STANDALONE \
 *			-Isrc test/fuzz/canonical.c src/canonical.c -o canonical_fuzzer
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "canonical.h"

#define LIMIT 4096		/* small, so that it is met */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CanonicalText first;
	CanonicalText second;

	if (!canonical_render((const char *) data, size, LIMIT, &first))
	{
		if (first.error == NULL || first.data != NULL)
			abort();
		if ((first.twice != NULL) != (strcmp(first.error, "duplicate key") == 0))
			abort();
		free(first.twice);
		return 0;
	}
	if (first.error != NULL || first.len > LIMIT)
		abort();
	if (!canonical_render(first.data, first.len, LIMIT, &second) ||
		second.len != first.len || memcmp(first.data, second.data, first.len) != 0)
		abort();
	free(first.data);
	free(second.data);
	return 0;
}
