/*
 * header.c
 *		libFuzzer target for the values of header fields that src/common/syntax.c judges:
 *		the id of a request, its idempotency key, its media type and its list of entity
 *		tags, and with them the kind of an entry and the time in a field, which have
 *		shapes of the same sort.
 *
 * The fields come as one JSON object in a setting. What reads it is the server's
 * own jsonb_in(), no code of this project, and so it is not fuzzed here: the
 * strings that come out of it are.
 */
#include <regex.h>

#include "syntax.h"

static bool
is_json(const char *type, size_t len)
{
	static regex_t form;
	static bool compiled = false;
	char	   *terminated;
	bool		matches;

	if (!compiled)
		MUST(regcomp(&form, "^application/json[ ]*(;[ ]*charset=\"?utf-8\"?[ ]*)?$", REG_EXTENDED | REG_ICASE | REG_NOSUB) == 0);
	compiled = true;
	terminated = calloc(len + 1, 1);
	MUST(terminated != NULL);
	if (len > 0)
		memcpy(terminated, type, len);
	matches = strlen(terminated) == len && regexec(&form, terminated, 0, NULL, 0) == 0;
	free(terminated);
	return matches;
}

/* As RFC 9110 writes it, but that a tag is visible ASCII. */
static bool
is_tag_list(const char *list, size_t len)
{
	static regex_t form;
	static bool compiled = false;
	char	   *terminated;
	bool		matches;

	if (!compiled)
		MUST(regcomp(&form, "^([*]|[ \t,]*(W/)?\"[!#-~]*\"([ \t]*,[ \t,]*(W/)?\"[!#-~]*\")*[ \t,]*)$", REG_EXTENDED | REG_NOSUB) == 0);
	compiled = true;
	terminated = calloc(len + 1, 1);
	MUST(terminated != NULL);
	if (len > 0)
		memcpy(terminated, list, len);
	matches = strlen(terminated) == len && regexec(&form, terminated, 0, NULL, 0) == 0;
	free(terminated);
	return matches;
}

static bool
is_kind(const char *kind, size_t len)
{
	size_t		words = 0;

	if (len > 100)
		return false;
	/* words with a dot after each, but for the last one */
	for (size_t i = 0; i <= len; words++)
	{
		const char *dot = i < len ? memchr(kind + i, '.', len - i) : NULL;
		size_t		n = dot == NULL ? len - i : (size_t) (dot - kind) - i;

		if (n == 0 || !all_of(kind + i, n, LOWER DIGITS "_"))
			return false;
		i += n + 1;
	}
	return words > 1;
}

/* A regular expression, and the days that a month does not have. */
static bool
is_time(const char *time, size_t len)
{
	static const char *form = "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T"
		"(([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,6})?|24:00:00([.]0{1,6})?)Z$";
	static regex_t compiled_form;
	static bool compiled = false;
	char		terminated[64];
	int			year;
	int			day;

	if (!compiled)
		MUST(regcomp(&compiled_form, form, REG_EXTENDED | REG_NOSUB) == 0);
	compiled = true;
	if (len >= sizeof(terminated) || memchr(time, '\0', len) != NULL)
		return false;
	memcpy(terminated, time, len);
	terminated[len] = '\0';
	if (regexec(&compiled_form, terminated, 0, NULL, 0) != 0 || memcmp(time, "0000", 4) == 0)
		return false;
	year = atoi(terminated);
	day = atoi(terminated + 8);
	if (memcmp(time + 5, "02", 2) == 0)
		return day < 29 || (day == 29 && (year % 400 == 0 || (year % 4 == 0 && year % 100 != 0)));
	return day < 31 || (memcmp(time + 5, "04", 2) != 0 && memcmp(time + 5, "06", 2) != 0 &&
						memcmp(time + 5, "09", 2) != 0 && memcmp(time + 5, "11", 2) != 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *value = exact_copy(data, size);
	bool		harmless = request_id_is_harmless(value, size);

	MUST(harmless == (size >= 1 && size <= 128 && all_of(value, size, DIGITS UPPER LOWER "._-")));
	for (size_t i = 0; harmless && i < size; i++)
		MUST(value[i] > ' ' && value[i] < 0x7F && strchr("\"\\'<>&%;", value[i]) == NULL);
	MUST(idempotency_key_is_well_formed(value, size) == (size >= 1 && size <= 255 && all_of(value, size, VISIBLE)));
	MUST(media_type_is_json(value, size) == is_json(value, size));
	MUST((entity_tag_match(value, size, "\"a\"", 3, true) != TAG_LIST_MALFORMED) == is_tag_list(value, size));
	/* what matches strongly matches weakly too */
	MUST(entity_tag_match(value, size, "\"a\"", 3, false) <= entity_tag_match(value, size, "\"a\"", 3, true));
	MUST(kind_is_well_formed(value, size) == is_kind(value, size));
	MUST(!kind_is_well_formed(value, size) || harmless);
	MUST(time_is_well_formed(value, size) == is_time(value, size));
	free(value);
	return 0;
}
