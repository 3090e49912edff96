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

#include "common/json.h"
#include "text.h"

/* For functions of src/common. */
extern const CanonicalMemory json_memory;

extern bool json_is_canonical(Json text);

/* The text of a string, allocated; NULL for anything else. */
extern char *json_text(Json value);

/* Whether value is an integer from 0 on. */
extern bool json_count(Json value, int64_t *count);

/* Replaces the JSON in buffer by its canonical form. Ends the process if it has none: callers wrote it. */
extern void json_make_canonical(Buffer *buffer);

#endif							/* RUNNER_JSON_H */
