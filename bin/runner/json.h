/*
 * json.h
 *		Fields of canonical JSON that was read from a destination, and canonical JSON to store
 *		there.
 */
#ifndef RUNNER_JSON_H
#define RUNNER_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/canonical.h"
#include "text.h"

/* A bound that no text here comes near. */
#define JSON_MAX ((size_t) 1 << 30)

/* For functions of src/common. */
extern const CanonicalMemory json_memory;

/* A part of a text that json_is_canonical() accepted. data is NULL for none. */
typedef struct Json
{
	const char *data;
	size_t		len;
} Json;

static inline Json
json_part(const char *data, size_t len)
{
	Json		part = {data, len};

	return part;
}

extern bool json_is_canonical(Json text);

/* The member of an object with this key, which has no characters that JSON escapes. */
extern Json json_member(Json object, const char *key);

/* Calls visit for each member; value_len bytes at value are JSON. False if it is not an object. */
extern bool json_each(Json object, CanonicalVisit visit, void *arg);

/* The text of a string, allocated; NULL for anything else. */
extern char *json_text(Json value);

/* Whether value is an integer from 0 on. */
extern bool json_count(Json value, int64_t *count);

/* Replaces the JSON in buffer by its canonical form. Ends the process if it has none: callers wrote it. */
extern void json_make_canonical(Buffer *buffer);

#endif							/* RUNNER_JSON_H */
