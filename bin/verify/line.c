/*
 * line.c
 *		A line of chain.tsv.
 *
 * Invariant: no byte is read at or after the end.
 */
#include "line.h"

#include <string.h>

#include "common/decimal.h"

bool
hash_is_well_formed(const char *text, size_t len)
{
	/* each entry asks twice: no branch for a digit */
	static const bool is_digit[256] = {['0'] = true, true, true, true, true, true, true, true, true, true,
	['a'] = true, true, true, true, true, true};
	bool		all = true;

	if (len != HASH_TEXT_LEN)
		return false;
	for (size_t i = 0; i < len; i++)
		all &= is_digit[(unsigned char) text[i]];
	return all;
}

bool
line_read(const char *text, size_t len, ChainLine *result)
{
	const char *end = text + len;
	const char *tab = len == 0 ? NULL : memchr(text, '\t', len);
	size_t		hashes = 2 * (HASH_TEXT_LEN + 1);

	if (tab == NULL)
		return false;
	result->seq_text = text;
	result->seq_len = (size_t) (tab - text);
	if (!decimal_read(text, result->seq_len, &result->seq) || result->seq == 0 || (size_t) (end - tab) < 1 + hashes)
		return false;
	result->prev_hash = tab + 1;
	result->hash = result->prev_hash + HASH_TEXT_LEN + 1;
	result->body = result->hash + HASH_TEXT_LEN + 1;
	result->body_len = (size_t) (end - result->body);
	return result->body_len <= ENTRY_BODY_MAX && hash_is_well_formed(result->prev_hash, HASH_TEXT_LEN) && result->hash[-1] == '\t' &&
		hash_is_well_formed(result->hash, HASH_TEXT_LEN) && result->body[-1] == '\t';
}
