/*
 * json.h
 *		Parts of canonical JSON, by place. Does not depend on the server.
 */
#ifndef WALWARDEN_COMMON_JSON_H
#define WALWARDEN_COMMON_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "common/canonical.h"

/* A bound that no text of these functions comes near. */
#define JSON_MAX ((size_t) 1 << 30)

/* A part of a text that canonical_check() accepted. data is NULL for none. */
typedef struct Json
{
	const char *data;
	size_t		len;
} Json;

extern Json json_part(const char *data, size_t len);

/* Calls visit for each member; value_len bytes at value are JSON. False if it is not an object. */
extern bool json_members(Json object, CanonicalVisit visit, void *arg);

/* The member of an object with this key, which has no characters that JSON escapes. */
extern Json json_member(Json object, const char *key);

#endif							/* WALWARDEN_COMMON_JSON_H */
