/*
 * syntax.h
 *		What the targets of src/common/syntax.c share: their syntax said once more, as a
 *		set of characters for each place, with nothing of src/common/syntax.c in it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/syntax.h"

#define DIGITS "0123456789"
#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define HEX DIGITS "abcdef"
#define VISIBLE DIGITS UPPER LOWER "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

#define MUST(condition) do { if (!(condition)) abort(); } while (0)

static inline bool
all_of(const char *text, size_t len, const char *set)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] == '\0' || strchr(set, text[i]) == NULL)
			return false;
	return true;
}

/* In an allocation that ends with the text, so that a byte too far is seen. */
static inline char *
exact_copy(const void *text, size_t len)
{
	char	   *copy = calloc(len > 0 ? len : 1, 1);

	if (copy == NULL)
		abort();
	if (len > 0)
		memcpy(copy, text, len);
	return copy;
}
