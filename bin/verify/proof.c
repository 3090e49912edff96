/*
 * proof.c
 *		The texts of proofs.
 *
 * Invariants: no byte is read at or after the end. Each content has one text.
 */
#include "proof.h"

#include <string.h>

#include "common/base64_text.h"
#include "common/decimal.h"

#define INCLUSION_HEAD "c2sp.org/tlog-proof@v1\n"

/* Whether text is next, at *p; if so, moves *p past it. */
static bool
comes_next(const char **p, const char *end, const char *text)
{
	size_t		len = strlen(text);

	if ((size_t) (end - *p) < len || memcmp(*p, text, len) != 0)
		return false;
	*p += len;
	return true;
}

/* A line "NAME NUMBER"; moves *p past it. */
static bool
read_number(const char **p, const char *end, const char *name, int64_t *value)
{
	const char *feed;

	if (!comes_next(p, end, name) || !comes_next(p, end, " "))
		return false;
	feed = memchr(*p, '\n', (size_t) (end - *p));
	if (feed == NULL || !decimal_read(*p, (size_t) (feed - *p), value))
		return false;
	*p = feed + 1;
	return true;
}

/* Lines of hashes up to an empty one, or the end; leaves *p there. */
static bool
read_hashes(const char **p, const char *end, uint8_t hashes[][MERKLE_HASH_LEN], size_t *count)
{
	for (*count = 0; *p < end && **p != '\n'; (*count)++)
	{
		const char *feed = memchr(*p, '\n', (size_t) (end - *p));

		if (*count == PROOF_HASHES_MAX || feed == NULL || !base64_decode(*p, (size_t) (feed - *p), hashes[*count], MERKLE_HASH_LEN))
			return false;
		*p = feed + 1;
	}
	return true;
}

bool
inclusion_read(const char *text, size_t len, Inclusion *result)
{
	const char *p = text;
	const char *end = text + len;

	if (len > PROOF_MAX || !comes_next(&p, end, INCLUSION_HEAD) || !read_number(&p, end, "index", &result->index) ||
		!read_hashes(&p, end, result->hashes, &result->count) || !comes_next(&p, end, "\n"))
		return false;
	result->note = p;
	result->note_len = (size_t) (end - p);
	return true;
}

bool
consistency_read(const char *text, size_t len, Consistency *result)
{
	const char *p = text;
	const char *end = text + len;

	return len <= PROOF_MAX && read_number(&p, end, "old", &result->old_size) && read_number(&p, end, "new", &result->new_size) &&
		read_hashes(&p, end, result->hashes, &result->count) && p == end;
}
