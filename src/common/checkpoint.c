/*
 * checkpoint.c
 *		The signed checkpoint of a chain.
 *
 * The note is untrusted. Each content has exactly one text: numbers have no leading
 * zeros, the UUID is in lower case, nothing follows the signature.
 *
 * Invariants: no byte is read at or after the end. Nothing is allocated.
 */
#include "common/checkpoint.h"

#include <string.h>

#include "common/base64_text.h"
#include "common/decimal.h"
#include "common/scan.h"
#include "common/syntax.h"

/* Spaces of Unicode that a name could contain; each line is the UTF-8 of one. */
static const char *const spaces[] = {
	"\xC2\x85", "\xC2\xA0", "\xE1\x9A\x80",
	"\xE2\x80\x80", "\xE2\x80\x81", "\xE2\x80\x82", "\xE2\x80\x83", "\xE2\x80\x84", "\xE2\x80\x85",
	"\xE2\x80\x86", "\xE2\x80\x87", "\xE2\x80\x88", "\xE2\x80\x89", "\xE2\x80\x8A",
	"\xE2\x80\xA8", "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80"
};

bool
key_name_is_well_formed(const char *name, size_t len)
{
	if (len == 0 || len > CHECKPOINT_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) name[i];

		if (c <= ' ' || c == 0x7F || c == '+')
			return false;
		for (size_t s = 0; c >= 0x80 && s < sizeof(spaces) / sizeof(spaces[0]); s++)
		{
			size_t		n = strlen(spaces[s]);

			if (len - i >= n && memcmp(name + i, spaces[s], n) == 0)
				return false;
		}
	}
	return true;
}

bool
checkpoint_read(const char *note, size_t len, Checkpoint *result)
{
	const char *p = note;
	const char *end = note + len;
	const char *part;
	size_t		part_len;
	uint8_t		key_id_and_signature[KEY_ID_LEN + SIGNATURE_LEN];

	if (len > CHECKPOINT_MAX || !comes_next(&p, end, LITERAL(CHECKPOINT_ORIGIN)))
		return false;
	part = up_to(&p, end, '\n', &part_len);
	if (part == NULL || !uuid_is_canonical(part, part_len))
		return false;
	result->org_id = part;
	part = up_to(&p, end, '\n', &part_len);
	if (part == NULL || !decimal_read(part, part_len, &result->size))
		return false;
	part = up_to(&p, end, '\n', &part_len);
	if (part == NULL || !base64_decode(part, part_len, result->root, CHECKPOINT_ROOT_LEN))
		return false;
	result->signed_len = (size_t) (p - note);

	/* an empty line, then the signature */
	if (!comes_next(&p, end, LITERAL("\n\xE2\x80\x94 ")))
		return false;
	part = up_to(&p, end, ' ', &part_len);
	if (part == NULL || !key_name_is_well_formed(part, part_len))
		return false;
	result->name = part;
	result->name_len = part_len;
	part = up_to(&p, end, '\n', &part_len);
	if (part == NULL || p != end ||
		!base64_decode(part, part_len, key_id_and_signature, sizeof(key_id_and_signature)))
		return false;
	memcpy(result->key_id, key_id_and_signature, KEY_ID_LEN);
	memcpy(result->signature, key_id_and_signature + KEY_ID_LEN, SIGNATURE_LEN);
	return true;
}
