/*
 * line.c
 *		libFuzzer target for bin/verify/line.c: what is accepted is what a regular
 *		expression accepts, with a number and a body that fit; and the parts are those of the line.
 */
#include <inttypes.h>
#include <regex.h>
#include <stdio.h>

#include "line.h"

#include "syntax.h"

#define FORM "^([1-9][0-9]*)\t[0-9a-f]{64}\t[0-9a-f]{64}\t"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static regex_t form;
	static bool compiled = false;
	char	   *text = exact_copy(data, size);
	char	   *terminated = calloc(size + 1, 1);
	regmatch_t	parts[2];
	ChainLine	line;
	bool		matches;

	MUST(terminated != NULL);
	if (size > 0)
		memcpy(terminated, data, size);
	if (!compiled)
		MUST(regcomp(&form, FORM, REG_EXTENDED) == 0);
	compiled = true;
	matches = regexec(&form, terminated, 2, parts, 0) == 0 && size - (size_t) parts[0].rm_eo <= 65536 &&
		(parts[1].rm_eo < 19 || (parts[1].rm_eo == 19 && memcmp(text, "9223372036854775807", 19) <= 0));
	MUST(line_read(text, size, &line) == matches);
	if (matches)
	{
		char		seq[32];

		snprintf(seq, sizeof(seq), "%" PRId64, line.seq);
		MUST(strlen(seq) == line.seq_len && memcmp(seq, text, line.seq_len) == 0);
		MUST(line.seq_text == text && line.prev_hash == text + line.seq_len + 1);
		MUST(line.hash == line.prev_hash + 65 && line.body == line.hash + 65);
		MUST(line.body + line.body_len == text + size);
		MUST(hash_is_well_formed(line.hash, 64) && !hash_is_well_formed(line.hash, 63));
	}
	free(terminated);
	free(text);
	return 0;
}
