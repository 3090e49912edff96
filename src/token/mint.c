/*
 * mint.c
 *		Random values: the texts of new tokens and of other secrets, and the salts of
 *		members.
 *
 * Invariants: the plaintext of a new token exists only in the result of
 * walwarden_mint(), and that of another secret in the buffer of the caller; every other
 * buffer that held it is wiped.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"

#include "base/digest.h"
#include "base/export.h"
#include "common/hex.h"
#include "common/syntax.h"
#include "token/credential.h"
#include "token/mint.h"

#define SALT_LEN 32

static void
fill_random(void *buffer, size_t len)
{
	if (!pg_strong_random(buffer, len))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not get random bytes"),
				 errhint("Try again. The system's source of randomness is not ready.")));
}

/* A row of a secret and its hash. Wipes the secret. */
static Datum
secret_row(TupleDesc tupdesc, char *secret, size_t len, const uint8 *hash)
{
	text	   *copy = cstring_to_text_with_len(secret, (int) len);
	Datum		values[2] = {PointerGetDatum(copy), PointerGetDatum(digest_bytea(hash))};
	bool		nulls[2] = {false, false};
	HeapTuple	tuple;

	explicit_bzero(secret, len);
	tuple = heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls);
	explicit_bzero(VARDATA(copy), len);
	return HeapTupleGetDatum(tuple);
}

/*
 * walwarden_internal.mint(OUT token text, OUT fingerprint bytea)
 *
 * The caller returns token only to the client.
 */
PG_FUNCTION_INFO_V1(walwarden_mint);
Datum
walwarden_mint(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc;
	uint8		random[SECRET_RANDOM_LEN];
	char		token[TOKEN_TEXT_LEN];
	uint8		fingerprint[DIGEST_LEN];

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	fill_random(random, sizeof(random));
	memcpy(token, TOKEN_PREFIX, TOKEN_PREFIX_LEN);
	hex_lower(random, sizeof(random), token + TOKEN_PREFIX_LEN);
	explicit_bzero(random, sizeof(random));

	bearer_fingerprint(token, sizeof(token), fingerprint);

	PG_RETURN_DATUM(secret_row(tupdesc, token, sizeof(token), fingerprint));
}

/* The SHA-256 of a secret, which has SECRET_TEXT_LEN bytes. */
void
secret_hash(const char *secret, uint8 *hash)
{
	DigestPart	part = {secret, SECRET_TEXT_LEN};

	digest_sha256(&part, 1, hash);
}

/* A secret that is not a token, SECRET_TEXT_LEN bytes without a terminator, and its SHA-256. */
void
mint_secret(char *secret, uint8 *hash)
{
	uint8		random[SECRET_RANDOM_LEN];

	fill_random(random, sizeof(random));
	hex_lower(random, sizeof(random), secret);
	explicit_bzero(random, sizeof(random));
	secret_hash(secret, hash);
}

/*
 * walwarden_internal.mint_code(OUT code text, OUT hash bytea)
 *
 * The caller returns code only to the client.
 */
PG_FUNCTION_INFO_V1(walwarden_mint_code);
Datum
walwarden_mint_code(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc;
	char		code[SECRET_TEXT_LEN];
	uint8		hash[DIGEST_LEN];

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	mint_secret(code, hash);
	PG_RETURN_DATUM(secret_row(tupdesc, code, sizeof(code), hash));
}

/* walwarden_internal.salt() */
PG_FUNCTION_INFO_V1(walwarden_salt);
Datum
walwarden_salt(PG_FUNCTION_ARGS)
{
	bytea	   *salt = palloc(VARHDRSZ + SALT_LEN);

	SET_VARSIZE(salt, VARHDRSZ + SALT_LEN);
	fill_random(VARDATA(salt), SALT_LEN);
	PG_RETURN_BYTEA_P(salt);
}
