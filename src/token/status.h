/*
 * status.h
 *		The status of a token at one moment.
 */
#ifndef WALWARDEN_STATUS_H
#define WALWARDEN_STATUS_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#include "token/credential.h"
#include "token/network.h"
#include "token/refusal.h"
#include "token/scope_list.h"
#include "token/usage.h"

typedef struct TokenStatus
{
	pg_uuid_t	token_id;
	pg_uuid_t	org_id;
	text	   *org_slug;
	text	   *kind;
	text	   *role;			/* its role instead of scopes, or NULL */
	bool		private;		/* it has an owner */
	pg_uuid_t	owner_id;		/* defined if private */
	text	   *subject;		/* of the owner; NULL for a shared token */
	bool		owner_has_nodes;	/* the owner's role may have nodes */
	bool		legacy;			/* permissions are not shown */
	bool		has_expiry;
	TimestampTz expires_at;
	TimestampTz ends_at;		/* of the presented credential, or earlier */
	UsedCredential credential;	/* the presented one */
	ScopeList	scopes;			/* as stored; none if the token has a role */
	ScopeList	effective;		/* the scopes that it holds now */
	bool		is_uncommitted; /* only this transaction has it */
	TokenState	state;
	Refusal		refusal;		/* why it is not active */
	bool		is_bounded;		/* it has networks or a rate limit */
	NetworkList networks;		/* from which it is accepted; none: everywhere */
	int			rate_limit;		/* uses per minute; 0: no limit */
} TokenStatus;

extern void token_status_of_credential(CredentialKind kind, const uint8 *fingerprint, TokenStatus *status, uint64 *generation);
extern void token_status_of_credential_at(CredentialKind kind, const uint8 *fingerprint, Snapshot snapshot, TokenStatus *status);
extern void token_status_of_bearer(const char *value, size_t len, TokenStatus *status);
extern bool token_status_is_for_node(const TokenStatus *status);
extern bool token_status_speaks_for_node(const TokenStatus *status);

#endif							/* WALWARDEN_STATUS_H */
