/*
 * json.c
 *		Fields of canonical JSON, by the checker that the extension uses as well.
 */
#include "json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

const CanonicalMemory json_memory = {allocate, reallocate, free};

bool
json_is_canonical(Json text)
{
	return text.data && canonical_check(text.data, text.len, JSON_MAX, 0, NULL, NULL);
}

bool
json_each(Json object, CanonicalVisit visit, void *arg)
{
	return object.data && object.len > 0 && object.data[0] == '{' &&
		canonical_check(object.data, object.len, JSON_MAX, 0, visit, arg);
}

typedef struct Search
{
	const char *key;
	Json		found;
} Search;

static void
compare_key(void *arg, const char *key, size_t key_len, const char *value, size_t value_len)
{
	Search	   *search = arg;

	if (strlen(search->key) == key_len && memcmp(search->key, key, key_len) == 0)
		search->found = json_part(value, value_len);
}

Json
json_member(Json object, const char *key)
{
	Search		search = {.key = key};

	return json_each(object, compare_key, &search) ? search.found : json_part(NULL, 0);
}

/* Canonical JSON escapes control characters, quotes and backslashes only. */
char *
json_text(Json value)
{
	Buffer		text = {0};
	const char *end;

	if (value.data == NULL || value.len < 2 || value.data[0] != '"')
		return NULL;
	end = value.data + value.len - 1;
	buffer_add(&text, "", 0);
	for (const char *c = value.data + 1; c < end; c++)
	{
		static const char escapes[] = "b\bf\fn\nr\rt\t";
		const char *escape;
		unsigned int code;
		char		byte;

		if (*c != '\\')
		{
			buffer_add(&text, c, 1);
			continue;
		}
		c++;
		if (*c == 'u')
		{
			if (sscanf(c + 1, "%4x", &code) != 1 || code == 0 || code > 0x1f)
			{
				buffer_free(&text);
				return NULL;
			}
			byte = (char) code;
			c += 4;
		}
		else
		{
			escape = strchr(escapes, *c);
			byte = escape && *c ? escape[1] : *c;
		}
		buffer_add(&text, &byte, 1);
	}
	return text.data;
}

bool
json_count(Json value, int64_t *count)
{
	char	   *digits;
	bool		is_count;

	if (value.data == NULL || value.len > 18)
		return false;
	digits = text_slice(value.data, value.len);
	is_count = text_to_int(digits, 0, INT64_MAX, count);
	free(digits);
	return is_count;
}

void
json_make_canonical(Buffer *buffer)
{
	CanonicalText result;

	if (!canonical_render(buffer->data, buffer->len, JSON_MAX, &json_memory, &result))
	{
		fprintf(stderr, "JSON of the runner's own is not canonical: %s at %zu\n", result.error, result.error_at);
		abort();
	}
	buffer_free(buffer);
	buffer_add(buffer, result.data, result.len);
	free(result.data);
}
