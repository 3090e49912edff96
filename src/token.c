/*
 * token.c
 *		Token texts and legacy pairs: mint, fingerprint.
 *
 * Invariants: the plaintext of a new token exists in the result of
 * walwarden_mint() only, every buffer that held it is wiped; the fingerprint is
 * SHA-256 of the whole text.
 */
#include "walwarden.h"

#include "funcapi.h"
#include "utils/builtins.h"

#define TOKEN_RANDOM_LEN 32

void
token_fingerprint(const char *text, size_t len, uint8 *fingerprint)
{
	DigestPart	part = {text, len};

	digest_sha256(&part, 1, fingerprint);
}

/*
 * The fingerprint of a pair of a UUID and a secret, SHA-256 of
 * lower(uuid) || ':' || secret; false for what was never imported.
 */
bool
pair_fingerprint(const char *uuid, size_t uuid_len, const char *secret, size_t secret_len, uint8 *fingerprint)
{
	char		lower[UUID_TEXT_LEN];
	DigestPart	parts[3] = {{lower, UUID_TEXT_LEN}, {":", 1}, {secret, secret_len}};

	if (!pair_is_well_formed(uuid, uuid_len, secret_len, lower))
		return false;
	digest_sha256(parts, 3, fingerprint);
	return true;
}

/*
 * walwarden._pair_fingerprint(legacy_uuid text, secret text)
 *
 * NULL for what no request can present.
 */
PG_FUNCTION_INFO_V1(walwarden_pair_fingerprint);
Datum
walwarden_pair_fingerprint(PG_FUNCTION_ARGS)
{
	text	   *uuid = PG_GETARG_TEXT_PP(0);
	text	   *secret = PG_GETARG_TEXT_PP(1);
	bytea	   *fingerprint = palloc(VARHDRSZ + DIGEST_LEN);

	SET_VARSIZE(fingerprint, VARHDRSZ + DIGEST_LEN);
	if (!pair_fingerprint(VARDATA_ANY(uuid), VARSIZE_ANY_EXHDR(uuid),
						  VARDATA_ANY(secret), VARSIZE_ANY_EXHDR(secret), (uint8 *) VARDATA(fingerprint)))
		PG_RETURN_NULL();
	PG_RETURN_BYTEA_P(fingerprint);
}

/*
 * walwarden._mint(OUT token text, OUT fingerprint bytea)
 *
 * The caller hands token to the client and to nobody else.
 */
PG_FUNCTION_INFO_V1(walwarden_mint);
Datum
walwarden_mint(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc;
	uint8		random[TOKEN_RANDOM_LEN];
	char		token[TOKEN_TEXT_LEN];
	text	   *token_text;
	bytea	   *fingerprint;
	Datum		values[2];
	bool		nulls[2] = {false, false};
	HeapTuple	tuple;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	if (!pg_strong_random(random, sizeof(random)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not get random bytes for a token"),
				 errhint("The system's source of randomness is not ready; try again.")));
	memcpy(token, TOKEN_PREFIX, TOKEN_PREFIX_LEN);
	hex_lower(random, sizeof(random), token + TOKEN_PREFIX_LEN);
	explicit_bzero(random, sizeof(random));

	fingerprint = palloc(VARHDRSZ + DIGEST_LEN);
	SET_VARSIZE(fingerprint, VARHDRSZ + DIGEST_LEN);
	token_fingerprint(token, sizeof(token), (uint8 *) VARDATA(fingerprint));

	token_text = cstring_to_text_with_len(token, sizeof(token));
	explicit_bzero(token, sizeof(token));
	values[0] = PointerGetDatum(token_text);
	values[1] = PointerGetDatum(fingerprint);
	tuple = heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls);
	explicit_bzero(VARDATA(token_text), TOKEN_TEXT_LEN);

	PG_RETURN_DATUM(HeapTupleGetDatum(tuple));
}
