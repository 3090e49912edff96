/*
 * walwarden.h
 *		What the parts of the library share. Each group of declarations is
 *		implemented by the file named above it.
 */
#ifndef WALWARDEN_H
#define WALWARDEN_H

#include "postgres.h"

#include "fmgr.h"
#include "nodes/pg_list.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/snapshot.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "shape.h"

/* walwarden.c */
extern int	walwarden_audit_lock_timeout;	/* milliseconds; 0: none */
extern bool walwarden_early_lock_release;
extern int	walwarden_max_tokens_per_org;
extern int	walwarden_idempotency_retention;	/* seconds */
extern int	walwarden_verify_interval;	/* seconds */
extern int	walwarden_usage_flush_interval; /* seconds */
extern int	walwarden_maintenance_interval; /* seconds */
extern char *walwarden_database;	/* a list of names; empty: all */

/* digest.c */
#define DIGEST_LEN 32
#define DIGEST_HEX_LEN (2 * DIGEST_LEN)

typedef struct DigestPart
{
	const void *data;
	size_t		len;
} DigestPart;

extern void digest_sha256(const DigestPart *parts, int nparts, uint8 *digest);
extern void hex_lower(const uint8 *bytes, size_t len, char *out);

/* token.c, which mints what shape.c recognises */
typedef enum ValueKind
{
	VALUE_BEARER,				/* a token's text */
	VALUE_PAIR					/* a UUID and a secret of an older system */
} ValueKind;

extern void token_fingerprint(const char *text, size_t len, uint8 *fingerprint);
extern bool pair_fingerprint(const char *uuid, size_t uuid_len,
							 const char *secret, size_t secret_len, uint8 *fingerprint);

/* standing.c */
typedef enum TokenState
{
	TOKEN_ACTIVE,
	TOKEN_INACTIVE,
	TOKEN_DISABLED,
	TOKEN_EXPIRED,
	TOKEN_REVOKED,
	TOKEN_UNKNOWN				/* no such token, or none any more */
} TokenState;

typedef struct ScopeList
{
	int			n;
	text	  **names;
} ScopeList;

typedef struct Standing
{
	pg_uuid_t	token_id;
	pg_uuid_t	org_id;
	text	   *org_slug;
	text	   *kind;
	text	   *role;			/* its own, which stands in place of scopes; or NULL */
	text	   *subject;		/* of the owner; NULL for a shared token */
	bool		legacy;			/* permissions are not shown */
	bool		has_expiry;
	TimestampTz expires_at;
	TimestampTz ends_at;		/* of the value that was presented, at the latest with the token */
	ScopeList	scopes;			/* as stored: none where a role stands in their place */
	ScopeList	effective;		/* what it may do now */
	TokenState	state;
	const char *reason;			/* why it is not active; a constant */
} Standing;

/* A token that was active when it was looked up, in one piece of memory. */
typedef struct ResolvedToken
{
	Standing	standing;
	ValueKind	kind;			/* of the value that opened it */
	TimestampTz noted;			/* when its use was last on record, as far as this backend knows */
	int			pins;			/* identities that it is now */
	bool		cached;
} ResolvedToken;

/* facts.c */
typedef struct Reading
{
	Snapshot	snapshot;
	uint64		generation;		/* from before the snapshot */
	bool		remember;
	TimestampTz now;
	TransactionId newest;		/* of the row versions that were used */
	TransactionId oldest_fact;	/* of what was remembered; Invalid: nothing was */
} Reading;

typedef struct OrgFacts
{
	text	   *slug;
	bool		has_tokens;		/* its plan has */
} OrgFacts;

typedef struct OwnerFacts
{
	text	   *subject;
	text	   *role;
	const char *stopped;		/* why the member's tokens are inactive; NULL: they are not */
} OwnerFacts;

extern void reading_begin(Reading *reading, Snapshot snapshot, uint64 generation, bool remember);
extern void reading_note(Reading *reading, TransactionId xmin);
extern bool reading_consistent(const Reading *reading);
extern const OrgFacts *facts_of_org(Reading *reading, const pg_uuid_t *id);
extern const OwnerFacts *facts_of_owner(Reading *reading, const pg_uuid_t *id);
extern ScopeList facts_role_scopes(Reading *reading, const text *role);

