/*
 * json.c
 *		Parts of canonical JSON.
 */
#include "common/json.h"

#include <string.h>

#include "common/canonical.h"

Json
json_part(const char *data, size_t len)
{
	Json		part = {data, len};

	return part;
}

bool
json_members(Json object, CanonicalVisit visit, void *arg)
{
	return object.data && object.len > 0 && object.data[0] == '{' &&
		canonical_check(object.data, object.len, JSON_MAX, 0, visit, arg);
}

Json
json_member(Json object, const char *key)
{
	CanonicalMember member = {.key = key,.key_len = strlen(key)};

	if (object.data == NULL || !canonical_find(object.data, object.len, JSON_MAX, 0, &member, 1))
		return json_part(NULL, 0);
	return json_part(member.value, member.len);
}
