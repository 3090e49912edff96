/*
 * response.h
 *		Pages of REST v1 lists, and their cursors.
 */
#ifndef WALWARDEN_RESPONSE_H
#define WALWARDEN_RESPONSE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/uuid.h"

#include "common/syntax.h"

/* The position at which a page begins, decoded from a cursor. */
typedef struct PageKey
{
	TimestampTz at;
	char		id[UUID_TEXT_LEN + 1];	/* a uuid, or a seq in decimal */
} PageKey;

extern bool cursor_read(const char *cursor, const char *operation, const pg_uuid_t *id, PageKey *key);

#endif							/* WALWARDEN_RESPONSE_H */
