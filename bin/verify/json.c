/*
 * json.c
 *		Parts of canonical JSON, by the checker that the extension uses as well.
 */
#include "json.h"

#include <stdlib.h>
#include <string.h>

#include "stop.h"

static void *
allocate(size_t size)
{
	return reallocate(NULL, size);
}

const CanonicalMemory json_memory = {allocate, reallocate, free};

bool
json_equal(Json a, Json b)
{
	return a.data && b.data && a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

static bool
is_string(Json value)
{
	return value.data && value.len >= 2 && value.data[0] == '"';
}

bool
json_is_string(Json value, const char *text, size_t len)
{
	return is_string(value) && value.len == len + 2 && memcmp(value.data + 1, text, len) == 0;
}

Json
json_plain(Json value)
{
	if (!is_string(value) || memchr(value.data, '\\', value.len) != NULL)
		return json_part(NULL, 0);
	return json_part(value.data + 1, value.len - 2);
}

char *
json_text(Json value, size_t *len)
{
	char	   *text = reallocate(NULL, value.len);

	if (value.data != NULL && canonical_unescape(value.data, value.len, text, len))
		return text;
	free(text);
	return NULL;
}