/* standing.c, more of it */
extern const char *token_state_name(TokenState state);
extern ScopeList scope_list_from_array(Datum array);
extern void standing_of_credential(ValueKind kind, const uint8 *fingerprint, Standing *standing, uint64 *generation);
extern void standing_of_value(const char *value, size_t len, Standing *standing);
extern bool standing_speaks_for_node(const Standing *standing);
extern bool scope_exists(const text *name, Snapshot snapshot);
extern bool scope_list_has(const ScopeList *list, const char *name, size_t len);
extern bool role_grant_exists(const char *kind, const char *role, Snapshot snapshot);
extern Datum scope_list_array(const ScopeList *list);
extern ResolvedToken *standing_flatten(const Standing *standing, MemoryContext context);

/* cache.c */
extern uint64 cache_generation;

extern void cache_init(void);
extern bool cache_may_store(uint64 generation);
extern ResolvedToken *cache_resolve(ValueKind kind, const uint8 *fingerprint, const char **reason);
extern void cache_unpin(ResolvedToken *token);

/* usage.c */
typedef struct TokenUse
{
	pg_uuid_t	token_id;
	TimestampTz at;
} TokenUse;

extern Size usage_shmem_size(void);
extern void usage_shmem_init(void);
extern void usage_note(const pg_uuid_t *token_id, TimestampTz *noted);
extern int	usage_collect(int *position, TokenUse *uses, int max);
extern void usage_is_on_record(const TokenUse *use);
extern List *usage_dirty_databases(void);
extern void usage_forget(Oid dbid);
extern uint64 usage_lost(void);

/* stat.c */
extern Size stat_shmem_size(void);
extern void stat_shmem_init(void);
extern void stat_count(const char *refusal);

/* worker.c */
extern void worker_register(void);
extern bool worker_check_database(char **newval, void **extra, GucSource source);
extern void worker_assign_database(const char *newval, void *extra);
extern bool worker_serves_here(void);

/* caller.c */
typedef struct Caller
{
	Oid			userid;
	NameData	role;
	/* by caller_describe() */
	bool		superuser;
	bool		is_operator;	/* superusers are operators too */
	char	   *subject;		/* verified, or NULL */
} Caller;

extern void caller_note_claims(void);
extern void caller_forget_claims(void);
extern void caller_note(Caller *caller);
extern void caller_describe(Caller *caller);
extern Jsonb *caller_json_setting(const char *name, const char *value);
extern char *caller_json_string(Jsonb *value, const char *key);

/* identity.c */
extern void identity_init(void);
extern bool identity_take(const char *value, size_t len);
extern bool identity_take_pair(const char *uuid, const char *secret);
extern const Standing *identity_standing(void);
extern bool identity_speaks_for_node(void);

/* render.c */
#define ISO_TIME_LEN 27			/* 2026-11-21T17:33:20.123456Z */
#define ANY_TIME_LEN (ISO_TIME_LEN + 8)

extern bool render_time(TimestampTz at, char *out);
extern bool read_time(const char *text, TimestampTz *at);
extern void render_any_time(TimestampTz at, char *out);
extern void render_uuid(const pg_uuid_t *uuid, char *out);

/* lock.c */
typedef enum LockClass
{
	LOCK_MAINTENANCE,			/* for maintenance, one at a time */
	LOCK_REQUEST,				/* of a token under one idempotency key, or for a pair */
	LOCK_ORGANISATION,			/* for whatever changes one */
	LOCK_CHAIN					/* for appending to its chain; taken last */
} LockClass;

extern void lock_init(void);
extern int	lock_timeout_effective(void);
extern void lock_forbid_prepare(void);
extern void lock_take(const pg_uuid_t *id, LockClass which);

/* commit.c */
extern void commit_init(void);
extern void commit_note_append(void);
extern void settle_audit(void);

/* audit.c */
#define AUDIT_BODY_MAX 65536

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
extern const char *audit_entry_fault(const AuditColumns *columns, const text *body,
									 const bytea *prev_hash, const bytea *hash);

#endif							/* WALWARDEN_H */
