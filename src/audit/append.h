/*
 * append.h
 *		Appending to an audit chain.
 */
#ifndef WALWARDEN_APPEND_H
#define WALWARDEN_APPEND_H

#include "postgres.h"

#include "utils/uuid.h"

extern int64 audit_append(const pg_uuid_t *org_id, const text *kind, const pg_uuid_t *job_id, const text *payload);

#endif							/* WALWARDEN_APPEND_H */
