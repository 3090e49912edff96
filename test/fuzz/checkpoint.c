/*
 * checkpoint.c
 *		libFuzzer target for src/common/checkpoint.c: what is accepted is what a regular
 *		expression accepts, with a number that fits and a name without a space; and
 *		the note is written out of its parts once more, byte by byte.
 */
#include <inttypes.h>
#include <regex.h>
#include <stdio.h>

#include "common/checkpoint.h"

#include "base64.h"

#define DIGIT64 "[A-Za-z0-9+/]"
#define TAIL64 "[AEIMQUYcgkosw048]="	/* of 2 bytes: two bits are left */

/* Spaces beyond ASCII: those of Unicode's category Z, and U+0085. */
static bool
is_space(uint32_t c)
{
	return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
		c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/* Nothing of ASCII but what is visible, without the plus sign; whatever starts like a space's UTF-8 is one. */
static bool
is_name(const char *name, size_t len)
{
	const unsigned char *p = (const unsigned char *) name;

	if (len < 1 || len > 400)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		if (p[i] < 0x80 && (strchr(VISIBLE, p[i]) == NULL || p[i] == '\0' || p[i] == '+'))
			return false;
		if (i + 1 < len && (p[i] & 0xE0) == 0xC0 && (p[i + 1] & 0xC0) == 0x80 && p[i] >= 0xC2 &&
			is_space((p[i] & 0x1Fu) << 6 | (p[i + 1] & 0x3Fu)))
			return false;
		if (i + 2 < len && (p[i] & 0xF0) == 0xE0 && (p[i + 1] & 0xC0) == 0x80 && (p[i + 2] & 0xC0) == 0x80)
		{
			uint32_t	c = (p[i] & 0x0Fu) << 12 | (p[i + 1] & 0x3Fu) << 6 | (p[i + 2] & 0x3Fu);

			if (c >= 0x800 && is_space(c))
				return false;
		}
	}
	return true;
}

static bool
is_note(const char *note, size_t len)
{
	static regex_t form;
	static bool compiled = false;
	regmatch_t	parts[4];
	char	   *terminated = calloc(len + 1, 1);
	bool		matches;

	MUST(terminated != NULL);
	if (len > 0)
		memcpy(terminated, note, len);
	if (!compiled)
		MUST(regcomp(&form, "^walwarden/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\n(0|[1-9][0-9]*)\n"
					 DIGIT64 "{42}" TAIL64 "\n\n\xE2\x80\x94 ([^ ]+) " DIGIT64 "{90}" TAIL64 "\n$", REG_EXTENDED) == 0);
	compiled = true;
	matches = len <= 1024 && strlen(terminated) == len && regexec(&form, terminated, 4, parts, 0) == 0;
	if (matches)
	{
		size_t		digits = (size_t) (parts[1].rm_eo - parts[1].rm_so);

		matches = (digits < 19 || (digits == 19 && memcmp(note + parts[1].rm_so, "9223372036854775807", 19) <= 0)) &&
			is_name(note + parts[2].rm_so, (size_t) (parts[2].rm_eo - parts[2].rm_so));
	}
	free(terminated);
	return matches;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *note = exact_copy(data, size);
	Checkpoint	checkpoint;
	bool		accepted = checkpoint_read(note, size, &checkpoint);

	MUST(accepted == is_note(note, size));
	MUST(key_name_is_well_formed(note, size) == is_name(note, size));
	if (accepted)
	{
		char		again[2048];
		char	   *p = again;
		uint8_t		both[KEY_ID_LEN + SIGNATURE_LEN];

		p += sprintf(p, "walwarden/%.36s\n%" PRId64 "\n", checkpoint.org_id, checkpoint.size);
		p = write64(checkpoint.root, sizeof(checkpoint.root), p);
		*p++ = '\n';
		MUST(checkpoint.signed_len == (size_t) (p - again));
		p += sprintf(p, "\n\xE2\x80\x94 %.*s ", (int) checkpoint.name_len, checkpoint.name);
		memcpy(both, checkpoint.key_id, KEY_ID_LEN);
		memcpy(both + KEY_ID_LEN, checkpoint.signature, SIGNATURE_LEN);
		p = write64(both, sizeof(both), p);
		*p++ = '\n';
		MUST((size_t) (p - again) == size && memcmp(again, note, size) == 0);
	}
	free(note);
	return 0;
}
