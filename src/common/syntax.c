/*
 * syntax.c
 *		The syntax of texts from outside.
 *
 * Invariants: no byte is read at or after the end. The locale does not matter. The
 * time of a check depends only on the text, not on anything that is stored.
 */
#include "common/syntax.h"

#include <string.h>

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool
is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static inline bool
is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

static inline bool
is_lower_hex(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f');
}

bool
token_is_well_formed(const char *text, size_t len)
{
	if (len != TOKEN_TEXT_LEN || memcmp(text, TOKEN_PREFIX, TOKEN_PREFIX_LEN) != 0)
		return false;
	for (size_t i = TOKEN_PREFIX_LEN; i < TOKEN_TEXT_LEN; i++)
		if (!is_lower_hex(text[i]))
			return false;
	return true;
}

bool
text_contains_token(const char *text, size_t len)
{
	const char *end = &text[len];

	for (const char *p = text; (size_t) (end - p) >= TOKEN_TEXT_LEN; p++)
	{
		p = memchr(p, TOKEN_PREFIX[0], (size_t) (end - p) - TOKEN_TEXT_LEN + 1);
		if (p == NULL)
			return false;
		if (token_is_well_formed(p, TOKEN_TEXT_LEN))
			return true;
	}
	return false;
}

bool
uuid_is_well_formed(const char *text, size_t len, char *lower)
{
	if (len != UUID_TEXT_LEN)
		return false;
	for (size_t i = 0; i < UUID_TEXT_LEN; i++)
	{
		bool		hyphen = i == 8 || i == 13 || i == 18 || i == 23;

		lower[i] = text[i];

		if (is_upper(text[i]))
			lower[i] = (char) (text[i] - 'A' + 'a');
		if (hyphen ? lower[i] != '-' : !is_lower_hex(lower[i]))
			return false;
	}
	return true;
}

bool
uuid_is_canonical(const char *text, size_t len)
{
	char		lower[UUID_TEXT_LEN];

	return uuid_is_well_formed(text, len, lower) && memcmp(text, lower, UUID_TEXT_LEN) == 0;
}

bool
legacy_is_well_formed(const char *uuid, size_t uuid_len, size_t secret_len, char *lower)
{
	return secret_len >= LEGACY_SECRET_MIN && uuid_is_well_formed(uuid, uuid_len, lower);
}

bool
request_id_is_harmless(const char *id, size_t len)
{
	if (len == 0 || len > REQUEST_ID_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_digit(id[i]) && !is_upper(id[i]) && !is_lower(id[i]) &&
			id[i] != '.' && id[i] != '_' && id[i] != '-')
			return false;
	return true;
}

