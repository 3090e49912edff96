/*
 * canonical.c
 *		libFuzzer target for src/common/canonical.c: no input may crash it or write too
 *		much, what it renders renders to itself, and canonical_check() is true
 *		for exactly what renders to itself; a limit decides by the length of the
 *		result alone, and decides alike wherever it cuts; the text of a string is what
 *		was escaped; in a request an integer may be spelled in any way.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/canonical.h"

#define LIMIT 4096		/* small, so that it is met */

static const CanonicalMemory memory = {malloc, realloc, free};

typedef struct Bounds
{
	const char *at;			/* end of the member or element that was visited last */
	const char *end;
	bool		array;
} Bounds;

/* Members and elements stand within the text, one after the other. */
static void
visit(void *arg, const char *key, size_t key_len, const char *value, size_t value_len)
{
	Bounds	   *bounds = arg;

	if (bounds->array ? key != NULL || key_len != 0 || value != bounds->at + 1 :
		key < bounds->at + 2 || key[-1] != '"' || key[key_len] != '"' || key + key_len + 2 != value)
		abort();
	if (value_len == 0 || value + value_len >= bounds->end)
		abort();
	bounds->at = value + value_len;
}

/* The text of a string, with each of its bytes that may be escaped escaped at full length, renders to the same. */
static void
unescape(const char *string, size_t len)
{
	char	   *text = malloc(len);
	char	   *escaped = malloc(6 * len + 2);
	size_t		text_len;
	size_t		n = 0;
	CanonicalText again;

	if (!canonical_unescape(string, len, text, &text_len) || text_len > len - 2)
		abort();
	escaped[n++] = '"';
	for (size_t i = 0; i < text_len; i++)
		if ((unsigned char) text[i] < 0x80)
			n += (size_t) sprintf(escaped + n, "\\u%04X", (unsigned int) text[i]);
		else
			escaped[n++] = text[i];
	escaped[n++] = '"';
	if (!canonical_render(escaped, n, LIMIT, &memory, &again) || again.len != len || memcmp(again.data, string, len) != 0)
		abort();
	free(again.data);
	free(escaped);
	free(text);
}

/* Both from an allocation of their own, so that a byte too far is seen. */
static bool
check(const char *text, size_t len)
{
	char	   *copy = malloc(len);
	char	   *nested = malloc(len + 2);
	Bounds		bounds = {copy, copy + len, len > 0 && text[0] == '['};
	bool		result;

	memcpy(copy, text, len);
	result = canonical_check(copy, len, LIMIT, 0, visit, &bounds);
	if (canonical_check(copy, len, LIMIT, 0, NULL, NULL) != result)
		abort();

	/* what stands in an array is the same thing with an array around it */
	memcpy(nested + 1, text, len);
	nested[0] = '[';
	nested[len + 1] = ']';
	if (len > 0 && memchr(text, ',', len) == NULL &&
		canonical_check(nested, len + 2, LIMIT + 2, 0, NULL, NULL) != canonical_check(copy, len, LIMIT, 1, NULL, NULL))
		abort();
	free(nested);
	free(copy);
	return result;
}

/* Renders what a request may contain, and only to what is canonical. */
static bool
render_request(const char *text, size_t len, CanonicalText *result)
{
	if (!canonical_render_request(text, len, LIMIT, &memory, result))
	{
		free(result->twice);
		return false;
	}
	if (!check(result->data, result->len))
		abort();
	return true;
}

/* A canonical integer spelled with its point moved, from 20 places to the left to 20 zeros to the right. */
static void
spell(const char *integer, size_t len)
{
	bool		negative = integer[0] == '-';
	const char *digits = integer + negative;
	size_t		count = len - negative;

	for (int move = -20; move <= 20; move++)
	{
		char		text[80];
		int			n = snprintf(text, sizeof(text), "%s", negative ? "-" : "");
		CanonicalText again;

		if (move < 0)
			n += snprintf(text + n, sizeof(text) - n, "0.%0*d%.*sE+%zu", -move, 0, (int) count, digits, count + (size_t) -move);
		else
			n += snprintf(text + n, sizeof(text) - n, "%.*s%0*de-%d", (int) count, digits, move + 1, 0, move + 1);
		/* no number begins with a zero that another digit follows */
		if (move >= 0 && digits[0] == '0')
			continue;
		if (!render_request(text, (size_t) n, &again) || again.len != len || memcmp(again.data, integer, len) != 0)
			abort();
		free(again.data);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *) data;
	CanonicalText first;
	CanonicalText second;

	if (!canonical_render(text, size, LIMIT, &memory, &first))
	{
		if (render_request(text, size, &second))
		{
			/* only the spelling of an integer can make the difference */
			if (memchr(text, '.', size) == NULL && memchr(text, 'e', size) == NULL && memchr(text, 'E', size) == NULL)
				abort();
			free(second.data);
		}
		if (first.error == NULL || first.data != NULL)
			abort();
		if ((first.twice != NULL) != (strcmp(first.error, "duplicate key") == 0))
			abort();
		free(first.twice);
		if (check(text, size))
			abort();
		return 0;
	}
	if (first.error != NULL || first.len > LIMIT)
		abort();
	if (!canonical_render(first.data, first.len, LIMIT, &memory, &second) ||
		second.len != first.len || memcmp(first.data, second.data, first.len) != 0)
		abort();
	if (check(text, size) != (first.len == size && memcmp(first.data, text, size) == 0) ||
		!check(first.data, first.len))
		abort();
	free(second.data);
	if (!render_request(text, size, &second) || second.len != first.len || memcmp(first.data, second.data, first.len) != 0)
		abort();
	free(second.data);
	if (first.data[0] == '-' || (first.data[0] >= '0' && first.data[0] <= '9'))
		spell(first.data, first.len);
	if (first.data[0] == '"')
		unescape(first.data, first.len);

	/* just enough room, and a byte too little */
	if (!canonical_render(text, size, first.len, &memory, &second) ||
		second.len != first.len || memcmp(first.data, second.data, first.len) != 0)
		abort();
	free(second.data);
	if (canonical_render(text, size, first.len - 1, &memory, &second) || strcmp(second.error, "too long") != 0 ||
		canonical_check(first.data, first.len, first.len - 1, 0, NULL, NULL))
		abort();
	free(first.data);
	return 0;
}
