/*
 * json.h
 *		Parts of canonical JSON.
 */
#ifndef VERIFY_JSON_H
#define VERIFY_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/json.h"

extern const CanonicalMemory json_memory;

/* Whether both are there and the same. */
extern bool json_equal(Json a, Json b);

/* Whether value is a string of exactly these bytes, none of which JSON escapes. */
extern bool json_is_string(Json value, const char *text, size_t len);

/* The content of a string in which nothing is escaped; none for anything else. */
extern Json json_plain(Json value);

/* The text of a string, allocated; *len receives its length. NULL for anything else. */
extern char *json_text(Json value, size_t *len);

#endif							/* VERIFY_JSON_H */
