/*
 * entry.h
 *		A single entry of an audit chain: its body and its hash.
 */
#ifndef WALWARDEN_AUDIT_ENTRY_H
#define WALWARDEN_AUDIT_ENTRY_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/uuid.h"

#include "common/canonical.h"

typedef struct AuditColumns
{
	const pg_uuid_t *org_id;
	int64		seq;
	TimestampTz at;
	const char *kind;
	size_t		kind_len;
	const pg_uuid_t *job_id;	/* or NULL */
} AuditColumns;

extern void audit_genesis(const pg_uuid_t *org_id, uint8 *digest);
extern void audit_hash(const uint8 *prev_hash, const char *body, size_t body_len, uint8 *hash);
extern bool audit_body_is_valid(const AuditColumns *columns, const char *body, size_t len, CanonicalMember *members);
extern const char *audit_entry_error(const AuditColumns *columns, const text *body,
									 const bytea *prev_hash, const bytea *hash, CanonicalMember *members);
extern bool audit_commits_to(const text *body, const char *commitment, size_t len);

#endif							/* WALWARDEN_AUDIT_ENTRY_H */
