/*
 * json.c
 *		Fields of canonical JSON, by the checker that the extension uses as well.
 */
#include "json.h"

#include <stdlib.h>

#include "common/decimal.h"
#include "log.h"
#include "text.h"

const CanonicalMemory json_memory = {allocate, reallocate, free};

bool
json_is_canonical(Json text)
{
	return text.data && canonical_check(text.data, text.len, JSON_MAX, 0, NULL, NULL);
}

char *
json_text(Json value)
{
	char	   *text;
	size_t		len;

	if (value.data == NULL)
		return NULL;
	text = allocate(value.len + 1);
	if (canonical_unescape(value.data, value.len, text, &len))
		return text;
	free(text);
	return NULL;
}

bool
json_count(Json value, int64_t *count)
{
	return value.data && decimal_read(value.data, value.len, count);
}

void
json_make_canonical(Buffer *buffer)
{
	CanonicalText result;

	if (!canonical_render(buffer->data, buffer->len, JSON_MAX, &json_memory, &result))
	{
		complain("JSON of the runner's own is not canonical: %s at %zu", result.error, result.error_at);
		abort();
	}
	buffer_free(buffer);
	buffer_add(buffer, result.data, result.len);
	free(result.data);
}
