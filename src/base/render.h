/*
 * render.h
 *		Rendering of times and uuids as in the audit chain, and parsing of such times.
 */
#ifndef WALWARDEN_RENDER_H
#define WALWARDEN_RENDER_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/uuid.h"

#include "common/syntax.h"

#define ANY_TIME_LEN (ISO_TIME_LEN + 8)

extern bool render_time(TimestampTz at, char *out);
extern bool read_time(const char *text, TimestampTz *at);
extern void render_any_time(TimestampTz at, char *out);
extern void render_uuid(const pg_uuid_t *uuid, char *out);

#endif							/* WALWARDEN_RENDER_H */
