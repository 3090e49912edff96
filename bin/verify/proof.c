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
#include "common/scan.h"

#define INCLUSION_HEAD "c2sp.org/tlog-proof@v1\n"

/* A line "NAME NUMBER"; moves *p past it. */
static bool
read_number(const char **p, const char *end, const char *name, int64_t *value)
{
	const char *digits;
	size_t		len;

	if (!comes_next(p, end, name, strlen(name)) || !comes_next(p, end, LITERAL(" ")))
		return false;
	digits = up_to(p, end, '\n', &len);
	return digits != NULL && decimal_read(digits, len, value);
}

/* Lines of hashes up to an empty one, or the end; leaves *p there. */
static bool
read_hashes(const char **p, const char *end, uint8_t hashes[][MERKLE_HASH_LEN], size_t *count)
{
	for (*count = 0; *p < end && **p != '\n'; (*count)++)
	{
		size_t		len;
		const char *hash = up_to(p, end, '\n', &len);

		if (*count == PROOF_HASHES_MAX || hash == NULL || !base64_decode(hash, len, hashes[*count], MERKLE_HASH_LEN))
			return false;
	}
	return true;
}

bool
inclusion_read(const char *text, size_t len, Inclusion *result)
{
	const char *p = text;
	const char *end = text + len;

	if (len > PROOF_MAX || !comes_next(&p, end, LITERAL(INCLUSION_HEAD)) || !read_number(&p, end, "index", &result->index) ||
		!read_hashes(&p, end, result->hashes, &result->count) || !comes_next(&p, end, LITERAL("\n")))
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
