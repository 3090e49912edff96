/*
 * json.h
 *		Parts of canonical JSON.
 */
#ifndef VERIFY_JSON_H
#define VERIFY_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/canonical.h"

/* A bound that no text here comes near. */
#define JSON_MAX ((size_t) 1 << 30)

/* A part of a text that canonical_check() accepted. data is NULL for none. */
typedef struct Json
{
	const char *data;
	size_t		len;
} Json;

extern const CanonicalMemory json_memory;

extern Json json_part(const char *data, size_t len);

/* Calls visit for each member. False if it is not an object. */
extern bool json_each(Json object, CanonicalVisit visit, void *arg);

/* The member of an object with this key, which has no characters that JSON escapes. */
extern Json json_member(Json object, const char *key);

/* Whether both are there and the same. */
extern bool json_equal(Json a, Json b);

/* Whether value is a string of exactly these bytes, none of which JSON escapes. */
extern bool json_is_string(Json value, const char *text, size_t len);

/* The content of a string in which nothing is escaped; none for anything else. */
extern Json json_plain(Json value);

/* The text of a string, allocated; *len receives its length. NULL for anything else. */
extern char *json_text(Json value, size_t *len);

#endif							/* VERIFY_JSON_H */
