/*
 * credential.c
 *		The fingerprints under which credentials are stored.
 *
 * Invariant: the fingerprint of a token is the SHA-256 of its whole text; for a legacy
 * credential see legacy_fingerprint().
 */
#include "postgres.h"

#include "fmgr.h"

#include "base/compat.h"
#include "base/digest.h"
#include "base/export.h"
#include "common/syntax.h"
#include "token/credential.h"

/* The fingerprint of a token. It has room for DIGEST_LEN bytes. */
void
bearer_fingerprint(const char *token, size_t len, uint8 *fingerprint)
{
	DigestPart	part = {token, len};

	digest_sha256(&part, 1, fingerprint);
}

/*
 * The fingerprint of a legacy credential: SHA-256 of lower(uuid) || ':' || secret.
 * Returns false if such a credential cannot have been imported.
 */
bool
legacy_fingerprint(const char *uuid, size_t uuid_len, const char *secret, size_t secret_len, uint8 *fingerprint)
{
	char		lower[UUID_TEXT_LEN];
	DigestPart	parts[3] = {{lower, UUID_TEXT_LEN}, {":", 1}, {secret, secret_len}};

	if (!legacy_is_well_formed(uuid, uuid_len, secret_len, lower))
		return false;
	digest_sha256(parts, 3, fingerprint);
	return true;
}

/*
 * walwarden_internal.legacy_fingerprint(legacy_uuid text, secret text)
 *
 * NULL if no request can present such a credential.
 */
PG_FUNCTION_INFO_V1(walwarden_legacy_fingerprint);
Datum
walwarden_legacy_fingerprint(PG_FUNCTION_ARGS)
{
	text	   *uuid = PG_GETARG_TEXT_PP(0);
	text	   *secret = PG_GETARG_TEXT_PP(1);
	uint8		fingerprint[DIGEST_LEN];

	if (!legacy_fingerprint(VARDATA_ANY(uuid), VARSIZE_ANY_EXHDR(uuid),
							VARDATA_ANY(secret), VARSIZE_ANY_EXHDR(secret), fingerprint))
		PG_RETURN_NULL();
	PG_RETURN_BYTEA_P(digest_bytea(fingerprint));
}

/*
 * walwarden_internal.credential_fingerprint(credential text)
 *
 * credential: the text of a token, or the UUID and the secret of a legacy credential
 * with a colon between them. NULL if it is neither.
 */
PG_FUNCTION_INFO_V1(walwarden_credential_fingerprint);
Datum
walwarden_credential_fingerprint(PG_FUNCTION_ARGS)
{
	text	   *credential = PG_GETARG_TEXT_PP(0);
	const char *value = VARDATA_ANY(credential);
	size_t		len = VARSIZE_ANY_EXHDR(credential);
	bytea	   *fingerprint = palloc(VARHDRSZ + DIGEST_LEN);
	uint8	   *digest = (uint8 *) VARDATA(fingerprint);

	SET_VARSIZE(fingerprint, VARHDRSZ + DIGEST_LEN);
	if (token_is_well_formed(value, len))
		bearer_fingerprint(value, len, digest);
	else if (len <= UUID_TEXT_LEN || value[UUID_TEXT_LEN] != ':' ||
			 !legacy_fingerprint(value, UUID_TEXT_LEN, value + UUID_TEXT_LEN + 1, len - UUID_TEXT_LEN - 1, digest))
		PG_RETURN_NULL();
	PG_RETURN_BYTEA_P(fingerprint);
}
