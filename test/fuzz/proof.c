/*
 * proof.c
 *		libFuzzer target for bin/verify/proof.c: what is read is written once more, byte by
 *		byte; so only one text is a proof with this content, and no other is accepted.
 *		What is rejected has not the form of a regular expression, or too much of it.
 */
#include <inttypes.h>
#include <regex.h>
#include <stdio.h>

#include "proof.h"

#include "base64.h"

#define HASHES "(([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=\n)*)"

static char *
write_hashes(char *p, uint8_t hashes[][MERKLE_HASH_LEN], size_t count)
{
	for (size_t i = 0; i < count; i++)
	{
		p = write64(hashes[i], MERKLE_HASH_LEN, p);
		*p++ = '\n';
	}
	return p;
}

/* Whether text begins with the form, its numbers fit, and it has no more than 64 hashes, in the given part. */
static bool
has_form(const char *pattern, regex_t *form, const char *text, size_t size, int numbers, size_t *end)
{
	regmatch_t	parts[5];

	if (form->re_nsub == 0)
		MUST(regcomp(form, pattern, REG_EXTENDED) == 0);
	if (size > PROOF_MAX || regexec(form, text, 5, parts, 0) != 0)
		return false;
	for (int i = 1; i <= numbers; i++)
	{
		size_t		digits = (size_t) (parts[i].rm_eo - parts[i].rm_so);

		if (digits > 19 || (digits == 19 && memcmp(text + parts[i].rm_so, "9223372036854775807", 19) > 0))
			return false;
	}
	*end = (size_t) parts[0].rm_eo;
	return parts[numbers + 1].rm_eo - parts[numbers + 1].rm_so <= 64 * 45;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static regex_t inclusion_form;
	static regex_t consistency_form;
	static Inclusion inclusion;
	static Consistency consistency;
	char	   *text = exact_copy(data, size);
	char	   *terminated = calloc(size + 1, 1);
	char		again[2 * PROOF_MAX];
	char	   *p = again;
	size_t		end = 0;

	MUST(terminated != NULL);
	if (size > 0)
		memcpy(terminated, data, size);
	if (inclusion_read(text, size, &inclusion))
	{
		p += sprintf(p, "c2sp.org/tlog-proof@v1\nindex %" PRId64 "\n", inclusion.index);
		p = write_hashes(p, inclusion.hashes, inclusion.count);
		*p++ = '\n';
		MUST(inclusion.index >= 0 && inclusion.count <= 64);
		MUST(inclusion.note == text + (p - again) && inclusion.note + inclusion.note_len == text + size);
		MUST(memcmp(again, text, (size_t) (p - again)) == 0);
	}
	else
		MUST(!has_form("^c2sp\\.org/tlog-proof@v1\nindex (0|[1-9][0-9]*)\n" HASHES "\n", &inclusion_form, terminated, size, 1, &end));
	if (consistency_read(text, size, &consistency))
	{
		p = again + sprintf(again, "old %" PRId64 "\nnew %" PRId64 "\n", consistency.old_size, consistency.new_size);
		p = write_hashes(p, consistency.hashes, consistency.count);
		MUST(consistency.old_size >= 0 && consistency.new_size >= 0 && consistency.count <= 64);
		MUST((size_t) (p - again) == size && memcmp(again, text, size) == 0);
	}
	else
		MUST(!has_form("^old (0|[1-9][0-9]*)\nnew (0|[1-9][0-9]*)\n" HASHES, &consistency_form, terminated, size, 2, &end) || end != size);
	free(terminated);
	free(text);
	return 0;
}
