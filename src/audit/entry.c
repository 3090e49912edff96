/*
 * entry.c
 *		A single entry of an audit chain: its body and its hash.
 *
 * The body is canonical JSON that contains the columns (common/entry.h). The hash is
 * SHA-256(hex(prev_hash) || body). docs/audit-chain.md is the specification.
 *
 * Invariant: the checks run in the same order as in the SQL verifier, so that both
 * report the same reason.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "audit/entry.h"
#include "base/compat.h"
#include "base/digest.h"
#include "base/export.h"
#include "base/render.h"
#include "common/canonical.h"
#include "common/entry.h"
#include "common/hex.h"
#include "common/syntax.h"

/* The prev_hash of a chain's first entry. */
void
audit_genesis(const pg_uuid_t *org_id, uint8 *digest)
{
	char		uuid[UUID_TEXT_LEN + 1];
	DigestPart	parts[2] = {{ENTRY_GENESIS_PREFIX, strlen(ENTRY_GENESIS_PREFIX)}, {uuid, UUID_TEXT_LEN}};

	render_uuid(org_id, uuid);
	digest_sha256(parts, 2, digest);
}

/* The hash of an entry. hash has room for DIGEST_LEN bytes. */
void
audit_hash(const uint8 *prev_hash, const char *body, size_t body_len, uint8 *hash)
{
	char		hex[DIGEST_HEX_LEN];
	DigestPart	parts[2] = {{hex, DIGEST_HEX_LEN}, {body, body_len}};

	hex_lower(prev_hash, DIGEST_LEN, hex);
	digest_sha256(parts, 2, hash);
}

/* Whether body agrees with the columns. members: as for entry_body_is_valid(). */
bool
audit_body_is_valid(const AuditColumns *columns, const char *body, size_t len, CanonicalMember *members)
{
	char		org_id[UUID_TEXT_LEN + 1];
	char		job_id[UUID_TEXT_LEN + 1];
	char		at[ISO_TIME_LEN + 1];
	char		digits[MAXINT8LEN + 1];
	EntryTexts	texts = {
		.org_id = org_id,
		.seq = digits,
		.at = at,
		.kind = columns->kind,
		.kind_len = columns->kind_len
	};

	if (!render_time(columns->at, at))
		return false;
	render_uuid(columns->org_id, org_id);
	texts.seq_len = (size_t) pg_lltoa(columns->seq, digits);
	if (columns->job_id != NULL)
	{
		render_uuid(columns->job_id, job_id);
		texts.job_id = job_id;
	}
	return entry_body_is_valid(&texts, body, len, members);
}

/*
 * The first error of a single entry, as a constant, or NULL: then members are as for
 * entry_body_is_valid().
 */
const char *
audit_entry_error(const AuditColumns *columns, const text *body, const bytea *prev_hash, const bytea *hash, CanonicalMember *members)
{
	const char *bytes = VARDATA_ANY(body);
	size_t		len = VARSIZE_ANY_EXHDR(body);
	uint8		digest[DIGEST_LEN];

	if (VARSIZE_ANY_EXHDR(prev_hash) != DIGEST_LEN || VARSIZE_ANY_EXHDR(hash) != DIGEST_LEN)
		return "hash does not match the body";
	audit_hash((const uint8 *) VARDATA_ANY(prev_hash), bytes, len, digest);
	if (memcmp(digest, VARDATA_ANY(hash), DIGEST_LEN) != 0)
		return "hash does not match the body";

	if (audit_body_is_valid(columns, bytes, len, members))
		return NULL;
	if (!canonical_check(bytes, len, ENTRY_BODY_MAX, 0, NULL, NULL))
		return "body is not canonical JSON";
	return "columns differ from the body";
}

/* Bytes. Longer texts, which no entry of ours has, might not fit into an index. */
#define OBJECT_MAX 1000

/*
 * walwarden_internal.entry_object(body text)
 *
 * Raises no error, because an index evaluates it for whatever is stored.
 */
PG_FUNCTION_INFO_V1(walwarden_entry_object);
Datum
walwarden_entry_object(PG_FUNCTION_ARGS)
{
	text	   *body = PG_GETARG_TEXT_PP(0);
	EntryObject about;

	if (!entry_object(VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body), &about) ||
		about.object_len > OBJECT_MAX || about.token_id_len > OBJECT_MAX)
		PG_RETURN_NULL();
	if (about.object == NULL)
		PG_RETURN_TEXT_P(cstring_to_text(psprintf("{\"id\":%.*s,\"type\":\"token\"}", (int) about.token_id_len, about.token_id)));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(about.object, (int) about.object_len));
}

typedef struct Commitment
{
	const char *value;			/* without quotes */
	size_t		len;
	bool		found;
} Commitment;

/* CanonicalVisit of an element of credentials */
static void
compare_commitment(void *arg, const char *key, size_t key_len, const char *value, size_t value_len)
{
	Commitment *wanted = arg;
	CanonicalMember member = CANONICAL_MEMBER("commitment");

	if (canonical_find(value, value_len, ENTRY_BODY_MAX, 4, &member, 1) && member.value != NULL &&
		member.len == wanted->len + 2 && member.value[0] == '"' && memcmp(member.value + 1, wanted->value, wanted->len) == 0)
		wanted->found = true;
}

/* Whether a body has this commitment, hex digits, among the credentials of the state after the change. */
bool
audit_commits_to(const text *body, const char *commitment, size_t len)
{
	CanonicalMember members[ENTRY_MEMBERS];
	const CanonicalMember *after = &members[ENTRY_AFTER];
	CanonicalMember credentials = CANONICAL_MEMBER("credentials");
	Commitment	wanted = {commitment, len, false};

	if (entry_members(VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body), members) && after->value != NULL &&
		canonical_find(after->value, after->len, ENTRY_BODY_MAX, 2, &credentials, 1) &&
		credentials.value != NULL && credentials.value[0] == '[')
		(void) canonical_check(credentials.value, credentials.len, ENTRY_BODY_MAX, 3, compare_commitment, &wanted);
	return wanted.found;
}

/* walwarden_internal.commits_to(body text, commitment text) */
PG_FUNCTION_INFO_V1(walwarden_commits_to);
Datum
walwarden_commits_to(PG_FUNCTION_ARGS)
{
	const text *commitment = PG_GETARG_TEXT_PP(1);

	PG_RETURN_BOOL(audit_commits_to(PG_GETARG_TEXT_PP(0), VARDATA_ANY(commitment), VARSIZE_ANY_EXHDR(commitment)));
}
