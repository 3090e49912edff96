/*
 * entry.h
 *		The body of an audit entry, whose bytes docs/audit-chain.md specifies.
 *		Does not depend on the server.
 */
#ifndef WALWARDEN_ENTRY_H
#define WALWARDEN_ENTRY_H

#include <stdbool.h>
#include <stddef.h>

#include "common/canonical.h"

#define ENTRY_BODY_MAX 65536

/* The hash of this prefix and the organisation's uuid is the prev_hash of a chain's first entry. */
#define ENTRY_GENESIS_PREFIX "walwarden/audit/v2:"

/* The other columns of an entry, as the body writes them. */
typedef struct EntryTexts
{
	const char *org_id;			/* UUID_TEXT_LEN bytes */
	const char *seq;
	size_t		seq_len;
	const char *at;				/* ISO_TIME_LEN bytes */
	const char *kind;
	size_t		kind_len;
	const char *job_id;			/* UUID_TEXT_LEN bytes, or NULL */
} EntryTexts;

/* Members of a payload: where the entry stands, and what it says of the object that it describes. */
enum
{
	ENTRY_ORG,
	ENTRY_SEQ,
	ENTRY_OBJECT,
	ENTRY_BEFORE,
	ENTRY_AFTER,
	ENTRY_MEMBERS
};

/*
 * Whether body is canonical JSON and agrees with texts: at, jobId and kind, then a
 * payload with org and seq among its members, and nothing else. members, of which there
 * are ENTRY_MEMBERS, receive those of the payload; they are undefined if the result is
 * false.
 */
extern bool entry_body_is_valid(const EntryTexts *texts, const char *body, size_t len, CanonicalMember *members);

/* The same members of a body that may be anything. False if it is not canonical, or has no payload. */
extern bool entry_members(const char *body, size_t len, CanonicalMember *members);

/* What an entry is about, as its body writes it: an object {"id":..,"type":..}, or the id of a token. */
typedef struct EntryObject
{
	const char *object;			/* or NULL */
	size_t		object_len;
	const char *token_id;		/* with its quotes, if there is no object */
	size_t		token_id_len;
} EntryObject;

/* False if the entry is about neither, or if body is not canonical. */
extern bool entry_object(const char *body, size_t len, EntryObject *result);

#endif							/* WALWARDEN_ENTRY_H */