bool
idempotency_key_is_well_formed(const char *key, size_t len)
{
	if (len == 0 || len > IDEMPOTENCY_KEY_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (key[i] < '!' || key[i] > '~')
			return false;
	return true;
}

static size_t
skip_blanks(const char *text, size_t len, size_t at)
{
	while (at < len && text[at] == ' ')
		at++;
	return at;
}

/*
 * The position after word, if text has it at at, in upper or lower case; otherwise
 * len + 1, also if at is beyond the end. word is in lower case.
 */
static size_t
skip_word(const char *text, size_t len, size_t at, const char *word)
{
	size_t		n = strlen(word);

	if (at > len || n > len - at)
		return len + 1;
	for (size_t i = 0; i < n; i++)
	{
		char		c = text[at + i];

		if ((is_upper(c) ? c - 'A' + 'a' : c) != word[i])
			return len + 1;
	}
	return at + n;
}

/* The position after a quote at at, or at itself if there is none. */
static size_t
skip_quote(const char *text, size_t len, size_t at)
{
	return at < len && text[at] == '"' ? at + 1 : at;
}

bool
media_type_is_json(const char *type, size_t len)
{
	size_t		at = skip_blanks(type, len, skip_word(type, len, 0, "application/json"));

	if (at >= len)
		return at == len;
	if (type[at] != ';')
		return false;
	at = skip_word(type, len, skip_blanks(type, len, at + 1), "charset=");
	at = skip_word(type, len, skip_quote(type, len, at), "utf-8");
	return skip_blanks(type, len, skip_quote(type, len, at)) == len;
}

/* The end of the entity tag at *begin, or 0 if there is none. Sets weak, and moves *begin past W/. */
static size_t
tag_end(const char *list, size_t len, size_t *begin, bool *weak)
{
	size_t		at = *begin;

	*weak = len - at >= 2 && list[at] == 'W' && list[at + 1] == '/';
	if (*weak)
		at += 2;
	*begin = at;
	if (at == len || list[at] != '"')
		return 0;
	for (at++; at < len && list[at] != '"'; at++)
		if (list[at] < '!' || list[at] > '~')
			return 0;
	return at == len ? 0 : at + 1;
}

TagMatch
entity_tag_match(const char *list, size_t len, const char *tag, size_t tag_len, bool weakly)
{
	bool		matches = false;
	bool		any = false;
	bool		separated = true;
	size_t		at = 0;

	if (len == 1 && list[0] == '*')
		return TAG_MATCHES;
	while (at < len)
	{
		size_t		begin = at;
		size_t		end;
		bool		weak;

		if (list[at] == ' ' || list[at] == '\t' || list[at] == ',')
		{
			separated |= list[at] == ',';
			at++;
			continue;
		}
		end = tag_end(list, len, &begin, &weak);
		if (end == 0 || !separated)
			return TAG_LIST_MALFORMED;
		matches |= (weakly || !weak) && end - begin == tag_len && memcmp(list + begin, tag, tag_len) == 0;
		any = true;
		separated = false;
		at = end;
	}
	if (!any)
		return TAG_LIST_MALFORMED;
	return matches ? TAG_MATCHES : TAG_DIFFERS;
}

/* The number in a place of a time, which must have digits there. */
static int
number_at(const char *text, int at, int digits)
{
	int			number = 0;

	for (int i = at; i < at + digits; i++)
		number = number * 10 + (text[i] - '0');
	return number;
}

bool
time_is_well_formed(const char *text, size_t len)
{
	static const char form[] = "0000-00-00T00:00:00";
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	const size_t seconds_end = sizeof(form) - 1;
	int			year;
	int			month;
	int			day;
	int			hour;
	int			minute;
	int			second;
	bool		fraction = false;	/* that is not 0 */

	if (len <= seconds_end || text[len - 1] != 'Z')
		return false;
	for (size_t i = 0; i < seconds_end; i++)
		if (form[i] == '0' ? !is_digit(text[i]) : text[i] != form[i])
			return false;
	if (len > seconds_end + 1 && (text[seconds_end] != '.' || len == seconds_end + 2 || len > ISO_TIME_LEN))
		return false;
	for (size_t i = seconds_end + 1; i + 1 < len; i++)
	{
		if (!is_digit(text[i]))
			return false;
		fraction |= text[i] != '0';
	}
	year = number_at(text, 0, 4);
	month = number_at(text, 5, 2);
	day = number_at(text, 8, 2);
	hour = number_at(text, 11, 2);
	minute = number_at(text, 14, 2);
	second = number_at(text, 17, 2);
	if (year == 0 || month < 1 || month > 12 || day < 1 || minute > 59 || second > 59 || hour > 24)
		return false;
	if (hour == 24 && (minute > 0 || second > 0 || fraction))
		return false;
	return day <= days[month - 1] || (month == 2 && day == 29 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
}

bool
kind_is_well_formed(const char *kind, size_t len)
{
	bool		dots = false;

	if (len > KIND_MAX || len == 0 || kind[len - 1] == '.')
		return false;
	for (size_t i = 0; i < len; i++)
	{
		if (kind[i] == '.')
		{
			if (i == 0 || kind[i - 1] == '.')
				return false;
			dots = true;
		}
		else if (!is_lower(kind[i]) && !is_digit(kind[i]) && kind[i] != '_')
			return false;
	}
	return dots;
}
